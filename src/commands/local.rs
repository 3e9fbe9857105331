//! `chatctl local`: the local AWS behind `--local`, by hand.

use crate::engine::event::Reporter;
use crate::error::{Exit, Result};
use crate::host::Host;
use crate::local;

/// Prints the endpoint, alone.
///
/// # Errors
/// As [`local::start`].
pub async fn start(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
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
pub async fn stop(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
    let stopped = local::stop(host).await?;
    reporter.note(if stopped { "local AWS stopped, its account is gone" } else { "no local AWS was running" });
    Ok(Exit::Done)
}

/// Prints the endpoint, alone, or ends with `Exit::Absent`.
///
/// # Errors
/// As [`local::find`].
pub async fn status(host: &Host, reporter: &dyn Reporter) -> Result<Exit> {
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
