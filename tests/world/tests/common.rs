//! What every test here starts from: a world, clients of the real SDK, and the smallest resources.

use std::time::Duration;

use aws_sdk_apigatewayv2::types::{IntegrationType, ProtocolType};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use aws_sdk_sts::error::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::request_id::RequestId;
use world::{Switches, World};

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";
pub const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
pub const ROLE_ARN: &str = "arn:aws:iam::111122223333:role/chatctl/r";
pub const FUNCTION_ARN: &str = "arn:aws:lambda:eu-central-1:111122223333:function:f";

/// Clients of every service for one process, without retries, so that each error is seen.
pub struct Clients {
    pub apigateway: aws_sdk_apigatewayv2::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub iam: aws_sdk_iam::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub sts: aws_sdk_sts::Client,
}

impl Clients {
    pub fn new(config: &SdkConfig) -> Self {
        let config = config.to_builder().retry_config(RetryConfig::disabled()).build();
        Self::with_retries(&config)
    }

    pub fn with_retries(config: &SdkConfig) -> Self {
        Self {
            apigateway: aws_sdk_apigatewayv2::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
        }
    }

    pub async fn create_role(&self) -> Result<(), String> {
        let create = self.iam.create_role().path("/chatctl/").role_name("r").assume_role_policy_document(TRUST);
        outcome(create.send().await)
    }

    pub async fn create_function(&self) -> Result<(), String> {
        outcome(create_function(&self.lambda).send().await)
    }

    pub async fn create_api(&self, name: &str) -> String {
        let create = self.apigateway.create_api().name(name).protocol_type(ProtocolType::Websocket);
        let api = create.route_selection_expression("$request.body.action").send().await.expect("an API");
        api.api_id.expect("an id")
    }

    pub async fn create_integration(&self, api: &str) -> String {
        let create = self.apigateway.create_integration().api_id(api).integration_type(IntegrationType::AwsProxy);
        let integration =
            create.integration_method("POST").integration_uri(uri()).send().await.expect("an integration");
        integration.integration_id.expect("an id")
    }

    pub async fn create_route(&self, api: &str, key: &str, integration: &str) -> Result<(), String> {
        let target = format!("integrations/{integration}");
        outcome(self.apigateway.create_route().api_id(api).route_key(key).target(target).send().await)
    }

    /// Deploys and waits until the deployment can be attached.
    pub async fn deploy(&self, api: &str) -> String {
        let deployment = self.apigateway.create_deployment().api_id(api).send().await.expect("a deployment");
        wait(1).await;
        deployment.deployment_id.expect("an id")
    }
}

pub fn create_function(
    lambda: &aws_sdk_lambda::Client,
) -> aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder {
    lambda
        .create_function()
        .function_name("f")
        .runtime(Runtime::from("nodejs24.x"))
        .role(ROLE_ARN)
        .handler("index.handler")
        .code(FunctionCode::builder().zip_file(Blob::new(*b"PK zip")).build())
        .environment(Environment::builder().variables("TABLE_NAME", "t").build())
        .tags("chatctl:name", "chat")
}

pub fn uri() -> String {
    format!("arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{FUNCTION_ARN}/invocations")
}

pub fn world() -> (World, Clients) {
    with(Switches::default())
}

pub fn with(switches: Switches) -> (World, Clients) {
    let world = World::new(switches);
    let clients = Clients::new(&world.sdk_config(ACCOUNT, REGION));
    (world, clients)
}

pub async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// `Ok`, or the code and the message that the SDK read; a service's answer always has a request id.
pub fn outcome<T, E>(result: Result<T, SdkError<E>>) -> Result<(), String>
where
    SdkError<E>: ProvideErrorMetadata + RequestId + std::fmt::Debug,
{
    let Err(error) = result else { return Ok(()) };
    assert!(error.request_id().is_some(), "{error:?} has no request id");
    Err(format!("{}: {}", error.code().unwrap_or("no code"), error.message().unwrap_or("no message")))
}

/// Fails unless the result is an error that starts with `start`.
#[track_caller]
pub fn refused(result: Result<(), String>, start: &str) {
    let error = result.expect_err("this should have been refused");
    assert!(error.starts_with(start), "{error} does not start with {start}");
}
