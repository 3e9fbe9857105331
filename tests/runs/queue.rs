//! Messages through a queue: its resources are made, repaired and removed like all others, and one way of delivery is
//! left for the other without a gap.

use std::time::Duration;

use chatctl::error::Exit;
use serde_json::Value;
use support::{ACCOUNT, Process, REGION, assert_nothing_left, assert_whole, run};
use world::{Switches, Verdict, World};

use super::app::Project;

async fn deployed() -> World {
    let world = World::new(Switches::default());
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    assert_whole(&world, "chat");
    world.clear_calls();
    world
}

fn writes(world: &World) -> Vec<String> {
    world.effects().iter().map(|call| format!("{} {}", call.operation, call.resource)).collect()
}

fn queue(world: &World, name: &str, edit: impl Fn(&mut world::Queue)) {
    world.edit(|state| edit(state.region(ACCOUNT, REGION).queues.get_mut(name).expect("there is one")));
}

fn mapping(world: &World, edit: impl Fn(&mut world::Mapping)) {
    world.edit(|state| state.region(ACCOUNT, REGION).mappings.values_mut().for_each(edit));
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_made_once_and_removed() {
    let world = deployed().await;
    world.edit(|state| {
        let region = state.region(ACCOUNT, REGION);
        let messages = &region.queues["chat-messages.fifo"];
        assert_eq!(messages.attributes["SqsManagedSseEnabled"], "true");
        let policy: Value = serde_json::from_str(&messages.attributes["RedrivePolicy"]).unwrap();
        assert_eq!(policy["deadLetterTargetArn"], region.queues["chat-dead-letters.fifo"].arn.as_str());
        assert_eq!(region.functions["chat-sendMessage"].environment["QUEUE_URL"], messages.url);
        assert_eq!(region.functions["chat-broadcast"].timeout_seconds, 300);
        let mapping = region.mappings.values().next().unwrap();
        assert_eq!((mapping.batch_size, mapping.responses.len()), (10, 1));
    });
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    run(&world, "status --delivery queue").await.expect(Exit::Done);
    assert_eq!(writes(&world), Vec::<String>::new());
    run(&world, "down --delivery queue").await.expect(Exit::Done);
    assert_nothing_left(&world);
    run(&world, "status --delivery queue").await.expect(Exit::Absent);
    // The names of queues are free again a minute later.
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

/// Who removes a deployment need not know how it delivered.
#[tokio::test(start_paused = true)]
async fn down_without_the_setting_removes_the_queue_too() {
    let world = deployed().await;
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// What a run that dies has made while another one removed all is found by that one: without the log group of the worker
/// no later run would look for it.
#[tokio::test(start_paused = true)]
async fn what_is_made_during_a_removal_does_not_stay_without_a_sign() {
    let world = World::new(Switches { iam_propagation: Duration::ZERO, ..Switches::default() });
    world.set_interceptor(|call| match (&*call.label, call.operation) {
        ("maker", "CreateFunction") => Verdict::Latency(Duration::from_secs(1)),
        ("maker", "CreateEventSourceMapping") => Verdict::HangBefore,
        ("remover", "DeleteRole") => Verdict::Latency(Duration::from_secs(9)),
        _ => Verdict::Pass,
    });
    let maker = Process::new(&world, "up --delivery queue").label("maker").run();
    let remover = async {
        let is_told_of = |state: &mut world::State| {
            state.region(ACCOUNT, REGION).log_groups.contains_key("/aws/lambda/chat-broadcast")
        };
        while !world.edit(is_told_of) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Process::new(&world, "down").label("remover").run().await
    };
    let (made, removed) = tokio::join!(maker, remover);
    assert_eq!((made.exit, removed.exit), (None, Some(Exit::Done)), "{}", removed.stderr);
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn one_way_of_delivery_is_left_for_the_other_without_a_gap() {
    let world = World::new(Switches::default());
    run(&world, "up").await.expect(Exit::Done);
    for _ in 0..2 {
        for (settings, gone, new) in [
            ("--delivery queue", "dynamodb:Scan", "sqs:SendMessage"),
            ("--delivery direct", "sqs:SendMessage", "dynamodb:Scan"),
        ] {
            world.clear_calls();
            // Whatever is written: as long as the function is the old one its role may do what that needs, and when it
            // is the new one, what that needs.
            let watched = world.clone();
            world.set_interceptor(move |call| {
                if call.operation == "UpdateFunctionConfiguration" && call.resource == "chat-sendMessage" {
                    watched.edit(|state| {
                        let role =
                            state.account(ACCOUNT).role(&format!("chat-{REGION}-sendMessage")).expect("it is there");
                        let document = &role.inline["chatctl"].document;
                        assert!(document.contains(gone) && document.contains(new), "{document}");
                    });
                }
                world::Verdict::Pass
            });
            run(&world, &format!("up {settings}")).await.expect(Exit::Done);
            world.clear_interceptor();
            world.edit(|state| {
                let role = state.account(ACCOUNT).role(&format!("chat-{REGION}-sendMessage")).expect("it is there");
                let document = &role.inline["chatctl"].document;
                assert!(document.contains(new) && !document.contains(gone), "{document}");
            });
            assert_whole(&world, "chat");
            assert!(
                !writes(&world).iter().any(|write| write.contains("Deployment")),
                "no connection ends: {:?}",
                writes(&world)
            );
            world.clear_calls();
            run(&world, &format!("up {settings}")).await.expect(Exit::Done);
            assert_eq!(writes(&world), Vec::<String>::new());
        }
    }
    assert_eq!(world.edit(|state| state.region(ACCOUNT, REGION).queues.len()), 0);
}

/// The queue that is left has something in it, and so keeps its worker.
#[tokio::test(start_paused = true)]
async fn a_queue_is_not_removed_before_it_is_empty() {
    let world = deployed().await;
    queue(&world, "chat-messages.fifo", |queue| {
        queue.attributes.insert("ApproximateNumberOfMessages".to_owned(), "7".to_owned());
    });
    let failed = run(&world, "up").await.expect(Exit::Failed);
    assert!(failed.stderr.contains("7 messages are still in the queue"), "{}", failed.stderr);
    queue(&world, "chat-messages.fifo", |queue| {
        queue.attributes.remove("ApproximateNumberOfMessages");
    });
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

/// What SQS counts is right a minute after the last change (Q2).
#[tokio::test(start_paused = true)]
async fn a_message_that_is_counted_late_keeps_the_worker_for_another_minute() {
    let world = deployed().await;
    let late = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        queue(&world, "chat-messages.fifo", |queue| {
            queue.attributes.insert("ApproximateNumberOfMessages".to_owned(), "1".to_owned());
        });
        tokio::time::sleep(Duration::from_secs(30)).await;
        queue(&world, "chat-messages.fifo", |queue| {
            queue.attributes.remove("ApproximateNumberOfMessages");
        });
        world.now()
    };
    let (ended, delivered) = tokio::join!(run(&world, "up"), late);
    ended.expect(Exit::Done);
    let effects = world.effects();
    let goes = effects.iter().find(|call| call.operation == "DeleteEventSourceMapping").expect("it goes");
    assert!(goes.start >= delivered + Duration::from_secs(60), "it went at {:?}", goes.start);
}

#[tokio::test(start_paused = true)]
async fn what_is_altered_or_deleted_behind_our_back_is_repaired() {
    type Edit = fn(&World);
    let edits: [(&str, Edit); 7] = [
        ("queue", |world| {
            queue(world, "chat-messages.fifo", |queue| {
                queue.attributes.insert("VisibilityTimeout".to_owned(), "30".to_owned());
                queue.attributes.remove("RedrivePolicy");
                queue.tags.insert("stray".to_owned(), "tag".to_owned());
            });
        }),
        ("queue", |world| {
            queue(world, "chat-dead-letters.fifo", |queue| {
                queue.attributes.remove("SqsManagedSseEnabled");
            });
        }),
        ("queue", |world| {
            world.edit(|state| state.region(ACCOUNT, REGION).queues.remove("chat-messages.fifo"));
        }),
        ("event-source-mapping", |world| mapping(world, |mapping| mapping.enabled = false)),
        ("event-source-mapping", |world| mapping(world, |mapping| mapping.responses.clear())),
        ("event-source-mapping", |world| {
            mapping(world, |mapping| {
                mapping.tags.insert("stray".to_owned(), "tag".to_owned());
            });
        }),
        ("event-source-mapping", |world| world.edit(|state| state.region(ACCOUNT, REGION).mappings.clear())),
    ];
    for (kind, edit) in edits {
        let world = deployed().await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        edit(&world);
        let status = run(&world, "status --delivery queue -o json").await.expect(Exit::Differs).json();
        let resources = status["resources"].as_array().expect("a list");
        assert!(resources.iter().any(|r| r["kind"] == kind && r["state"] != "ready"), "{kind}: {status:#}");
        run(&world, "up --delivery queue").await.expect(Exit::Done);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_whole(&world, "chat");
        run(&world, "status --delivery queue").await.expect(Exit::Done);
        world.clear_calls();
        run(&world, "up --delivery queue").await.expect(Exit::Done);
        assert_eq!(writes(&world), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_somebody_else_is_refused_before_any_write() {
    let world = deployed().await;
    queue(&world, "chat-messages.fifo", |queue| queue.tags.clear());
    for verb in ["up", "down", "plan", "status"] {
        let refused = run(&world, &format!("{verb} --delivery queue")).await.expect(Exit::Failed);
        assert!(refused.stderr.contains("queue chat-messages.fifo"), "{}", refused.stderr);
    }
    assert_eq!(writes(&world), Vec::<String>::new());
}

/// Reads lag, names are kept, mappings take their time: nothing of it fails a run.
#[tokio::test(start_paused = true)]
async fn a_bad_day_is_ridden_out() {
    let world = World::new(Switches::rough());
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    assert_whole(&world, "chat");
    run(&world, "up --delivery queue --tag team=blue").await.expect(Exit::Done);
    run(&world, "up --tag team=blue").await.expect(Exit::Done);
    run(&world, "up --delivery queue").await.expect(Exit::Done);
    assert_whole(&world, "chat");
    run(&world, "down --delivery queue").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// Its name, in whatever letters, is taken while there is a queue, and only then.
#[tokio::test(start_paused = true)]
async fn no_route_may_lead_to_the_function_behind_the_queue() {
    for name in ["broadcast", "Broadcast"] {
        let world = World::new(Switches::default());
        let project = Project::new(&format!("[routes.join]\nhandler = \"{name}\"\n"));
        project.handler(name);
        let refused = support::run(&world, &project.line("up --delivery queue")).await.expect(Exit::Usage);
        let rule = format!("chatctl.toml:3:11: `{name}` is the function behind the queue, and no route may call it");
        assert!(refused.stderr.contains(&rule), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: give the handler another name"), "{}", refused.stderr);
        assert_eq!(world.calls().len(), 0);
    }
    let world = World::new(Switches::default());
    let project = Project::new("[routes.join]\nhandler = \"broadcast\"\n");
    run(&world, &project.line("up")).await.expect(Exit::Done);
    run(&world, &project.line("status")).await.expect(Exit::Done);
    run(&world, &project.line("down")).await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// What an account has by default is not known of this one, so more is said, and not refused.
#[tokio::test(start_paused = true)]
async fn a_rate_that_no_account_has_by_default_is_a_warning() {
    let world = World::new(Switches::default());
    let said = "warning: 10001 posts a second are more than the 10000 requests that an account has by default";
    for (rate, is_too_much) in [(10_000, false), (10_001, true)] {
        for verb in ["plan", "up"] {
            let ended =
                run(&world, &format!("{verb} --delivery queue --delivery-rate {rate}")).await.expect(Exit::Done);
            let told = [ended.stdout, ended.stderr].concat();
            assert_eq!(told.contains(said), is_too_much, "{verb}: {told}");
        }
    }
    let quiet = run(&world, "status --delivery queue --delivery-rate 10001").await.expect(Exit::Done);
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_for_a_queue_alone() {
    let world = World::new(Switches::default());
    let refused = run(&world, "up --delivery-rate 100").await.expect(Exit::Usage);
    assert!(refused.stderr.contains("`--delivery queue`"), "{}", refused.stderr);
    run(&world, "up --delivery queue --delivery-rate 100").await.expect(Exit::Done);
    let rate = world
        .edit(|state| state.region(ACCOUNT, REGION).functions["chat-broadcast"].environment["DELIVERY_RATE"].clone());
    assert_eq!(rate, "100");
}
