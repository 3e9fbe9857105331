//! The authorizer of ours, which checks tokens: its function, role, log and permission come and go with the setting, and
//! nobody who is connected notices.

use std::sync::atomic::{AtomicUsize, Ordering};

use chatctl::error::Exit;
use serde_json::{Value, json};
use support::{ACCOUNT, Process, REGION, assert_nothing_left, assert_whole, brisk, put_function, run};
use world::{Caller, Switches, Verdict, World};

const FLAGS: &str = "--authorizer jwt --jwt-issuer https://issuer.example --jwt-audience chat";
const GATE: &str = "--authorizer arn:aws:lambda:eu-central-1:111122223333:function:gate";

async fn deployed() -> World {
    let world = World::new(brisk());
    put_function(&world, REGION, "gate");
    run(&world, &format!("up {FLAGS}")).await.expect(Exit::Done);
    assert_whole(&world, "chat");
    world.clear_calls();
    world
}

fn operations(world: &World) -> Vec<&'static str> {
    let mut made: Vec<&str> = world.effects().iter().map(|call| call.operation).collect();
    made.sort_unstable();
    made
}

/// What the only authorizer is: its name, its function's URI, and what a handshake must have.
fn authorizer(world: &World) -> (String, String, Value) {
    world.edit(|state| {
        let api = state.region(ACCOUNT, REGION).apis.values().next().expect("an API");
        assert_eq!(api.authorizers.len(), 1);
        let authorizer = api.authorizers.values().next().expect("an authorizer");
        let uri = authorizer.other["authorizerUri"].as_str().expect("a text");
        (authorizer.name.clone(), uri.to_owned(), authorizer.other["identitySource"].clone())
    })
}

/// The writes when the token is to be read from another place.
const ELSEWHERE: [&str; 6] = [
    "CreateDeployment",
    "DeleteDeployment",
    "UpdateAuthorizer",
    "UpdateFunctionConfiguration",
    "UpdateStage",
    "UpdateStage",
];

const CONNECTED: usize = 3;

/// Some clients connect.
fn connect(world: &World) {
    world.edit(|state| {
        let apis = state.region(ACCOUNT, REGION).apis.values_mut();
        apis.flat_map(|api| api.stages.values_mut()).for_each(|stage| stage.connections = CONNECTED);
    });
}

fn connected(world: &World) -> usize {
    world.edit(|state| {
        let apis = state.region(ACCOUNT, REGION).apis.values();
        apis.flat_map(|api| api.stages.values()).map(|stage| stage.connections).sum()
    })
}

/// The statements on the user's function.
fn on_gate(world: &World) -> usize {
    world.edit(|state| state.region(ACCOUNT, REGION).functions["gate"].policy.len())
}

#[tokio::test(start_paused = true)]
async fn the_function_that_checks_tokens_may_write_its_log_and_be_called_for_its_authorizer_and_nothing_else() {
    let world = deployed().await;
    let (name, uri, source) = authorizer(&world);
    assert_eq!((name.as_str(), &source), ("chat-authorizer", &json!(["route.request.querystring.token"])));
    assert!(uri.ends_with(":function:chat-authorizer/invocations"), "{uri}");
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        let role = account.role(&format!("chat-{REGION}-authorizer")).expect("a role");
        let document: Value = serde_json::from_str(&role.inline["chatctl"].document).unwrap();
        let logs = format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/chat-authorizer:*");
        assert_eq!(document["Statement"].as_array().unwrap().len(), 1, "{document}");
        assert_eq!(document["Statement"][0]["Resource"], logs.as_str());

        let region = account.region(REGION);
        let function = &region.functions["chat-authorizer"];
        assert_eq!((function.memory_mb, function.timeout_seconds), (256, 10));
        let variable = |name: &str| function.environment.get(name).map(String::as_str);
        assert_eq!(variable("JWT_ISSUER"), Some("https://issuer.example"));
        assert_eq!((variable("JWT_AUDIENCE"), variable("JWT_TOKEN")), (Some("chat"), Some("query:token")));
        let api = region.apis.values().next().expect("an API");
        let id = api.authorizers.keys().next().expect("an authorizer");
        let statements: Vec<_> = function.policy.values().map(|one| one.source_arn.clone()).collect();
        let source = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{}/authorizers/{id}", api.id);
        assert_eq!(statements, [Some(source)]);
        let connect = api.routes.values().find(|route| route.route_key == "$connect").expect("a route");
        assert_eq!((connect.authorization_type.as_str(), connect.authorizer_id.as_ref()), ("CUSTOM", Some(id)));
    });
    run(&world, &format!("status {FLAGS}")).await.expect(Exit::Done);
    run(&world, &format!("up {FLAGS}")).await.expect(Exit::Done);
    assert_eq!(operations(&world), Vec::<&str>::new());
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn who_may_connect_is_changed_there_and_back_without_a_dropped_connection() {
    let world = deployed().await;
    connect(&world);
    for flags in [GATE, FLAGS, "", FLAGS, "--authorizer iam", FLAGS] {
        // By whoever may touch the user's function, which settings that do not name it give nobody a right to.
        Process::new(&world, &format!("up {flags}")).by(Caller::default()).run().await.expect(Exit::Done);
        assert_whole(&world, "chat");
        assert_eq!(connected(&world), CONNECTED, "{flags}");
        assert_eq!(on_gate(&world), usize::from(flags == GATE), "{flags}");
        let left = world.everything(ACCOUNT).iter().filter(|line| line.contains("chat-authorizer")).count();
        assert_eq!(left > 0, flags == FLAGS, "{flags}");
        world.clear_calls();
        run(&world, &format!("status {flags}")).await.expect(Exit::Done);
        run(&world, &format!("up {flags}")).await.expect(Exit::Done);
        assert_eq!(operations(&world), Vec::<&str>::new(), "{flags}");
    }
}

/// Only what is in a deployment's snapshot needs another one.
#[tokio::test(start_paused = true)]
async fn which_tokens_are_taken_is_a_change_of_the_function_and_where_they_are_of_the_authorizer() {
    for (flags, expected, source) in [
        (FLAGS.replace("audience chat", "audience other"), &["UpdateFunctionConfiguration"][..], "querystring.token"),
        (FLAGS.replace("issuer.example", "other.example"), &["UpdateFunctionConfiguration"], "querystring.token"),
        (format!("{FLAGS} --jwt-token query:ticket"), &ELSEWHERE, "querystring.ticket"),
        (format!("{FLAGS} --jwt-token protocol"), &ELSEWHERE, "header.Sec-WebSocket-Protocol"),
    ] {
        let world = deployed().await;
        connect(&world);
        run(&world, &format!("up {flags}")).await.expect(Exit::Done);
        assert_eq!((operations(&world).as_slice(), connected(&world)), (expected, CONNECTED), "{flags}");
        assert_eq!(authorizer(&world).2, json!([format!("route.request.{source}")]), "{flags}");
    }
    // Of a header API Gateway asks nothing, whatever clients make of its name (G30).
    let world = deployed().await;
    run(&world, &format!("up {FLAGS} --jwt-token header:Authorization")).await.expect(Exit::Done);
    assert_eq!(authorizer(&world).2, json!([]));
}

/// A hole in the door is drift like any other.
#[tokio::test(start_paused = true)]
async fn a_door_that_somebody_has_opened_is_shown_and_shut() {
    type Edit = fn(&World);
    let edits: [(&str, Edit); 5] = [
        ("route", |world| {
            world.edit(|state| {
                let apis = state.region(ACCOUNT, REGION).apis.values_mut();
                let routes = apis.flat_map(|api| api.routes.values_mut());
                for route in routes.filter(|route| route.route_key == "$connect") {
                    (route.authorization_type, route.authorizer_id) = ("NONE".to_owned(), None);
                }
            });
        }),
        ("authorizer", |world| {
            world.edit(|state| {
                let apis = state.region(ACCOUNT, REGION).apis.values_mut();
                for authorizer in apis.flat_map(|api| api.authorizers.values_mut()) {
                    authorizer.other.insert("identitySource".to_owned(), json!([]));
                }
            });
        }),
        ("function", |world| {
            world.edit(|state| {
                let function = state.region(ACCOUNT, REGION).functions.get_mut("chat-authorizer").expect("it is there");
                function.environment.insert("JWT_ISSUER".to_owned(), "https://attacker.example".to_owned());
            });
        }),
        ("permission", |world| {
            world.edit(|state| {
                let function = state.region(ACCOUNT, REGION).functions.get_mut("chat-authorizer").expect("it is there");
                function.policy.values_mut().for_each(|statement| statement.source_arn = None);
            });
        }),
        ("role-policy", |world| {
            world.edit(|state| {
                let name = format!("chat-{REGION}-authorizer");
                let roles = state.account(ACCOUNT).roles.values_mut();
                roles.filter(|role| role.name == name).for_each(|role| role.inline.clear());
            });
        }),
    ];
    for (kind, edit) in edits {
        let world = deployed().await;
        edit(&world);
        let status = run(&world, &format!("status {FLAGS} -o json")).await.expect(Exit::Differs).json();
        let resources = status["resources"].as_array().expect("a list");
        let named = resources.iter().any(|resource| resource["kind"] == kind && resource["state"] != "ready");
        assert!(named, "{kind}: {status:#}");
        run(&world, &format!("up {FLAGS}")).await.expect(Exit::Done);
        run(&world, &format!("status {FLAGS}")).await.expect(Exit::Done);
        assert_whole(&world, "chat");
    }
}

/// At each of its writes, before its effect and after it; whoever goes on need not know what there was.
#[tokio::test(start_paused = true)]
async fn a_run_that_brings_the_authorizer_or_takes_it_away_may_die_anywhere() {
    for (before, change) in [("", FLAGS), (FLAGS, GATE)] {
        let mut deaths = 0;
        for after in [false, true] {
            for at in 0.. {
                let world = World::new(brisk());
                put_function(&world, REGION, "gate");
                run(&world, &format!("up {before}")).await.expect(Exit::Done);
                let writes = AtomicUsize::new(0);
                world.set_interceptor(move |call| match call.write && &*call.label == "victim" {
                    true if writes.fetch_add(1, Ordering::Relaxed) == at && after => Verdict::HangAfter,
                    true if writes.load(Ordering::Relaxed) == at + 1 => Verdict::HangBefore,
                    _ => Verdict::Pass,
                });
                let victim = Process::new(&world, &format!("up {change}")).label("victim").by(Caller::default());
                let ended = victim.run().await;
                world.clear_interceptor();
                let verb = if at % 2 == 0 { "up" } else { "down" };
                let next = Process::new(&world, &format!("{verb} {change}")).by(Caller::default());
                next.run().await.expect(Exit::Done);
                if verb == "up" {
                    assert_whole(&world, "chat");
                    run(&world, &format!("status {change}")).await.expect(Exit::Done);
                } else {
                    assert_nothing_left(&world);
                }
                assert_eq!(on_gate(&world), usize::from(verb == "up" && change == GATE), "{before}, {change}, {at}");
                if ended.exit.is_some() {
                    break;
                }
                deaths += 1;
            }
        }
        assert!(deaths > 8, "only {deaths} deaths from `{before}` to `{change}`");
    }
}

/// Nobody meets an authorizer that cannot be called.
#[tokio::test(start_paused = true)]
async fn clients_meet_the_authorizer_when_it_can_be_called() {
    let world = World::new(Switches::default());
    run(&world, &format!("up {FLAGS}")).await.expect(Exit::Done);
    let calls = world.effects();
    let at = |operation: &str, resource: &str| {
        let found = calls.iter().position(|call| call.operation == operation && call.resource.contains(resource));
        found.unwrap_or_else(|| panic!("no {operation} of {resource}: {calls:#?}"))
    };
    let deployed = at("CreateDeployment", "");
    assert!(at("AddPermission", "chat-authorizer") < deployed && at("CreateFunction", "chat-authorizer") < deployed);
}
