//! Faults, deaths, permissions and the wire log: what a test does to a program through the model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::common::*;
use aws_sdk_apigatewayv2::types::ProtocolType;
use aws_sdk_sts::error::SdkError;
use aws_smithy_types::timeout::TimeoutConfig;
use world::{Fault, Service, Switches, Verdict, World};

/// Does to every call what `verdict` says.
fn always(world: &World, verdict: Verdict) {
    world.set_interceptor(move |_| verdict.clone());
}

/// Every service hears `fault`; the codes are those that the SDK read, in the order of `Service`.
async fn codes(fault: Fault) -> Vec<String> {
    let (world, c) = world();
    always(&world, Verdict::FailBefore(fault));
    let code = |result: Result<(), String>| result.unwrap_err().split(':').next().unwrap_or_default().to_owned();
    vec![
        code(outcome(c.apigateway.get_apis().send().await)),
        code(outcome(c.dynamodb.list_tables().send().await)),
        code(outcome(c.iam.list_roles().send().await)),
        code(outcome(c.lambda.list_functions().send().await)),
        code(outcome(c.logs.describe_log_groups().send().await)),
        code(outcome(c.sts.get_caller_identity().send().await)),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_service_has_its_own_codes() {
    let throttles = [
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
    ];
    assert_eq!(codes(Fault::Throttle).await, throttles);
    let expired = [
        "ExpiredTokenException",
        "ExpiredTokenException",
        "ExpiredToken",
        "ExpiredTokenException",
        "ExpiredTokenException",
        "ExpiredToken",
    ];
    assert_eq!(codes(Fault::ExpiredToken).await, expired);
    let skewed = [
        "InvalidSignatureException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    ];
    assert_eq!(codes(Fault::ClockSkew).await, skewed);
    let failed = [
        "InternalServerErrorException",
        "InternalServerError",
        "ServiceFailure",
        "ServiceException",
        "InternalFailure",
        "InternalFailure",
    ];
    assert_eq!(codes(Fault::ServerError(500)).await, failed);
    assert_eq!(codes(Fault::status(418, "Teapot", "short and stout")).await, ["Teapot"; 6]);
}

/// The first attempt of every call fails; the SDK rides it out.
#[tokio::test(start_paused = true)]
async fn the_sdk_rides_out_what_passes() {
    let faults = [
        Fault::Throttle,
        Fault::ServerError(500),
        Fault::ServerError(502),
        Fault::ServerError(503),
        Fault::ServerError(504),
        Fault::Reset,
        Fault::Timeout,
        Fault::HalfBody,
    ];
    for fault in faults {
        let world = World::new(Switches::default());
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(20)).build();
        let config = world.sdk_config(ACCOUNT, REGION).to_builder().timeout_config(timeouts).build();
        let c = Clients::with_retries(&config);
        let name = format!("{fault:?}");
        world.set_interceptor(move |call| match call.attempt {
            1 => Verdict::FailBefore(fault.clone()),
            _ => Verdict::Pass,
        });
        let create = c.logs.create_log_group().log_group_name("/g").send().await;
        assert!(create.is_ok(), "{name}: {create:?}");
        assert!(c.iam.list_roles().send().await.is_ok(), "{name}");
        assert_eq!(world.calls().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 1, 2], "{name}");
        assert_eq!(world.effects().len(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_effect_may_outlive_its_answer() {
    for fault in [Fault::Reset, Fault::ServerError(503), Fault::HalfBody, Fault::AccessDenied] {
        let (world, c) = world();
        always(&world, Verdict::FailAfter(fault.clone()));
        let create = c.logs.create_log_group().log_group_name("/g").tags("a", "b").send().await;
        assert!(create.is_err(), "{fault:?}");
        let call = &world.calls()[0];
        assert!(call.write && call.effect, "{fault:?}");
        assert_eq!(world.everything(ACCOUNT).len(), 1);
        always(&world, Verdict::FailBefore(fault));
        c.logs.delete_log_group().log_group_name("/g").send().await.unwrap_err();
        assert_eq!(world.everything(ACCOUNT).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_break_as_the_sdk_knows_it() {
    let (world, c) = world();
    always(&world, Verdict::FailBefore(Fault::Reset));
    let error = c.apigateway.get_apis().send().await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_io()));
    always(&world, Verdict::FailAfter(Fault::HalfBody));
    let error = c.apigateway.get_apis().send().await.unwrap_err();
    assert!(matches!(&error, SdkError::ResponseError(_)), "{error:?}");
    always(&world, Verdict::FailBefore(Fault::Timeout));
    let error = c.apigateway.get_apis().send().await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()));
    // Nothing but the model gave up: the SDK saw the request flow out, and has no timeout of its own (R1).
    assert!(world.now() > Duration::from_secs(3_600));
    assert_eq!(world.calls()[2].status, None);
}

#[tokio::test(start_paused = true)]
async fn a_process_dies_alone() {
    let world = World::new(Switches::default());
    let one = Clients::new(&world.sdk_config_for(ACCOUNT, REGION, "one"));
    let two = Clients::new(&world.sdk_config_for(ACCOUNT, REGION, "two"));
    for (verdict, left) in [(Verdict::HangBefore, 0), (Verdict::HangAfter, 1)] {
        let one = Clients::new(&world.sdk_config_for(ACCOUNT, REGION, "one"));
        world.set_interceptor(move |call| if &*call.label == "one" { verdict.clone() } else { Verdict::Pass });
        let killed = world.killed_of("one");
        let create = one.logs.create_log_group().log_group_name("/g").send();
        tokio::select! {
            _ = create => panic!("nobody answers the dead"),
            () = killed => {}
        }
        assert_eq!(world.everything(ACCOUNT).len(), left);
        two.sts.get_caller_identity().send().await.unwrap();
        // What is dead stays dead, and leaves no trace.
        world.clear_calls();
        world.clear_interceptor();
        let late = tokio::time::timeout(Duration::from_secs(60), one.sts.get_caller_identity().send()).await;
        assert!(late.is_err() && world.calls().is_empty());
    }
    one.sts.get_caller_identity().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn denials_name_the_action() {
    let (world, c) = world();
    let deny = |action: &str| {
        world.edit(|state| {
            let account = state.account(ACCOUNT);
            account.denied.clear();
            account.denied.insert(action.to_owned());
        });
    };
    deny("apigateway:TagResource");
    let create = c.apigateway.create_api().name("chat").protocol_type(ProtocolType::Websocket);
    let create = create.route_selection_expression("$request.body.action");
    refused(
        outcome(create.clone().tags("a", "b").send().await),
        "AccessDeniedException: User: arn:aws:sts::111122223333:assumed-role/ci/session is not authorized to perform: \
         apigateway:TagResource on resource: arn:aws:apigateway:eu-central-1::/apis because",
    );
    create.send().await.unwrap();
    deny("iam:*");
    refused(c.create_role().await, "AccessDenied: User:");
    deny("iam:PassRole");
    c.create_role().await.unwrap();
    wait(10).await;
    refused(c.create_function().await, "AccessDeniedException: User:");
    deny("logs:CreateLogGroup log-group:/aws/lambda/");
    c.logs.create_log_group().log_group_name("/g").send().await.unwrap();
    let create = c.logs.create_log_group().log_group_name("/aws/lambda/f").send().await;
    refused(outcome(create), "AccessDeniedException: User:");
    world.edit(|state| {
        state.account(ACCOUNT).denied.clear();
        state.account(ACCOUNT).denied_by_scp.insert("dynamodb:*".to_owned());
    });
    let error = outcome(c.dynamodb.list_tables().send().await).unwrap_err();
    assert!(error.ends_with("with an explicit deny in a service control policy"), "{error}");
    world.edit(|state| state.account(ACCOUNT).allowed = Some(["lambda:GetFunction".to_owned()].into()));
    refused(outcome(c.lambda.list_functions().send().await), "AccessDeniedException");
    // Nothing takes this one away (S1).
    c.sts.get_caller_identity().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_what_happened_when() {
    let (world, c) = world();
    c.sts.get_caller_identity().send().await.unwrap();
    world.clear_calls();
    let seen = std::sync::Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    world.set_interceptor(move |call| {
        assert_eq!(call.seq, count.fetch_add(1, Ordering::Relaxed));
        if call.write { Verdict::Latency(Duration::from_millis(200)) } else { Verdict::Pass }
    });
    c.create_role().await.unwrap();
    refused(outcome(c.lambda.get_function().function_name("f").send().await), "ResourceNotFoundException");
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    let calls = world.calls();
    assert_eq!((calls[0].service, calls[0].operation, calls[0].resource.as_str()), (Service::Iam, "CreateRole", "r"));
    assert!(calls[0].write && calls[0].effect && !calls[1].write && !calls[1].effect);
    assert_eq!(calls[0].end.unwrap() - calls[0].start, Duration::from_millis(200));
    assert_eq!(calls[1].end.unwrap() - calls[1].start, Duration::from_millis(30));
    assert_eq!((calls[1].status, calls[1].code.as_deref()), (Some(404), Some("ResourceNotFoundException")));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    async fn history() -> Vec<String> {
        let world = World::new(Switches { seed: 7, ..Switches::default() });
        let c = Clients::with_retries(&world.sdk_config(ACCOUNT, REGION));
        world.set_interceptor(|call| match call.attempt {
            1 => Verdict::FailBefore(Fault::Throttle),
            _ => Verdict::Pass,
        });
        let api = c.create_api("chat").await;
        c.create_integration(&api).await;
        world.calls().iter().map(|call| format!("{call:?}")).chain(world.everything(ACCOUNT)).collect()
    }
    assert_eq!(history().await, history().await);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no GET /2018-10-31/layers in this model")]
async fn what_the_model_does_not_know_it_does_not_answer() {
    let (_, c) = world();
    let _ = c.lambda.list_layers().send().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "CreateFunction with members the model does not know")]
async fn members_that_the_model_does_not_know_are_not_dropped() {
    let (_, c) = world();
    let _ = create_function(&c.lambda).kms_key_arn("arn:aws:kms:eu-central-1:111122223333:key/k").send().await;
}
