//! AWS shows the tags of a table some seconds late after each write of them (D9), and IAM roles and their policies as they
//! were (I1): no run takes its own deployment for somebody else's, and none writes again and again what it has written.

use std::time::Duration;

use chatctl::error::Exit;
use futures_util::future::join;
use support::{ACCOUNT, Process, assert_nothing_left, assert_whole, run};
use world::{Fault, Switches, Verdict, World};

const SEEDS: u64 = 20;

/// Seeds beyond those that once failed.
const REGRESSIONS: [u64; 4] = [64, 92, 145, 210];

/// `LAG_SEEDS=2000 cargo test --test all runs::lag` tries more, `LAG_SEED=64` replays one.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number of seeds, or a seed"));
    match number("LAG_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LAG_SEEDS").unwrap_or(SEEDS)).chain(REGRESSIONS).collect(),
    }
}

fn late(seed: u64) -> World {
    World::new(Switches { seed, page_size: 25, table_tags_lag: Duration::from_secs(20), ..Switches::default() })
}

/// How often the run made `operation`.
fn count(world: &World, operation: &str) -> usize {
    world.effects().iter().filter(|call| call.operation == operation).count()
}

#[tokio::test(start_paused = true)]
async fn an_up_right_after_another_does_not_write_tags_again_and_again() {
    for seed in seeds() {
        let world = late(seed);
        for line in ["up --ttl 1h", "up --ttl 1h", "up --ttl 2h --tag team=blue", "up"] {
            world.clear_calls();
            let ended = run(&world, line).await;
            assert_eq!(ended.exit, Some(Exit::Done), "seed {seed}: `{line}`: {}", ended.stderr);
            // It may begin with tags older than those of the run before, and so need a second pass; no more.
            for operation in ["TagResource", "UntagResource"] {
                let effects = world.effects();
                let writes = effects.iter().filter(|c| c.operation == operation && c.resource.contains("connections"));
                assert!(writes.count() <= 2, "seed {seed}: `{line}` wrote again and again");
            }
            assert_whole(&world, "chat");
        }
    }
}

/// Nothing older than the run itself is shown here, so that only its own write could be.
#[tokio::test(start_paused = true)]
async fn a_tag_is_written_once() {
    for seed in seeds().into_iter().take(5) {
        let world = late(seed);
        run(&world, "up").await.expect(Exit::Done);
        for (line, operation) in [("up --tag team=blue", "TagResource"), ("up", "UntagResource")] {
            tokio::time::sleep(Duration::from_secs(60)).await;
            world.clear_calls();
            run(&world, line).await.expect(Exit::Done);
            let effects = world.effects();
            let writes = effects.iter().filter(|c| c.operation == operation && c.resource.contains("connections"));
            assert_eq!(writes.count(), 1, "seed {seed}: `{line}`");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_right_after_a_kill_knows_its_own_table() {
    for seed in seeds() {
        let world = late(seed);
        let killer = world.clone();
        world.set_interceptor(move |call| {
            // Some calls after the table's creation.
            let made = count(&killer, "CreateTable") == 1;
            let dies = &*call.label == "victim" && made && call.seq as u64 % 5 == seed % 5;
            if dies { Verdict::HangBefore } else { Verdict::Pass }
        });
        let killed = Process::new(&world, "up --ttl 1h").label("victim").run().await;
        assert_eq!(killed.exit, None, "seed {seed}");
        world.clear_interceptor();
        let (next, exit) = match seed % 3 {
            0 => ("up", Exit::Done),
            1 => ("status", Exit::Differs),
            _ => ("down", Exit::Done),
        };
        let ended = run(&world, next).await;
        assert_eq!(ended.exit, Some(exit), "seed {seed}: `{next}`: {}", ended.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn two_ups_at_once_share_the_table() {
    for seed in seeds() {
        let world = late(seed);
        let late = async {
            tokio::time::sleep(Duration::from_millis(seed * 130)).await;
            Process::new(&world, "up").label("second").run().await
        };
        let (first, second) = join(Process::new(&world, "up").label("first").run(), late).await;
        for ended in [first, second] {
            assert_eq!(ended.exit, Some(Exit::Done), "seed {seed}: {}", ended.stderr);
        }
        assert_whole(&world, "chat");
    }
}

#[tokio::test(start_paused = true)]
async fn down_and_status_right_after_up_know_their_own_table() {
    for seed in seeds() {
        let world = late(seed);
        run(&world, "up --ttl 1h").await.expect(Exit::Done);
        tokio::time::sleep(Duration::from_secs(60)).await;
        run(&world, "up --ttl 1h").await.expect(Exit::Done);
        let status = run(&world, "status --ttl 1h").await;
        assert_eq!(status.exit, Some(Exit::Done), "seed {seed}: {}{}", status.stdout, status.stderr);
        let down = run(&world, "down").await;
        assert_eq!(down.exit, Some(Exit::Done), "seed {seed}: {}", down.stderr);
        assert_nothing_left(&world);
    }
}

fn late_roles(seed: u64) -> World {
    World::new(Switches { seed, page_size: 25, iam_read_lag: Duration::from_secs(20), ..Switches::default() })
}

/// A function tells of its role, which may be shown later than all that rests on it; nothing tells of it after them.
#[tokio::test(start_paused = true)]
async fn a_down_looks_again_for_roles_that_are_not_shown_yet() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    let (clock, shown) = (world.clone(), world.now() + Duration::from_secs(15));
    world.set_interceptor(move |call| {
        let is_hidden = call.operation == "GetRole" && clock.now() < shown;
        let hidden = Fault::status(404, "NoSuchEntity", "The role with name x cannot be found.");
        if is_hidden { Verdict::FailBefore(hidden) } else { Verdict::Pass }
    });
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// Right after one another: made, tagged, trusted, given another policy, removed, made again.
#[tokio::test(start_paused = true)]
async fn roles_that_are_shown_late_end_no_run_in_failure() {
    let lines = [
        "up --tag team=blue",
        "up --tag team=red --stage prod",
        "up --kms-key arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555",
        "up",
        "down",
        "up",
        "down",
    ];
    for seed in seeds() {
        let world = late_roles(seed);
        for (at, line) in lines.iter().enumerate() {
            world.clear_calls();
            let ended = run(&world, line).await;
            assert_eq!(ended.exit, Some(Exit::Done), "seed {seed}: {at} `{line}`: {}", ended.stderr);
            if line.starts_with("down") {
                assert_nothing_left(&world);
                continue;
            }
            for operation in ["TagRole", "UntagRole", "PutRolePolicy"] {
                let writes = count(&world, operation);
                // Where something else is to be done too, what is shown late may be written with it; no more.
                assert!(writes <= 9, "seed {seed}: {at} `{line}`: {writes} times {operation} at three roles");
            }
            let made = count(&world, "CreateFunction") > 3 || count(&world, "DeleteFunction") > 0;
            assert!(!made, "seed {seed}: {at} `{line}` made a function anew: {}", ended.stderr);
            // The reads of the next run begin where this one has ended.
            let problems = support::problems(&world, "chat");
            assert!(problems.is_empty(), "seed {seed}: {at} `{line}`: {problems:?}");
        }
    }
}

/// What somebody changed by hand is repaired, and what a killed run has begun goes on.
#[tokio::test(start_paused = true)]
async fn roles_that_are_shown_late_are_repaired_and_continued() {
    for seed in seeds() {
        let world = late_roles(seed);
        world.set_interceptor(move |call| {
            let dies = &*call.label == "victim" && call.seq as u64 == 12 + seed % 40;
            if dies { Verdict::HangAfter } else { Verdict::Pass }
        });
        Process::new(&world, "up").label("victim").run().await;
        world.clear_interceptor();
        for edit in [false, true] {
            if edit {
                world.edit(|state| {
                    for role in state.account(ACCOUNT).roles.values_mut() {
                        role.trust = role.trust.replace("lambda", "ec2");
                        role.inline.clear();
                        role.tags.insert("stray".to_owned(), "tag".to_owned());
                    }
                });
            }
            let ended = run(&world, "up").await;
            assert_eq!(ended.exit, Some(Exit::Done), "seed {seed}: {}", ended.stderr);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_whole(&world, "chat");
        }
        run(&world, "down").await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}

/// As `docs/limits.md` says: a run that was killed has made a role that IAM shows only when `down` has ended.
#[tokio::test(start_paused = true)]
async fn what_is_shown_only_after_a_down_goes_with_the_next() {
    let world = World::new(Switches { iam_role_window: Duration::from_secs(60), ..support::brisk() });
    world.set_interceptor(|call| {
        let dies = call.operation == "CreateRole" && call.resource.ends_with("broadcast");
        if dies { Verdict::HangAfter } else { Verdict::Pass }
    });
    let killed = run(&world, "up --delivery queue").await;
    assert_eq!(killed.exit, None);
    world.clear_interceptor();
    run(&world, "down --delivery queue").await.expect(Exit::Done);
    let left = world.everything(ACCOUNT);
    assert!(!left.is_empty() && left.iter().all(|line| line.starts_with("role")), "{left:#?}");

    tokio::time::sleep(Duration::from_secs(60)).await;
    let list = run(&world, "list").await.expect(Exit::Done);
    assert!(list.stdout.contains("\nchat"), "{}", list.stdout);
    run(&world, "down --delivery queue").await.expect(Exit::Done);
    assert_nothing_left(&world);
}
