//! `plan`: what `up` or `down` would do, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{About, Session, warnings};
use crate::cli;
use crate::engine::change::Action;
use crate::engine::found::Observed;
use crate::engine::key::Key;
use crate::engine::observe::{Patience, observe};
use crate::engine::plan::Plan;
use crate::engine::{Wish, plan as plan_for};
use crate::error::{Exit, Result};
use crate::report;
use crate::report::text::Beside;
use crate::resources::names;

/// # Errors
/// What cannot be read, or stands in the way.
pub async fn plan(session: &Session, flags: &cli::Plan) -> Result<Exit> {
    let wish = if flags.destroy { Wish::Absent } else { Wish::Present };
    let observed = observe(&session.ctx, &session.graph, Patience::Glance).await?;
    let mut plan = plan_for(&session.ctx.scope, &session.graph, &observed, wish);
    let renewed_to = take_renewals(&mut plan).then(|| session.ctx.scope.expires_at.clone()).flatten();
    let beside = Beside { warnings: warned(session, &observed, &plan, wish), files: files(session), renewed_to };
    if session.config().face.json {
        let body = [
            ("changes", report::json::changes(&plan)),
            ("warnings", json!(beside.warnings)),
            ("renewedTo", json!(beside.renewed_to)),
        ];
        session.print_json("plan", About::Deployment, BTreeMap::from(body));
    } else {
        session.host.stdout.prose(report::text::plan(&plan, &beside, session.colored()).trim_end());
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
        let shown = report::github::block("diff", &report::text::plan(&plan, &beside, false));
        format!("## Plan for `{name}` in {region}\n\n{shown}\n")
    });
    Ok(if flags.exit_code && !plan.is_empty() { Exit::Differs } else { Exit::Done })
}

/// Takes out what only says anew when it all expires, as every `up` does with a time to live: that is no change. Says
/// whether there was any.
fn take_renewals(plan: &mut Plan) -> bool {
    let mut any = false;
    for change in &mut plan.0 {
        any |= change.fields.0.iter().any(|field| field.is_renewal());
        change.fields.0.retain(|field| !field.is_renewal());
    }
    plan.0.retain(|change| change.action != Action::Update || !change.fields.0.is_empty());
    any
}

/// What users will notice of it.
fn warned(session: &Session, observed: &Observed, plan: &Plan, wish: Wish) -> Vec<String> {
    let goes = plan.0.iter().filter(|change| matches!(change.action, Action::Replace | Action::Delete));
    let of_itself = goes.filter(|change| change.with.is_none());
    let losses = of_itself.filter_map(|change| {
        let loss = session.graph.kind(&change.key).facts().loss?;
        Some(format!("{}: {loss}", change.key))
    });
    let guards = plan.0.iter().filter(|change| change.action == Action::Delete).filter_map(|change| {
        Some(format!("{}: {}, so `down` would remove nothing", change.key, change.found.as_ref()?.guarded.as_ref()?))
    });
    let taken = warnings::of(session, observed, plan, wish);
    losses.chain(guards).chain(taken).chain(session.doubts()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn files(session: &Session) -> BTreeMap<Key, Vec<(String, usize)>> {
    let scope = &session.ctx.scope;
    let functions = scope.config.app.functions().iter().map(|function| &function.name);
    functions.map(|name| (names::function(scope, name), scope.bundles.of(name).files.clone())).collect()
}
