//! The one pipeline: declare, observe, plan, apply, and again until nothing differs.

pub mod apply;
pub mod book;
pub mod change;
pub mod found;
pub mod graph;
pub mod key;
pub mod kind;
pub mod observe;
pub mod plan;
pub mod run;
pub mod scope;
pub mod trace;
pub mod wait;

use std::time::Duration;

use tokio::time::Instant;

use crate::aws::failure::{Class, Failure};
use crate::engine::apply::{End, Step, apply};
use crate::engine::change::{Action, Change};
use crate::engine::found::{Found, Observed, Owner};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::observe::{Patience, SETTLE_BUDGET, observe};
use crate::engine::plan::Plan;
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::error::{Code, Error, Exit, MANY, Result};

/// What a run is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Everything as the configuration wants it.
    Present,
    /// Nothing left.
    Absent,
}

/// A run that reached its wish.
pub struct Converged {
    /// The last observation: the proof.
    pub observed: Observed,
    /// Every step of every pass, in order.
    pub steps: Vec<Step>,
}

/// How many failures beside the worst one are repeated at the end.
const SHOWN: usize = 2;

/// How often a run may find the world changed under it before it gives up. Races end after two or three passes.
const PASSES: u32 = 6;

/// The plan that leads from `observed` to `wish`.
pub fn plan(scope: &Scope, graph: &Graph, observed: &Observed, wish: Wish) -> Plan {
    match wish {
        Wish::Present => Plan::to_wanted(scope, graph, observed),
        Wish::Absent => Plan::to_nothing(graph, observed),
    }
}

/// Observes, plans and applies until an observation shows that nothing differs from the wish (rule 4 of CONTRIBUTING.md).
///
/// # Errors
/// What failed for good, with what stands now as its leftovers; the interrupt.
pub async fn converge(ctx: &Ctx, graph: &Graph, wish: Wish) -> Result<Converged> {
    converge_if(ctx, graph, wish, async |_| Ok(())).await
}

/// The same, if `may` still allows it: asked once, between the first look and the first write.
///
/// # Errors
/// Those of `converge`; the one with which `may` refuses.
pub async fn converge_if(
    ctx: &Ctx,
    graph: &Graph,
    wish: Wish,
    may: impl AsyncFn(&Observed) -> Result<()>,
) -> Result<Converged> {
    /// In-flight calls may end within this; then the run ends all the same.
    const GRACE: Duration = Duration::from_millis(4_500);
    let converged = tokio::select! {
        converged = passes(ctx, graph, wish, may) => converged,
        () = async { ctx.run.interrupt.raised(1).await; tokio::time::sleep(GRACE).await } => Err(interrupted()),
        () = ctx.run.interrupt.raised(2) => Err(interrupted()),
    };
    converged.map_err(|mut error| {
        error.leftovers = ctx.run.book.standing();
        error
    })
}

async fn passes(ctx: &Ctx, graph: &Graph, wish: Wish, may: impl AsyncFn(&Observed) -> Result<()>) -> Result<Converged> {
    let patience = match wish {
        Wish::Present => Patience::Wait,
        Wish::Absent => Patience::Teardown,
    };
    let mut steps = Vec::new();
    let mut failed = Vec::new();
    let mut written: Option<Written> = None;
    for pass in 1..=PASSES {
        let (observed, plan) = looked(ctx, graph, wish, patience, written.as_ref()).await?;
        if pass == 1 {
            may(&observed).await?;
        }
        if wish == Wish::Absent {
            refuse_guarded(&observed)?;
        }
        if plan.is_empty() {
            if wish == Wish::Present {
                refuse_unsettled(&observed)?;
            }
            return Ok(Converged { observed, steps });
        }
        if pass == PASSES {
            return Err(not_converging(&plan, &failed));
        }
        let done = apply(&ctx.with(observed.within(&ctx.scope)), graph, &plan).await;
        let error = error_of(graph, &done);
        failed = failures(&done).map(|(_, failure)| failure.clone()).collect();
        written.get_or_insert_default().add(plan, &done);
        steps.extend(done);
        if ctx.run.interrupt.is_raised() {
            return Err(interrupted());
        }
        if let Some(error) = error {
            return Err(error);
        }
        if pass > 1 {
            // Others are at it too: out of step with them, and with ever more time for what they do to be seen.
            let longest = 1_000 * 3_u64.pow(pass - 2);
            ctx.pause(Duration::from_millis(fastrand::u64(longest / 2..longest))).await;
        }
    }
    unreachable!("the last pass returns")
}

/// What the passes have written, and when.
#[derive(Default)]
struct Written(Vec<(Change, Instant)>);

impl Written {
    fn add(&mut self, plan: Plan, done: &[Step]) {
        let now = Instant::now();
        let done = plan.0.into_iter().zip(done).filter(|(_, step)| matches!(step.end, End::Done));
        self.0.extend(done.map(|(change, _)| (change, now)));
    }

    /// Whether `change` has just been made: AWS shows things as they were (I1).
    fn is_shown_late(&self, graph: &Graph, change: &Change) -> bool {
        const LATE: Duration = Duration::from_secs(30);
        let from = |change: &Change| -> Vec<_> {
            change.fields.0.iter().map(|change| (change.field.clone(), change.from.clone())).collect()
        };
        let mut same = self
            .0
            .iter()
            .filter(|(done, at)| (&done.key, done.action) == (&change.key, change.action) && at.elapsed() < LATE);
        graph.kind(&change.key).facts().is_shown_late && same.any(|(done, _)| from(done) == from(change))
    }
}

/// Whether what exists tells of something that is not shown, perhaps not yet (I1): it needs it, and was made after it.
fn tells_of_more(graph: &Graph, observed: &Observed) -> bool {
    let is_hidden = |key: &Key| {
        let facts = graph.kind(key).facts();
        facts.is_shown_late && facts.parent.is_none() && observed.get(key).is_none()
    };
    observed.found.iter().any(|found| graph.needs(&found.key).iter().any(is_hidden))
}

/// What exists and what is to be done beyond what has been done and is not shown yet; where nothing is, once all of it is
/// shown, and, where all is to go, what somebody else has just made: nothing would ever look for that again.
async fn looked(
    ctx: &Ctx,
    graph: &Graph,
    wish: Wish,
    patience: Patience,
    written: Option<&Written>,
) -> Result<(Observed, Plan)> {
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(25);
    let begun = Instant::now();
    loop {
        let observed = observe(ctx, graph, patience).await?;
        let plan = plan(&ctx.scope, graph, &observed, wish);
        let may_be_late = wish == Wish::Absent && begun.elapsed() < LATE && tells_of_more(graph, &observed);
        let Some(written) = written else {
            if may_be_late && ctx.pause(begun.elapsed().max(LOOK_AGAIN)).await {
                continue;
            }
            return Ok((observed, plan));
        };
        let is_late = |change: &Change| written.is_shown_late(graph, change);
        if plan.is_empty() || !plan.0.iter().all(is_late) {
            return Ok((observed, plan.without(is_late)));
        }
        if !ctx.pause(LOOK_AGAIN).await {
            return Ok((observed, plan));
        }
    }
}

/// Somebody has seen to it that this stays: then nothing around it is taken away either.
fn refuse_guarded(observed: &Observed) -> Result<()> {
    let guarded: Vec<String> =
        observed.found.iter().filter_map(|found| Some(format!("{}: {}", found.key, found.guarded.as_ref()?))).collect();
    if guarded.is_empty() {
        return Ok(());
    }
    Err(Error::failed(Code::Guarded, format!("somebody protected it, nothing was removed: {}", guarded.join("; "))).hint(
        "if it is to go, take the protection off (`chatctl up` does so for a table), then run the same command again",
    ))
}

/// What AWS still works on, after all the time that a look gives it, is as wanted but no use to anybody yet.
fn refuse_unsettled(observed: &Observed) -> Result<()> {
    let is_unsettled = |found: &&Found| found.owner == Owner::Ours && found.settling.is_some();
    let mut unsettled = observed.found.iter().filter(is_unsettled).map(|found| &found.key).peekable();
    if unsettled.peek().is_none() {
        return Ok(());
    }
    let message = format!("AWS has not finished in {} minutes: {}", SETTLE_BUDGET.as_secs() / 60, few(unsettled));
    Err(Error::failed(Code::Timeout, message).hint("run the same command again, which waits on"))
}

fn interrupted() -> Error {
    Error::new(Exit::Interrupted, Code::Interrupted, "interrupted; no further step was begun")
        .hint("run the same command again")
}

/// What still differs, and what failed in the last pass.
fn not_converging(plan: &Plan, failed: &[Failure]) -> Error {
    let differing = few(plan.0.iter().map(|change| &change.key));
    let mut message = format!("after {} passes these still differ: {differing}", PASSES - 1);
    append(&mut message, "the last time", failed);
    Error::failed(Code::NotConverging, message)
        .hint("somebody or something else keeps changing them; stop that, then run the same command again")
}

fn failures(steps: &[Step]) -> impl Iterator<Item = (&Step, &Failure)> {
    steps.iter().filter_map(|step| match &step.end {
        End::Failed(failure) => Some((step, failure)),
        _ => None,
    })
}

fn append<'a>(message: &mut String, how: &str, failures: impl IntoIterator<Item = &'a Failure>) {
    let mut failures = failures.into_iter();
    for failure in failures.by_ref().take(SHOWN) {
        message.push_str(&format!("\n{how} {}", failure.line()));
    }
    let more = failures.count();
    if more > 0 {
        message.push_str(&format!("\nand {more} more failed"));
    }
}

/// The failures of a pass as one error, unless all of them mean only that the world moved: then the next pass looks
/// again.
fn error_of(graph: &Graph, steps: &[Step]) -> Option<Error> {
    let (_, worst) = failures(steps).find(|(step, failure)| is_final(graph, step, failure))?;
    let mut error = Error::from(worst.clone());
    let others = failures(steps).map(|(_, failure)| failure).filter(|other| !std::ptr::eq(*other, worst));
    append(&mut error.message, "also", others);
    let skipped: Vec<_> = steps.iter().filter(|step| matches!(step.end, End::Skipped)).map(|step| &step.key).collect();
    if !skipped.is_empty() {
        error.message.push_str(&format!("\nnot started because of that: {}", few(skipped)));
    }
    Some(error)
}

/// Whether looking again is of no use. What lives in nothing of ours, and misses something when it is made, misses what
/// somebody else has to make.
fn is_final(graph: &Graph, step: &Step, failure: &Failure) -> bool {
    let misses_others = step.action == Action::Create
        && failure.class == Class::NotFound
        && graph.kind(&step.key).facts().parent.is_none();
    misses_others || !failure.is_moved_world()
}

/// The names of a few; of many, how many: each was told as it happened.
fn few<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    let names: Vec<String> = keys.into_iter().map(ToString::to_string).collect();
    if names.len() > MANY { format!("{} resources", names.len()) } else { names.join(", ") }
}
