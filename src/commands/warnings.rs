//! What a run takes away that somebody may miss, said before it begins: nobody is asked, since pipelines cannot answer.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::Session;
use crate::engine::found::Observed;
use crate::engine::kind::TakenBack;
use crate::engine::plan::Plan;
use crate::engine::{Converged, Wish, converge_if, plan};
use crate::error::Result;
use crate::report::hints;
use crate::report::text::messages;
use crate::resources::names;

/// What `plan`, which brings about `wish`, takes away.
pub fn of(session: &Session, observed: &Observed, plan: &Plan, wish: Wish) -> Vec<String> {
    let lost = lost_messages(session, observed, wish);
    let changes = plan.0.iter().filter(|_| wish == Wish::Present);
    let taken_back: BTreeSet<_> =
        changes.filter_map(|change| session.graph.kind(&change.key).taken_back(change)).collect();
    let taken_back = taken_back.into_iter().map(|TakenBack { setting, now }| {
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
