//! What a run takes away that somebody may miss, said before it begins: nobody is asked, since pipelines cannot answer.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::Session;
use crate::engine::change::{Action, Change};
use crate::engine::found::Observed;
use crate::engine::plan::Plan;
use crate::engine::{Converged, Wish, converge_if, plan};
use crate::error::Result;
use crate::report::hints;
use crate::report::text::messages;
use crate::resources::names;

/// What another run has asked for and this one does not.
struct TakenBack {
    setting: &'static str,
    /// What that means from now on.
    now: &'static str,
    shows: fn(&Change) -> bool,
}

const TAKEN_BACK: [TakenBack; 5] = [
    TakenBack {
        setting: "delivery",
        now: "messages no longer go through a queue",
        shows: |change| change.key.kind == names::EVENT_SOURCE_MAPPING && change.action == Action::Delete,
    },
    TakenBack {
        setting: "authorizer",
        now: "everybody may connect",
        shows: |change| becomes(change, names::ROUTE, "authorization", &json!("NONE")),
    },
    TakenBack {
        setting: "alarm-topic",
        now: "nobody is told when messages fail",
        shows: |change| change.key.kind == names::ALARM && change.action == Action::Delete,
    },
    TakenBack {
        setting: "ttl",
        now: "`reap` will never remove it",
        shows: |change| becomes(change, names::API, "expiresAt", &Value::Null),
    },
    TakenBack {
        setting: "permissions-boundary",
        now: "what the roles may do is no longer bounded",
        shows: |change| becomes(change, names::ROLE, "permissionsBoundary", &Value::Null),
    },
];

fn becomes(change: &Change, kind: &str, field: &str, to: &Value) -> bool {
    // What is made now comes from nothing as well.
    change.key.kind == kind
        && change.found.is_some()
        && change.fields.0.iter().any(|changed| changed.field == field && changed.to == *to)
}

/// What `plan`, which brings about `wish`, takes away.
pub fn of(session: &Session, observed: &Observed, plan: &Plan, wish: Wish) -> Vec<String> {
    let lost = lost_messages(session, observed, wish);
    let taken_back = TAKEN_BACK.iter().filter(|taken| wish == Wish::Present && plan.0.iter().any(taken.shows));
    let taken_back = taken_back.map(|TakenBack { setting, now, .. }| {
        format!("{now}: nothing asks for `{setting}` any more; flags are not remembered, `chatctl.toml` is")
    });
    let completed = |warning: String| hints::completed(&warning, &session.given);
    lost.into_iter().chain(taken_back).map(completed).collect()
}

/// Those that could not be delivered, where their queue goes.
fn lost_messages(session: &Session, observed: &Observed, wish: Wish) -> Option<String> {
    let queue = names::dead_letters(&session.ctx.scope);
    let goes = wish == Wish::Absent || !session.graph.contains(&queue);
    let count = session.dead_letters(observed).filter(|count| goes && *count > 0)?;
    let messages = messages(count);
    Some(format!(
        "{queue}: {messages} that could not be delivered will be lost with it; to send them again, run `chatctl redrive` first"
    ))
}

/// Converges, and gives what it has warned of before its first write.
///
/// # Errors
/// What failed, with what stands now; that `may` refuses.
pub async fn converged(
    session: &Session,
    wish: Wish,
    may: impl AsyncFn(&Observed) -> Result<()>,
) -> Result<(Converged, Vec<String>)> {
    let warnings = RefCell::new(Vec::new());
    let warn = async |observed: &Observed| {
        may(observed).await?;
        let plan = plan(&session.ctx.scope, &session.graph, observed, wish);
        for warning in of(session, observed, &plan, wish) {
            session.warn(&warning);
            warnings.borrow_mut().push(warning);
        }
        Ok(())
    };
    let converged = converge_if(&session.ctx, &session.graph, wish, warn).await?;
    Ok((converged, warnings.into_inner()))
}
