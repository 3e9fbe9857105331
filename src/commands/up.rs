//! `up`: creates or converges the deployment, and prints its URL.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{About, Session, target, verify, warnings};
use crate::chat::verify::VerifyReport;
use crate::cli;
use crate::config::Authorizer;
use crate::engine::apply::Step;
use crate::engine::change::Action;
use crate::engine::key::Key;
use crate::engine::{Converged, Wish};
use crate::error::{Code, Error, Exit, Result};
use crate::report::github;
use crate::resources::names;
use crate::websocket::Endpoint;

/// # Errors
/// What failed, with what stands now.
pub async fn up(session: &Session, flags: &cli::Up) -> Result<Exit> {
    let auth = flags.verify.then(|| target::auth(session, &flags.connect)).transpose()?;
    for doubt in session.doubts() {
        session.warn(&doubt);
    }
    let ready = converged(session).await?;
    note(session, &ready.converged);
    let verified = if let Some(auth) = auth {
        let endpoint = Endpoint { url: ready.url.clone(), auth };
        // The resources stand, so they are the leftovers of a chat that does not work.
        let verified = verify::verified(session, &endpoint, &verify::options(&flags.load)).await;
        Some(verified.map_err(|error| Error { leftovers: session.ctx.run.book.standing(), ..error })?)
    } else {
        None
    };
    tell(session, &ready, verified);
    Ok(Exit::Done)
}

/// A deployment as it is wanted.
pub struct Ready {
    pub converged: Converged,
    pub url: String,
    /// What was said before the first write.
    pub warnings: Vec<String>,
}

/// # Errors
/// What failed, with what stands now.
pub async fn converged(session: &Session) -> Result<Ready> {
    let (converged, warnings) = warnings::converged(session, Wish::Present, async |_| Ok(())).await?;
    let url = session
        .url(&converged.observed)
        .ok_or_else(|| Error::failed(Code::NoUrl, "the API has gone again since it was made"))?;
    Ok(Ready { converged, url, warnings })
}

/// Says to people what came of it.
pub fn note(session: &Session, converged: &Converged) {
    session.ctx.run.reporter.note(&summary(session, converged));
    let is_new = |step: &Step| step.is_done() && step.action == Action::Create && step.key.kind == names::API;
    if converged.steps.iter().any(is_new) {
        session.hint("`chatctl chat` talks through it, `chatctl open` in the browser, `chatctl down` removes it");
        let scope = &session.ctx.scope;
        if scope.config.authorizer == Authorizer::None && scope.endpoints.emulator.is_none() {
            session
                .hint("anybody who has the URL may connect and write, which you pay for; `--authorizer` says who may");
        }
    }
}

/// The result, for stdout and for a pipeline.
pub fn tell(session: &Session, ready: &Ready, verified: Option<VerifyReport>) {
    let Ready { converged, url, .. } = ready;
    let shown = verified.as_ref().map(ToString::to_string);
    if let Some(report) = &shown {
        session.ctx.run.reporter.note(report.trim_end());
    }
    if session.config().face.json {
        let mut body = body(session, ready);
        body.extend(verified.map(|report| ("verified", json!(report))));
        session.print_json("up", About::Deployment, body);
    } else {
        session.host.stdout.line(url);
    }
    tell_pipeline(session, converged, url, shown.as_deref());
}

fn body<'a>(session: &Session, ready: &Ready) -> BTreeMap<&'a str, Value> {
    let Ready { converged, url, warnings } = ready;
    let warnings: Vec<String> = session.doubts().into_iter().chain(warnings.iter().cloned()).collect();
    let changes: Vec<Value> = converged
        .steps
        .iter()
        .filter(|step| step.is_done())
        .map(|step| json!({ "kind": step.key.kind, "name": step.key.name, "action": step.action }))
        .collect();
    BTreeMap::from([
        ("url", json!(url)),
        ("callbackUrl", json!(session.callback_url(&converged.observed))),
        ("apiId", json!(session.api(&converged.observed).map(|api| &api.id))),
        ("changes", json!(changes)),
        ("warnings", json!(warnings)),
        ("elapsedMs", json!(elapsed_ms(session))),
    ])
}

fn tell_pipeline(session: &Session, converged: &Converged, url: &str, verified: Option<&str>) {
    let config = session.config();
    let api = session.api(&converged.observed).map_or("", |api| api.id.as_str());
    let changes = converged.steps.iter().filter(|step| step.is_done()).count().to_string();
    let expires_at = session.expires_at(&converged.observed).unwrap_or_default();
    let console_url = session.console_url(&converged.observed).unwrap_or_default();
    let callback_url = session.callback_url(&converged.observed).unwrap_or_default();
    let outputs = [
        ("url", url),
        ("callback-url", &callback_url),
        ("console-url", &console_url),
        ("api-id", api),
        ("changes", &changes),
        ("state", "ready"),
        ("expires-at", &expires_at),
    ];
    session.tell_pipeline(&outputs, || {
        let done = |key: &Key| converged.steps.iter().rev().find(|step| step.key == *key && step.is_done());
        let rows = session.graph.keys().map(|key| {
            let change = done(key).map_or("unchanged", |step| step.action.done());
            [key.kind.to_owned(), github::code(&key.name), change.to_owned()]
        });
        let at = [github::code(url), github::link("console", &console_url)].into_iter().filter(|part| !part.is_empty());
        let until = Some(expires_at.as_str()).filter(|at| !at.is_empty()).map(|at| format!(", expires at {at}"));
        let made_of = github::picture(&session.ctx.scope) + "\n" + &github::table(["kind", "name", "change"], rows);
        let mut parts = vec![
            format!("## `{}` in {}", config.name, session.ctx.scope.region),
            at.collect::<Vec<_>>().join(" · "),
            summary(session, converged) + &until.unwrap_or_default(),
        ];
        parts.extend(verified.map(|report| github::block("text", report)));
        parts.push(github::folded("what it is made of", &made_of));
        parts.join("\n\n") + "\n"
    });
}

fn elapsed_ms(session: &Session) -> u64 {
    u64::try_from(session.ctx.run.began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn summary(session: &Session, converged: &Converged) -> String {
    let changes = converged.steps.iter().filter(|step| step.is_done()).count();
    let seconds = session.ctx.run.began.elapsed().as_secs_f64();
    match changes {
        0 => format!("nothing to change, checked in {seconds:.1} s"),
        1 => format!("ready after 1 change in {seconds:.1} s"),
        _ => format!("ready after {changes} changes in {seconds:.1} s"),
    }
}
