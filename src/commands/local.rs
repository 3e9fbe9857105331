//! `chatctl local`: the local AWS behind `--local`, by hand.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::LocalVerb;
use crate::config::{Config, Face};
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
        LocalVerb::Env => env(host, config.face, config.region.as_deref(), &*reporter).await,
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
    reporter.note("other tools reach it after `eval \"$(chatctl local env)\"`");
    Ok(Exit::Done)
}

/// Prints the variables with which other tools reach it, as a shell reads them, or ends with `Exit::Absent`.
///
/// # Errors
/// As [`local::find`].
async fn env(host: &Host, face: Face, region: Option<&str>, reporter: &dyn Reporter) -> Result<Exit> {
    let Some(endpoint) = local::find(host).await? else { return Ok(absent(host, reporter)) };
    let region = region.unwrap_or(local::REGION);
    let variables = [
        ("AWS_ACCESS_KEY_ID", endpoint.access_key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &endpoint.secret),
        ("AWS_ENDPOINT_URL", &endpoint.url),
        ("AWS_REGION", region),
        // The same for the AWS CLI and boto3.
        ("AWS_DEFAULT_REGION", region),
    ];
    if face.json {
        let environment: BTreeMap<_, _> = variables.into();
        host.stdout.line(&report::json::document("local env", json!({ "environment": environment })));
    } else {
        for (name, value) in variables {
            host.stdout.line(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
        }
        // Either would win over the rest.
        host.stdout.line("unset AWS_PROFILE AWS_SESSION_TOKEN");
    }
    Ok(Exit::Done)
}

fn absent(host: &Host, reporter: &dyn Reporter) -> Exit {
    reporter.note(&format!("{}; `chatctl local start` starts one", local::not_running(host)));
    Exit::Absent
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
        None => Ok(absent(host, reporter)),
    }
}
