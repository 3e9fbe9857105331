//! Carries out a plan: each step starts the moment what it comes after is done.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::aws::failure::{Class, Failure};
use crate::engine::change::{Action, Change};
use crate::engine::found::{Fields, Found, Owner};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::observe::TAGS_BUDGET;
use crate::engine::plan::Plan;
use crate::engine::scope::Ctx;
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

/// Applies `plan`. A step that fails takes along only what comes after it (rule 5 of CONTRIBUTING.md); after an interrupt no
/// further step begins.
pub async fn apply(ctx: &Ctx, graph: &Graph, plan: &Plan) -> Vec<Step> {
    let changes = &plan.0;
    ctx.trace.begin_phase();
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
            let interrupted = ctx.interrupt.is_raised();
            let after = changes[at].after.iter().filter_map(|first| tasks[*first]).collect();
            running.push(async move {
                let change = &changes[at];
                if blocked || interrupted {
                    skip(ctx, change);
                    return (at, None, End::Skipped);
                }
                let work = step(ctx, graph, change);
                let (task, end) = ctx.trace.task(change.action.doing(), change.key.clone(), after, work).await;
                (at, Some(task), end)
            });
        }
        let Some((at, task, end)) = running.next().await else { break };
        let change = &changes[at];
        tasks[at] = task;
        ends[at] = Some(Step { action: change.action, key: change.key.clone(), end });
    }
    ends.into_iter().flatten().collect()
}

fn skip(ctx: &Ctx, change: &Change) {
    let why = if ctx.interrupt.is_raised() { "interrupted" } else { "what it needs failed" };
    ctx.reporter.end(&change.key.to_string(), Ended::Skipped(why.to_owned()));
}

async fn step(ctx: &Ctx, graph: &Graph, change: &Change) -> End {
    let task = change.key.to_string();
    ctx.reporter.begin(&task, change.action.doing());
    match carry_out(ctx, graph, change).await {
        Ok(()) => {
            ctx.reporter.end(&task, Ended::Done(change.action.done()));
            End::Done
        }
        Err(failure) => {
            ctx.reporter.end(&task, Ended::Failed(failure.line()));
            End::Failed(failure)
        }
    }
}

async fn carry_out(ctx: &Ctx, graph: &Graph, change: &Change) -> Result<(), Failure> {
    let kind = graph.kind(&change.key);
    if change.with.is_some() {
        ctx.is_gone(&change.key);
        return Ok(());
    }
    // Held until the end of the step: the writes of one lane are strictly serial (G2, L7).
    let lane = kind.lane(change).map(|lane| ctx.lane(&lane));
    let mut turn = match &lane {
        Some(lane) => Some(lane.lock().await),
        None => None,
    };
    if let Some(last) = turn.as_deref_mut() {
        *last = ctx.trace.turn_after(*last);
    }
    if change.action != Action::Create {
        outdate(ctx, graph, change).await?;
    }
    match (change.action, &change.found) {
        (Action::Delete, Some(found)) => {
            kind.delete(ctx, found).await?;
            ctx.is_gone(&change.key);
        }
        (Action::Update, Some(found)) => kind.update(ctx, found, &change.fields).await?,
        (Action::Replace, Some(found)) => {
            // A snapshot's old one is deleted by a step of its own, once nothing uses it.
            if kind.snapshot_of().is_empty() {
                kind.delete(ctx, found).await?;
                ctx.is_gone(&change.key);
            }
            create(ctx, graph, change).await?;
        }
        _ => create(ctx, graph, change).await?,
    }
    Ok(())
}

/// Tells the snapshots of what is about to change, before the first such change of a pass; one that fails to hear it
/// keeps the change from being made. What is new has a new id, by which a snapshot without it is known anyway.
async fn outdate(ctx: &Ctx, graph: &Graph, change: &Change) -> Result<(), Failure> {
    for snapshot in graph.snapshots_of(change.key.kind) {
        if !ctx.is_told(snapshot.name()) {
            snapshot.outdate(ctx).await?;
            ctx.told(snapshot.name());
        }
    }
    Ok(())
}

/// Creates, or adopts what is there already and is ours: somebody raced us, or an answer was lost (L4, D3, G3).
async fn create(ctx: &Ctx, graph: &Graph, change: &Change) -> Result<(), Failure> {
    let kind = graph.kind(&change.key);
    match kind.create(ctx, &change.key.name).await {
        Ok(id) => {
            ctx.scope.learn_id(&change.key, id);
            ctx.made(&change.key);
            Ok(())
        }
        Err(failure) if failure.class == Class::AlreadyExists => adopt(ctx, graph, change, failure).await,
        Err(failure) => Err(failure),
    }
}

async fn adopt(ctx: &Ctx, graph: &Graph, change: &Change, failure: Failure) -> Result<(), Failure> {
    let kind = graph.kind(&change.key);
    let parent = kind.parent().and_then(|parent| {
        let key = graph.needs(&change.key).iter().find(|need| need.kind == parent)?;
        Some(Found::new(key.clone(), ctx.scope.id(key), Fields::new()))
    });
    let probe = parent.as_ref().map_or_else(
        || {
            let probes = kind.probes(&ctx.scope);
            probes.iter().find(|probe| **probe == change.key.name).or(probes.first()).cloned().unwrap_or_default()
        },
        |parent| parent.key.name.clone(),
    );
    let deadline = Instant::now() + TAGS_BUDGET;
    loop {
        let there = kind.find(ctx, &probe, parent.as_ref()).await?;
        let may_wait = Instant::now() < deadline;
        match there.into_iter().find(|found| found.key == change.key) {
            // Its tags are not shown yet (D9).
            Some(Found { owner: Owner::Unclear(_), .. }) if may_wait && ctx.pause(kind.look_again()).await => {}
            Some(found) => {
                if let Owner::Foreign(why) | Owner::Unclear(why) = found.owner {
                    let mut refused = failure;
                    refused.class = Class::Other;
                    refused.message = format!("somebody else's stands in the way: {why}");
                    return Err(refused);
                }
                ctx.scope.learn_id(&change.key, found.id);
                ctx.made(&change.key);
                return Ok(());
            }
            // It exists, but is not shown yet (I1), or is on its way out (D2, L5).
            None if may_wait && ctx.pause(kind.look_again()).await => {}
            None => return Err(failure),
        }
    }
}
