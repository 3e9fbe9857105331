//! Messages that could not be delivered: they are seen, and they are sent again, each of them once and in their order,
//! whatever happens in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chatctl::error::Exit;
use serde_json::Value;
use support::{ACCOUNT, Process, REGION, run};
use world::{Message, Verdict, World};

const DEAD: &str = "chat-dead-letters.fifo";
const WAITING: &str = "chat-messages.fifo";

/// A deployment with so many messages that could not be delivered.
async fn world(dead: usize) -> World {
    let world = World::new(support::brisk());
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    let message =
        |at| Message { id: format!("old-{at}"), body: format!("{at}"), group: "chat".to_owned(), ..Message::default() };
    queue(&world, DEAD, |queue| queue.messages = (0..dead).map(message).collect());
    world.clear_calls();
    world
}

fn queue<T>(world: &World, name: &str, edit: impl FnOnce(&mut world::Queue) -> T) -> T {
    world.edit(|state| edit(state.region(ACCOUNT, REGION).queues.get_mut(name).expect("there is one")))
}

fn bodies(world: &World, name: &str) -> Vec<String> {
    queue(world, name, |queue| queue.messages.iter().map(|message| message.body.clone()).collect())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|at| at.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_delivered_is_seen_and_sent_again() {
    let world = world(23).await;
    let status = run(&world, "status --delivery queue").await.expect(Exit::Done);
    assert!(status.stdout.contains("\n23 messages could not be delivered\n"), "{}", status.stdout);
    assert!(status.stderr.contains("hint: `chatctl redrive` sends again"), "{}", status.stderr);
    let json = run(&world, "status --delivery queue -o json").await.expect(Exit::Done).json();
    assert_eq!((&json["state"], &json["deadLetters"]), (&"ready".into(), &23.into()));

    let ended = run(&world, "redrive --delivery queue").await.expect(Exit::Done);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("23 messages sent again, 0 left in `chat-dead-letters.fifo`"), "{}", ended.stderr);
    assert_eq!((bodies(&world, WAITING), bodies(&world, DEAD)), (numbers(23), vec![]));
    let json = run(&world, "redrive --delivery queue -o json").await.expect(Exit::Done).json();
    assert_eq!((&json["command"], &json["account"]), (&"redrive".into(), &ACCOUNT.into()));
    assert_eq!((&json["moved"], &json["left"]), (&0.into(), &0.into()));

    let status = run(&world, "status --delivery queue").await.expect(Exit::Done);
    assert!(!status.stdout.contains("delivered") && !status.stderr.contains("redrive"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn status_reads_no_more_for_it_and_is_silent_of_it_without_a_queue() {
    let world = world(1).await;
    run(&world, "status --delivery queue").await.expect(Exit::Done);
    let looks = |name: &str| world.calls().iter().filter(|call| call.operation == name).count();
    assert_eq!((looks("GetQueueAttributes"), looks("ReceiveMessage")), (2, 0));
    run(&world, "up --delivery direct").await.expect(Exit::Done);
    let json = run(&world, "status -o json").await.expect(Exit::Done).json();
    assert!(json.get("deadLetters").is_none(), "{json}");
}

/// Whatever call it dies at, before its effect or after it: the next run brings all there, once and in order.
#[tokio::test(start_paused = true)]
async fn a_redrive_that_is_killed_anywhere_is_brought_to_its_end_by_the_next() {
    let mut cases = 0;
    for after in [false, true] {
        for k in 0.. {
            let world = world(3).await;
            let hits = Arc::new(AtomicUsize::new(0));
            let hit = hits.clone();
            world.set_interceptor(move |call| {
                if call.seq != k {
                    return Verdict::Pass;
                }
                hit.fetch_add(1, Ordering::Relaxed);
                if after { Verdict::HangAfter } else { Verdict::HangBefore }
            });
            let ended = Process::new(&world, "redrive --delivery queue").run().await;
            world.clear_interceptor();
            if hits.load(Ordering::Relaxed) == 0 {
                ended.expect(Exit::Done);
                break;
            }
            assert!(ended.exit.is_none(), "{ended:?}");
            run(&world, "redrive --delivery queue").await.expect(Exit::Done);
            assert_eq!((bodies(&world, WAITING), bodies(&world, DEAD)), (numbers(3), vec![]), "killed at {k}");
            cases += 1;
        }
    }
    assert!(cases > 20, "{cases}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_it_between_two_messages_and_says_how_far_it_was() {
    let world = world(12).await;
    let process = Process::new(&world, "redrive --delivery queue");
    let interrupt = process.interrupt.clone();
    let sent = AtomicUsize::new(0);
    world.set_interceptor(move |call| {
        if call.operation == "SendMessage" && sent.fetch_add(1, Ordering::Relaxed) == 3 {
            interrupt.raise();
        }
        Verdict::Pass
    });
    let ended = process.run().await.expect(Exit::Interrupted);
    assert!(ended.stderr.contains("4 messages sent again before that"), "{}", ended.stderr);
    assert!(ended.stderr.contains("which continues where this run stopped"), "{}", ended.stderr);
    assert_eq!((bodies(&world, WAITING), bodies(&world, DEAD).len()), (numbers(4), 8));
    world.clear_interceptor();
    run(&world, "redrive --delivery queue").await.expect(Exit::Done);
    assert_eq!((bodies(&world, WAITING), bodies(&world, DEAD)), (numbers(12), vec![]));
}

/// A worker that is still broken gives them back while it goes on.
#[tokio::test(start_paused = true)]
async fn what_comes_back_at_once_is_not_sent_round_in_circles() {
    let world = world(3).await;
    let broken = world.clone();
    world.set_interceptor(move |call| {
        if call.operation == "ReceiveMessage" {
            let back = queue(&broken, WAITING, |queue| std::mem::take(&mut queue.messages));
            queue(&broken, DEAD, |queue| queue.messages.extend(back));
        }
        Verdict::Pass
    });
    let ended = run(&world, "redrive --delivery queue").await.expect(Exit::Done);
    assert!(ended.stderr.contains("3 messages sent again, 3 left in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`chatctl logs --function broadcast`"), "{}", ended.stderr);
}

/// Two at once: what one of them has in hand the other waits for, and neither sends it twice.
#[tokio::test(start_paused = true)]
async fn two_at_once_share_the_work() {
    let world = world(25).await;
    let (one, other) =
        tokio::join!(run(&world, "redrive --delivery queue -o json"), run(&world, "redrive --delivery queue -o json"));
    let moved = |ended: support::Ended| ended.expect(Exit::Done).json()["moved"].as_u64().expect("a number");
    assert_eq!(moved(one) + moved(other), 25);
    assert_eq!((bodies(&world, WAITING), bodies(&world, DEAD)), (numbers(25), vec![]));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_or_with_somebody_elses_nothing_is_touched() {
    let direct = World::new(support::brisk());
    run(&direct, "up").await.expect(Exit::Done);
    let ended = run(&direct, "redrive").await.expect(Exit::Failed);
    assert!(ended.stderr.contains("there is no queue `chat-dead-letters.fifo` here"), "{}", ended.stderr);
    for foreign in [DEAD, WAITING] {
        let world = world(2).await;
        queue(&world, foreign, |queue| queue.tags.clear());
        let ended = run(&world, "redrive --delivery queue").await.expect(Exit::Failed);
        assert!(ended.stderr.contains(&format!("queue {foreign}: ")), "{}", ended.stderr);
        assert_eq!(world.effects().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redrive_ends_by_its_timeout() {
    let world = world(2).await;
    world.set_interceptor(|call| match call.operation {
        "SendMessage" => Verdict::Latency(Duration::from_secs(60)),
        _ => Verdict::Pass,
    });
    let ended = run(&world, "redrive --delivery queue --timeout 5s").await.expect(Exit::Failed);
    assert!(ended.stderr.contains("error: not done within 5s"), "{}", ended.stderr);
}

/// Nobody is asked, since a pipeline cannot answer: who looks at the plan first can still save them.
#[tokio::test(start_paused = true)]
async fn messages_that_are_lost_with_their_queue_are_told_before() {
    for (plan, write) in [("plan --destroy", "down"), ("plan --delivery direct", "up --delivery direct")] {
        for (dead, told) in [(0, None), (1, Some("1 message ")), (23, Some("23 messages "))] {
            let world = world(dead).await;
            let warning = told.map(|count| {
                format!(
                    "queue {DEAD}: {count}that could not be delivered will be lost with it; \
                     to send them again, run `chatctl redrive` first"
                )
            });
            let planned = run(&world, plan).await.expect(Exit::Done).stdout;
            assert_eq!(planned.contains(" will be lost "), warning.is_some(), "{planned}");
            let json = run(&world, &format!("{plan} -o json")).await.expect(Exit::Done).json();
            let warned = |json: &Value| {
                let mut all = json["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
                all.find(|text| text.contains("could not be delivered"))
            };
            assert_eq!(warned(&json), warning);
            let ended = run(&world, &format!("{write} -o json")).await.expect(Exit::Done);
            assert_eq!(warned(&ended.json()), warning);
            let said = ended.stderr.find("warning: queue").map(|at| at < ended.stderr.find("deleted").unwrap());
            assert_eq!(said, warning.map(|_| true), "{}", ended.stderr);
        }
    }
    // With its queue nothing is lost, whatever else changes.
    let world = world(3).await;
    let kept = run(&world, "up --delivery queue --memory 1024").await.expect(Exit::Done);
    assert!(!kept.stderr.contains("warning"), "{}", kept.stderr);
}
