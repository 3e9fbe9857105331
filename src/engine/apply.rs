//! Carries out a plan: each step starts the moment what it comes after is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::aws::failure::{Class, Failure};
use crate::engine::change::{Action, Change};
use crate::engine::found::{Found, Owner};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::kind::Resource;
use crate::engine::observe::TAGS_BUDGET;
use crate::engine::plan::Plan;
use crate::engine::run::Ctx;
use crate::progress::Ended;

/// How one step ended.
pub enum End {
    Done,
    Failed(Failure),
    /// What it comes after did not get done, or the interrupt came first.
    Skipped,
}

/// One step, for the report.
pub struct Step {
    pub action: Action,
    pub key: Key,
    pub end: End,
}

impl Step {
    pub fn is_done(&self) -> bool {
        matches!(self.end, End::Done)
    }
}

/// Whose turn it is in each lane: writes of one lane are strictly serial (G2, L7).
type Lanes = BTreeMap<String, Mutex<Turn>>;

/// What the steps of one lane hand on.
#[derive(Default)]
struct Turn {
    /// The task that had the last turn.
    last: Option<usize>,
    /// The kinds of snapshots that know that they are going to be out of date.
    told: BTreeSet<&'static str>,
}

/// The lane of a change; one of its own where its kind names none.
fn lane(graph: &Graph, change: &Change) -> String {
    graph.kind(&change.key).lane(change).unwrap_or_else(|| change.key.to_string())
}

/// Carries out `plan`, made with the same scope as `ctx` has. When a step fails, those that must come after it are skipped and
/// all others go on (rule 5 of CONTRIBUTING.md). After an interrupt no further step begins.
pub async fn apply(ctx: &Ctx, graph: &Graph, plan: &Plan) -> Vec<Step> {
    let changes = &plan.0;
    ctx.run.trace.begin_phase();
    let lanes: &Lanes = &changes.iter().map(|change| (lane(graph, change), Mutex::default())).collect();
    // Each step knows the ids of all that was made before it began.
    let mut scope = ctx.scope.clone();
    let mut tasks = vec![None; changes.len()];
    let mut ends: Vec<Option<Step>> = changes.iter().map(|_| None).collect();
    let mut begun = vec![false; changes.len()];
    let mut running = FuturesUnordered::new();
    loop {
        for at in 0..changes.len() {
            if begun[at] || !changes[at].after.iter().all(|first| ends[*first].is_some()) {
                continue;
            }
            begun[at] = true;
            let blocked = changes[at].after.iter().any(|f| !matches!(&ends[*f], Some(Step { end: End::Done, .. })));
            let interrupted = ctx.run.interrupt.is_raised();
            let after = changes[at].after.iter().filter_map(|first| tasks[*first]).collect();
            let ctx = ctx.with(scope.clone());
            running.push(async move {
                let change = &changes[at];
                if blocked || interrupted {
                    skip(&ctx, change);
                    return (at, None, Err(End::Skipped));
                }
                let work = async |task| step(&ctx.for_task(task), task, graph, plan, lanes, change).await;
                let (task, done) = ctx.run.trace.task(change.action.doing(), change.key.clone(), after, work).await;
                (at, Some(task), done.map_err(End::Failed))
            });
        }
        let Some((at, task, done)) = running.next().await else { break };
        let change = &changes[at];
        tasks[at] = task;
        if let Ok(Some(id)) = &done {
            Arc::make_mut(&mut scope).ids.insert(change.key.clone(), id.clone());
        }
        let end = done.err().unwrap_or(End::Done);
        ends[at] = Some(Step { action: change.action, key: change.key.clone(), end });
    }
    ends.into_iter().flatten().collect()
}

fn skip(ctx: &Ctx, change: &Change) {
    let why = if ctx.run.interrupt.is_raised() { "interrupted" } else { "what it needs failed" };
    ctx.run.reporter.end(&change.key.to_string(), Ended::Skipped(why.to_owned()));
}

/// Does one step, and returns the id of what it has made.
async fn step(
    ctx: &Ctx,
    task: usize,
    graph: &Graph,
    plan: &Plan,
    lanes: &Lanes,
    change: &Change,
) -> Result<Option<String>, Failure> {
    let (name, reporter) = (change.key.to_string(), &ctx.run.reporter);
    reporter.begin(&name, change.action.doing());
    let done = match &change.with {
        Some(_) => {
            change.found.iter().for_each(|found| ctx.run.book.removed(found));
            Ok(None)
        }
        None => {
            // Held until the end of the step.
            let mut turn = lanes[&lane(graph, change)].lock().await;
            ctx.run.trace.turn_after(task, turn.last.replace(task));
            carry_out(ctx, graph, plan, change, &mut turn.told).await
        }
    };
    reporter.end(
        &name,
        match &done {
            Ok(_) => Ended::Done(change.action.done()),
            Err(failure) => Ended::Failed(failure.line()),
        },
    );
    done
}

async fn carry_out(
    ctx: &Ctx,
    graph: &Graph,
    plan: &Plan,
    change: &Change,
    told: &mut BTreeSet<&'static str>,
) -> Result<Option<String>, Failure> {
    let kind = graph.kind(&change.key);
    if change.action != Action::Create {
        outdate(ctx, graph, change, told).await?;
    }
    // A snapshot's old one is deleted by a step of its own, once nothing uses it.
    let is_deleted =
        change.action == Action::Delete || (change.action == Action::Replace && kind.facts().snapshot_of.is_empty());
    if let (Action::Delete | Action::Update, Some(found)) = (change.action, &change.found) {
        stay_for_others(ctx, graph, plan, found).await?;
    }
    if let Some(found) = change.found.as_ref().filter(|_| is_deleted) {
        kind.delete(ctx, found).await?;
        ctx.run.book.removed(found);
    }
    let resource = graph.get(&change.key).map(|wanted| wanted.resource.as_ref());
    match (change.action, resource, &change.found) {
        (Action::Update, Some(resource), Some(found)) => {
            resource.update(ctx, found, &change.fields).await.map(|()| None)
        }
        (Action::Create | Action::Replace, Some(resource), _) => create(ctx, graph, resource, change).await.map(Some),
        _ => Ok(None),
    }
}

/// What only `found` tells of may have been made by a racing run since this pass has looked; then the next pass removes it
/// first, because no later run would find it. What is made first is looked at last: then the least is made between look and
/// deletion.
async fn stay_for_others(ctx: &Ctx, graph: &Graph, plan: &Plan, found: &Found) -> Result<(), Failure> {
    for kind in graph.kinds.iter().rev() {
        let told_anyway = [kind.probes(&ctx.scope), kind.hinted(&ctx.scope, &[])].concat();
        let told = kind.hinted(&ctx.scope, std::slice::from_ref(found));
        for probe in told.into_iter().filter(|probe| !told_anyway.contains(probe)) {
            let there = kind.find(ctx, &probe).await?;
            let is_new = |other: &&Found| {
                // Deleted by now, and perhaps still shown (I1); another one of its name was made since.
                let is_same = |old: &Found| (&old.key, &old.attributes) == (&other.key, &other.attributes);
                let is_gone = plan
                    .0
                    .iter()
                    .any(|change| change.action == Action::Delete && change.found.as_ref().is_some_and(is_same));
                other.owner == Owner::Ours && !is_gone
            };
            if let Some(new) = there.iter().find(is_new) {
                let what = format!("{} was made meanwhile, and only this tells of it", new.key);
                return Err(Failure::moved(&found.key.to_string(), &what));
            }
        }
    }
    Ok(())
}

/// Tells the snapshots of what is about to change, before the first such change of a pass; one that fails to hear it
/// keeps the change from being made. What is new has a new id, by which a snapshot without it is known anyway.
async fn outdate(ctx: &Ctx, graph: &Graph, change: &Change, told: &mut BTreeSet<&'static str>) -> Result<(), Failure> {
    for snapshot in graph.snapshots_of(change) {
        if !told.contains(snapshot.name()) {
            snapshot.outdate(ctx).await?;
            told.insert(snapshot.name());
        }
    }
    Ok(())
}

/// Creates, or adopts what is there already and is ours: somebody raced us, or an answer was lost (L4, D3, G3). Returns
/// its id.
async fn create(ctx: &Ctx, graph: &Graph, resource: &dyn Resource, change: &Change) -> Result<String, Failure> {
    let id = match resource.create(ctx, &change.key).await {
        Err(failure) if failure.class == Class::AlreadyExists => adopt(ctx, graph, change, failure).await?,
        made => made?,
    };
    ctx.run.book.made(&change.key);
    Ok(id)
}

async fn adopt(ctx: &Ctx, graph: &Graph, change: &Change, failure: Failure) -> Result<String, Failure> {
    let kind = graph.kind(&change.key);
    let probe = match graph.parent(&change.key) {
        Some(parent) => parent.name.clone(),
        None => {
            let probes = kind.probes(&ctx.scope);
            probes.iter().find(|probe| **probe == change.key.name).or(probes.first()).cloned().unwrap_or_default()
        }
    };
    let deadline = Instant::now() + TAGS_BUDGET;
    loop {
        let there = kind.find(ctx, &probe).await?;
        let may_wait = Instant::now() < deadline;
        match there.into_iter().find(|found| found.key == change.key) {
            // Its tags are not shown yet (D9).
            Some(Found { owner: Owner::Unclear(_), .. }) if may_wait && ctx.pause(kind.facts().look_again).await => {}
            Some(found) => {
                if let Owner::Foreign(why) | Owner::Unclear(why) = found.owner {
                    let mut refused = failure;
                    refused.class = Class::Other;
                    refused.message = format!("it belongs to somebody else: {why}");
                    return Err(refused);
                }
                return Ok(found.id);
            }
            // It exists, but is not shown yet (I1), or is on its way out (D2, L5).
            None if may_wait && ctx.pause(kind.facts().look_again).await => {}
            None => return Err(failure),
        }
    }
}
