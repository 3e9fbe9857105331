//! API Gateway, as the real SDK meets it in the model.

use super::common::*;
use aws_sdk_apigatewayv2::types::{DeploymentStatus, IntegrationType, ProtocolType, RouteSettings};
use world::{Rate, Switches};

#[tokio::test(start_paused = true)]
async fn an_api_carries_its_tags_and_its_endpoint() {
    let (_, c) = world();
    let create = c.apigateway.create_api().name("chat").protocol_type(ProtocolType::Websocket);
    refused(outcome(create.clone().send().await), "BadRequestException: RouteSelectionExpression");
    let create = create.route_selection_expression("$request.body.action").tags("chatctl:name", "chat");
    let made = create.send().await.unwrap();
    let id = made.api_id().unwrap();
    assert_eq!(made.api_endpoint().unwrap(), format!("wss://{id}.execute-api.eu-central-1.amazonaws.com"));
    let listed = c.apigateway.get_apis().send().await.unwrap();
    assert_eq!(listed.items()[0].tags().unwrap()["chatctl:name"], "chat");
    assert_eq!(listed.items()[0].created_date().unwrap().secs(), 1_795_521_600);
}

#[tokio::test(start_paused = true)]
async fn every_list_comes_in_pages() {
    let (_, c) = world();
    for name in ["a", "b", "c"] {
        c.create_api(name).await;
    }
    let first = c.apigateway.get_apis().max_results("100").send().await.unwrap();
    assert_eq!(first.items().len(), 2);
    let second = c.apigateway.get_apis().next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((second.items().len(), second.next_token()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn writes_to_one_api_must_not_overlap() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    let other = c.create_api("other").await;
    let create = |api: &str| {
        let create = c.apigateway.create_integration().api_id(api).integration_type(IntegrationType::AwsProxy);
        create.integration_uri(uri()).send()
    };
    let (first, second, elsewhere) = tokio::join!(create(&api), create(&api), create(&other));
    assert_eq!(outcome(first), Ok(()));
    let error = second.unwrap_err();
    assert!(error.as_service_error().unwrap().is_conflict_exception());
    refused(
        outcome::<(), _>(Err(error)),
        "ConflictException: Unable to complete operation due to concurrent modification",
    );
    assert_eq!(outcome(elsewhere), Ok(()));
    assert_eq!(outcome(create(&api).await), Ok(()));
    assert_eq!(world.effects().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn integrations_are_checked() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let create = || c.apigateway.create_integration().api_id(&api).integration_type(IntegrationType::AwsProxy);
    let short = create().integration_uri(FUNCTION_ARN).send().await;
    refused(outcome(short), "BadRequestException: Invalid integration URI");
    let elsewhere = create().integration_uri(uri().replace("arn:aws:", "arn:aws-cn:")).send().await;
    refused(outcome(elsewhere), "BadRequestException: Invalid integration URI");
    let version = create().integration_uri(uri()).payload_format_version("1.0").send().await;
    refused(outcome(version), "BadRequestException: PayloadFormatVersion");
    let slow = create().integration_uri(uri()).timeout_in_millis(30_000).send().await;
    refused(outcome(slow), "BadRequestException: Timeout");
    let made = create().integration_uri(uri()).send().await.unwrap();
    assert_eq!((made.integration_method(), made.timeout_in_millis()), (Some("POST"), Some(29_000)));

    c.create_route(&api, "sendmessage", made.integration_id().unwrap()).await.unwrap();
    let delete = c.apigateway.delete_integration().api_id(&api).integration_id(made.integration_id().unwrap());
    refused(outcome(delete.send().await), "ConflictException: Cannot delete Integration");
}

/// G31
#[tokio::test(start_paused = true)]
async fn a_model_is_there_before_its_route_and_not_deleted_while_it_names_it() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let create = || c.apigateway.create_model().api_id(&api).content_type("application/json");
    refused(outcome(create().name("a-b").schema("{}").send().await), "BadRequestException: Model name must be");
    refused(outcome(create().name("Join").schema("{").send().await), "BadRequestException: Invalid model");
    let newer = create().name("Join").schema(r#"{"const":1}"#).send().await;
    refused(outcome(newer), "BadRequestException: Invalid model schema specified. Unsupported keyword(s)");
    let made = create().name("Join").schema("{}").send().await.unwrap();
    refused(outcome(create().name("Join").schema("{}").send().await), "ConflictException: Model name already exists");
    let route = || c.apigateway.create_route().api_id(&api).route_key("join").model_selection_expression("$default");
    refused(
        outcome(route().request_models("$default", "Other").send().await),
        "BadRequestException: Invalid model name",
    );
    let route = route().request_models("$default", "Join").send().await.unwrap();
    let delete = || c.apigateway.delete_model().api_id(&api).model_id(made.model_id().unwrap()).send();
    refused(outcome(delete().await), "ConflictException: Cannot delete model");
    let update = c.apigateway.update_route().api_id(&api).route_id(route.route_id().unwrap());
    update.set_request_models(Some([].into())).send().await.unwrap();
    assert_eq!(outcome(delete().await), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn routes_are_checked() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    refused(c.create_route(&api, "$connect", "nothing").await, "NotFoundException");
    c.create_route(&api, "$connect", &integration).await.unwrap();
    refused(c.create_route(&api, "$connect", &integration).await, "ConflictException: Route with key $connect");
    refused(c.create_route(&api, "$unknown", &integration).await, "BadRequestException");
    let routes = c.apigateway.get_routes().api_id(&api).send().await.unwrap();
    assert_eq!(routes.items()[0].target().unwrap(), format!("integrations/{integration}"));
    let missing = c.apigateway.get_route().api_id(&api).route_id("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_a_snapshot() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    refused(outcome(c.apigateway.create_deployment().api_id(&api).send().await), "BadRequestException: At least one");
    wait(5).await;
    let integration = c.create_integration(&api).await;
    c.create_route(&api, "$connect", &integration).await.unwrap();
    let made = c.apigateway.create_deployment().api_id(&api).description("hash").send().await.unwrap();
    assert_eq!(made.deployment_status(), Some(&DeploymentStatus::Pending));
    let id = made.deployment_id().unwrap();
    let stage = || c.apigateway.create_stage().api_id(&api).stage_name("prod").deployment_id(id);
    refused(outcome(stage().send().await), "BadRequestException");
    wait(1).await;
    stage().send().await.unwrap();
    refused(outcome(stage().send().await), "ConflictException: Stage already exists");
    c.create_route(&api, "sendmessage", &integration).await.unwrap();
    let delete = c.apigateway.delete_deployment().api_id(&api).deployment_id(id).send().await;
    refused(outcome(delete), "BadRequestException: Active stages");
    let served =
        world.edit(|state| state.region(ACCOUNT, REGION).apis[&api].deployment_of("prod").unwrap().routes.len());
    assert_eq!(served, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stage_merges_and_keeps_what_it_should_not() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    c.create_route(&api, "$connect", &integration).await.unwrap();
    let deployment = c.deploy(&api).await;
    let create = c.apigateway.create_stage().api_id(&api).stage_name("prod").auto_deploy(true);
    refused(outcome(create.clone().deployment_id(&deployment).send().await), "BadRequestException: DeploymentId");
    create.send().await.unwrap();
    let update = || c.apigateway.update_stage().api_id(&api).stage_name("prod");
    let settings = RouteSettings::builder().data_trace_enabled(false).build();
    update().auto_deploy(false).default_route_settings(settings).send().await.unwrap();
    let stage = update().deployment_id(&deployment).send().await.unwrap();
    // Zeros where none were sent (G12), and still there after a call without them (G11).
    assert_eq!(stage.default_route_settings().unwrap().throttling_burst_limit(), Some(0));
    assert_eq!(stage.deployment_id(), Some(deployment.as_str()));
    assert!(world.chat_works(ACCOUNT, REGION, &api, "prod").unwrap_err()[0].contains("throttles"));
}

#[tokio::test(start_paused = true)]
async fn route_settings_are_merged_route_by_route_and_need_their_route() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    c.create_route(&api, "$connect", &integration).await.unwrap();
    c.create_route(&api, "sendmessage", &integration).await.unwrap();
    let deployment = c.deploy(&api).await;
    let limits = || RouteSettings::builder().throttling_rate_limit(5.0).throttling_burst_limit(6).build();
    let create = c.apigateway.create_stage().api_id(&api).stage_name("prod").deployment_id(&deployment);
    create.clone().route_settings("nope", limits()).send().await.unwrap_err();
    create.route_settings("sendmessage", limits()).send().await.unwrap();
    let update = || c.apigateway.update_stage().api_id(&api).stage_name("prod");
    refused(outcome(update().route_settings("nope", limits()).send().await), "NotFoundException: Unable to find Route");
    let half = RouteSettings::builder().throttling_burst_limit(6).build();
    let stage = update().route_settings("$connect", half).send().await.unwrap();
    let settings = stage.route_settings().unwrap();
    assert_eq!(settings["sendmessage"].throttling_rate_limit(), Some(5.0));
    assert_eq!(settings["$connect"].throttling_rate_limit(), Some(0.0));
    assert!(world.chat_works(ACCOUNT, REGION, &api, "prod").unwrap_err()[0].contains("throttles"));
    let delete = || c.apigateway.delete_route_settings().api_id(&api).stage_name("prod").route_key("$connect").send();
    delete().await.unwrap();
    refused(outcome(delete().await), "NotFoundException");
    let stages = c.apigateway.get_stages().api_id(&api).send().await.unwrap();
    assert_eq!(stages.items()[0].route_settings().unwrap().keys().collect::<Vec<_>>(), ["sendmessage"]);
}

#[tokio::test(start_paused = true)]
async fn a_mock_integration_answers_where_every_part_is_there() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    let create = c.apigateway.create_integration().api_id(&api).integration_type("MOCK".into());
    let create = create.request_templates("200", r#"{"statusCode":200}"#).template_selection_expression("200");
    let mock = create.send().await.unwrap().integration_id.unwrap();
    let create = c.apigateway.create_route().api_id(&api).route_key("ping").target(format!("integrations/{mock}"));
    let route = create.route_response_selection_expression("$default").send().await.unwrap().route_id.unwrap();
    let deployment = c.deploy(&api).await;
    c.apigateway.create_stage().api_id(&api).stage_name("prod").deployment_id(&deployment).send().await.unwrap();
    let answer = || world.mock_answer(ACCOUNT, REGION, &api, "prod", "ping");
    assert_eq!(answer(), Err("no integration response"));

    let respond = || {
        let create = c.apigateway.create_integration_response().api_id(&api).integration_id(&mock);
        create
            .integration_response_key("$default")
            .template_selection_expression("200")
            .response_templates("200", "pong")
    };
    respond().send().await.unwrap();
    refused(outcome(respond().send().await), "ConflictException");
    let create = c.apigateway.create_route_response().api_id(&api).route_id(&route);
    create.clone().route_response_key("200").send().await.unwrap_err();
    create.route_response_key("$default").send().await.unwrap();
    assert_eq!(answer(), Err("no integration response"), "a deployment is a snapshot (G8)");
    wait(5).await;
    let deployment = c.deploy(&api).await;
    let update = c.apigateway.update_stage().api_id(&api).stage_name("prod");
    update.deployment_id(&deployment).send().await.unwrap();
    assert_eq!(answer().unwrap(), "pong");

    let proxy = c.create_integration(&api).await;
    let create = c.apigateway.create_integration_response().api_id(&api).integration_id(&proxy);
    refused(outcome(create.integration_response_key("$default").send().await), "BadRequestException");
}

#[tokio::test(start_paused = true)]
async fn deployments_are_one_in_five_seconds() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    c.create_route(&api, "$connect", &integration).await.unwrap();
    c.deploy(&api).await;
    let error = c.apigateway.create_deployment().api_id(&api).send().await.unwrap_err();
    assert!(error.into_service_error().is_too_many_requests_exception());
    wait(4).await;
    c.deploy(&api).await;
}

#[tokio::test(start_paused = true)]
async fn calls_are_ten_a_second() {
    let rate = Rate { per_second: 10.0, burst: 3.0 };
    let (_, c) = with(Switches { apigateway_rate: Some(rate), ..Switches::default() });
    let mut passed = 0;
    for _ in 0..10 {
        passed += usize::from(c.apigateway.get_apis().send().await.is_ok());
    }
    // Ten calls take 0.3 s.
    assert_eq!(passed, 5);
}

#[tokio::test(start_paused = true)]
async fn deleting_an_api_takes_everything_in_it() {
    let (world, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    c.create_route(&api, "$connect", &integration).await.unwrap();
    world.edit(|state| state.region(ACCOUNT, REGION).apis.get_mut(&api).unwrap().has_mappings = true);
    refused(outcome(c.apigateway.delete_api().api_id(&api).send().await), "BadRequestException: Unable to delete API");
    world.edit(|state| state.region(ACCOUNT, REGION).apis.get_mut(&api).unwrap().has_mappings = false);
    c.apigateway.delete_api().api_id(&api).send().await.unwrap();
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
    refused(outcome(c.apigateway.get_routes().api_id(&api).send().await), "NotFoundException");
    refused(outcome(c.apigateway.delete_api().api_id(&api).send().await), "NotFoundException");
}

#[tokio::test(start_paused = true)]
async fn tags_are_reached_by_arn() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let arn = format!("arn:aws:apigateway:{REGION}::/apis/{api}");
    c.apigateway.tag_resource().resource_arn(&arn).tags("a", "1").tags("b", "2").tags("c", "3").send().await.unwrap();
    c.apigateway.untag_resource().resource_arn(&arn).tag_keys("a").tag_keys("b").send().await.unwrap();
    let tags = c.apigateway.get_tags().resource_arn(&arn).send().await.unwrap();
    assert_eq!(tags.tags().unwrap().len(), 1);
    let wrong = arn.replace("arn:aws:", "arn:aws-cn:");
    refused(outcome(c.apigateway.get_tags().resource_arn(wrong).send().await), "BadRequestException");
}

#[tokio::test(start_paused = true)]
async fn lists_lag_behind_if_wanted() {
    let (_, c) = with(Switches { list_lag: std::time::Duration::from_secs(3), ..Switches::default() });
    let api = c.create_api("chat").await;
    let count = async || c.apigateway.get_apis().send().await.unwrap().items().len();
    assert_eq!(count().await, 0);
    assert_eq!(outcome(c.apigateway.get_api().api_id(&api).send().await), Ok(()));
    wait(3).await;
    assert_eq!(count().await, 1);
    c.apigateway.delete_api().api_id(&api).send().await.unwrap();
    assert_eq!(count().await, 1);
    wait(3).await;
    assert_eq!(count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_authorizer_guards_connect_alone() {
    let (_, c) = world();
    let api = c.create_api("chat").await;
    let integration = c.create_integration(&api).await;
    let create = c.apigateway.create_authorizer().api_id(&api).name("guard").authorizer_uri(uri());
    let create = create.authorizer_type("REQUEST".into()).identity_source("route.request.querystring.token");
    let id = create.send().await.unwrap().authorizer_id.unwrap();
    let route = |key: &str| {
        let create = c.apigateway.create_route().api_id(&api).route_key(key).authorization_type("CUSTOM".into());
        create.authorizer_id(&id).target(format!("integrations/{integration}")).send()
    };
    refused(outcome(route("sendmessage").await), "BadRequestException: Currently, authorization");
    route("$connect").await.unwrap();
    let delete = c.apigateway.delete_authorizer().api_id(&api).authorizer_id(&id).send().await;
    refused(outcome(delete), "ConflictException");
    assert_eq!(c.apigateway.get_authorizers().api_id(&api).send().await.unwrap().items().len(), 1);
}
