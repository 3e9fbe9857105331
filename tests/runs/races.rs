//! Races without a lock, in the model: runs at once end with one of everything, and whoever says it is done tells the
//! truth.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chatctl::error::Exit;
use futures_util::future::join_all;
use support::{ACCOUNT, Ended, Process, REGION, assert_nothing_left, assert_whole, run};
use world::{Api, CallInfo, Switches, Verdict, World};

use super::app::Project;

async fn at_once(world: &World, lines: &[&str]) -> Vec<Ended> {
    let runs = lines.iter().enumerate().map(|(n, line)| Process::new(world, line).label(&format!("run {n}")).run());
    join_all(runs).await
}

#[tokio::test(start_paused = true)]
async fn eight_ups_at_once_leave_one_deployment_and_tell_its_url() {
    for seed in 0..20 {
        let world = World::new(Switches { seed, ..Switches::default().unthrottled() });
        let ended = at_once(&world, &["up"; 8]).await;
        assert_whole(&world, "chat");
        let survivor = run(&world, "up").await.expect(Exit::Done).stdout;
        let told: Vec<&Ended> = ended.iter().filter(|ended| ended.exit == Some(Exit::Done)).collect();
        assert!(!told.is_empty(), "seed {seed}: {ended:#?}");
        for ended in told {
            assert_eq!(ended.stdout, survivor, "seed {seed}");
        }
        for ended in ended.iter().filter(|ended| ended.exit != Some(Exit::Done)) {
            assert!(ended.stderr.contains("error: "), "seed {seed}: {ended:?}");
        }
    }
}

/// A role that somebody removes while its function waits for it does not come by waiting, of which there may be minutes (L1).
#[tokio::test(start_paused = true)]
async fn a_role_that_goes_while_its_function_waits_for_it_is_made_again() {
    let world = World::new(support::brisk());
    let (other, is_gone) = (world.clone(), AtomicBool::new(false));
    world.set_interceptor(move |call: &CallInfo| {
        let waits = call.operation == "CreateFunction" && call.resource.ends_with("onConnect");
        if waits && !is_gone.swap(true, Ordering::Relaxed) {
            other.edit(|state| state.account(ACCOUNT).roles.retain(|name, _| !name.ends_with("onconnect")));
        }
        Verdict::Pass
    });
    run(&world, "up").await.expect(Exit::Done);
    assert!(world.now() < Duration::from_secs(120), "it took {:?}", world.now());
    assert_whole(&world, "chat");
}

#[tokio::test(start_paused = true)]
async fn up_against_down_converges_with_the_next_run() {
    for seed in 0..20 {
        let world = World::new(Switches { seed, ..Switches::default().unthrottled() });
        at_once(&world, &["up", "down", "up --memory 1024", "down"]).await;
        run(&world, "up").await.expect(Exit::Done);
        assert_whole(&world, "chat");
        at_once(&world, &["up --tag a=b", "down"]).await;
        run(&world, "down").await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}

/// Two runs at once want different functions: `maker` one that the other does not want, of which there is the log group
/// alone. It dies where `verdict` says so, and still no later run misses what it has made.
async fn raced(verdict: impl Fn(&str, &CallInfo) -> Verdict + Send + Sync + 'static) {
    let project = Project::new("[routes.join]\n");
    let world = World::new(Switches::default());
    run(&world, "up").await.expect(Exit::Done);
    let is_of_join = |call: &CallInfo| call.resource.ends_with("join");
    world.set_interceptor(move |call| match call.operation {
        "PutRetentionPolicy" if is_of_join(call) => Verdict::HangAfter,
        _ => Verdict::Pass,
    });
    assert_eq!(Process::new(&world, &project.line("up")).run().await.exit, None);
    world.set_interceptor(move |call| if is_of_join(call) { verdict(&call.label, call) } else { Verdict::Pass });
    let (maker, remover) = (project.line("up"), "up");
    let made = Process::new(&world, &maker).label("maker").run();
    let removed = Process::new(&world, remover).label("remover").run();
    let (made, removed) = futures_util::future::join(made, removed).await;
    assert_eq!((made.exit, removed.exit), (None, Some(Exit::Done)), "{}{}", made.stderr, removed.stderr);
    world.clear_interceptor();
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_after_its_last_sign_has_been_removed() {
    // What is seen is old by the time at which the role is to be made.
    let verdict = |label: &str, call: &CallInfo| match (label, call.operation) {
        ("maker", "GetFunction") => Verdict::Latency(Duration::from_secs(5)),
        ("maker", "CreateRole") => Verdict::HangAfter,
        _ => Verdict::Pass,
    };
    raced(verdict).await;
}

#[tokio::test(start_paused = true)]
async fn who_removes_the_last_sign_looks_once_more_at_what_it_told_of() {
    // The role is on its way while the other one sees none.
    let verdict = |label: &str, call: &CallInfo| match (label, call.operation) {
        ("maker", "CreateRole") => Verdict::Latency(Duration::from_secs(2)),
        ("maker", "PutRolePolicy") => Verdict::HangBefore,
        ("remover", "DeleteLogGroup") => Verdict::Latency(Duration::from_secs(5)),
        _ => Verdict::Pass,
    };
    raced(verdict).await;
}

/// Of two APIs that racing runs made, the older one stays, whichever of the runs was done first.
#[tokio::test(start_paused = true)]
async fn the_older_of_two_racing_apis_survives() {
    for ours_is_older in [true, false] {
        let world = World::new(support::brisk());
        run(&world, "up").await.expect(Exit::Done);
        tokio::time::advance(Duration::from_secs(60)).await;
        let older = world.edit(|state| {
            let apis = &mut state.account(ACCOUNT).region(REGION).apis;
            let ours = apis.values_mut().next().expect("`up` made one");
            // The other run's, as it is right after its CreateApi; the order of the ids is against that of the ages.
            let mut other = bare(ours);
            other.id = if ours_is_older { "0000000000" } else { "zzzzzzzzzz" }.to_owned();
            let younger = if ours_is_older { &mut other } else { &mut *ours };
            younger.created += Duration::from_secs(5);
            let older = if ours_is_older { ours.id.clone() } else { other.id.clone() };
            apis.insert(other.id.clone(), other);
            older
        });
        run(&world, "up").await.expect(Exit::Done);
        let left = world.edit(|state| state.account(ACCOUNT).region(REGION).apis.keys().cloned().collect::<Vec<_>>());
        assert_eq!(left, [older], "the one that was finished is older: {ours_is_older}");
        assert_whole(&world, "chat");
    }
}

/// The API without all that is in it.
fn bare(api: &Api) -> Api {
    Api {
        routes: BTreeMap::new(),
        integrations: BTreeMap::new(),
        deployments: BTreeMap::new(),
        stages: BTreeMap::new(),
        authorizers: BTreeMap::new(),
        ..api.clone()
    }
}
