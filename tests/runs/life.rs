//! The whole life of a deployment with every setting there is, and with the outermost values that are accepted: AWS's own
//! service models, which the model of AWS holds every request to, refuse none of it.

use chatctl::error::Exit;
use support::settings::{self, BOUNDARY};
use support::{ACCOUNT, Process, REGION, assert_nothing_left, put_function, run};
use world::{Switches, World};

fn world() -> World {
    let world = World::new(Switches::default());
    world.edit(|state| state.account(ACCOUNT).managed_policies.insert(BOUNDARY.to_owned()));
    put_function(&world, REGION, "gate");
    world
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_life_with_every_setting_is_one_that_aws_takes() {
    // The roles' path is theirs for life. Roles of others are for the next test.
    let plain = "--name pr-42 --stage live --role-path /teams/blue/";
    for settings in settings::lines(usize::MAX, &["stage", "role-path", "role-arn"]) {
        let settings = format!("{plain} {settings}");
        let world = world();
        run(&world, &format!("plan {settings}")).await.expect(Exit::Done);
        run(&world, &format!("up {settings}")).await.expect(Exit::Done);
        run(&world, &format!("status {settings}")).await.expect(Exit::Done);
        run(&world, "list").await.expect(Exit::Done);
        run(&world, "logs --name pr-42 --stage live").await.expect(Exit::Done);
        run(&world, &format!("redrive {settings}")).await.expect(Exit::Done);
        // All of it taken away, and set again.
        run(&world, &format!("up {plain}")).await.expect(Exit::Done);
        run(&world, &format!("up {settings}")).await.expect(Exit::Done);
        run(&world, &format!("up {plain} --authorizer iam")).await.expect(Exit::Done);
        run(&world, &format!("up {plain} --ttl 1s")).await.expect(Exit::Done);
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        run(&world, "reap --name pr-42 --role-path /teams/blue/").await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn roles_of_others_are_ones_that_aws_takes() {
    let world = world();
    run(&world, "up --name other").await.expect(Exit::Done);
    let role = |function: &str| {
        let name = format!("other-{REGION}-{function}");
        world.edit(|state| state.account(ACCOUNT).role(&name).expect("it was made").arn.clone())
    };
    let given = ["onConnect", "onDisconnect", "sendMessage"].map(|name| format!("--role-arn {name}={}", role(name)));
    let line = given.join(" ");
    run(&world, &format!("up {line}")).await.expect(Exit::Done);
    run(&world, &format!("down {line}")).await.expect(Exit::Done);
}

/// A role that was brought along may make a log group, which Lambda does for lines that come after `down`.
#[tokio::test(start_paused = true)]
async fn a_log_group_that_lambda_made_for_a_role_of_the_users_is_taken_over() {
    let world = world();
    run(&world, "up --name other").await.expect(Exit::Done);
    let name = format!("other-{REGION}-onConnect");
    let arn = world.edit(|state| state.account(ACCOUNT).role(&name).expect("it was made").arn.clone());
    let with_role = format!("--role-arn onConnect={arn}");
    run(&world, &format!("up {with_role}")).await.expect(Exit::Done);
    // As Lambda makes it: without retention, without tags.
    let bare = |world: &World| {
        world.edit(|state| {
            let groups = &mut state.region(ACCOUNT, REGION).log_groups;
            let mut group = groups["/aws/lambda/other-onConnect"].clone();
            let name = "/aws/lambda/chat-onConnect";
            group.name = name.to_owned();
            group.arn = group.arn.replace("other-", "chat-");
            (group.retention_days, group.tags) = (None, Default::default());
            groups.insert(name.to_owned(), group);
        });
    };
    run(&world, &format!("down {with_role}")).await.expect(Exit::Done);
    bare(&world);
    run(&world, "up").await.expect(Exit::Failed);
    run(&world, &format!("up {with_role}")).await.expect(Exit::Done);
    world.edit(|state| {
        let group = &state.region(ACCOUNT, REGION).log_groups["/aws/lambda/chat-onConnect"];
        assert_eq!((group.retention_days, group.tags["chatctl:name"].as_str()), (Some(14), "chat"));
    });
    run(&world, &format!("down {with_role}")).await.expect(Exit::Done);
    bare(&world);
    run(&world, &format!("down {with_role}")).await.expect(Exit::Done);
    run(&world, "down --name other").await.expect(Exit::Done);
    assert_nothing_left(&world);
    let stands = |state: &mut world::State| !state.region(ACCOUNT, REGION).log_groups.is_empty();
    assert!(!world.edit(stands));
}

/// What is accepted as a setting is not refused by AWS after half of the work.
#[tokio::test(start_paused = true)]
async fn the_outermost_values_that_are_accepted_are_ones_that_aws_takes() {
    let long = |length: usize| "x".repeat(length);
    let tags: String = (0..46).map(|at| format!(" --tag key-{at}={}", long(256))).collect();
    let longest = (1..100).rev().map(long).find(|name| chatctl::config::Name::parse(name).is_ok());
    for settings in [
        format!("--name {}", longest.expect("a name")),
        format!("--stage {}", long(128)),
        format!("--tag {}={}{tags}", long(128), long(256)),
        format!("--ttl 1h --alarm-topic arn:aws:sns:{REGION}:{ACCOUNT}:{}{tags}", long(256)),
        "--tag ключ=значение --tag ½=². --tag é=Ⅷ --tag 語=ʰª --tag _.:/=+-@=_.:/=+-@".to_owned(),
        format!("--role-path /{}/", long(510)),
        "--role-path /_+=,.@-/".to_owned(),
        "--throttle-rate 1 --throttle-burst 1".to_owned(),
        "--throttle-rate 1000000 --throttle-burst 1000000".to_owned(),
        "--memory 10240 --function-timeout 25".to_owned(),
        "--memory 128 --function-timeout 1".to_owned(),
        "--message-size 1 --ttl 3650d".to_owned(),
        "--message-size 128 --log-retention-days 3653".to_owned(),
    ] {
        let world = world();
        for verb in ["up", "status"] {
            Process::new(&world, &format!("{verb} {settings}")).run().await.expect(Exit::Done);
        }
        Process::new(&world, &format!("down {settings}")).run().await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}
