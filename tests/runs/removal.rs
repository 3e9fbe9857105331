//! What is wanted no more is found and removed, wherever an earlier run stopped; what is somebody else's stays.

use chatctl::error::Exit;
use serde_json::Value;
use support::{ACCOUNT, REGION, assert_nothing_left, assert_whole, run};
use world::World;

/// A fourth function of `chat` with all that belongs to it, as an earlier `up` with other settings left it.
pub fn with_a_fourth_function(world: &World) {
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        let mut role = account.role(&format!("chat-{REGION}-sendMessage")).expect("there is one").clone();
        role.name = format!("chat-{REGION}-join");
        role.arn = role.arn.replace("sendMessage", "join");
        let arn = role.arn.clone();
        account.roles.insert(role.name.to_lowercase(), role);
        let region = account.region(REGION);
        let mut function = region.functions["chat-sendMessage"].clone();
        "chat-join".clone_into(&mut function.name);
        (function.arn, function.role) = (function.arn.replace("sendMessage", "join"), arn);
        region.functions.insert(function.name.clone(), function);
        let mut group = region.log_groups["/aws/lambda/chat-sendMessage"].clone();
        "/aws/lambda/chat-join".clone_into(&mut group.name);
        group.arn = group.arn.replace("sendMessage", "join");
        region.log_groups.insert(group.name.clone(), group);
        for api in region.apis.values_mut().filter(|api| api.name == "chat") {
            let mut integration = api.integration_of("sendmessage").expect("there is one").clone();
            "join000".clone_into(&mut integration.id);
            integration.uri = integration.uri.map(|uri| uri.replace("sendMessage", "join"));
            let mut route = api.route("sendmessage").expect("there is one").clone();
            "joinrt0".clone_into(&mut route.id);
            "join".clone_into(&mut route.route_key);
            route.target = Some(format!("integrations/{}", integration.id));
            api.integrations.insert(integration.id.clone(), integration);
            api.routes.insert(route.id.clone(), route);
        }
    });
}

/// Somebody else's that looks like one of ours, by name alone.
fn with_look_alikes(world: &World) {
    world.edit(|state| {
        let region = state.region(ACCOUNT, REGION);
        let mut group = region.log_groups["/aws/lambda/chat-sendMessage"].clone();
        "/aws/lambda/chat-other".clone_into(&mut group.name);
        group.arn = group.arn.replace("sendMessage", "other");
        group.tags.clear();
        region.log_groups.insert(group.name.clone(), group);
        let mut function = region.functions["chat-sendMessage"].clone();
        "chat-other".clone_into(&mut function.name);
        function.arn = function.arn.replace("sendMessage", "other");
        function.tags.clear();
        region.functions.insert(function.name.clone(), function);
    });
}

fn of_others(world: &World) -> Vec<String> {
    let everything = world.everything(ACCOUNT).into_iter();
    everything.filter(|line| line.contains("chat-other") || line.contains("chat-two")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_wanted_no_more_is_removed_with_all_that_belongs_to_it() {
    for verb in ["up", "down"] {
        let world = World::new(support::brisk());
        run(&world, "up").await.expect(Exit::Done);
        run(&world, "up --name chat-two").await.expect(Exit::Done);
        with_a_fourth_function(&world);
        with_look_alikes(&world);
        let others = of_others(&world);

        let status = run(&world, "status -o json").await.expect(Exit::Differs).json();
        let differing = |kind: &str| {
            let resources = status["resources"].as_array().expect("a list").iter();
            let is_it = |resource: &&Value| resource["kind"] == kind && resource["state"] != "ready";
            resources.filter(is_it).map(|resource| resource["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(differing("function"), ["chat-join"]);
        assert_eq!(differing("role"), [format!("chat-{REGION}-join")]);
        assert_eq!(differing("log-group"), ["/aws/lambda/chat-join"]);
        assert_eq!(differing("route"), ["join"]);

        run(&world, verb).await.expect(Exit::Done);
        if verb == "up" {
            assert_whole(&world, "chat");
            run(&world, "status").await.expect(Exit::Done);
            run(&world, "down").await.expect(Exit::Done);
        }
        assert_eq!(of_others(&world), others);
        run(&world, "down --name chat-two").await.expect(Exit::Done);
        assert_nothing_left(&world);
    }
}

/// One of the walkthrough may have begun without its log group, so nothing else has to tell of it.
#[tokio::test(start_paused = true)]
async fn the_register_is_made_first_and_deleted_last() {
    let world = World::new(support::brisk());
    run(&world, "up").await.expect(Exit::Done);
    with_a_fourth_function(&world);
    world.clear_calls();
    run(&world, "up").await.expect(Exit::Done);
    let effects: Vec<String> =
        world.effects().iter().map(|call| format!("{} {}", call.operation, call.resource)).collect();
    let at = |what: &str, of: &str| {
        let found = effects.iter().position(|effect| effect.starts_with(what) && effect.contains(of));
        found.unwrap_or_else(|| panic!("no {what} {of} in {effects:#?}"))
    };
    let stage = effects.iter().rposition(|effect| effect.starts_with("UpdateStage")).expect("the stage is moved on");
    let (function, role) = (at("DeleteFunction", "chat-join"), at("DeleteRole", "join"));
    assert!(stage < function && function < role, "{effects:#?}");
    assert!(role < at("DeleteLogGroup", "chat-join"), "{effects:#?}");
}
