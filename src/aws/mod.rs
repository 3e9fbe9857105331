//! Everything about AWS that is not one kind of resource: clients, identity, failures, retries.

pub mod connections;
pub mod endpoints;
pub mod failure;
pub mod identity;
pub mod log_events;
pub mod pace;
pub mod retry;
mod throttle;
mod transport;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};

use self::throttle::ThrottlesAreOurs;
use self::transport::Transport;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::local;

/// A client for each service that several kinds speak to; cheap to clone, because they share the connection pool.
#[derive(Clone)]
pub struct Clients {
    /// Of which a kind makes the client of a service that is its own.
    pub sdk: SdkConfig,
    pub apigateway: aws_sdk_apigatewayv2::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub iam: aws_sdk_iam::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub sts: aws_sdk_sts::Client,
}

impl Clients {
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            sdk: sdk.clone(),
            apigateway: aws_sdk_apigatewayv2::Client::from_conf(
                aws_sdk_apigatewayv2::config::Builder::from(sdk).retry_classifier(ThrottlesAreOurs).build(),
            ),
            lambda: aws_sdk_lambda::Client::from_conf(
                aws_sdk_lambda::config::Builder::from(sdk).retry_classifier(ThrottlesAreOurs).build(),
            ),
            dynamodb: aws_sdk_dynamodb::Client::new(sdk),
            iam: aws_sdk_iam::Client::new(sdk),
            logs: aws_sdk_cloudwatchlogs::Client::new(sdk),
            sts: aws_sdk_sts::Client::new(sdk),
        }
    }
}

/// How often the SDK itself tries a call: 5xx, broken connections, and throttles of the services whose quotas nobody
/// meets (R2, R3).
const ATTEMPTS: u32 = 8;

/// How long an attempt and a call may take whose body has so many bytes (R1); a slow line carries 256 KB a second.
pub fn timeouts(body: usize) -> TimeoutConfig {
    let upload = Duration::from_secs((body / (256 * 1024)) as u64);
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(4))
        .operation_attempt_timeout(Duration::from_secs(25) + upload)
        .operation_timeout(Duration::from_secs(150) + upload)
        .build()
}

/// The SDK's configuration by its own chain, with our timeouts (R1). Makes no call.
pub async fn sdk_config(config: &Config, host: &Host, local_aws: Option<&local::Endpoint>) -> SdkConfig {
    let timeouts = timeouts(0);
    let ready = match &host.aws {
        Some(sdk) => sdk.clone(),
        None => loader(config, local_aws).load().await,
    };
    let mut builder = ready.into_builder().timeout_config(timeouts);
    if host.env.get("AWS_MAX_ATTEMPTS").is_none() {
        builder.set_retry_config(Some(RetryConfig::standard().with_max_attempts(ATTEMPTS)));
    }
    // What a caller handed in has a region of its own.
    if let Some(region) = region(config) {
        builder.set_region(Some(region));
    }
    builder.build()
}

/// # Errors
/// A usage error where no region is set, before any call (R6).
pub fn region_of(sdk: &SdkConfig) -> Result<String> {
    sdk.region().map(ToString::to_string).ok_or_else(|| {
        Error::usage("no AWS region is set")
            .hint("pass `--region eu-central-1`, set `AWS_REGION`, or put `region` into the profile or `chatctl.toml`")
    })
}

fn loader(config: &Config, local_aws: Option<&local::Endpoint>) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(Transport::new());
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    match local_aws {
        Some(local::Endpoint { url, access_key, secret, .. }) => loader
            .endpoint_url(url)
            .region(region(config).unwrap_or_else(|| Region::from_static(local::REGION)))
            .credentials_provider(aws_credential_types::Credentials::from_keys(access_key, secret, None)),
        // Known before the credentials are made: STS is asked in a region.
        None => match region(config) {
            Some(region) => loader.region(region),
            None => loader,
        },
    }
}

fn region(config: &Config) -> Option<Region> {
    config.region.clone().map(Region::new)
}
