//! `reap` removes only what has surely expired, and names what it left.

use std::time::Duration;

use chatctl::error::Exit;
use support::{ACCOUNT, Process, REGION, assert_whole, run};
use world::World;

use super::app::Project;

const EXPIRES_AT: &str = "chatctl:expires-at";

/// Whatever says when the only deployment expires, from now on.
fn set_expiry(world: &World, at: Option<&str>) {
    world.edit(|state| {
        let region = state.account(ACCOUNT).region(REGION);
        let tables = region.tables.values_mut().map(|table| &mut table.tags);
        for tags in region.apis.values_mut().map(|api| &mut api.tags).chain(tables) {
            match at {
                Some(at) => drop(tags.insert(EXPIRES_AT.to_owned(), at.to_owned())),
                None => drop(tags.remove(EXPIRES_AT)),
            }
        }
    });
}

/// Somebody takes the time to live off, or renews it, while `reap` is at work: up to the last read, it stays.
#[tokio::test(start_paused = true)]
async fn what_was_renewed_or_kept_meanwhile_is_not_removed() {
    for at in [None, Some("2999-01-01T00:00:00Z"), Some("some day")] {
        let reads = {
            let world = World::new(support::brisk());
            run(&world, "up --ttl 1s").await.expect(Exit::Done);
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.clear_calls();
            run(&world, "reap").await.expect(Exit::Done);
            world.calls().iter().position(|call| call.write).expect("it removes something")
        };
        // Every moment once; the other ways to live on at some of them.
        for k in (0..reads).step_by(if at.is_none() { 1 } else { 7 }) {
            let world = World::new(support::brisk());
            run(&world, "up --ttl 1s").await.expect(Exit::Done);
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.clear_calls();
            let change = async {
                while world.calls().len() <= k {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                set_expiry(&world, at);
            };
            let (ended, ()) = tokio::join!(run(&world, "reap"), change);
            let ended = ended.expect(Exit::Done);
            assert_eq!(ended.stdout, "", "{at:?} at call {k}");
            assert!(!world.calls().iter().any(|call| call.write), "{at:?} at call {k}: {:?}", ended.stderr);
            assert_whole(&world, "chat");
        }
    }
}

/// A run that died early has left neither an API nor a table: then the rest says when it expires.
#[tokio::test(start_paused = true)]
async fn a_half_made_deployment_is_reaped_by_what_is_left_of_it() {
    let world = World::new(support::brisk());
    run(&world, "up --ttl 1s").await.expect(Exit::Done);
    world.edit(|state| {
        let region = state.account(ACCOUNT).region(REGION);
        region.apis.clear();
        region.tables.clear();
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(run(&world, "reap").await.expect(Exit::Done).stdout, "chat\n");
    support::assert_nothing_left(&world);
}

/// None of its functions need be one of the walkthrough's.
#[tokio::test(start_paused = true)]
async fn a_half_made_app_of_ones_own_is_listed_and_reaped_too() {
    let keys = ["\"$connect\"", "\"$disconnect\"", "sendmessage"];
    let project = Project::new(&keys.map(|key| format!("[routes.{key}]\nhandler = \"join\"\n")).concat());
    let world = World::new(support::brisk());
    run(&world, &project.line("up --ttl 1s")).await.expect(Exit::Done);
    world.edit(|state| {
        let region = state.account(ACCOUNT).region(REGION);
        assert_eq!(region.functions.keys().collect::<Vec<_>>(), ["chat-join"]);
        region.apis.clear();
        region.tables.clear();
    });
    assert!(run(&world, "list").await.expect(Exit::Done).stdout.contains("half made"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(run(&world, "reap").await.expect(Exit::Done).stdout, "chat\n");
    support::assert_nothing_left(&world);
}

/// To know whose the logs of any function are, every log group of the account would have to be asked for its tags, one by one, by
/// whoever may read all of them. So those alone are no sign; `down` finds them by the name.
#[tokio::test(start_paused = true)]
async fn of_a_deployment_with_nothing_left_but_logs_of_ones_own_functions_only_down_knows() {
    let project = Project::new("[routes.join]\n");
    for (left, is_listed) in [("onConnect", true), ("join", false)] {
        let world = World::new(support::brisk());
        run(&world, &project.line("up --ttl 1s")).await.expect(Exit::Done);
        world.edit(|state| {
            let account = state.account(ACCOUNT);
            account.roles.clear();
            let region = account.region(REGION);
            region.apis.clear();
            region.tables.clear();
            region.functions.clear();
            region.log_groups.retain(|name, _| name.ends_with(&format!("-{left}")));
        });
        let list = run(&world, "list").await.expect(Exit::Done);
        assert_eq!(list.stdout.contains("half made"), is_listed, "{left}: {}", list.stdout);
        run(&world, "down").await.expect(Exit::Done);
        support::assert_nothing_left(&world);
    }
}

/// Out of time or interrupted, it names every deployment that is still to go.
#[tokio::test(start_paused = true)]
async fn what_is_left_when_the_time_is_over_is_named() {
    let world = World::new(support::brisk());
    for name in ["chat", "chat-b", "chat-c"] {
        run(&world, &format!("up --ttl 1s --name {name}")).await.expect(Exit::Done);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begun = tokio::time::Instant::now();
    let ended = Process::new(&world, "reap --timeout 3s").run().await.expect(Exit::Failed);
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(ended.stderr.contains("exists now: deployment chat-b, deployment chat-c\n"), "{ended:?}");
    let again = Process::new(&world, "reap");
    let interrupt = again.interrupt.clone();
    let (ended, ()) = tokio::join!(again.run(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        interrupt.raise();
    });
    let ended = ended.expect(Exit::Interrupted);
    assert!(ended.stderr.contains("exists now: deployment chat-c\n"), "{ended:?}");
    run(&world, "reap").await.expect(Exit::Done);
}
