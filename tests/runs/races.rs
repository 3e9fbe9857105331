//! Races without a lock, in the model: runs at once end with one of everything, and whoever says it is done tells the
//! truth.

use std::collections::BTreeMap;
use std::time::Duration;

use chatctl::error::Exit;
use futures_util::future::join_all;
use support::{ACCOUNT, Ended, Process, REGION, assert_nothing_left, assert_whole, run};
use world::{Api, Switches, World};

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
