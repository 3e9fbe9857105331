//! The contract's table of resources, literally: what exists in the model of AWS after one `up`, field by field.
//!
//! Nothing here is taken from the program, so a constant that is wrong there is wrong nowhere else.

use std::collections::BTreeMap;

use chatctl::error::Exit;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{ACCOUNT, REGION, run};
use world::{Api, World};

/// Name, route, memory in MB, and the statements of its role beside that for its own log.
fn functions(api: &str) -> [(&'static str, &'static str, i64, Vec<Value>); 3] {
    let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/chat-connections");
    let posts = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/prod/POST/@connections/*");
    let on_table = |actions: &[&str]| json!([actions, table]);
    [
        ("onConnect", "$connect", 256, vec![on_table(&["dynamodb:PutItem"])]),
        ("onDisconnect", "$disconnect", 256, vec![on_table(&["dynamodb:DeleteItem"])]),
        (
            "sendMessage",
            "sendmessage",
            512,
            vec![
                on_table(&["dynamodb:Scan", "dynamodb:DeleteItem"]),
                json!([["execute-api:ManageConnections"], posts]),
            ],
        ),
    ]
}

fn tags() -> BTreeMap<String, String> {
    [("chatctl:managed", "true"), ("chatctl:name", "chat")].map(|(key, value)| (key.into(), value.into())).into()
}

/// `[actions, resource]` of each statement, all of which must allow.
fn statements(document: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(document).unwrap();
    let statements = document["Statement"].as_array().unwrap().iter().map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let actions = &statement["Action"];
        let actions = if actions.is_string() { json!([actions]) } else { actions.clone() };
        json!([actions, statement["Resource"]])
    });
    statements.collect()
}

/// The deployment's only API.
fn api_of(world: &World) -> Api {
    let apis: Vec<Api> = world.edit(|state| state.account(ACCOUNT).region(REGION).apis.values().cloned().collect());
    let [api] = apis.try_into().expect("one API");
    api
}

#[tokio::test(start_paused = true)]
async fn an_api_with_three_routes_and_a_stage_that_serves_them() {
    let world = World::new(support::brisk());
    let up = run(&world, "up").await.expect(Exit::Done);
    let api = api_of(&world);
    assert_eq!(up.stdout, format!("wss://{}.execute-api.{REGION}.amazonaws.com/prod\n", api.id));
    assert_eq!((api.name.as_str(), api.protocol_type.as_str()), ("chat", "WEBSOCKET"));
    assert_eq!(api.route_selection_expression, "$request.body.action");
    assert_eq!(api.tags, tags());
    assert_eq!((api.routes.len(), api.integrations.len()), (3, 3));
    assert_eq!((api.deployments.len(), api.stages.len(), api.authorizers.len()), (1, 1, 0));
    for (function, route, ..) in functions(&api.id) {
        assert_eq!(api.route(route).unwrap().authorization_type, "NONE", "{route}");
        let integration = api.integration_of(route).unwrap();
        assert_eq!(integration.integration_type, "AWS_PROXY", "{route}");
        assert_eq!(integration.method.as_deref(), Some("POST"), "{route}");
        let uri = format!(
            "arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/\
             arn:aws:lambda:{REGION}:{ACCOUNT}:function:chat-{function}/invocations"
        );
        assert_eq!(integration.uri, Some(uri), "{route}");
    }
    let stage = &api.stages["prod"];
    assert_eq!((stage.auto_deploy, &stage.default_route_settings), (false, &None));
    let deployment = api.deployment_of("prod").expect("the stage points at a deployment");
    assert_eq!(deployment.routes, api.routes.values().cloned().collect::<Vec<_>>(), "taken after the last route");
}

#[tokio::test(start_paused = true)]
async fn three_functions_each_with_its_role_its_permission_and_its_log() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    let api = api_of(&world).id;
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        assert_eq!(account.roles.len(), 3);
        let region = account.region(REGION);
        assert_eq!((region.functions.len(), region.log_groups.len()), (3, 3));
    });
    for (name, route, memory, allowed) in functions(&api) {
        world.edit(|state| {
            let account = state.account(ACCOUNT);
            let role = account.role(&format!("chat-{REGION}-{name}")).expect("a role").clone();
            assert_eq!((role.path.as_str(), &role.boundary), ("/chatctl/", &None), "{name}");
            assert_eq!(role.tags, tags(), "{name}");
            let trust: Value = serde_json::from_str(&role.trust).unwrap();
            let [statement] = trust["Statement"].as_array().unwrap().as_slice() else { panic!("{trust}") };
            assert_eq!(statement["Principal"], json!({ "Service": "lambda.amazonaws.com" }), "{name}");
            assert_eq!(statement["Action"], "sts:AssumeRole", "{name}");
            assert!(role.attached.is_empty(), "{name}");
            let [policy] = role.inline.values().collect::<Vec<_>>()[..] else { panic!("{:?}", role.inline) };
            assert_eq!(role.inline.keys().collect::<Vec<_>>(), ["chatctl"], "{name}");
            let log = format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/chat-{name}:*");
            let mut expected = allowed.clone();
            expected.push(json!([["logs:CreateLogStream", "logs:PutLogEvents"], log]));
            let mut found = statements(&policy.document);
            expected.sort_by_key(Value::to_string);
            found.sort_by_key(Value::to_string);
            assert_eq!(found, expected, "{name}");

            let region = account.region(REGION);
            let function = &region.functions[&format!("chat-{name}")];
            assert_eq!((function.runtime.as_str(), function.architecture.as_str()), ("nodejs24.x", "arm64"), "{name}");
            assert_eq!((function.memory_mb, function.timeout_seconds), (memory, 15), "{name}");
            assert_eq!(function.role, role.arn, "{name}");
            assert_eq!(function.environment["TABLE_NAME"], "chat-connections", "{name}");
            assert_eq!(function.tags, tags(), "{name}");
            let [permission] = function.policy.values().collect::<Vec<_>>()[..] else {
                panic!("{:?}", function.policy)
            };
            assert_eq!(permission.sid, "chatctl", "{name}");
            assert_eq!(permission.principal, "apigateway.amazonaws.com", "{name}");
            assert_eq!(permission.action, "lambda:InvokeFunction", "{name}");
            let source = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*/{route}");
            assert_eq!(permission.source_arn, Some(source), "{name}");

            let log_group = &region.log_groups[&format!("/aws/lambda/chat-{name}")];
            assert_eq!((log_group.retention_days, &log_group.tags), (Some(14), &tags()), "{name}");
        });
    }
}

/// What earlier versions wrote on a deployment says the same to this one: nobody's upgrade deploys anew.
#[tokio::test(start_paused = true)]
async fn a_deployment_says_what_it_is_a_snapshot_of_as_it_always_has() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    let api = api_of(&world);
    let mut parts = Vec::new();
    for (_, route_key, ..) in functions(&api.id) {
        let (route, integration) = (api.route(route_key).unwrap(), api.integration_of(route_key).unwrap());
        let (integration_id, uri) = (&integration.id, integration.uri.as_deref().unwrap());
        parts.push(format!(
            r#"[{{"kind":"integration","name":"{route_key}"}},"{integration_id}",{{"method":"POST","type":"AWS_PROXY","uri":"{uri}"}}]"#
        ));
        parts.push(format!(
            r#"[{{"kind":"route","name":"{route_key}"}},"{}",{{"apiKeyRequired":false,"authorization":"NONE","authorizer":null,"target":"integrations/{integration_id}"}}]"#,
            route.id
        ));
    }
    let hash = Sha256::digest(format!("[{}]", parts.join(",")));
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let deployment = api.deployment_of("prod").unwrap();
    assert_eq!(deployment.description.as_deref(), Some(format!("chatctl: routes {hash}").as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_rows_expire() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let tables = &state.account(ACCOUNT).region(REGION).tables;
        assert_eq!(tables.len(), 1);
        let table = &tables["chat-connections"];
        assert_eq!(table.key_schema, [("connectionId".to_owned(), "HASH".to_owned())]);
        assert_eq!(table.attributes, [("connectionId".to_owned(), "S".to_owned())].into());
        assert_eq!((table.billing_mode.as_str(), table.provisioned), ("PAY_PER_REQUEST", None));
        assert_eq!((table.ttl.enabled, table.ttl.attribute.as_deref()), (true, Some("expiresAt")));
        assert_eq!((&table.tags, table.deletion_protection), (&tags(), false));
    });
}
