//! An app of one's own: routes and functions that the settings file declares, in the model of AWS.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use chatctl::error::Exit;
use serde_json::Value;
use support::{ACCOUNT, Ended, Folder, REGION, assert_nothing_left, assert_whole, run};
use world::{Rate, Service, Switches, World};

/// A folder with a settings file, and a handler of one's own beside those that are built in.
pub struct Project {
    folder: Folder,
}

const HANDLER: &str = "export const handler = async () => ({ statusCode: 200 });\n";

impl Project {
    pub fn new(settings: &str) -> Self {
        let folder = Folder::new();
        let handlers = folder.0.join("lambda");
        fs::create_dir(&handlers).unwrap();
        for (name, content) in chatctl::handlers::embedded() {
            fs::write(handlers.join(name), content).unwrap();
        }
        let project = Self { folder };
        project.handler("join");
        project.settings(settings);
        project
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("chatctl.toml")
    }

    pub fn handler(&self, name: &str) {
        fs::write(self.folder.0.join("lambda").join(format!("{name}.mjs")), HANDLER).unwrap();
    }

    /// What the messages of a route must be like.
    pub fn schema(&self, text: &str) {
        fs::write(self.folder.0.join("join.schema.json"), text).unwrap();
    }

    /// Another file each time, so that nobody takes the policy of one for that of another.
    fn settings(&self, settings: &str) {
        fs::write(self.path(), format!("handlers = \"lambda/\"\n{settings}")).unwrap();
    }

    pub fn line(&self, line: &str) -> String {
        format!("{line} --config {}", self.path().display())
    }

    async fn run(&self, world: &World, line: &str) -> Ended {
        run(world, &self.line(line)).await
    }
}

/// One route with a function of its own, and two more that share another.
const THREE: &str = r#"
[routes.join]
table = "read-write"
posts = true
memory = 1024
timeout = 10
environment = { ROOM_SIZE = "50" }
rate = 50
burst = 100

[routes."rooms/leave"]
handler = "leave"
table = "write"

[routes."$default"]
handler = "leave"
"#;

#[tokio::test(start_paused = true)]
async fn each_handler_has_exactly_what_is_declared_and_each_route_its_permission() {
    let (world, project) = (World::new(support::brisk()), Project::new(THREE));
    project.handler("leave");
    project.run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        let mut policy_of = |name: &str| -> Value {
            let role = account.role(&format!("chat-{REGION}-{name}")).expect("a role");
            let document: Value = serde_json::from_str(&role.inline["chatctl"].document).unwrap();
            let statements = document["Statement"].as_array().unwrap().iter();
            statements.map(|one| (one["Sid"].as_str().unwrap().to_owned(), one["Action"].clone())).collect()
        };
        let join = policy_of("join");
        assert_eq!(join["Connections"].as_array().unwrap().len(), 8, "{join}");
        assert_eq!(join["Post"], "execute-api:ManageConnections");
        let leave = policy_of("leave");
        let writes =
            ["BatchWriteItem", "DeleteItem", "PutItem", "UpdateItem"].map(|action| format!("dynamodb:{action}"));
        assert_eq!(leave["Connections"], serde_json::json!(writes));
        assert!(leave.get("Post").is_none(), "{leave}");

        let region = account.region(REGION);
        let function = &region.functions["chat-join"];
        assert_eq!((function.memory_mb, function.timeout_seconds), (1024, 10));
        assert_eq!(function.environment["ROOM_SIZE"], "50");
        let api = region.apis.values().next().expect("an API").clone();
        let statements = |name: &str| -> Vec<(String, String)> {
            let policy = region.functions[name].policy.values();
            policy.map(|one| (one.sid.clone(), one.source_arn.clone().unwrap())).collect()
        };
        let arn = |route: &str| format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{}/*/{route}", api.id);
        assert_eq!(statements("chat-join"), [("chatctl-join".to_owned(), arn("join"))]);
        let expected = [("chatctl-_ddefault", "$default"), ("chatctl-rooms_sleave", "rooms/leave")];
        assert_eq!(statements("chat-leave"), expected.map(|(id, route)| (id.to_owned(), arn(route))));
        assert_eq!(statements("chat-sendMessage"), [("chatctl".to_owned(), arn("sendmessage"))]);
        for (route, function) in [("join", "join"), ("$default", "leave"), ("rooms/leave", "leave")] {
            let uri = api.integration_of(route).unwrap().uri.clone().unwrap();
            assert!(uri.ends_with(&format!(":function:chat-{function}/invocations")), "{route}: {uri}");
        }
        assert_eq!((api.routes.len(), api.integrations.len(), region.functions.len()), (6, 6, 5));
        let settings = &api.stages["prod"].route_settings;
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["join", "sendmessage"]);
    });
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(world.effects().len(), 0, "twice is a no-op");
    project.run(&world, "status").await.expect(Exit::Done);
    let logs = project.run(&world, "logs --function leave").await.expect(Exit::Done);
    assert_eq!(logs.stderr, "");
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_of_the_file_is_removed_by_the_next_up_or_by_a_down_that_knows_nothing_of_it() {
    for last in ["up", "down"] {
        let (world, project) = (World::new(support::brisk()), Project::new(THREE));
        project.handler("leave");
        project.run(&world, "up").await.expect(Exit::Done);
        // Two routes to one function: with one of them it stays.
        project.settings("[routes.\"$default\"]\nhandler = \"leave\"\n");
        project.run(&world, "up").await.expect(Exit::Done);
        world.edit(|state| {
            let region = state.region(ACCOUNT, REGION);
            assert_eq!(region.functions.keys().filter(|name| name.as_str() == "chat-leave").count(), 1);
            assert!(!region.functions.contains_key("chat-join"));
            assert_eq!(region.functions["chat-leave"].policy.len(), 1);
            let api = region.apis.values().next().expect("an API");
            assert!(!api.stages["prod"].route_settings.contains_key("join"));
        });
        run(&world, last).await.expect(Exit::Done);
        if last == "up" {
            assert_whole(&world, "chat");
            run(&world, "down").await.expect(Exit::Done);
        }
        assert_nothing_left(&world);
    }
}

/// A deployment is one of few that an account may make in a time (G1), and it is what clients meet.
#[tokio::test(start_paused = true)]
async fn a_deployment_is_taken_exactly_when_a_route_changed() {
    let (world, project) = (World::new(support::brisk()), Project::new(THREE));
    project.handler("leave");
    project.run(&world, "up").await.expect(Exit::Done);
    let with = |from: &str, to: &str| {
        assert!(THREE.contains(from), "{from}");
        THREE.replace(from, to)
    };
    for (settings, deployments, what) in [
        (THREE.to_owned(), 0, "nothing"),
        (with("ROOM_SIZE = \"50\"", "ROOM_SIZE = \"60\""), 0, "a variable"),
        (with("memory = 1024\ntimeout = 10", "memory = 512\ntimeout = 20"), 0, "memory and timeout"),
        (with("posts = true", "posts = false"), 0, "rights"),
        (with("rate = 50\nburst = 100", ""), 0, "throttling"),
        (with("posts = true", "posts = true\nreply = true"), 1, "a reply"),
        (with("handler = \"leave\"\ntable = \"write\"", "handler = \"join\"\ntable = \"write\""), 1, "another handler"),
        (format!("{THREE}[routes.more]\nhandler = \"leave\"\n"), 1, "one more route"),
        (with("[routes.\"$default\"]\nhandler = \"leave\"", ""), 1, "a route less"),
    ] {
        project.settings(&settings);
        world.clear_calls();
        project.run(&world, "up").await.expect(Exit::Done);
        let taken = || world.effects().iter().filter(|call| call.operation == "CreateDeployment").count();
        assert_eq!(taken(), deployments, "for {what}");
        project.settings(THREE);
        project.run(&world, "up").await.expect(Exit::Done);
        assert_eq!(taken(), 2 * deployments, "and back again, for {what}");
    }
    std::fs::write(project.folder.0.join("lambda/join.mjs"), format!("{HANDLER}// edited\n")).unwrap();
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(written(&world), ["UpdateFunctionCode"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_of_the_walkthrough_may_be_given_to_another_handler() {
    let (world, project) = (World::new(support::brisk()), Project::new("[routes.sendmessage]\nhandler = \"join\"\n"));
    run(&world, "up").await.expect(Exit::Done);
    project.run(&world, "up").await.expect(Exit::Done);
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        assert!(account.role(&format!("chat-{REGION}-sendMessage")).is_none());
        let functions = &account.region(REGION).functions;
        assert_eq!(functions.keys().collect::<Vec<_>>(), ["chat-join", "chat-onConnect", "chat-onDisconnect"]);
    });
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_missing_is_told_with_its_place_before_anything_is_touched_and_keeps_nobody_from_down() {
    let (world, project) = (World::new(support::brisk()), Project::new(THREE));
    for verb in ["up", "plan", "status", "export --dir out"] {
        let refused = project.run(&world, verb).await.expect(Exit::Usage);
        let expected = format!("error: {}:17:11: there is no handler `leave.mjs`", project.path().display());
        assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
    }
    assert_eq!(world.calls().len(), 0);
    project.handler("leave");
    project.run(&world, "up").await.expect(Exit::Done);
    fs::remove_dir_all(project.folder.0.join("lambda")).unwrap();
    project.run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn an_index_comes_and_goes_with_its_setting() {
    let route = "[routes.join]\ntable = \"read\"\n";
    let (world, project) = (World::new(support::brisk()), Project::new(route));
    let indexes = || {
        let of_table = |table: &world::Table| table.indexes.keys().cloned().collect::<Vec<_>>();
        world.edit(|state| of_table(&state.region(ACCOUNT, REGION).tables["chat-connections"]))
    };
    let resources = || {
        world.edit(|state| {
            let role = state.account(ACCOUNT).role(&format!("chat-{REGION}-join")).expect("a role").clone();
            role.inline["chatctl"].document.matches("/index/*").count()
        })
    };
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!((indexes(), resources()), (vec![], 0));
    project.settings(&format!("table-indexes = [\"room\", \"team\"]\n{route}"));
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!((indexes(), resources()), (vec!["room".to_owned(), "team".to_owned()], 1));
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(world.effects().len(), 0, "twice is a no-op");
    // Somebody's hand: another key under the name, and one more.
    world.edit(|state| {
        let table = state.region(ACCOUNT, REGION).tables.get_mut("chat-connections").expect("there is one");
        table.indexes.insert("team".to_owned(), "room".to_owned());
        table.indexes.insert("more".to_owned(), "room".to_owned());
        table.attributes.remove("team");
    });
    project.run(&world, "status").await.expect(Exit::Differs);
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(indexes(), ["room", "team"]);
    project.settings(route);
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!((indexes(), resources()), (vec![], 0));
    project.settings(&format!("table-indexes = [\"room\"]\n{route}"));
    project.run(&world, "down").await.expect(Exit::Done);
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(indexes(), ["room"]);
}

/// The writes, sorted.
fn written(world: &World) -> Vec<&'static str> {
    let mut written: Vec<&str> = world.effects().iter().map(|call| call.operation).collect();
    written.sort_unstable();
    written
}

/// What a deployment is taken anew for.
const DEPLOYED: [&str; 4] = ["CreateDeployment", "DeleteDeployment", "UpdateStage", "UpdateStage"];

#[tokio::test(start_paused = true)]
async fn a_reply_is_a_response_of_the_route_that_comes_and_goes_with_its_setting() {
    let replying = "[routes.join]\nreply = true\n[routes.sendmessage]\nreply = true\n";
    let (world, project) = (World::new(support::brisk()), Project::new("[routes.join]\n"));
    let responds = || {
        world.edit(|state| {
            let api = state.region(ACCOUNT, REGION).apis.values().next().expect("an API").clone();
            ["$connect", "join", "sendmessage"].map(|key| {
                let route = api.route(key).expect("a route");
                let expression = route.other.get("routeResponseSelectionExpression").and_then(Value::as_str);
                (expression == Some("$default"), route.responses.len())
            })
        })
    };
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(responds(), [(false, 0); 3]);
    project.settings(replying);
    let plan = project.run(&world, "plan").await.expect(Exit::Done);
    assert!(plan.stdout.contains("responds: false → true"), "{}", plan.stdout);
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    let mut expected = DEPLOYED.to_vec();
    expected.extend(["CreateRouteResponse", "CreateRouteResponse", "UpdateRoute", "UpdateRoute"]);
    expected.sort_unstable();
    assert_eq!(written(&world), expected);
    assert_eq!(responds(), [(false, 0), (true, 1), (true, 1)]);
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(written(&world), [""; 0], "twice is a no-op");
    // By hand.
    world.edit(|state| {
        let api = state.region(ACCOUNT, REGION).apis.values_mut().next().expect("an API");
        api.routes.values_mut().filter(|route| route.route_key == "join").for_each(|route| route.responses.clear());
    });
    project.run(&world, "status").await.expect(Exit::Differs);
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(responds()[1], (true, 1));
    project.settings("[routes.join]\n");
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(responds().map(|(_, count)| count), [0; 3]);
    project.run(&world, "status").await.expect(Exit::Done);
    project.run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn a_schema_is_a_model_of_its_route_that_comes_changes_and_goes_with_its_file() {
    let held = "[routes.join]\nschema = \"join.schema.json\"\n[routes.\"a.b\"]\nhandler = \"join\"\n";
    let (world, project) = (World::new(support::brisk()), Project::new(held));
    let models = || {
        world.edit(|state| {
            let api = state.region(ACCOUNT, REGION).apis.values().next().expect("an API").clone();
            let route = api.route("join").expect("a route").other.clone();
            let models = api.models.values().map(|model| (model.name.clone(), model.schema.clone()));
            let selection = route.get("modelSelectionExpression").and_then(Value::as_str).unwrap_or_default();
            let named = route.get("requestModels").cloned().unwrap_or_default();
            (models.collect::<Vec<_>>(), named, selection.to_owned())
        })
    };
    // Before anything is touched.
    let settings = project.path();
    let missing = project.run(&world, "up").await.expect(Exit::Usage);
    let says = format!("error: {}:3:10: cannot read `{}", settings.display(), project.folder.0.display());
    assert!(missing.stderr.starts_with(&says), "{}", missing.stderr);
    for (text, says) in
        [("{\n\"type\": \"object\"", ":2:16: EOF"), ("{\n  \"const\": 1\n}", ":2:3: draft 4 has no `const`")]
    {
        project.schema(text);
        for verb in ["up", "plan", "status", "export --dir out"] {
            let refused = project.run(&world, verb).await.expect(Exit::Usage);
            assert!(refused.stderr.contains(&format!("join.schema.json{says}")), "{}", refused.stderr);
        }
    }
    assert_eq!(world.calls().len(), 0);

    let first = r#"{"properties":{"room":{"type":"string"}},"type":"object"}"#;
    project.schema(first);
    project.run(&world, "up").await.expect(Exit::Done);
    let named = serde_json::json!({ "$default": "JoinMessage" });
    let as_wanted = |schema: &str| {
        (vec![("JoinMessage".to_owned(), schema.to_owned())], named.clone(), "$request.body.action".to_owned())
    };
    assert_eq!(models(), as_wanted(first));
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(written(&world), [""; 0], "twice is a no-op");
    project.schema(&format!("  {first}\n"));
    project.run(&world, "status").await.expect(Exit::Done);

    let second = r#"{"required":["room"],"type":"object"}"#;
    project.schema(second);
    let plan = project.run(&world, "plan").await.expect(Exit::Done);
    assert!(plan.stdout.contains("schema.required: none → [\"room\"]"), "{}", plan.stdout);
    project.run(&world, "up").await.expect(Exit::Done);
    let mut expected = DEPLOYED.to_vec();
    expected.push("UpdateModel");
    expected.sort_unstable();
    assert_eq!(written(&world), expected, "a deployment has the schema of its time");
    assert_eq!(models(), as_wanted(second));

    // By hand.
    let by_hand: [fn(&mut world::Api); 4] = [
        |api| api.models.values_mut().for_each(|model| model.schema = "{}".to_owned()),
        |api| api.models.clear(),
        |api| api.routes.values_mut().for_each(|route| drop(route.other.remove("modelSelectionExpression"))),
        |api| {
            let mut more = api.models.values().next().expect("a model").clone();
            "more".clone_into(&mut more.id);
            "More".clone_into(&mut more.name);
            api.models.insert(more.id.clone(), more);
        },
    ];
    for edit in by_hand {
        world.edit(|state| edit(state.region(ACCOUNT, REGION).apis.values_mut().next().expect("an API")));
        project.run(&world, "status").await.expect(Exit::Differs);
        project.run(&world, "up").await.expect(Exit::Done);
        assert_eq!(models(), as_wanted(second));
    }

    project.settings("[routes.join]\n");
    project.run(&world, "up").await.expect(Exit::Done);
    assert_eq!(models(), (vec![], serde_json::json!({}), String::new()));
    project.run(&world, "status").await.expect(Exit::Done);
    project.settings(held);
    project.run(&world, "up").await.expect(Exit::Done);
    fs::remove_file(project.folder.0.join("join.schema.json")).unwrap();
    project.run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// What was asked, however often because of quotas.
fn looks(world: &World) -> usize {
    let calls = world.calls();
    calls.iter().map(|call| format!("{} {}", call.operation, call.resource)).collect::<BTreeSet<_>>().len()
}

/// How many calls Lambda has refused for its quotas.
fn refused_by_lambda(world: &World) -> usize {
    let calls = world.calls();
    calls.iter().filter(|call| call.service == Service::Lambda && call.status == Some(429)).count()
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// How much sixty routes cost: the numbers are in docs/performance.md.
#[tokio::test(start_paused = true)]
async fn sixty_routes_are_one_deployment_like_any_other() {
    let project = Project::new("");
    let settings: Vec<String> = (0..60)
        .map(|n| {
            project.handler(&format!("own{n}"));
            format!("[routes.own{n}]\ntable = \"read\"\n")
        })
        .collect();
    project.settings(&settings.join("\n"));
    let switches = Switches { page_size: 100, ..Switches::default() };
    let world = World::new(switches.clone());
    let begun = world.now();
    project.run(&world, "up").await.expect(Exit::Done);
    let took = world.now().saturating_sub(begun);
    let (first, refused) = (world.calls().len(), refused_by_lambda(&world));
    // Until the quotas, which this run has used up, are full again.
    tokio::time::sleep(10 * SECOND).await;
    world.clear_calls();
    project.run(&world, "up").await.expect(Exit::Done);
    let (second, looks) = (world.calls().len(), looks(&world));
    assert_eq!(second, looks, "nothing is asked twice");
    assert_eq!(world.effects().len(), 0);
    world.clear_calls();
    project.run(&world, "logs").await.expect(Exit::Done);
    let reads: Vec<_> = world.calls().into_iter().filter(|call| call.operation == "FilterLogEvents").collect();
    let in_a_second = |from| reads.iter().filter(|call| call.start >= from && call.start < from + SECOND).count();
    assert_eq!(reads.len(), 63, "each is read once");
    assert!(reads.iter().all(|call| in_a_second(call.start) <= 5), "CloudWatch takes five reads a second");
    world.clear_calls();
    project.run(&world, "down").await.expect(Exit::Done);
    let last = world.calls().len();
    // Until roles are known; then each function is made and gets a permission, and each policy is read for the proof, of which
    // Lambda takes fifteen a second.
    let Some(Rate { per_second, burst }) = switches.lambda_rate else { panic!("the quota is on") };
    let quota = |calls: f64| std::time::Duration::from_secs_f64((calls - burst) / per_second);
    let floor = switches.latency * 5 + switches.iam_propagation + quota(2.0 * 63.0) + quota(63.0);
    let ratio = took.as_secs_f64() / floor.as_secs_f64();
    println!(
        "60 routes: {first} calls in {took:?}, of which AWS needs {floor:?} (ratio {ratio:.2}), \
         {refused} refused by Lambda; again {second}, down {last} with {} refused",
        refused_by_lambda(&world)
    );
    assert_nothing_left(&world);
    assert!(ratio <= 1.15, "{took:?} for {floor:?}");
    assert!(refused <= first / 50, "{refused} of {first} calls are refused");
    assert!(looks <= 15 + 63 * 7, "{looks} looks");
}
