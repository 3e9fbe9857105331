//! `verify`: proves that the deployed chat works, by real clients.

use serde_json::json;

use super::{About, Session, target};
use crate::chat::verify::{Backstage, Exchange, Junit, VerifyOptions, VerifyReport, verify as verify_chat};
use crate::cli;
use crate::error::{Error, Exit, Result};
use crate::report::github::{block, code};
use crate::websocket::Endpoint;

/// # Errors
/// `ChatFailed` with what broke where, `TooSlow` with how slow; 2 or 1 when the JUnit report cannot be written.
pub async fn verify(session: &Session, flags: &cli::Verify) -> Result<Exit> {
    let exchange = exchange(session, flags)?;
    let junit = flags.junit.as_ref().map(|file| Junit::begin(session.host.cwd.join(file))).transpose()?;
    let options = VerifyOptions { junit, max_p99_ms: flags.max_p99, exchange, ..options(&flags.load) };
    let endpoint = target::endpoint(session, &flags.target).await?;
    let report = if flags.target.url.is_some() {
        verify_chat(&session.host, &*session.ctx.run.reporter, &endpoint, &options, None).await?
    } else {
        verified(session, &endpoint, &options).await?
    };
    if session.config().face.json {
        let about = if flags.target.url.is_some() { About::Url } else { About::Deployment };
        let body = [("url", json!(endpoint.shown())), ("verified", json!(report))].into();
        session.print_json("verify", about, body);
    } else {
        session.ctx.run.reporter.settle();
        session.host.stdout.prose(report.to_string().trim_end());
    }
    let summary = || format!("## Verified\n\n{}\n\n{}\n", code(&endpoint.shown()), block("text", &report.to_string()));
    session.tell_pipeline(&[], summary);
    Ok(Exit::Done)
}

/// Verifies the chat at `endpoint`, looking at the table and the logs behind it as well.
///
/// # Errors
/// `ChatFailed` with what broke where.
pub async fn verified(session: &Session, endpoint: &Endpoint, options: &VerifyOptions) -> Result<VerifyReport> {
    let config = session.config();
    let function_behind = |route_key: &str| {
        let route = config.app.route(route_key);
        route.map(|route| config.function_name(&route.function)).unwrap_or_default()
    };
    let backstage = Backstage {
        aws: session.sdk.clone(),
        table: config.table_name(),
        on_connect: function_behind("$connect"),
        on_disconnect: function_behind("$disconnect"),
        send_message: function_behind("sendmessage"),
        authorizer: config.app.authorizer().map(|function| config.function_name(&function.name)),
    };
    let verified = verify_chat(&session.host, &*session.ctx.run.reporter, endpoint, options, Some(&backstage)).await?;
    if config.local {
        session.ctx.run.reporter.note("the times are those of the local AWS on this machine, not of AWS");
    }
    Ok(verified)
}

/// # Errors
/// A usage error for a route that the settings do not have, unless a URL is given, which may be anybody's.
fn exchange(session: &Session, flags: &cli::Verify) -> Result<Option<Exchange>> {
    let Some(key) = &flags.route else { return Ok(None) };
    let config = session.config();
    let route = config.app.route(key);
    if flags.target.url.is_none() && route.is_none_or(|route| route.key.is_about_connections()) {
        let error = Error::usage(format!("there is no route `{key}` that takes messages"));
        return Err(error.hint("`chatctl plan` shows the routes; `[routes.…]` in `chatctl.toml` makes them"));
    }
    let send = flags.send.clone().unwrap_or_else(|| json!({ "action": key }).to_string());
    let function = route.map(|route| config.function_name(&route.function));
    Ok(Some(Exchange { route: key.clone(), send, expect: flags.expect.clone(), function }))
}

pub fn options(load: &cli::Load) -> VerifyOptions {
    let cli::Load { clients, senders, messages } = *load;
    VerifyOptions { clients, senders, messages, ..VerifyOptions::default() }
}
