//! What must hold for every kind of resource, in a loop over `KINDS`: made, repaired when altered or deleted behind our
//! back, strays beside it removed, nothing written twice, look-alikes of somebody else refused.

use std::sync::LazyLock;

use chatctl::error::Exit;
use chatctl::resources::KINDS;
use serde_json::Value;
use support::settings::BOUNDARY;
use support::{ACCOUNT, REGION, assert_nothing_left, assert_whole, put_function, run};
use world::{Api, Region, Switches, World};

use super::app::Project;

fn world() -> World {
    World::new(Switches::default())
}

/// What somebody else's hand does to one thing of a kind.
type Edit = fn(&World);

/// How each kind can be tampered with. A new kind must say so here before this compiles into a passing test.
struct Tampering {
    /// Changes a property that we care for.
    alter: Option<Edit>,
    delete: Option<Edit>,
    /// Adds one that is not wanted.
    stray: Option<Edit>,
    /// Makes a thing with our name but without our tags, in an empty account.
    look_alike: Option<Edit>,
}

/// How API Gateway calls a function that is none of ours.
const INVOCATION_OF_ANOTHER: &str = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:111122223333:function:other/invocations";

const NONE: Tampering = Tampering { alter: None, delete: None, stray: None, look_alike: None };

fn tampering(kind: &str) -> Tampering {
    match kind {
        "role" => Tampering {
            alter: Some(|world| role(world, |role| role.trust = role.trust.replace("lambda", "ec2"))),
            delete: Some(|world| {
                world.edit(|state| state.account(ACCOUNT).roles.retain(|name, _| !name.ends_with("onconnect")));
            }),
            look_alike: Some(|world| {
                world.edit(|state| {
                    let account = state.account(ACCOUNT);
                    account.roles.values_mut().for_each(|role| role.tags.clear());
                    *account.region(REGION) = Region::default();
                });
            }),
            ..NONE
        },
        "api" => Tampering {
            alter: Some(|world| api(world, |api| "$request.body.verb".clone_into(&mut api.route_selection_expression))),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).apis.clear())),
            stray: Some(|world| {
                world.edit(|state| {
                    let apis = &mut state.region(ACCOUNT, REGION).apis;
                    let mut second = apis.values().next().expect("there is one").clone();
                    "zzzzzzzzzz".clone_into(&mut second.id);
                    apis.insert(second.id.clone(), second);
                });
            }),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.apis = all.apis;
                    left.apis.values_mut().for_each(|api| api.tags.clear());
                });
            }),
        },
        "role-policy" => Tampering {
            alter: Some(|world| {
                role(world, |role| {
                    role.inline
                        .values_mut()
                        .for_each(|policy| policy.document = policy.document.replace("PutItem", "*"));
                });
            }),
            delete: Some(|world| role(world, |role| role.inline.clear())),
            stray: Some(|world| {
                role(world, |role| {
                    role.attached.insert("arn:aws:iam::aws:policy/AdministratorAccess".to_owned());
                    let more = role.inline.values().next().expect("there is one").clone();
                    role.inline.insert("more".to_owned(), more);
                });
            }),
            ..NONE
        },
        "log-group" => Tampering {
            alter: Some(|world| {
                world.edit(|state| {
                    state.region(ACCOUNT, REGION).log_groups.values_mut().for_each(|group| group.retention_days = None);
                });
            }),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).log_groups.clear())),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.log_groups = all.log_groups;
                    left.log_groups.values_mut().for_each(|group| group.tags.clear());
                });
            }),
            ..NONE
        },
        "table" => Tampering {
            alter: Some(|world| {
                table(world, |table| {
                    table.ttl = world::TimeToLive::default();
                    table.tags.insert("stray".to_owned(), "tag".to_owned());
                });
            }),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).tables.clear())),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.tables = all.tables;
                    left.tables.values_mut().for_each(|table| {
                        table.tags.insert("chatctl:name".to_owned(), "another".to_owned());
                    });
                });
            }),
            ..NONE
        },
        "function" => Tampering {
            alter: Some(|world| {
                function(world, |function| {
                    function.environment.insert("TABLE_NAME".to_owned(), "elsewhere".to_owned());
                    "tampered".clone_into(&mut function.code_sha256);
                    function.memory_mb = 128;
                    "mine".clone_into(&mut function.description);
                    function.reserved = Some(0);
                });
            }),
            delete: Some(|world| {
                world.edit(|state| {
                    state.region(ACCOUNT, REGION).functions.remove("chat-sendMessage");
                });
            }),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.functions = all.functions;
                    left.functions.values_mut().for_each(|function| function.tags.clear());
                });
            }),
            ..NONE
        },
        "permission" => Tampering {
            alter: Some(|world| {
                function(world, |function| {
                    function.policy.values_mut().for_each(|statement| statement.source_arn = None);
                });
            }),
            delete: Some(|world| function(world, |function| function.policy.clear())),
            stray: Some(|world| {
                function(world, |function| {
                    let mut more = function.policy.values().next().expect("there is one").clone();
                    "more".clone_into(&mut more.sid);
                    function.policy.insert("more".to_owned(), more);
                });
            }),
            ..NONE
        },
        "integration" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    let first = api.integrations.values_mut().next().expect("there is one");
                    first.uri = Some(INVOCATION_OF_ANOTHER.to_owned());
                });
            }),
            delete: Some(|world| {
                api(world, |api| {
                    let id = api.integration_of("sendmessage").expect("there is one").id.clone();
                    api.integrations.remove(&id);
                });
            }),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.integration_of("sendmessage").expect("there is one").clone();
                    "0000000000".clone_into(&mut more.id);
                    api.integrations.insert(more.id.clone(), more);
                });
            }),
            ..NONE
        },
        "route" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    let target = api.route("$connect").expect("there is one").target.clone();
                    api.routes.values_mut().for_each(|route| route.target.clone_from(&target));
                });
            }),
            delete: Some(|world| api(world, |api| api.routes.retain(|_, route| route.route_key != "sendmessage"))),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.route("sendmessage").expect("there is one").clone();
                    "0000000000".clone_into(&mut more.id);
                    "more".clone_into(&mut more.route_key);
                    api.routes.insert(more.id.clone(), more);
                });
            }),
            ..NONE
        },
        "deployment" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    api.deployments.values_mut().for_each(|deployment| deployment.description = None);
                });
            }),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.deployments.values().next().expect("there is one").clone();
                    "0000000000".clone_into(&mut more.id);
                    api.deployments.insert(more.id.clone(), more);
                });
            }),
            ..NONE
        },
        "stage" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    api.stages.values_mut().for_each(|stage| stage.auto_deploy = true);
                });
            }),
            delete: Some(|world| api(world, |api| api.stages.clear())),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.stages.values().next().expect("there is one").clone();
                    "more".clone_into(&mut more.name);
                    api.stages.insert(more.name.clone(), more);
                });
            }),
            ..NONE
        },
        "queue" => Tampering {
            alter: Some(|world| {
                world.edit(|state| {
                    for queue in state.region(ACCOUNT, REGION).queues.values_mut() {
                        queue.attributes.insert("VisibilityTimeout".to_owned(), "30".to_owned());
                        queue.attributes.remove("RedrivePolicy");
                        queue.attributes.remove("SqsManagedSseEnabled");
                        queue.tags.insert("stray".to_owned(), "tag".to_owned());
                    }
                });
            }),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).queues.clear())),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.queues = all.queues;
                    left.queues.values_mut().for_each(|queue| queue.tags.clear());
                });
            }),
            ..NONE
        },
        "event-source-mapping" => Tampering {
            alter: Some(|world| {
                mappings(world, |mapping| {
                    mapping.enabled = false;
                    mapping.batch_size = 1;
                    mapping.responses.clear();
                    mapping.tags.insert("stray".to_owned(), "tag".to_owned());
                });
            }),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).mappings.clear())),
            look_alike: Some(|world| mappings(world, |mapping| mapping.tags.clear())),
            ..NONE
        },
        "alarm" => Tampering {
            alter: Some(|world| {
                alarms(world, |alarm| {
                    alarm.settings["Threshold"] = 100.5.into();
                    alarm.tags.insert("stray".to_owned(), "tag".to_owned());
                });
            }),
            delete: Some(|world| world.edit(|state| state.region(ACCOUNT, REGION).alarms.clear())),
            look_alike: Some(|world| {
                foreign(world, |all, left| {
                    left.alarms = all.alarms;
                    left.alarms.values_mut().for_each(|alarm| alarm.tags.clear());
                });
            }),
            ..NONE
        },
        "model" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    api.models.values_mut().for_each(|model| r#"{"type":"string"}"#.clone_into(&mut model.schema));
                });
            }),
            delete: Some(|world| {
                api(world, |api| {
                    api.models.clear();
                    api.routes.values_mut().for_each(|route| drop(route.other.remove("requestModels")));
                });
            }),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.models.values().next().expect("there is one").clone();
                    "0000000000".clone_into(&mut more.id);
                    "More".clone_into(&mut more.name);
                    api.models.insert(more.id.clone(), more);
                });
            }),
            ..NONE
        },
        "authorizer" => Tampering {
            alter: Some(|world| {
                api(world, |api| {
                    for authorizer in api.authorizers.values_mut() {
                        authorizer.other["authorizerUri"] = INVOCATION_OF_ANOTHER.into();
                    }
                });
            }),
            delete: Some(|world| api(world, |api| api.authorizers.clear())),
            stray: Some(|world| {
                api(world, |api| {
                    let mut more = api.authorizers.values().next().expect("there is one").clone();
                    "0000000000".clone_into(&mut more.id);
                    "more".clone_into(&mut more.name);
                    api.authorizers.insert(more.id.clone(), more);
                });
            }),
            ..NONE
        },
        // What somebody else lets into that function stays (`authorizer.rs`).
        "authorizer-permission" => Tampering {
            alter: Some(|world| {
                gate(world, |gate| gate.policy.values_mut().for_each(|statement| statement.source_arn = None));
            }),
            delete: Some(|world| gate(world, |gate| gate.policy.clear())),
            ..NONE
        },
        other => panic!("say how a {other} can be tampered with"),
    }
}

/// The settings with which there is one of this kind.
fn settings(kind: &str) -> String {
    static WITH_SCHEMA: LazyLock<(Project, String)> = LazyLock::new(|| {
        let project = Project::new("[routes.sendmessage]\nschema = \"join.schema.json\"\n");
        project.schema(r#"{"type":"object"}"#);
        let flags = project.line("");
        (project, flags)
    });
    support::settings::with(kind).unwrap_or_else(|| WITH_SCHEMA.1.clone())
}

fn alarms(world: &World, edit: impl Fn(&mut world::Alarm)) {
    world.edit(|state| state.region(ACCOUNT, REGION).alarms.values_mut().for_each(edit));
}

fn mappings(world: &World, edit: impl Fn(&mut world::Mapping)) {
    world.edit(|state| state.region(ACCOUNT, REGION).mappings.values_mut().for_each(edit));
}

fn role(world: &World, edit: impl Fn(&mut world::Role)) {
    world.edit(|state| {
        state.account(ACCOUNT).roles.values_mut().filter(|role| role.name.ends_with("onConnect")).for_each(edit);
    });
}

fn api(world: &World, edit: impl FnMut(&mut Api)) {
    world.edit(|state| state.region(ACCOUNT, REGION).apis.values_mut().for_each(edit));
}

fn table(world: &World, edit: impl Fn(&mut world::Table)) {
    world.edit(|state| state.region(ACCOUNT, REGION).tables.values_mut().for_each(edit));
}

fn function(world: &World, edit: impl Fn(&mut world::Function)) {
    world.edit(|state| {
        let region = state.region(ACCOUNT, REGION);
        edit(region.functions.get_mut("chat-onConnect").expect("there is one"));
    });
}

/// The user's own function that decides who may connect.
fn gate(world: &World, edit: impl Fn(&mut world::Function)) {
    world.edit(|state| edit(state.region(ACCOUNT, REGION).functions.get_mut("gate").expect("there is one")));
}

const CONNECTED: usize = 3;

/// Some clients connect to every stage.
fn connect(world: &World) {
    api(world, |api| api.stages.values_mut().for_each(|stage| stage.connections = CONNECTED));
}

/// How many are connected yet.
fn connected(world: &World) -> usize {
    world.edit(|state| {
        let apis = state.region(ACCOUNT, REGION).apis.values();
        apis.flat_map(|api| api.stages.values()).map(|stage| stage.connections).sum()
    })
}

/// Leaves behind, of all that is in the region, what `leave` takes over: one kind, as somebody else's. No role stays.
fn foreign(world: &World, leave: impl FnOnce(Region, &mut Region)) {
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        account.roles.clear();
        let region = account.region(REGION);
        leave(std::mem::take(region), region);
    });
}

async fn deployed() -> World {
    deployed_with("").await
}

async fn deployed_with(settings: &str) -> World {
    let world = world();
    put_function(&world, REGION, "gate");
    run(&world, &format!("up {settings}")).await.expect(Exit::Done);
    assert_whole(&world, "chat");
    // AWS refuses to change a TTL within an hour of the last change (D8).
    tokio::time::sleep(std::time::Duration::from_secs(3_700)).await;
    world.clear_calls();
    world
}

fn writes(world: &World) -> Vec<String> {
    world.effects().iter().map(|call| format!("{} {}", call.operation, call.resource)).collect()
}

/// After `edit`, `status` and `plan` show a change of `kind`, `up` repairs it, and then there is nothing to do.
async fn is_repaired(kind: &str, what: &str, edit: Edit) {
    let with = settings(kind);
    let run = async |world: &World, line: &str| support::run(world, &format!("{line} {with}")).await;
    let world = deployed_with(&with).await;
    edit(&world);
    let status = run(&world, "status -o json").await.expect(Exit::Differs).json();
    let resources = status["resources"].as_array().expect("a list");
    let named = resources.iter().any(|resource| resource["kind"] == kind && resource["state"] != "ready");
    assert!(named, "{kind} {what}: {status:#}");
    let plan = run(&world, "plan -o json").await.expect(Exit::Done).json();
    let planned = plan["changes"].as_array().is_some_and(|changes| changes.iter().any(|change| change["kind"] == kind));
    assert!(planned, "{kind} {what}: {plan:#}");
    assert_eq!(writes(&world), Vec::<String>::new(), "status and plan only read");

    let up = run(&world, "up -o json").await.expect(Exit::Done).json();
    let done: Vec<&Value> = up["changes"].as_array().expect("a list").iter().collect();
    assert!(done.iter().any(|change| change["kind"] == kind), "{kind} {what}: {up:#}");
    // Lambda sees a role's new trust policy only after a while (L1).
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_whole(&world, "chat");
    run(&world, "status").await.expect(Exit::Done);
    world.clear_calls();
    run(&world, "up").await.expect(Exit::Done);
    assert_eq!(writes(&world), Vec::<String>::new(), "{kind} {what}: twice is a no-op");
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_made_once_and_removed() {
    let world = deployed().await;
    run(&world, "up").await.expect(Exit::Done);
    assert_eq!(writes(&world), Vec::<String>::new());
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
    run(&world, "down").await.expect(Exit::Done);
    run(&world, "status").await.expect(Exit::Absent);
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_repaired_when_altered_behind_our_back() {
    for kind in KINDS {
        if let Some(alter) = tampering(kind.name()).alter {
            is_repaired(kind.name(), "altered", alter).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_made_again_when_deleted_behind_our_back() {
    for kind in KINDS {
        if let Some(delete) = tampering(kind.name()).delete {
            is_repaired(kind.name(), "deleted", delete).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_stray_beside_ours_is_removed() {
    for kind in KINDS {
        if let Some(stray) = tampering(kind.name()).stray {
            is_repaired(kind.name(), "stray", stray).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn down_removes_what_was_altered_deleted_or_added_by_hand() {
    for kind in KINDS {
        let Tampering { alter, delete, stray, .. } = tampering(kind.name());
        for edit in [alter, delete, stray].into_iter().flatten() {
            let world = deployed_with(&settings(kind.name())).await;
            edit(&world);
            run(&world, "down").await.expect(Exit::Done);
            assert_nothing_left(&world);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_look_alike_of_somebody_else_is_refused_by_every_verb_before_any_write() {
    for kind in KINDS {
        let Some(look_alike) = tampering(kind.name()).look_alike else { continue };
        let with = settings(kind.name());
        let world = deployed_with(&with).await;
        look_alike(&world);
        let before = world.everything(ACCOUNT);
        for verb in ["up", "down", "plan", "status", "plan --destroy"] {
            let refused = run(&world, &format!("{verb} {with}")).await.expect(Exit::Failed);
            assert!(refused.stderr.contains(kind.name()), "{}: {}", kind.name(), refused.stderr);
            assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
        }
        assert_eq!(writes(&world), Vec::<String>::new());
        assert_eq!(world.everything(ACCOUNT), before);
    }
}

/// A change of a setting is exactly that change, made by exactly these writes, and nobody's connection ends with it.
#[tokio::test(start_paused = true)]
async fn a_changed_setting_is_exactly_that_change() {
    let settings: [(&str, &[&str]); 14] = [
        ("--reserved-concurrency 5", &["PutFunctionConcurrency"]),
        ("--api-name Chat", &["UpdateApi"]),
        ("--description ours", &["UpdateApi"]),
        ("--memory 1024", &["UpdateFunctionConfiguration"; 3]),
        ("--message-size 64", &["UpdateFunctionConfiguration"]),
        ("--function-timeout 20", &["UpdateFunctionConfiguration"; 3]),
        ("--log-retention-days 30", &["PutRetentionPolicy"; 3]),
        ("--message-rate 5", &["UpdateStage"]),
        (
            "--keep-alive",
            &[
                "CreateDeployment",
                "CreateIntegration",
                "CreateIntegrationResponse",
                "CreateRoute",
                "CreateRouteResponse",
                "DeleteDeployment",
                "UpdateStage",
            ],
        ),
        ("--throttle-rate 50 --throttle-burst 20", &["DeleteRouteSettings", "UpdateStage"]),
        ("--throttle-rate 10000 --throttle-burst 5000", &["DeleteRouteSettings", "UpdateStage"]),
        ("--architecture x86_64", &["UpdateFunctionCode"; 3]),
        ("--permissions-boundary arn:aws:iam::111122223333:policy/edge", &["PutRolePermissionsBoundary"; 3]),
        ("--authorizer iam", &["CreateDeployment", "DeleteDeployment", "UpdateRoute", "UpdateStage", "UpdateStage"]),
    ];
    for (flags, expected) in settings {
        let world = deployed().await;
        connect(&world);
        world.edit(|state| {
            state.account(ACCOUNT).managed_policies.insert(BOUNDARY.to_owned());
        });
        run(&world, &format!("up {flags}")).await.expect(Exit::Done);
        let mut made: Vec<&str> = world.effects().iter().map(|call| call.operation).collect();
        made.sort_unstable();
        assert_eq!(made, expected, "{flags}");
        run(&world, &format!("status {flags}")).await.expect(Exit::Done);
        // And back again.
        run(&world, "up").await.expect(Exit::Done);
        run(&world, "status").await.expect(Exit::Done);
        assert_whole(&world, "chat");
        assert_eq!(connected(&world), CONNECTED, "{flags}");
        world.clear_calls();
        run(&world, "up").await.expect(Exit::Done);
        assert_eq!(writes(&world), Vec::<String>::new(), "{flags}: twice is a no-op");
    }
}

/// An API may be shown under any name, several under one: what it is known by are its tags. Without them, one that is shown
/// under our name is somebody else's, and stands in the way.
#[tokio::test(start_paused = true)]
async fn what_an_api_is_shown_as_is_not_what_it_is_known_by() {
    let world = world();
    let shown = || -> Vec<(String, Option<String>)> {
        world.edit(|state| {
            let apis = state.region(ACCOUNT, REGION).apis.values();
            apis.map(|api| (api.name.clone(), api.description.clone())).collect()
        })
    };
    run(&world, "up --api-name chat --description ours --name pr-1").await.expect(Exit::Done);
    run(&world, "up --api-name chat --name pr-2").await.expect(Exit::Done);
    run(&world, "up").await.expect(Exit::Done);
    assert!(shown().iter().all(|(name, _)| name == "chat"), "{:?}", shown());
    assert_eq!(shown().iter().filter(|(_, text)| text.as_deref() == Some("ours")).count(), 1);
    // By hand.
    api(&world, |api| {
        "another".clone_into(&mut api.name);
        api.description = Some("theirs".to_owned());
    });
    let status = run(&world, "status").await.expect(Exit::Differs);
    assert!(status.stdout.contains("name is another, should be chat"), "{}", status.stdout);
    assert!(status.stdout.contains("description is theirs, should not be there"), "{}", status.stdout);
    run(&world, "up").await.expect(Exit::Done);
    run(&world, "status").await.expect(Exit::Done);
    for name in ["pr-1", "pr-2"] {
        run(&world, &format!("down --name {name}")).await.expect(Exit::Done);
    }
    api(&world, |api| {
        api.tags.clear();
        "Ours".clone_into(&mut api.name);
    });
    world.clear_calls();
    let refused = run(&world, "up --api-name Ours").await.expect(Exit::Failed);
    assert!(refused.stderr.contains("does not carry our tags"), "{}", refused.stderr);
    assert_eq!(writes(&world), Vec::<String>::new());
}

/// One client may not use up the account: `sendmessage` is throttled unasked, `$connect` is not, so that nobody is locked
/// out. A deployment of before learns it in place, and limits set by hand go.
#[tokio::test(start_paused = true)]
async fn messages_alone_are_throttled_and_a_stage_is_never_made_anew_for_it() {
    type Tamper = fn(&mut world::Stage, serde_json::Map<String, Value>);

    let world = deployed().await;
    let stage = |edit: &dyn Fn(&mut world::Stage)| {
        api(&world, |api| edit(api.stages.get_mut("prod").unwrap()));
    };
    let limits = |rate: f64, burst: i32| {
        let limits = serde_json::json!({ "throttlingRateLimit": rate, "throttlingBurstLimit": burst });
        limits.as_object().unwrap().clone()
    };
    let throttles = || {
        let mut found = Vec::new();
        stage(&|stage| assert_eq!(stage.default_route_settings, None));
        api(&world, |api| found.extend(api.stages["prod"].route_settings.clone()));
        found
    };
    let ours = vec![("sendmessage".to_owned(), limits(20.0, 40))];
    assert_eq!(throttles(), ours);
    let cases: [(Tamper, f64, &[&str]); 3] = [
        (|stage, _| stage.route_settings.clear(), 0.0, &["UpdateStage"]),
        (|stage, limits| drop(stage.route_settings.insert("sendmessage".to_owned(), limits)), 0.0, &["UpdateStage"]),
        (
            |stage, limits| drop(stage.route_settings.insert("$connect".to_owned(), limits)),
            1.0,
            &["UpdateStage", "DeleteRouteSettings"],
        ),
    ];
    for (tamper, rate, expected) in cases {
        stage(&|stage| tamper(stage, limits(rate, 1)));
        let before = world.effects().len();
        let drifted = run(&world, "status").await.expect(Exit::Differs);
        assert!(drifted.stdout.contains("routeThrottles"), "{}", drifted.stdout);
        run(&world, "up").await.expect(Exit::Done);
        let made: Vec<&str> = world.effects()[before..].iter().map(|call| call.operation).collect();
        assert_eq!(made, expected);
        assert_eq!(throttles(), ours);
        run(&world, "status").await.expect(Exit::Done);
        assert_whole(&world, "chat");
    }
}

/// `ping` is answered by API Gateway itself, to the sender alone; half of what that takes answers nobody, and is repaired.
#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_without_a_function_and_mended_part_by_part() {
    let world = deployed().await;
    let answer = || {
        let id = world.edit(|state| state.region(ACCOUNT, REGION).apis.keys().next().unwrap().clone());
        world.mock_answer(ACCOUNT, REGION, &id, "prod", "ping")
    };
    assert_eq!(answer(), Err("not in the deployment (G8)"));
    run(&world, "up --keep-alive").await.expect(Exit::Done);
    assert_eq!(answer().unwrap(), r#"{"chatctl":{"pong":true}}"#);
    let parts: [(Edit, &str); 5] = [
        (|world| ping(world, |_, integration| integration.responses.clear()), "answer"),
        (
            |world| {
                ping(world, |_, integration| {
                    let response = integration.responses.values_mut().next().unwrap();
                    response["responseTemplates"]["200"] = "{}".into();
                });
            },
            "answer",
        ),
        (|world| ping(world, |_, integration| integration.other["requestTemplates"]["200"] = "{}".into()), "status"),
        (|world| ping(world, |route, _| route.responses.clear()), "responds"),
        (|world| ping(world, |route, _| drop(route.other.remove("routeResponseSelectionExpression"))), "responds"),
    ];
    for (alter, field) in parts {
        alter(&world);
        let drifted = run(&world, "status --keep-alive").await.expect(Exit::Differs);
        assert!(drifted.stdout.contains(field), "{field}: {}", drifted.stdout);
        run(&world, "up --keep-alive").await.expect(Exit::Done);
        assert_eq!(answer().unwrap(), r#"{"chatctl":{"pong":true}}"#);
        run(&world, "status --keep-alive").await.expect(Exit::Done);
    }
    // A route of the walkthrough that answers by somebody's hand answers no more.
    world.edit(|state| {
        for api in state.region(ACCOUNT, REGION).apis.values_mut() {
            let ping = api.routes.values().find(|route| route.route_key == "ping").unwrap().clone();
            let route = api.routes.values_mut().find(|route| route.route_key == "sendmessage").unwrap();
            (route.responses, route.other) = (ping.responses, ping.other);
        }
    });
    run(&world, "up --keep-alive").await.expect(Exit::Done);
    api(&world, |api| assert_eq!(api.routes.values().filter(|route| !route.responses.is_empty()).count(), 1));
    run(&world, "up").await.expect(Exit::Done);
    assert_eq!(answer(), Err("not in the deployment (G8)"));
    assert_whole(&world, "chat");
    run(&world, "up --keep-alive").await.expect(Exit::Done);
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

fn ping(world: &World, edit: impl Fn(&mut world::Route, &mut world::Integration)) {
    api(world, |api| {
        let route = api.routes.values_mut().find(|route| route.route_key == "ping").expect("there is one");
        let id = route.target.clone().unwrap().replace("integrations/", "");
        edit(route, api.integrations.get_mut(&id).expect("there is one"));
    });
}

/// Each by itself: what one call repairs beside another hides that it would not alone.
#[tokio::test(start_paused = true)]
async fn each_property_of_a_function_is_repaired_alone() {
    let edits: [Edit; 3] = [
        |world| function(world, |function| "mine".clone_into(&mut function.description)),
        |world| function(world, |function| function.reserved = Some(0)),
        |world| function(world, |function| function.memory_mb = 128),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        is_repaired("function", &format!("edit {at}"), edit).await;
    }
}

/// Its kind and its method are repaired as its address is, each by itself.
#[tokio::test(start_paused = true)]
async fn each_property_of_an_integration_is_repaired_alone() {
    fn integration(world: &World, edit: impl Fn(&mut world::Integration)) {
        api(world, |api| edit(api.integrations.values_mut().next().expect("there is one")));
    }
    let edits: [Edit; 2] = [
        |world| integration(world, |integration| integration.method = Some("GET".to_owned())),
        |world| integration(world, |integration| "AWS".clone_into(&mut integration.integration_type)),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        is_repaired("integration", &format!("edit {at}"), edit).await;
    }
}

/// A tag and a boundary that nobody asked for go, each by itself.
#[tokio::test(start_paused = true)]
async fn each_property_of_a_role_is_repaired_alone() {
    let edits: [Edit; 3] = [
        |world| role(world, |role| drop(role.tags.insert("stray".to_owned(), "tag".to_owned()))),
        |world| role(world, |role| role.boundary = Some("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned())),
        |world| role(world, |role| role.trust = role.trust.replace("lambda", "ec2")),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        is_repaired("role", &format!("edit {at}"), edit).await;
    }
}

/// Of rate and burst one alone may change, by one call.
#[tokio::test(start_paused = true)]
async fn either_limit_of_a_stage_changes_without_the_other() {
    let world = deployed().await;
    run(&world, "up --throttle-rate 50 --throttle-burst 20").await.expect(Exit::Done);
    for flags in ["--throttle-rate 60 --throttle-burst 20", "--throttle-rate 60 --throttle-burst 30"] {
        world.clear_calls();
        run(&world, &format!("up {flags}")).await.expect(Exit::Done);
        let made: Vec<&str> = world.effects().iter().map(|call| call.operation).collect();
        assert_eq!(made, ["UpdateStage"], "{flags}");
        run(&world, &format!("status {flags}")).await.expect(Exit::Done);
    }
}

/// SQS shows an empty name where a queue has no key of its own.
#[tokio::test(start_paused = true)]
async fn a_queue_with_an_empty_name_of_a_key_has_none() {
    let world = deployed_with("--delivery queue").await;
    world.edit(|state| {
        for queue in state.region(ACCOUNT, REGION).queues.values_mut() {
            queue.attributes.insert("KmsMasterKeyId".to_owned(), String::new());
        }
    });
    run(&world, "status --delivery queue").await.expect(Exit::Done);
}

/// Whose it is, is told where its tags tell it, and at once: there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn what_another_deployment_has_is_told_with_the_name_of_that_one() {
    let world = deployed().await;
    tampering("table").look_alike.expect("there are two chats")(&world);
    let began = tokio::time::Instant::now();
    let up = run(&world, "up").await;
    assert!(up.exit != Some(Exit::Done) && up.stderr.contains("belongs to the deployment `another`"), "{}", up.stderr);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", began.elapsed());
}

/// As much as is kept for one is taken from all others, and AWS leaves them ten (L18).
#[tokio::test(start_paused = true)]
async fn a_reserve_that_the_account_cannot_keep_is_named_with_what_to_do() {
    let reserved = |world: &World| {
        world.edit(|state| {
            let functions = state.region(ACCOUNT, REGION).functions.values();
            functions.map(|function| (function.name.clone(), function.reserved)).collect::<Vec<_>>()
        })
    };
    let world = World::new(Switches { concurrent_executions: 10, ..Switches::default() });
    let refused = run(&world, "up --reserved-concurrency 5").await.expect(Exit::Failed);
    assert!(refused.stderr.contains("`lambda:PutFunctionConcurrency` failed"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: the account runs too few functions at once"), "{}", refused.stderr);
    world.switch(|switches| switches.concurrent_executions = 1_000);
    run(&world, "up --reserved-concurrency 5").await.expect(Exit::Done);
    assert_whole(&world, "chat");
    let of_one = [("onConnect", None), ("onDisconnect", None), ("sendMessage", Some(5))];
    assert_eq!(reserved(&world), of_one.map(|(name, runs)| (format!("chat-{name}"), runs)));
    run(&world, "up --reserved-concurrency 5 --delivery queue").await.expect(Exit::Done);
    assert_eq!(reserved(&world).into_iter().filter(|(_, runs)| runs.is_some()).count(), 1, "not the worker");
}

/// An authorizer's id under `NONE` means nothing, so nothing is done about it (G22).
#[tokio::test(start_paused = true)]
async fn an_authorizer_under_none_is_no_difference() {
    let world = deployed().await;
    world.edit(|state| {
        let apis = state.region(ACCOUNT, REGION).apis.values_mut();
        apis.flat_map(|api| api.routes.values_mut()).for_each(|route| route.authorizer_id = Some("once".to_owned()));
    });
    run(&world, "status").await.expect(Exit::Done);
    run(&world, "up").await.expect(Exit::Done);
    assert_eq!(writes(&world), Vec::<String>::new());
}

/// D8: AWS takes no second change of a TTL within an hour. That is a warning, and `status` goes on saying it.
#[tokio::test(start_paused = true)]
async fn a_refused_repair_of_the_ttl_is_a_warning() {
    let world = world();
    run(&world, "up").await.expect(Exit::Done);
    table(&world, |table| (table.ttl.enabled, table.ttl.attribute) = (false, None));
    let up = run(&world, "up").await.expect(Exit::Done);
    assert!(up.stderr.contains("warning: ") && up.stderr.contains("within an hour"), "{}", up.stderr);
    run(&world, "status").await.expect(Exit::Differs);
    tokio::time::sleep(std::time::Duration::from_secs(3_700)).await;
    run(&world, "up").await.expect(Exit::Done);
    run(&world, "status").await.expect(Exit::Done);
}

/// Where a policy of the account decides for how long logs are kept, `up` says so and ends well (L16).
#[tokio::test(start_paused = true)]
async fn a_retention_policy_of_the_account_is_a_warning() {
    let world = world();
    world.edit(|state| state.region(ACCOUNT, REGION).log_retention_policy = Some(90));
    for line in ["up", "up", "up --memory 1024"] {
        let up = run(&world, line).await.expect(Exit::Done);
        let said = "warning: log-group /aws/lambda/chat-onConnect: its logs are kept for 90 days, not for 14";
        assert!(up.stderr.contains(said), "{}", up.stderr);
    }
    assert_whole(&world, "chat");
    run(&world, "status").await.expect(Exit::Differs);
    world.edit(|state| state.region(ACCOUNT, REGION).log_retention_policy = None);
    run(&world, "status --memory 1024").await.expect(Exit::Done);
}

/// Somebody protected it: `down` says so. It removes nothing around a table (D2), and the rest around a log group (L17).
#[tokio::test(start_paused = true)]
async fn what_is_protected_from_deletion_is_named_with_what_to_do() {
    let world = deployed().await;
    let protect = |protected| {
        table(&world, |table| table.deletion_protection = protected);
        world.edit(|state| {
            let groups = state.region(ACCOUNT, REGION).log_groups.values_mut();
            groups.for_each(|group| group.deletion_protection = protected);
        });
    };
    protect(true);
    let down = run(&world, "down").await.expect(Exit::Failed);
    for guarded in ["log-group /aws/lambda/chat-sendMessage", "table chat-connections"] {
        assert!(down.stderr.contains(&format!("{guarded}: its deletion protection is on")), "{}", down.stderr);
    }
    assert!(down.stderr.contains("take the protection off (`chatctl up` does so for a table)"), "{}", down.stderr);
    assert_eq!(writes(&world), Vec::<String>::new());
    table(&world, |table| table.deletion_protection = false);
    let down = run(&world, "down").await.expect(Exit::Failed);
    assert!(down.stderr.contains("nothing was removed: log-group /aws/lambda/chat-onConnect"), "{}", down.stderr);
    assert_eq!(writes(&world), Vec::<String>::new());
    protect(false);
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// A role that is made anew under a living function is another one, for which the function's variables are not encrypted:
/// only a new function works with it (I12). Clients stay connected meanwhile.
#[tokio::test(start_paused = true)]
async fn a_chat_works_again_after_a_role_was_made_anew_under_its_function() {
    let deleted: Edit = |world| {
        world.edit(|state| state.account(ACCOUNT).roles.retain(|name, _| !name.ends_with("onconnect")));
    };
    // By somebody who put everything back, to the last letter.
    let replaced: Edit = |world| {
        let now = world.now();
        role(world, |role| {
            "AROAANOTHER0000000000".clone_into(&mut role.id);
            role.created = now;
        });
    };
    for (edit, line) in [(deleted, "up"), (deleted, "up --memory 1024"), (replaced, "up")] {
        let world = deployed().await;
        connect(&world);
        edit(&world);
        run(&world, "status").await.expect(Exit::Differs);
        run(&world, line).await.expect(Exit::Done);
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert_whole(&world, "chat");
        assert_eq!(connected(&world), CONNECTED, "{line}");
        world.clear_calls();
        run(&world, line).await.expect(Exit::Done);
        assert_eq!(writes(&world), Vec::<String>::new(), "{line}");
    }
}

/// S2: ARNs, suffixes and principals of the other partitions.
#[tokio::test(start_paused = true)]
async fn other_partitions_are_other_arns_and_other_suffixes() {
    for (region, partition, suffix) in
        [("cn-north-1", "aws-cn", "amazonaws.com.cn"), ("us-gov-west-1", "aws-us-gov", "amazonaws.com")]
    {
        let world = world();
        let up = support::Process::new(&world, "up").region(region).run().await.expect(Exit::Done);
        let url = up.stdout.trim_end();
        assert!(url.starts_with("wss://") && url.ends_with(&format!(".execute-api.{region}.{suffix}/prod")), "{url}");
        let dump = world.everything(ACCOUNT).join("\n");
        assert!(dump.contains(&format!("arn:{partition}:")) && !dump.contains("arn:aws:"), "{dump}");
        support::Process::new(&world, "down").region(region).run().await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}

/// Several deployments and regions side by side: each `down` takes its own only.
#[tokio::test(start_paused = true)]
async fn deployments_side_by_side_do_not_touch_each_other() {
    let world = world();
    run(&world, "up").await.expect(Exit::Done);
    run(&world, "up --name chat-two").await.expect(Exit::Done);
    support::Process::new(&world, "up").region("us-east-1").run().await.expect(Exit::Done);
    run(&world, "down").await.expect(Exit::Done);
    run(&world, "status --name chat-two").await.expect(Exit::Done);
    support::Process::new(&world, "status").region("us-east-1").run().await.expect(Exit::Done);
    run(&world, "status").await.expect(Exit::Absent);
}
