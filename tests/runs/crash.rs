//! The crash matrix: wherever a run dies, one undisturbed run afterwards ends as if nothing had happened. No duplicates,
//! nothing left over, nothing foreign written.
//!
//! What a dead process leaves is the world as it was then. So each victim runs once, and at every moment at which it might
//! die a snapshot is taken, from which the next run goes on: before each write, which is also after the answer of whatever
//! was before; right after the effect of each write, of which the victim has not heard; and before each kind of read, as
//! soon as it stands between other writes than before. Other reads change nothing, so dying there is one of these cases.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatctl::error::Exit;
use chatctl::resources::KINDS;
use support::settings;
use support::{ACCOUNT, Process, REGION, assert_nothing_left, run};
use world::{Crowd, Snapshot, Verdict, World};

use super::app::Project;
use super::removal::with_a_fourth_function;

const VICTIM: &str = "victim";

/// Some rows of the matrix: what stands before, which run dies, and which ones may follow.
struct Scenario<'a> {
    name: &'static str,
    before: &'a [&'a str],
    edit: fn(&World),
    dies: &'a str,
    then: &'a [&'a str],
}

const AS_IT_IS: fn(&World) = |_| {};

/// An account with strangers in it, on AWS's own time; long pages, because paging has tests of its own.
async fn world(scenario: &Scenario<'_>) -> World {
    let world = World::new(support::brisk());
    world.populate(ACCOUNT, REGION, Crowd { apis: 3, roles: 2, functions: 2, tables: 2, log_groups: 2 });
    for line in scenario.before {
        run(&world, line).await.expect(Exit::Done);
    }
    (scenario.edit)(&world);
    world.clear_calls();
    world
}

fn strangers(world: &World) -> Vec<String> {
    world.everything(ACCOUNT).into_iter().filter(|line| !line.contains("chat")).collect()
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The call arrives, and has no effect any more.
    Before(usize),
    /// It had its effect, and nobody hears of it.
    AfterTheEffect(usize),
}

/// A moment at which the run may die, the call of then, and what it leaves.
struct Death {
    moment: Moment,
    operation: &'static str,
    left: Snapshot,
}

/// Who watches a run, and takes down where it may die.
#[derive(Default)]
struct Watch {
    moments: usize,
    effects: usize,
    reads: BTreeSet<(&'static str, usize)>,
    instants: BTreeSet<(usize, Duration)>,
    deaths: Vec<Death>,
}

impl Watch {
    /// Calls at the same instant with no effect between them find the same world: one of them is the case.
    fn take(&mut self, world: &World, moment: Moment, operation: &'static str) {
        self.moments += 1;
        if self.instants.insert((self.effects, world.now())) {
            self.deaths.push(Death { moment, operation, left: world.snapshot() });
        }
    }
}

/// Runs `line` to its end, and takes down where it may die on the way.
async fn watched(world: &World, line: &str) -> Watch {
    let watch = Arc::new(Mutex::new(Watch::default()));
    let (living, watching) = (world.clone(), watch.clone());
    world.set_interceptor(move |call| {
        let mut watch = watching.lock().expect("nobody panics here");
        let effects = watch.effects;
        if call.write || watch.reads.insert((call.operation, effects)) {
            watch.take(&living, Moment::Before(call.seq), call.operation);
        }
        Verdict::Pass
    });
    let (living, watching) = (world.clone(), watch.clone());
    world.set_witness(move |call| {
        let mut watch = watching.lock().expect("nobody panics here");
        watch.effects += 1;
        watch.take(&living, Moment::AfterTheEffect(call.seq), call.operation);
    });
    Process::new(world, line).label(VICTIM).run().await.expect(Exit::Done);
    world.clear_interceptor();
    world.clear_witness();
    std::mem::take(&mut *watch.lock().expect("nobody panics here"))
}

/// Every moment at which the run may die, and after it every run that may follow. Returns how many cases there were.
async fn matrix(scenario: &Scenario<'_>) -> usize {
    let world = world(scenario).await;
    let others = strangers(&world);
    let Watch { moments, deaths, .. } = watched(&world, scenario.dies).await;
    for death in &deaths {
        for then in scenario.then {
            let what = format!("{}, then `{then}`: {:?} ({})", scenario.name, death.moment, death.operation);
            let world = death.left.world();
            let ended = run(&world, then).await;
            assert_eq!(ended.exit, Some(Exit::Done), "{what}\n{}", ended.stderr);
            if then.starts_with("down") {
                assert_nothing_left(&world);
            } else if then.contains("--config") {
                // What it is to be is in the settings, and anything else would differ.
                let status = run(&world, &then.replacen("up", "status", 1)).await;
                assert_eq!(status.exit, Some(Exit::Done), "{what}\n{}", status.stdout);
            } else {
                let problems = support::problems(&world, "chat");
                assert!(problems.is_empty(), "{what}: {problems:#?}\n{}", ended.stderr);
            }
            assert_eq!(strangers(&world), others, "{what}: something foreign was written");
        }
    }
    let (cases, runs) = (moments * scenario.then.len(), deaths.len() * scenario.then.len());
    println!("{}: {cases} cases in {runs} runs", scenario.name);
    cases
}

/// What the matrix rests on: a process that is really killed leaves what a snapshot of the same instant shows.
#[tokio::test(start_paused = true)]
async fn a_killed_run_leaves_what_the_snapshots_of_that_instant_show() {
    let before: [&[&str]; 2] = [&[], &["up"]];
    for (before, line) in before.into_iter().zip(["up", "down"]) {
        let scenario = Scenario { name: "a kill", before, edit: AS_IT_IS, dies: line, then: &[] };
        let begun = world(&scenario).await.snapshot();
        let deaths = watched(&begun.world(), line).await.deaths;
        for death in deaths.iter().step_by(3) {
            let world = begun.world();
            let moment = death.moment;
            world.set_interceptor(move |call| match moment {
                Moment::Before(seq) if call.seq == seq => Verdict::HangBefore,
                Moment::AfterTheEffect(seq) if call.seq == seq => Verdict::HangAfter,
                _ => Verdict::Pass,
            });
            let ended = Process::new(&world, line).label(VICTIM).run().await;
            assert_eq!(ended.exit, None, "it was killed at {moment:?}");
            // What happens at the same instant has an order, and the kill may come anywhere in it.
            let then = deaths.iter().filter(|other| other.left.age() == death.left.age());
            let left = world.everything(ACCOUNT);
            let is_known = then.clone().any(|death| death.left.world().everything(ACCOUNT) == left);
            assert!(is_known, "{line}: {moment:?} ({}), {} snapshots of then", death.operation, then.count());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_up_may_die_anywhere() {
    let scenario = Scenario { name: "up fresh", before: &[], edit: AS_IT_IS, dies: "up", then: &["up"] };
    let cases = matrix(&scenario).await;
    assert!(cases > 80, "only {cases} cases");
}

#[tokio::test(start_paused = true)]
async fn an_up_that_updates_may_die_anywhere() {
    let dies = "up --memory 1024 --tag team=blue --log-retention-days 30 --authorizer iam";
    matrix(&Scenario { name: "up with an update", before: &["up"], edit: AS_IT_IS, dies, then: &[dies] }).await;
}

#[tokio::test(start_paused = true)]
async fn an_up_over_drift_may_die_anywhere() {
    matrix(&Scenario { name: "up over drift", before: &["up"], edit: drift, dies: "up", then: &["up"] }).await;
}

#[tokio::test(start_paused = true)]
async fn a_down_may_die_anywhere() {
    matrix(&Scenario { name: "down", before: &["up"], edit: AS_IT_IS, dies: "down", then: &["down"] }).await;
}

#[tokio::test(start_paused = true)]
async fn a_down_of_a_half_made_deployment_may_die_anywhere() {
    matrix(&Scenario { name: "down half done", before: &["up"], edit: halve, dies: "down", then: &["down"] }).await;
}

#[tokio::test(start_paused = true)]
async fn an_up_after_a_half_done_down_may_die_anywhere() {
    matrix(&Scenario { name: "up half done", before: &["up"], edit: halve, dies: "up", then: &["up"] }).await;
}

/// Whatever was made by then of an app that is wanted no more, the next run finds it.
#[tokio::test(start_paused = true)]
async fn a_fresh_up_of_an_app_may_die_anywhere_and_be_followed_by_one_without_it() {
    let project = Project::new("[routes.join]\ntable = \"read\"\nreply = true\nschema = \"join.schema.json\"\n");
    project.schema(r#"{"type":"object"}"#);
    let dies = &project.line("up");
    let then = &["up", "down"];
    matrix(&Scenario { name: "an app of one's own", before: &[], edit: AS_IT_IS, dies, then }).await;
}

/// Routes, replies and schemas come and go.
#[tokio::test(start_paused = true)]
async fn a_change_of_an_app_may_die_anywhere() {
    let few = Project::new("[routes.join]\n");
    let more = "[routes.join]\nreply = true\nschema = \"join.schema.json\"\n[routes.leave]\nhandler = \"join\"\n";
    let many = Project::new(more);
    many.schema(r#"{"type":"object"}"#);
    let (few, many) = (few.line("up"), many.line("up"));
    let (few, many) = (few.as_str(), many.as_str());
    for (before, dies, then) in [
        (&[few], many, &[many, few, "down"][..]),
        (&[many], few, &[few, many]),
        (&[many], "up", &["up", "down"]),
        (&[many], "down", &["down"]),
    ] {
        let cases = matrix(&Scenario { name: "a change of an app", before, edit: AS_IT_IS, dies, then }).await;
        assert!(cases > 20, "only {cases} cases");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_who_may_connect_may_die_anywhere() {
    const JWT: &str = "up --authorizer jwt --jwt-issuer https://issuer.example --jwt-audience chat";
    let rows: [(&[&str], &str, &[&str]); 4] = [
        (&[], JWT, &[JWT, "up", "down"]),
        (&["up"], JWT, &[JWT, "up", "down"]),
        (&[JWT], "up", &["up", JWT, "down"]),
        (&[JWT], "down", &["down"]),
    ];
    for (before, dies, then) in rows {
        let cases = matrix(&Scenario { name: "who may connect", before, edit: AS_IT_IS, dies, then }).await;
        assert!(cases > 20, "only {cases} cases");
    }
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_what_is_wanted_no_more_may_die_anywhere() {
    let both: &[&str] = &["up", "down"];
    for (dies, then) in [("up", both), ("down", &["down"])] {
        let edit = with_a_fourth_function;
        matrix(&Scenario { name: "a function too many", before: &["up"], edit, dies, then }).await;
    }
}

/// Into a queue, out of it again, away, and into it once more within the minute in which a queue that was deleted may still be
/// shown (Q2).
#[tokio::test(start_paused = true)]
async fn a_change_of_the_way_of_delivery_may_die_anywhere() {
    const QUEUE: &str = "up --delivery queue";
    let rows: [(&[&str], &str, &[&str]); 3] = [
        (&["up"], QUEUE, &[QUEUE, "up", "down"]),
        (&[QUEUE], "up", &[QUEUE, "up", "down"]),
        (&[QUEUE], "down", &[QUEUE, "down"]),
    ];
    for (before, dies, then) in rows {
        matrix(&Scenario { name: "the way of delivery", before, edit: AS_IT_IS, dies, then }).await;
    }
}

/// Of a kind of which a mark alone tells: with its setting and without it, whatever was made or removed by then. Not tried: with
/// it again within the seconds in which an alarm that was deleted may still be shown (W3).
#[tokio::test(start_paused = true)]
async fn a_run_that_makes_an_alarm_or_takes_it_away_may_die_anywhere() {
    for kind in KINDS.iter().filter(|kind| kind.facts().marked_on.is_some()) {
        let flags = settings::with(kind.name()).expect("a setting makes one");
        let (with, moved) = (&*format!("up {flags}"), &*format!("up --delivery queue {flags}"));
        let rows: [(&[&str], &str, &[&str]); 5] = [
            (&[], with, &["up", "down"]),
            (&["up"], with, &[with, "up", "down"]),
            (&[with], "up", &["up", "down"]),
            (&[with], moved, &["up"]),
            (&[with], "down", &["down"]),
        ];
        for (before, dies, then) in rows {
            let cases = matrix(&Scenario { name: kind.name(), before, edit: AS_IT_IS, dies, then }).await;
            assert!(cases > 10, "only {cases} cases");
        }
    }
}

/// Edits by hand, of every sort.
fn drift(world: &World) {
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        for role in account.roles.values_mut().filter(|role| role.name.ends_with("sendMessage")) {
            role.inline.clear();
            role.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
        }
        let region = account.region(REGION);
        region.log_groups.remove("/aws/lambda/chat-onConnect");
        for function in region.functions.values_mut().filter(|function| function.name.starts_with("chat-")) {
            function.policy.clear();
            function.environment.insert("STRAY".to_owned(), "1".to_owned());
        }
        for api in region.apis.values_mut().filter(|api| api.name == "chat") {
            let integrations: Vec<String> = api.integrations.keys().cloned().collect();
            for route in api.routes.values_mut() {
                route.target = Some(format!("integrations/{}", integrations[0]));
            }
            api.routes.retain(|_, route| route.route_key != "$disconnect");
        }
    });
}

/// As a run that died leaves things: some of every kind gone.
fn halve(world: &World) {
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        account.roles.retain(|_, role| !role.name.ends_with("onConnect"));
        let region = account.region(REGION);
        region.functions.remove("chat-onDisconnect");
        region.log_groups.remove("/aws/lambda/chat-sendMessage");
        for api in region.apis.values_mut().filter(|api| api.name == "chat") {
            api.stages.clear();
            api.routes.retain(|_, route| route.route_key == "$connect");
        }
    });
}
