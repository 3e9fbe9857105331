//! The authorizer function of `$connect`, which is the user's own: what is made for it, on it, and taken back.

use std::sync::atomic::{AtomicUsize, Ordering};

use chatctl::error::Exit;
use support::{ACCOUNT, Process, REGION, assert_nothing_left, assert_whole, put_function, run};
use world::{Caller, Statement, Switches, Verdict, World};

const FLAG: &str = "--authorizer arn:aws:lambda:eu-central-1:111122223333:function:gate";

/// A world with functions of the user's, none of which lets anybody call it.
fn world(functions: &[(&str, &str)]) -> World {
    let world = World::new(Switches::default());
    for (region, name) in functions {
        put_function(&world, region, name);
    }
    world
}

/// Who lets in whom: the statements on a function, by id, with their sources.
fn statements(world: &World, region: &str, function: &str) -> Vec<(String, String)> {
    world.edit(|state| {
        let policy = &state.region(ACCOUNT, region).functions[function].policy;
        policy.values().map(|found| (found.sid.clone(), found.source_arn.clone().unwrap_or_default())).collect()
    })
}

/// `<api>/authorizers/<id>` of the only authorizer there is.
fn source(world: &World) -> String {
    world.edit(|state| {
        let api = state.region(ACCOUNT, REGION).apis.values().next().expect("an API");
        assert_eq!(api.authorizers.len(), 1);
        let authorizer = api.authorizers.keys().next().expect("an authorizer");
        format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{}/authorizers/{authorizer}", api.id)
    })
}

fn authorizers(world: &World) -> usize {
    world.edit(|state| state.region(ACCOUNT, REGION).apis.values().map(|api| api.authorizers.len()).sum())
}

/// Once, where it is made: who has nothing to add to it is not told again.
#[tokio::test(start_paused = true)]
async fn the_first_up_says_where_anybody_may_connect() {
    for (given, expected) in [("", [true, false]), (FLAG, [false, false])] {
        let world = world(&[(REGION, "gate")]);
        let line = format!("up {given}");
        let runs = [run(&world, &line).await, run(&world, &line).await];
        let told = runs.map(|ended| ended.expect(Exit::Done).stderr.contains("anybody who has the URL may connect"));
        assert_eq!(told, expected, "{line}");
    }
}

/// Without the permission on the user's function every `$connect` would end with 500 (G20).
#[tokio::test(start_paused = true)]
async fn an_authorizer_comes_and_goes_with_its_setting_and_so_does_its_permission() {
    let world = world(&[(REGION, "gate")]);
    run(&world, "up").await.expect(Exit::Done);
    run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
    assert_whole(&world, "chat");
    assert_eq!(statements(&world, REGION, "gate"), [("chatctl-chat".to_owned(), source(&world))]);
    run(&world, &format!("status {FLAG}")).await.expect(Exit::Done);
    world.clear_calls();
    run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
    assert!(world.effects().is_empty(), "{:?}", world.effects());

    // By whoever still may touch that function.
    Process::new(&world, "up").by(Caller::default()).run().await.expect(Exit::Done);
    assert_eq!((authorizers(&world), statements(&world, REGION, "gate")), (0, vec![]));
    assert_whole(&world, "chat");
}

/// At each of its writes, before its effect and after it: whatever run follows finds what was left on which function.
#[tokio::test(start_paused = true)]
async fn another_function_takes_over_and_nothing_stays_on_the_old_one_wherever_a_run_dies() {
    let other = FLAG.replace("gate", "door");
    let mut deaths = 0;
    for after in [false, true] {
        for at in 0.. {
            let world = world(&[(REGION, "gate"), (REGION, "door")]);
            run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
            world.clear_calls();
            let writes = AtomicUsize::new(0);
            world.set_interceptor(move |call| match call.write && &*call.label == "victim" {
                true if writes.fetch_add(1, Ordering::Relaxed) == at && after => Verdict::HangAfter,
                true if writes.load(Ordering::Relaxed) == at + 1 => Verdict::HangBefore,
                _ => Verdict::Pass,
            });
            let change = Process::new(&world, &format!("up {other}")).label("victim").by(Caller::default());
            let ended = change.run().await;
            world.clear_interceptor();
            let verb = if at % 2 == 0 { "up" } else { "down" };
            Process::new(&world, &format!("{verb} {other}")).by(Caller::default()).run().await.expect(Exit::Done);
            assert_eq!(statements(&world, REGION, "gate"), [], "{after} {at}");
            if verb == "down" {
                assert_nothing_left(&world);
                assert_eq!(statements(&world, REGION, "door"), [], "{after} {at}");
            } else {
                assert_whole(&world, "chat");
            }
            if ended.exit.is_some() {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths > 10, "only {deaths} deaths");
}

/// Who the function belongs to may have let others in: of that, nothing is touched.
#[tokio::test(start_paused = true)]
async fn only_its_own_statement_is_touched_and_that_one_is_repaired() {
    let world = world(&[(REGION, "gate")]);
    let theirs =
        Statement { sid: "theirs".to_owned(), principal: "s3.amazonaws.com".to_owned(), ..Statement::default() };
    world.edit(|state| {
        let gate = state.region(ACCOUNT, REGION).functions.get_mut("gate").expect("it is there");
        gate.policy.insert("theirs".to_owned(), theirs);
    });
    run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
    for edit in [(|statement: &mut Statement| statement.source_arn = None) as fn(&mut _), |statement| {
        statement.principal = "*".to_owned();
    }] {
        world.edit(|state| {
            let gate = state.region(ACCOUNT, REGION).functions.get_mut("gate").expect("it is there");
            edit(gate.policy.get_mut("chatctl-chat").expect("it is there"));
        });
        let status = run(&world, &format!("status {FLAG}")).await.expect(Exit::Differs);
        assert!(status.stdout.contains("authorizer-permission"), "{}", status.stdout);
        run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
        assert_whole(&world, "chat");
    }
    run(&world, &format!("down {FLAG}")).await.expect(Exit::Done);
    assert_nothing_left(&world);
    assert_eq!(statements(&world, REGION, "gate"), [("theirs".to_owned(), String::new())]);
}

/// Flags are not remembered, and a policy printed without them is not enough to touch the function.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_taken_back_is_told_and_keeps_nobody_from_up_and_down() {
    for verb in ["up", "down"] {
        let world = world(&[(REGION, "gate")]);
        run(&world, &format!("up {FLAG}")).await.expect(Exit::Done);
        run(&world, "status").await.expect(Exit::Differs);
        let ended = run(&world, verb).await.expect(Exit::Done);
        let command = "`aws lambda remove-permission --region eu-central-1 --function-name \
                       arn:aws:lambda:eu-central-1:111122223333:function:gate --statement-id chatctl-chat`";
        assert!(ended.stderr.contains(command), "{}", ended.stderr);
        assert_eq!(authorizers(&world), 0);
        let again = run(&world, verb).await.expect(Exit::Done);
        assert!(!again.stderr.contains("remove-permission"), "{}", again.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn the_function_may_be_in_another_region_and_serve_deployments_of_one_name() {
    let flag = "--authorizer arn:aws:lambda:us-east-1:111122223333:function:gate";
    let world = world(&[("us-east-1", "gate")]);
    run(&world, &format!("up {flag}")).await.expect(Exit::Done);
    Process::new(&world, &format!("up {flag}")).region("us-east-1").run().await.expect(Exit::Done);
    run(&world, &format!("status {flag}")).await.expect(Exit::Done);
    let ids = |world: &World| statements(world, "us-east-1", "gate").into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&world), ["chatctl-chat", "chatctl-chat_eu-central-1"]);
    run(&world, &format!("down {flag}")).await.expect(Exit::Done);
    assert_eq!(ids(&world), ["chatctl-chat"]);
}

/// Only there can API Gateway be let in.
#[tokio::test(start_paused = true)]
async fn a_function_of_another_account_is_left_to_its_owner_and_every_verb_says_so() {
    let world = world(&[]);
    let flag = "--authorizer arn:aws:lambda:eu-central-1:999988887777:function:gate";
    for verb in ["up", "status", "down"] {
        world.clear_calls();
        let ended = run(&world, &format!("{verb} {flag}")).await.expect(Exit::Done);
        let told = ended.stderr.matches("its function belongs to the account 999988887777").count();
        assert_eq!(told, 1, "{}", ended.stderr);
        let calls = world.calls();
        assert!(calls.iter().all(|call| !call.resource.contains("999988887777")), "{calls:#?}");
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("authorizer-permission"), "{}", ended.stderr);
    }
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_not_there_is_told_and_leaves_the_chat_as_it_was() {
    let world = world(&[]);
    run(&world, "up").await.expect(Exit::Done);
    let ended = run(&world, &format!("up {FLAG}")).await.expect(Exit::Failed);
    assert!(ended.stderr.contains("AddPermission") && ended.stderr.contains("Function not found"), "{}", ended.stderr);
    assert_whole(&world, "chat");
    run(&world, &format!("down {FLAG}")).await.expect(Exit::Done);
    assert_nothing_left(&world);
}
