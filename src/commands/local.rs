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
        LocalVerb::Start => start(host, config.face, &*reporter).await,
        LocalVerb::Stop => stop(host, config.face, &*reporter).await,
        LocalVerb::Env => env(host, config.face, config.region.as_deref(), &*reporter).await,
        LocalVerb::Status => status(host, config.face, &*reporter).await,
    }
}

/// Prints the endpoint, alone.
///
/// # Errors
/// As [`local::start`].
async fn start(host: &Host, face: Face, reporter: &dyn Reporter) -> Result<Exit> {
    let endpoint = local::start(host, reporter).await?;
    if face.json {
        let body = json!({ "endpoint": endpoint.url, "log": endpoint.log });
        host.stdout.line(&report::json::document("local start", body));
    } else {
        host.stdout.line(&endpoint.url);
    }
    reporter.note("other tools reach it after `eval \"$(chatctl local env)\"`");
    Ok(Exit::Done)
}

/// Prints the variables with which other tools reach it, as a shell reads them, or ends with `Exit::Absent`.
///
/// # Errors
/// As [`local::find`].
async fn env(host: &Host, face: Face, region: Option<&str>, reporter: &dyn Reporter) -> Result<Exit> {
    let Some(endpoint) = local::find(host).await? else {
        if face.json {
            host.stdout.line(&report::json::document("local env", json!({ "environment": {} })));
        }
        return Ok(absent(host, reporter));
    };
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

/// Prints no text; that none was running is no failure.
///
/// # Errors
/// As [`local::stop`].
async fn stop(host: &Host, face: Face, reporter: &dyn Reporter) -> Result<Exit> {
    let stopped = local::stop(host).await?;
    if face.json {
        host.stdout.line(&report::json::document("local stop", json!({ "stopped": stopped })));
    }
    reporter.note(if stopped { "local AWS stopped, its account is gone" } else { "no local AWS was running" });
    Ok(Exit::Done)
}

/// Prints the endpoint, alone, or ends with `Exit::Absent`.
///
/// # Errors
/// As [`local::find`].
async fn status(host: &Host, face: Face, reporter: &dyn Reporter) -> Result<Exit> {
    let endpoint = local::find(host).await?;
    if face.json {
        let body = match &endpoint {
            Some(endpoint) => json!({ "state": "running", "endpoint": endpoint.url, "log": endpoint.log }),
            None => json!({ "state": "absent", "endpoint": null, "log": null }),
        };
        host.stdout.line(&report::json::document("local status", body));
    }
    match endpoint {
        Some(endpoint) => {
            if !face.json {
                host.stdout.line(&endpoint.url);
            }
            reporter.note(&format!("its log is `{}`", endpoint.log.display()));
            Ok(Exit::Done)
        }
        None => Ok(absent(host, reporter)),
    }
}
