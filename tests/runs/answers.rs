//! What `plan` and `status` say, where it takes an AWS that was changed to make them say it.

use std::time::Duration;

use chatctl::error::Exit;
use support::{ACCOUNT, Process, REGION, assert_whole, run};
use world::World;

/// Every `up` renews the time to live, so that alone is nothing to wake anybody for.
#[tokio::test(start_paused = true)]
async fn a_mere_renewal_is_no_change() {
    let world = World::new(support::brisk());
    run(&world, "up --ttl 72h").await.expect(Exit::Done);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let plan = run(&world, "plan --ttl 72h --exit-code").await.expect(Exit::Done).stdout;
    assert!(plan.starts_with("nothing to do\nrenews the time to live, until 20"), "{plan}");
    let json = run(&world, "plan --ttl 72h --exit-code -o json").await.expect(Exit::Done).json();
    assert_eq!((&json["changes"], json["renewedTo"].is_string()), (&serde_json::json!([]), true));
    let beside = run(&world, "plan --ttl 72h --exit-code --memory 1024").await.expect(Exit::Differs).stdout;
    assert!(!beside.contains("expiresAt"), "{beside}");
    run(&world, "plan --exit-code").await.expect(Exit::Differs);
}

/// What users will notice is said in a line of its own.
#[tokio::test(start_paused = true)]
async fn plan_warns_where_a_url_stops_or_clients_drop() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    let warnings = async |line: &str| {
        let plan = run(&world, line).await.stdout;
        plan.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let url = "its URL stops working, and all its clients are disconnected";
    assert_eq!(warnings("plan --memory 1024").await, Vec::<String>::new());
    assert_eq!(warnings("plan --stage dev").await, [format!("stage prod: {url}")]);
    let table = "table chat-connections: who is connected is forgotten, and hears nothing until they connect again";
    assert_eq!(warnings("plan --destroy").await, [format!("api chat: {url}"), table.to_owned()]);
    world.edit(|state| {
        let tables = &mut state.account(ACCOUNT).region(REGION).tables;
        tables.get_mut("chat-connections").expect("a table").key_schema[0].0 = "id".to_owned();
    });
    assert_eq!(warnings("plan").await, [table]);
    let json = run(&world, "plan -o json").await.json();
    assert_eq!(json["warnings"], serde_json::json!([table]));
}

#[tokio::test(start_paused = true)]
async fn policies_are_told_by_statement_and_code_by_file() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        let role = account.role(&format!("chat-{REGION}-onConnect")).expect("a role");
        let policy = role.inline.values_mut().next().expect("a policy");
        policy.document = policy.document.replace("dynamodb:PutItem", "dynamodb:*");
        account.region(REGION).functions.get_mut("chat-onConnect").expect("a function").code_sha256 =
            "other".to_owned();
    });
    let plan = run(&world, "plan").await.expect(Exit::Done).stdout;
    let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/chat-connections");
    for line in [
        format!("    document: - allow dynamodb:* on {table} (Connections)\n"),
        format!("    document: + allow dynamodb:PutItem on {table} (Connections)\n"),
        "    code: new\n      aws.mjs (".to_owned(),
        "      onConnect.mjs (".to_owned(),
    ] {
        assert!(plan.contains(&line), "{line} in\n{plan}");
    }
    assert_eq!(plan.matches("document: ").count(), 2, "only what differs:\n{plan}");
    let status = run(&world, "status").await.expect(Exit::Differs);
    let (_, last) = status.stdout.rsplit_once(" ready\n").expect("what differs is last");
    let lines: Vec<String> = last.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted = [
        format!("role-policy chat-{REGION}-onConnect differs"),
        format!("document should not allow dynamodb:* on {table} (Connections)"),
        format!("document should allow dynamodb:PutItem on {table} (Connections)"),
        "function chat-onConnect differs".to_owned(),
        "code is other than here".to_owned(),
        "2 of 25 not as wanted".to_owned(),
    ];
    assert_eq!(lines[..wanted.len()], wanted);
    assert_eq!(status.stderr, "hint: `chatctl up` makes it as wanted, `chatctl plan` shows how\n");
}

/// A table that somebody protected is not left alone in the ruins of its deployment: `down` stops before its first write.
#[tokio::test(start_paused = true)]
async fn down_removes_nothing_around_a_protected_table() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let tables = &mut state.account(ACCOUNT).region(REGION).tables;
        tables.get_mut("chat-connections").expect("a table").deletion_protection = true;
    });
    world.clear_calls();
    let plan = run(&world, "plan --destroy").await.expect(Exit::Done).stdout;
    assert!(plan.contains("warning: table chat-connections: its deletion protection is on, so `down`"), "{plan}");
    let down = run(&world, "down").await.expect(Exit::Failed);
    assert!(!world.calls().iter().any(|call| call.write), "{}", down.stderr);
    let error =
        "error: somebody protected it, nothing was removed: table chat-connections: its deletion protection is on\n";
    assert!(down.stderr.contains(error), "{}", down.stderr);
    assert!(
        down.stderr.contains("hint: if it is to go, take the protection off (`chatctl up` does so for a table), "),
        "{}",
        down.stderr
    );
    run(&world, "status").await.expect(Exit::Differs);
    run(&world, "up").await.expect(Exit::Done);
    run(&world, "down").await.expect(Exit::Done);
    support::assert_nothing_left(&world);
}

/// Said before anything is removed, and not half way.
#[tokio::test(start_paused = true)]
async fn down_removes_nothing_around_a_protected_log_group() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    let protect = |on: bool| {
        world.edit(|state| {
            let groups = &mut state.account(ACCOUNT).region(REGION).log_groups;
            groups.get_mut("/aws/lambda/chat-onConnect").expect("a log group").deletion_protection = on;
        });
    };
    protect(true);
    world.clear_calls();
    let down = run(&world, "down").await.expect(Exit::Failed);
    assert!(!world.calls().iter().any(|call| call.write), "{}", down.stderr);
    let protected = "log-group /aws/lambda/chat-onConnect: its deletion protection is on";
    assert!(down.stderr.contains(&format!("nothing was removed: {protected}\n")), "{}", down.stderr);
    protect(false);
    run(&world, "down").await.expect(Exit::Done);
    support::assert_nothing_left(&world);
}

/// What lets everybody call a function through a URL of its own is a statement of its policy, and goes.
#[tokio::test(start_paused = true)]
async fn a_function_that_was_opened_to_the_public_is_closed() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let functions = &mut state.account(ACCOUNT).region(REGION).functions;
        let policy = &mut functions.get_mut("chat-sendMessage").expect("a function").policy;
        let mut public = policy.values().next().expect("a statement").clone();
        "FunctionURLAllowPublicAccess".clone_into(&mut public.sid);
        "lambda:InvokeFunctionUrl".clone_into(&mut public.action);
        "*".clone_into(&mut public.principal);
        public.source_arn = None;
        policy.insert(public.sid.clone(), public);
    });
    let status = run(&world, "status").await.expect(Exit::Differs).stdout;
    assert!(status.contains("permission   chat-sendMessage/FunctionURLAllowPublicAccess  stray\n"), "{status}");
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

#[tokio::test(start_paused = true)]
async fn an_integration_that_gives_up_sooner_is_repaired() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let api = state.account(ACCOUNT).region(REGION).apis.values_mut().next().expect("an API");
        api.integrations.values_mut().for_each(|integration| integration.timeout_millis = 50);
    });
    let status = run(&world, "status").await.expect(Exit::Differs).stdout;
    assert_eq!(status.matches("    timeoutMs is 50, should be 29000\n").count(), 3, "{status}");
    run(&world, "up").await.expect(Exit::Done);
    run(&world, "status").await.expect(Exit::Done);
}

/// Such as one in a VPC: it is told, and all else is as without it.
#[tokio::test(start_paused = true)]
async fn an_endpoint_of_aws_that_is_named_is_no_emulator() {
    const VPC: &str = "https://vpce-0a1b-2c3d.apigateway.eu-central-1.vpce.amazonaws.com";
    let world = World::new(support::brisk());
    let named = |line: &str| Process::new(&world, line).endpoint("ApiGatewayV2", VPC);
    let up = named("up -v").run().await.expect(Exit::Done);
    assert!(up.stdout.starts_with("wss://") && up.stdout.ends_with(".amazonaws.com/prod\n"), "{}", up.stdout);
    let told = format!("apigatewayv2 through the endpoint override {VPC}, which is AWS's\n");
    assert!(up.stderr.contains(&told), "{}", up.stderr);
    let status = named("status").run().await.expect(Exit::Done);
    assert!(status.stdout.contains(&told), "{}", status.stdout);
    run(&world, "status").await.expect(Exit::Done);
}

/// Half of a deployment would stand elsewhere, and `down` would leave half of one.
#[tokio::test(start_paused = true)]
async fn calls_to_two_places_are_refused_before_any() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.clear_calls();
    for verb in ["up", "plan", "status", "down", "list", "reap", "logs", "chat", "verify", "redrive"] {
        let elsewhere = Process::new(&world, verb).endpoint("DynamoDB", "http://localhost:8000");
        let refused = elsewhere.run().await.expect(Exit::Usage);
        let why = "calls of `apigatewayv2` would go to AWS, those of `dynamodb` to http://localhost:8000";
        assert!(refused.stderr.starts_with(&format!("error: {why}\n")), "{verb}: {}", refused.stderr);
        assert!(refused.stderr.contains("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"), "{verb}: {}", refused.stderr);
    }
    assert!(world.calls().is_empty());
}
