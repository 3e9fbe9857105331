//! `chatctl local`: the local AWS behind `--local`, by hand.

use crate::cli::LocalVerb;
use crate::config::Config;
use crate::error::{Exit, Result};
use crate::host::Host;
use crate::local;
use crate::progress::Reporter;
use crate::report;

/// # Errors
/// As the function of the verb.
pub async fn local(host: &Host, config: &Config, verb: LocalVerb) -> Result<Exit> {
    let reporter = report::reporter(config.face, host);
    match verb {
        LocalVerb::Start => start(host, &*reporter).await,
        LocalVerb::Stop => stop(host, &*reporter).await,
        LocalVerb::Status => status(host, &*reporter).await,
    }
}

/// Prints the endpoint, alone.
///
/// # Errors
/// As [`local::start`].
async fn start(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
    let endpoint = local::start(host, reporter).await?;
    host.stdout.line(&endpoint.url);
    let (access_key, secret) = local::credentials();
    reporter.note(&format!(
        "other tools reach it with AWS_ENDPOINT_URL={} AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret}",
        endpoint.url
    ));
    Ok(Exit::Done)
}

/// Prints nothing; that none was running is no failure.
///
/// # Errors
/// As [`local::stop`].
async fn stop(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
    let stopped = local::stop(host).await?;
    reporter.note(if stopped { "local AWS stopped, its account is gone" } else { "no local AWS was running" });
    Ok(Exit::Done)
}

/// Prints the endpoint, alone, or ends with `Exit::Absent`.
///
/// # Errors
/// As [`local::find`].
async fn status(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
    match local::find(host).await? {
        Some(endpoint) => {
            host.stdout.line(&endpoint.url);
            reporter.note(&format!("its log is `{}`", endpoint.log.display()));
            Ok(Exit::Done)
        }
        None => {
            reporter.note("no local AWS is running; `chatctl local start` starts one");
            Ok(Exit::Absent)
        }
    }
}
