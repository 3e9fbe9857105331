//! `up`: creates or converges the deployment, and prints its URL.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Session;
use crate::engine::apply::End;
use crate::engine::{Converged, Wish, converge};
use crate::error::{Error, Exit, Result};

/// # Errors
/// What failed, with what stands now.
pub async fn up(session: &Session) -> Result<Exit> {
    let converged = converge(&session.ctx, &session.graph, Wish::Present).await?;
    let url = session
        .url(&converged.observed)
        .ok_or_else(|| Error::failed("NoUrl", "the API has gone again since it was made"))?;
    session.ctx.reporter.note(&summary(session, &converged));
    if session.config().face.json {
        session.print_json("up", body(session, &converged, &url));
    } else {
        session.host.stdout.line(&url);
    }
    Ok(Exit::Done)
}

fn body<'a>(session: &Session, converged: &Converged, url: &str) -> BTreeMap<&'a str, Value> {
    let changes: Vec<Value> = converged
        .steps
        .iter()
        .filter(|step| matches!(step.end, End::Done))
        .map(|step| json!({ "kind": step.key.kind, "name": step.key.name, "action": step.action }))
        .collect();
    BTreeMap::from([
        ("url", json!(url)),
        ("apiId", json!(session.api(&converged.observed).map(|api| &api.id))),
        ("changes", json!(changes)),
        ("elapsedMs", json!(elapsed_ms(session))),
    ])
}

fn elapsed_ms(session: &Session) -> u64 {
    u64::try_from(session.ctx.began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn summary(session: &Session, converged: &Converged) -> String {
    let changes = converged.steps.iter().filter(|step| matches!(step.end, End::Done)).count();
    let seconds = session.ctx.began.elapsed().as_secs_f64();
    match changes {
        0 => format!("nothing to change, checked in {seconds:.1} s"),
        1 => format!("ready after 1 change in {seconds:.1} s"),
        _ => format!("ready after {changes} changes in {seconds:.1} s"),
    }
}
