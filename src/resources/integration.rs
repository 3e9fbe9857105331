//! The integrations: how a route of the API reaches its function.

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::IntegrationType;
use serde::Serialize;
use serde_json::json;

use super::names;
use super::route::route_of;
use crate::app::{FunctionName, Route};
use crate::aws::failure::{Failure, Outcome};
use crate::aws::pages;
use crate::engine::change::{Change, Changes};
use crate::engine::found::{Fields, Found, Observed, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Kind, Part, Permission};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct IntegrationKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IntegrationSpec {
    r#type: String,
    method: String,
    uri: String,
    timeout_ms: i32,
}

/// The longest that a WebSocket API waits for a function, and what it waits where nothing is said (H1).
const TIMEOUT_MS: i32 = 29_000;

fn uri(scope: &Scope, function: &FunctionName) -> String {
    names::invocation_uri(scope, &names::function_arn(scope, function))
}

fn spec(scope: &Scope, route: &Route) -> IntegrationSpec {
    IntegrationSpec {
        r#type: IntegrationType::AwsProxy.as_str().to_owned(),
        method: "POST".to_owned(),
        uri: uri(scope, &route.function),
        timeout_ms: TIMEOUT_MS,
    }
}

#[async_trait]
impl Kind for IntegrationKind {
    fn name(&self) -> &'static str {
        names::INTEGRATION
    }

    fn declare(&self, scope: &Scope) -> Vec<(Key, Vec<Key>)> {
        let routes = scope.config.app.routes().iter();
        routes.map(|route| (names::integration(&route.key), vec![names::api(scope)])).collect()
    }

    fn parent(&self) -> Option<&'static str> {
        Some(names::API)
    }

    /// Under their ids: which route each belongs to is seen only beside the routes.
    async fn find(&self, ctx: &Ctx, _probe: &str, parent: Option<&Found>) -> Result<Vec<Found>, Failure> {
        let Some(parent) = parent else { return Ok(vec![]) };
        let key = &Key::new(names::INTEGRATION, "list");
        let integrations = pages::all(|token| async move {
            let page = ctx
                .call("apigateway:GetIntegrations", key, || {
                    ctx.aws.apigateway.get_integrations().api_id(&parent.id).set_next_token(token.clone()).send()
                })
                .await
                .optional()?;
            Ok(page.map(|page| (page.items.unwrap_or_default(), page.next_token)))
        });
        let integrations = integrations.await?.unwrap_or_default();
        Ok(integrations
            .into_iter()
            .map(|integration| {
                let id = integration.integration_id().unwrap_or_default();
                let spec = IntegrationSpec {
                    r#type: integration.integration_type().map_or("", IntegrationType::as_str).to_owned(),
                    // The server stores POST where none was given (G7).
                    method: integration.integration_method().unwrap_or("POST").to_owned(),
                    uri: integration.integration_uri().unwrap_or_default().to_owned(),
                    timeout_ms: integration.timeout_in_millis().unwrap_or(TIMEOUT_MS),
                };
                Found::new(Key::new(names::INTEGRATION, id), id, fields(&spec))
            })
            .collect())
    }

    /// An integration belongs to the route that targets it and whose function it calls. What is left belongs to a route
    /// without one whose function it calls. One that calls no function of ours, but is what a route of ours targets,
    /// was edited, and is that route's.
    fn identify(&self, scope: &Scope, observed: &mut Observed) {
        let mut given: Vec<(Key, String)> = Vec::new();
        for (by_uri, by_target) in [(true, true), (true, false), (false, true)] {
            for route in scope.config.app.routes() {
                let key = names::integration(&route.key);
                if given.iter().any(|(known, _)| *known == key) {
                    continue;
                }
                let uri = uri(scope, &route.function);
                let target = observed.get(&names::route(&route.key)).map(|found| found.text("target").to_owned());
                let best = observed
                    .of_kind(names::INTEGRATION)
                    .filter(|found| !by_uri || found.text("uri") == uri)
                    .filter(|found| !by_target || target == Some(names::target(&found.id)))
                    .filter(|found| given.iter().all(|(_, id)| *id != found.id))
                    .min_by_key(|found| found.id.clone());
                given.extend(best.map(|found| (key, found.id.clone())));
            }
        }
        for found in observed.found.iter_mut().filter(|found| found.key.kind == names::INTEGRATION) {
            if let Some((key, _)) = given.iter().find(|(_, id)| *id == found.id) {
                found.key = key.clone();
            }
        }
    }

    fn wanted(&self, scope: &Scope, name: &str) -> Fields {
        fields(&spec(scope, route_of(scope, name)))
    }

    fn referred_to_by(&self) -> &'static [&'static str] {
        &[names::ROUTE]
    }

    fn is_seen_at_once(&self) -> bool {
        true
    }

    fn lane(&self, _change: &Change) -> Option<String> {
        Some(names::API_LANE.to_owned())
    }

    async fn create(&self, ctx: &Ctx, name: &str) -> Result<String, Failure> {
        let key = Key::new(names::INTEGRATION, name);
        let api_id = ctx.scope.id(&names::api(&ctx.scope));
        let spec = spec(&ctx.scope, route_of(&ctx.scope, name));
        let created = ctx
            .call("apigateway:CreateIntegration", &key, || {
                ctx.aws
                    .apigateway
                    .create_integration()
                    .api_id(&api_id)
                    .integration_type(IntegrationType::AwsProxy)
                    .integration_method(&spec.method)
                    .integration_uri(&spec.uri)
                    .timeout_in_millis(spec.timeout_ms)
                    .send()
            })
            .await?;
        Ok(created.integration_id.unwrap_or_default())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, _changes: &Changes) -> Result<(), Failure> {
        let api_id = ctx.scope.id(&names::api(&ctx.scope));
        let spec = spec(&ctx.scope, route_of(&ctx.scope, &found.key.name));
        ctx.call("apigateway:UpdateIntegration", &found.key, || {
            ctx.aws
                .apigateway
                .update_integration()
                .api_id(&api_id)
                .integration_id(&found.id)
                .integration_type(IntegrationType::AwsProxy)
                .integration_method(&spec.method)
                .integration_uri(&spec.uri)
                .timeout_in_millis(spec.timeout_ms)
                .send()
        })
        .await
        .map(drop)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = ctx.scope.id(&names::api(&ctx.scope));
        ctx.call("apigateway:DeleteIntegration", &found.key, || {
            ctx.aws.apigateway.delete_integration().api_id(&api_id).integration_id(&found.id).send()
        })
        .await
        .gone()
    }

    fn template(&self, scope: &Scope) -> Vec<Part> {
        let part = |route: &Route| {
            let spec = spec(scope, route);
            Part {
                key: names::integration(&route.key),
                logical_id: names::logical_id(&route.label(), "Integration"),
                r#type: "AWS::ApiGatewayV2::Integration",
                properties: json!({
                    "ApiId": scope.id(&names::api(scope)),
                    "IntegrationType": spec.r#type,
                    "IntegrationMethod": spec.method,
                    "IntegrationUri": spec.uri
                }),
            }
        };
        scope.config.app.routes().iter().map(part).collect()
    }

    /// Part of the API's.
    fn permissions(&self, _scope: &Scope) -> Vec<Permission> {
        vec![]
    }
}
