//! The verbs that are clients of a deployed chat, or read its logs: from flags to what they take.

use serde_json::json;

use super::verify::{VerifyOptions, VerifyReport, verify};
use super::{Session, chat, logs, open};
use crate::cli;
use crate::config::{Authorizer, duration};
use crate::error::{Error, Exit, Result};
use crate::functions::FUNCTIONS;
use crate::report::style::is_colored;
use crate::resources::{Kind, api};
use crate::websocket::{Auth, Endpoint};

/// # Errors
/// `ChatFailed` with what broke where.
pub async fn run_verify(session: &Session, flags: &cli::Verify) -> Result<Exit> {
    let endpoint = endpoint(session, &flags.target).await?;
    let report = if flags.target.url.is_some() {
        let options = options(&flags.load);
        verify(&session.host, &*session.ctx.reporter, &endpoint, &options, None).await?
    } else {
        verified(session, &endpoint, &flags.load).await?
    };
    if session.config().face.json {
        session.print_json("verify", [("url", json!(endpoint.url)), ("result", json!(report))].into());
    } else {
        session.host.stdout.write(&report.to_string());
    }
    Ok(Exit::Done)
}

/// Verifies the chat at `endpoint`, looking at the table and the logs behind it as well.
///
/// # Errors
/// `ChatFailed` with what broke where.
pub async fn verified(session: &Session, endpoint: &Endpoint, load: &cli::Load) -> Result<VerifyReport> {
    let config = session.config();
    let backstage = super::verify::Backstage {
        aws: session.sdk.clone(),
        table: config.table_name(),
        on_connect: config.function_name("onConnect"),
        on_disconnect: config.function_name("onDisconnect"),
        send_message: config.function_name("sendMessage"),
    };
    verify(&session.host, &*session.ctx.reporter, endpoint, &options(load), Some(&backstage)).await
}

fn options(load: &cli::Load) -> VerifyOptions {
    let cli::Load { clients, senders, messages } = *load;
    VerifyOptions { clients, senders, messages, ..VerifyOptions::default() }
}

/// # Errors
/// When the chat cannot be reached.
pub async fn run_chat(session: &Session, flags: &cli::Chat) -> Result<Exit> {
    let options =
        chat::ChatOptions { name: flags.alias.clone(), wait: duration("wait", &flags.wait)?, color: session.colored() };
    let endpoint = endpoint(session, &flags.target).await?;
    chat::chat(&session.host, &endpoint, &options).await
}

/// # Errors
/// When the page cannot be served.
pub async fn run_open(session: &Session, flags: &cli::Open) -> Result<Exit> {
    let endpoint = endpoint(session, &flags.target).await?;
    open::open(&session.host, &endpoint, open::OpenOptions { browser: !flags.no_browser }).await
}

/// # Errors
/// When a log group cannot be read.
pub async fn run_logs(session: &Session, flags: &cli::Logs) -> Result<Exit> {
    let functions = FUNCTIONS.map(|function| session.config().function_name(function.name));
    let face = session.config().face;
    let options = logs::LogsOptions {
        follow: flags.follow,
        since: duration("since", &flags.since)?,
        function: flags.function.clone(),
        format: if face.json { logs::LogFormat::JsonLines } else { logs::LogFormat::Text },
        color: is_colored(face, &session.host, &session.host.stdout),
    };
    logs::logs(&session.host, &session.sdk, &functions, &options).await
}

/// The chat that was named, or the deployed one, with what proves who we are to its authorizer.
async fn endpoint(session: &Session, target: &cli::Target) -> Result<Endpoint> {
    let auth = auth(session, &target.connect)?;
    if let Some(url) = &target.url {
        return Ok(Endpoint { url: url.clone(), auth });
    }
    let scope = &session.ctx.scope;
    let name = session.config().name.as_str();
    let found = api::ApiKind.find(&session.ctx, name, None).await?;
    let api = found.iter().find(|found| found.key == api::key_of(scope)).ok_or_else(|| {
        Error::failed("NotDeployed", format!("there is no deployment `{name}` in {}", scope.region))
            .hint("`chatctl up` creates it; `chatctl list` shows those that exist")
    })?;
    Ok(Endpoint { url: super::url_of(scope, api, &session.config().stage), auth })
}

/// How clients prove who they are: by what was given for it, else as the configured authorizer wants it.
///
/// # Errors
/// A usage error for a header or a query that is not of the form `name=value`.
pub fn auth(session: &Session, connect: &cli::Connect) -> Result<Auth> {
    let pairs = |texts: &[String]| -> Result<Vec<(String, String)>> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                // The value may be a secret, so it is not repeated.
                Error::usage("a header or query for the authorizer is not of the form `name=value`")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        texts.iter().map(pair).collect()
    };
    Ok(match (&session.config().authorizer, session.sdk.credentials_provider()) {
        _ if !connect.header.is_empty() => Auth::Headers(pairs(&connect.header)?),
        _ if !connect.query.is_empty() => Auth::Query(pairs(&connect.query)?),
        (Authorizer::Iam, Some(credentials)) => Auth::Iam { credentials, region: session.ctx.scope.region.clone() },
        _ => Auth::None,
    })
}
