//! `down`: removes all of the deployment, and proves that nothing is left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{About, Nothing, Session, warnings};
use crate::engine::Wish;
use crate::error::{Exit, Result};

pub fn nothing() -> Nothing {
    Nothing {
        command: "down",
        about: About::Deployment,
        exit: Exit::Done,
        body: json!({ "removed": [], "left": [], "warnings": [] }),
    }
}

/// # Errors
/// What failed, with what is left.
pub async fn down(session: &Session) -> Result<Exit> {
    let (converged, warnings) = warnings::converged(session, Wish::Absent, async |_| Ok(())).await?;
    let removed: Vec<Value> = converged
        .steps
        .iter()
        .filter(|step| step.is_done())
        .map(|step| json!({ "kind": step.key.kind, "name": step.key.name }))
        .collect();
    let seconds = session.ctx.run.began.elapsed().as_secs_f64();
    let summary = match removed.len() {
        0 => "there was nothing to remove".to_owned(),
        1 => format!("removed 1 resource in {seconds:.1} s, nothing is left"),
        count => format!("removed {count} resources in {seconds:.1} s, nothing is left"),
    };
    session.ctx.run.reporter.note(&summary);
    if session.config().face.json {
        // Converged means that the last observation found nothing.
        session.print_json(
            "down",
            About::Deployment,
            BTreeMap::from([("removed", json!(removed)), ("left", json!([])), ("warnings", json!(warnings))]),
        );
    }
    let (name, region) = (&session.config().name, &session.ctx.scope.region);
    session.tell_pipeline(&[], || format!("## `{name}` in {region}\n\n{summary}\n\n"));
    Ok(Exit::Done)
}
