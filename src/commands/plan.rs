//! `plan`: what `up` or `down` would do, and nothing else.

use std::collections::BTreeMap;

use super::Session;
use crate::cli;
use crate::engine::change::Action;
use crate::engine::observe::{Patience, observe};
use crate::engine::{Wish, plan as plan_for};
use crate::error::{Exit, Result};
use crate::report;

/// # Errors
/// What cannot be read, or stands in the way.
pub async fn plan(session: &Session, flags: &cli::Plan) -> Result<Exit> {
    let wish = if flags.destroy { Wish::Absent } else { Wish::Present };
    let observed = observe(&session.ctx, &session.graph, Patience::None).await?;
    let plan = plan_for(&session.ctx.scope, &session.graph, &observed, wish);
    if session.config().face.json {
        session.print_json("plan", BTreeMap::from([("changes", report::json::changes(&plan))]));
    } else {
        session.host.stdout.line(report::text::plan(&plan, session.colored()).trim_end());
    }
    let (name, region) = (&session.config().name, &session.ctx.scope.region);
    // What is replaced is created and deleted.
    let count =
        |actions: &[Action]| plan.0.iter().filter(|change| actions.contains(&change.action)).count().to_string();
    let outputs = [
        ("changes", plan.0.len().to_string()),
        ("to-create", count(&[Action::Create, Action::Replace])),
        ("to-update", count(&[Action::Update])),
        ("to-delete", count(&[Action::Delete, Action::Replace])),
    ];
    session.tell_pipeline(&outputs.each_ref().map(|(name, value)| (*name, value.as_str())), || {
        let shown = report::github::block("diff", &report::text::plan(&plan, false));
        format!("## Plan for `{name}` in {region}\n\n{shown}\n")
    });
    Ok(if flags.exit_code && !plan.is_empty() { Exit::Differs } else { Exit::Done })
}
