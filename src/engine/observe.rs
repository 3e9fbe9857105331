//! What exists: reads everything that may be ours, all at once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use tokio::time::Instant;

use crate::aws::failure::Failure;
use crate::engine::found::{Found, Observed, Owner};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::kind::Kind;
use crate::engine::run::Ctx;
use crate::error::{Code, Error, Exit};
use crate::progress::Ended;

/// Whether to wait for what AWS still works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Show things as they are at this moment.
    Glance,
    /// Look again until everything has settled.
    Wait,
    /// All of it is to be deleted: show things as they are now. What goes with its parent need not be seen: an emulator may lack
    /// the call that lists it.
    Teardown,
}

/// A log is never silent for long, also while reads are tried again (R2).
const SLOW: Duration = Duration::from_secs(8);
/// How long a thing may take to settle: D2's slow tables are the longest.
pub const SETTLE_BUDGET: Duration = Duration::from_secs(300);
/// How long the tags of what may be ours may stay out of sight (D9).
pub const TAGS_BUDGET: Duration = Duration::from_secs(30);
/// How long what we made may stay out of sight (I1, D1).
const SIGHT_BUDGET: Duration = Duration::from_secs(15);

/// Reads all that exists, and refuses to go on where something of somebody else stands in the way.
///
/// # Errors
/// The first read that failed; a foreign look-alike; the interrupt.
pub async fn observe(ctx: &Ctx, graph: &Graph, patience: Patience) -> Result<Observed, Error> {
    ctx.run.trace.begin_phase();
    let places = graph.kinds.iter().filter(|kind| kind.facts().parent.is_none()).flat_map(|kind| {
        kind.probes(&ctx.scope).into_iter().map(move |probe| look(ctx.clone(), graph, *kind, probe, None, patience))
    });
    let looks = async {
        let mut found = try_join_all(places).await?.concat();
        // What a racing run has made after this one removed the only thing that tells of it.
        let signs = [found.clone(), ctx.run.book.all_removed()].concat();
        let hinted = graph.kinds.iter().flat_map(|kind| {
            let known = kind.probes(&ctx.scope);
            let hinted = kind.hinted(&ctx.scope, &signs).into_iter().filter(move |probe| !known.contains(probe));
            hinted.map(|probe| look(ctx.clone(), graph, *kind, probe, None, patience))
        });
        // What is somebody else's there stands in nobody's way.
        let hinted = try_join_all(hinted).await?.concat();
        found.extend(hinted.into_iter().filter(|found| found.owner == Owner::Ours));
        Ok::<_, Failure>(found)
    };
    let begun = Instant::now();
    let say_slow = async {
        tokio::time::sleep(SLOW).await;
        ctx.run.reporter.waiting("AWS", "its answers");
        std::future::pending::<Infallible>().await
    };
    let found = tokio::select! {
        found = looks => found?,
        never = say_slow => match never {},
        () = ctx.run.interrupt.raised(1) => {
            return Err(Error::new(Exit::Interrupted, Code::Interrupted, "interrupted while reading what exists"));
        }
    };
    if begun.elapsed() > SLOW {
        ctx.run.reporter.end("AWS", Ended::Done("answered"));
    }
    refuse_foreign(&found)?;
    let identity = Some(ctx.identity().await?.clone());
    let observed = Observed { found, identity, deferred: ctx.run.book.all_deferred() };
    let observed = graph.identified(&ctx.scope, observed);
    ctx.run.book.begin(observed.found.iter().map(|found| found.key.clone()).collect());
    Ok(observed)
}

/// Looks at one place of one kind, and then, within what it found of ours, at the kinds that live there.
fn look<'a>(
    ctx: Ctx,
    graph: &'a Graph,
    kind: &'static dyn Kind,
    probe: String,
    parent: Option<(usize, Key)>,
    patience: Patience,
) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
    async move {
        let place = Key::new(kind.name(), &probe);
        let after = parent.iter().map(|(task, _)| *task).collect();
        let parent = parent.map(|(_, parent)| parent);
        let (task, found) = ctx
            .run
            .trace
            .task("looking at", place, after, async |task| {
                settled(&ctx.for_task(task), graph, kind, &probe, patience).await
            })
            .await;
        let mut found = match found {
            Err(failure)
                if failure.is_unknown_call() && patience == Patience::Teardown && kind.facts().vanishes_with_parent =>
            {
                vec![]
            }
            found => found?,
        };
        for f in &mut found {
            f.parent.clone_from(&parent);
        }
        let parents = found.iter().filter(|f| f.owner == Owner::Ours && graph.contains(&f.key));
        let within = parents.flat_map(|parent| {
            let (ctx, key) = (ctx.knowing(&parent.key, &parent.id), &parent.key);
            let children = graph.kinds.iter().filter(|child| child.facts().parent == Some(kind.name()));
            children.map(move |child| {
                look(ctx.clone(), graph, *child, key.name.clone(), Some((task, key.clone())), patience)
            })
        });
        let within = try_join_all(within).await?;
        found.extend(within.concat());
        Ok(found)
    }
    .boxed()
}

/// What is at one place, once it has settled.
async fn settled(
    ctx: &Ctx,
    graph: &Graph,
    kind: &'static dyn Kind,
    probe: &str,
    patience: Patience,
) -> Result<Vec<Found>, Failure> {
    let begun = Instant::now();
    let mut waited = BTreeSet::new();
    let found = loop {
        let found = kind.find(ctx, probe).await?;
        let settling = found.iter().find_map(|f| Some((f.key.clone(), f.settling.clone()?)));
        let unclear = found.iter().find(|f| matches!(f.owner, Owner::Unclear(_))).map(|f| f.key.clone());
        // Nobody, in no hurry whatever, may take what is ours for somebody else's.
        let patient = patience == Patience::Wait || unclear.is_some();
        let unclear = unclear.filter(|_| begun.elapsed() < TAGS_BUDGET);
        let waits = settling.or_else(|| Some((unclear?, "its tags to be seen".to_owned())));
        let waits = waits.or_else(|| {
            let key = unseen(ctx, graph, kind, probe, &found)?;
            (begun.elapsed() < SIGHT_BUDGET).then(|| (key, "to be seen".to_owned()))
        });
        match waits {
            Some((key, what)) if patient && begun.elapsed() < SETTLE_BUDGET => {
                ctx.waiting(&key, &what);
                waited.insert(key);
                tokio::time::sleep(kind.facts().look_again).await;
            }
            _ => break found,
        }
    };
    for key in waited {
        ctx.run.reporter.end(&key.to_string(), Ended::Done("ready"));
    }
    for ours in found.iter().filter(|f| f.owner == Owner::Ours && kind.facts().parent.is_none()) {
        ctx.run.learn_identity(&ours.id);
    }
    if found.is_empty() && expected(ctx, graph, kind, probe).next().is_some() {
        // Perhaps nothing exists that could tell us who we are: asked beside the other looks, not after them.
        ctx.identity().await?;
    }
    Ok(found)
}

/// What is wanted at one place: what is called like it or lives in it, or else everything; nothing where only a hint
/// led to.
fn expected<'a>(ctx: &Ctx, graph: &'a Graph, kind: &'a dyn Kind, probe: &'a str) -> impl Iterator<Item = &'a Key> {
    let is_hinted = kind.facts().parent.is_none() && kind.probes(&ctx.scope).iter().all(|known| known != probe);
    let of_kind = move || graph.keys().filter(move |key| key.kind == kind.name() && !is_hinted);
    let by_name = of_kind().any(|key| key.is_at(probe));
    of_kind().filter(move |key| !by_name || key.is_at(probe))
}

/// Something that this run has just made and that this look, perhaps too early, does not show (I1, D1).
fn unseen(ctx: &Ctx, graph: &Graph, kind: &dyn Kind, probe: &str, found: &[Found]) -> Option<Key> {
    if kind.facts().is_seen_at_once {
        return None;
    }
    expected(ctx, graph, kind, probe)
        .find(|key| ctx.run.book.is_young(key) && found.iter().all(|f| f.key != **key))
        .cloned()
}

fn refuse_foreign(found: &[Found]) -> Result<(), Error> {
    let foreign: Vec<String> = found
        .iter()
        .filter_map(|f| match &f.owner {
            Owner::Foreign(why) | Owner::Unclear(why) => Some(format!("{} (`{}`): {why}", f.key, f.id)),
            Owner::Ours => None,
        })
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::failed(
        Code::NotOurs,
        format!("somebody else's resources stand in the way, nothing was touched: {}", foreign.join("; ")),
    )
    .hint("choose another `--name`, or remove them yourself if nobody needs them"))
}
