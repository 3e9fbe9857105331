//! Races without a lock, in the model: runs at once end with one of everything, and whoever says it is done tells the
//! truth.

use chatctl::error::Exit;
use futures_util::future::join_all;
use support::{Ended, Process, assert_nothing_left, assert_whole, run};
use world::{Switches, World};

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
