//! The crash matrix: whatever call a run dies at, before its effect, after it, or after its answer, one undisturbed
//! run afterwards ends as if nothing had happened. No duplicates, nothing left over, nothing foreign written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatctl::error::Exit;
use support::{ACCOUNT, Process, REGION, assert_nothing_left, assert_whole, run};
use world::{Crowd, Verdict, World};

use crate::app::Project;
use crate::removal::with_a_fourth_function;

const VICTIM: &str = "victim";

/// When, as seen from one call, the process dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    BeforeTheCall,
    AfterItsEffect,
    /// At the first call that begins once the answer has come.
    AfterItsAnswer,
}

/// One row of the matrix: what stands before, which run dies, and which one follows.
struct Scenario {
    name: &'static str,
    before: &'static [&'static str],
    edit: fn(&World),
    dies: &'static str,
    then: &'static str,
}

const AS_IT_IS: fn(&World) = |_| {};

/// An account with strangers in it, on AWS's own time; long pages, because paging has tests of its own.
async fn world(scenario: &Scenario) -> World {
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

/// Kills the run at its call `k`; false if it does not make so many.
async fn kill_at(world: &World, line: &str, k: usize, death: Death) -> bool {
    let answered = world.clone();
    let dead = Arc::new(AtomicUsize::new(0));
    let deaths = dead.clone();
    world.set_interceptor(move |call| {
        let verdict = match death {
            Death::BeforeTheCall if call.seq == k => Verdict::HangBefore,
            Death::AfterItsEffect if call.seq == k => Verdict::HangAfter,
            Death::AfterItsAnswer if call.seq > k && answered.calls().get(k).is_some_and(|call| call.end.is_some()) => {
                Verdict::HangBefore
            }
            _ => Verdict::Pass,
        };
        if &*call.label != VICTIM || matches!(verdict, Verdict::Pass) {
            return Verdict::Pass;
        }
        deaths.fetch_add(1, Ordering::Relaxed);
        verdict
    });
    let ended = Process::new(world, line).label(VICTIM).run().await;
    world.clear_interceptor();
    assert_eq!(ended.exit.is_none(), dead.load(Ordering::Relaxed) > 0, "{ended:?}");
    ended.exit.is_none()
}

/// Every call of the run, every way to die at it. Returns how many cases there were.
async fn matrix(scenario: &Scenario) -> usize {
    let mut cases = 0;
    for death in [Death::BeforeTheCall, Death::AfterItsEffect, Death::AfterItsAnswer] {
        for k in 0.. {
            let world = world(scenario).await;
            let others = strangers(&world);
            if !kill_at(&world, scenario.dies, k, death).await {
                break;
            }
            cases += 1;
            let what = format!("{}: {death:?} {k} ({})", scenario.name, world.calls()[k].operation);
            let ended = run(&world, scenario.then).await;
            assert_eq!(ended.exit, Some(Exit::Done), "{what}\n{}", ended.stderr);
            if scenario.then.starts_with("down") {
                assert_nothing_left(&world);
            } else {
                let problems = support::problems(&world, "chat");
                assert!(problems.is_empty(), "{what}: {problems:#?}\n{}", ended.stderr);
                assert_whole(&world, "chat");
            }
            assert_eq!(strangers(&world), others, "{what}: something foreign was written");
        }
    }
    println!("{}: {cases} cases", scenario.name);
    cases
}

#[tokio::test(start_paused = true)]
async fn a_fresh_up_may_die_anywhere() {
    let cases = matrix(&Scenario { name: "up fresh", before: &[], edit: AS_IT_IS, dies: "up", then: "up" }).await;
    assert!(cases > 150, "only {cases} cases");
}

#[tokio::test(start_paused = true)]
async fn an_up_that_updates_may_die_anywhere() {
    let changed = "up --memory 1024 --tag team=blue --log-retention-days 30 --authorizer iam";
    matrix(&Scenario { name: "up with an update", before: &["up"], edit: AS_IT_IS, dies: changed, then: changed })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_up_over_drift_may_die_anywhere() {
    matrix(&Scenario { name: "up over drift", before: &["up"], edit: drift, dies: "up", then: "up" }).await;
}

#[tokio::test(start_paused = true)]
async fn a_down_may_die_anywhere() {
    matrix(&Scenario { name: "down", before: &["up"], edit: AS_IT_IS, dies: "down", then: "down" }).await;
}

#[tokio::test(start_paused = true)]
async fn a_down_of_a_half_made_deployment_may_die_anywhere() {
    matrix(&Scenario { name: "down half done", before: &["up"], edit: halve, dies: "down", then: "down" }).await;
}

#[tokio::test(start_paused = true)]
async fn an_up_after_a_half_done_down_may_die_anywhere() {
    matrix(&Scenario { name: "up half done", before: &["up"], edit: halve, dies: "up", then: "up" }).await;
}

/// Whatever was made by then of an app that is wanted no more, the next run finds it.
#[tokio::test(start_paused = true)]
async fn a_fresh_up_of_an_app_may_die_anywhere_and_be_followed_by_one_without_it() {
    let project = Project::new("[routes.join]\ntable = \"read\"\n");
    let dies: &'static str = Box::leak(project.line("up").into_boxed_str());
    for then in ["up", "down"] {
        matrix(&Scenario { name: "an app of one's own", before: &[], edit: AS_IT_IS, dies, then }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_what_is_wanted_no_more_may_die_anywhere() {
    for (dies, then) in [("up", "up"), ("up", "down"), ("down", "down")] {
        let edit = with_a_fourth_function;
        matrix(&Scenario { name: "a function too many", before: &["up"], edit, dies, then }).await;
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
