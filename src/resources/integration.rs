//! The integrations: how a route of the API reaches its function, or, where there is none, what API Gateway answers itself.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::{Integration, IntegrationResponse, IntegrationType};
use serde::Serialize;
use serde_json::json;

use super::{api, names};
use crate::app::{FunctionName, RouteKey};
use crate::aws::failure::{Failure, Outcome};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Observed, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Resource, Wanted, reference};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct IntegrationKind;

/// What stands behind a route.
struct RouteIntegration(RouteKey);

/// What a client hears that asks for a sign of life.
const PONG: &str = r#"{"chatctl":{"pong":true}}"#;
/// A mock integration takes its status from a template of its own, and answers with the one of that status (G28).
const MOCK_STATUS: &str = r#"{"statusCode":200}"#;
const MOCK_TEMPLATE: &str = "200";
const ANY_STATUS: &str = "$default";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IntegrationSpec {
    r#type: String,
    method: String,
    uri: String,
    timeout_ms: i32,
    /// What of it makes a mock integration go on to its answer.
    status: Option<String>,
    answer: Option<String>,
}

/// The longest that a WebSocket API waits for a function, and what it waits where nothing is said (H1).
const TIMEOUT_MS: i32 = 29_000;

fn uri(scope: &Scope, function: &FunctionName) -> String {
    names::invocation_uri(scope, &names::function_arn(scope, function))
}

fn spec(scope: &Scope, route_key: &str) -> IntegrationSpec {
    let method = "POST".to_owned();
    match scope.config.app.route(route_key) {
        Some(route) => IntegrationSpec {
            r#type: IntegrationType::AwsProxy.as_str().to_owned(),
            method,
            uri: uri(scope, &route.function),
            timeout_ms: TIMEOUT_MS,
            status: None,
            answer: None,
        },
        None => IntegrationSpec {
            r#type: IntegrationType::Mock.as_str().to_owned(),
            method,
            uri: String::new(),
            timeout_ms: TIMEOUT_MS,
            status: Some(MOCK_STATUS.to_owned()),
            answer: Some(PONG.to_owned()),
        },
    }
}

/// The templates of a mock integration.
fn templates(of: Option<&String>) -> Option<HashMap<String, String>> {
    of.map(|template| HashMap::from([(MOCK_TEMPLATE.to_owned(), template.clone())]))
}

/// The template that `selection` selects; an emulator does not tell it.
fn selected(templates: Option<&HashMap<String, String>>, selection: Option<&str>) -> Option<String> {
    templates?.get(MOCK_TEMPLATE).filter(|_| selection.is_none_or(|text| text == MOCK_TEMPLATE)).cloned()
}

#[async_trait]
impl Kind for IntegrationKind {
    fn facts(&self) -> Facts {
        Facts { referred_to_by: &[names::ROUTE], ..api::child(names::INTEGRATION) }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let wanted = |route| Wanted::new(names::integration(&route), vec![names::api(scope)], RouteIntegration(route));
        names::routes(scope).into_iter().map(wanted).collect()
    }

    /// Under their ids: which route each belongs to is seen only beside the routes.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::INTEGRATION, "list");
        let integrations = ctx.all(
            "apigateway:GetIntegrations",
            key,
            |token| ctx.aws.apigateway.get_integrations().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let integrations = integrations.await.optional()?.unwrap_or_default();
        let mut found = Vec::new();
        for integration in &integrations {
            let id = integration.integration_id().unwrap_or_default();
            let is_mock = integration.integration_type() == Some(&IntegrationType::Mock);
            let templates = integration.request_templates().filter(|_| is_mock);
            let spec = IntegrationSpec {
                r#type: integration.integration_type().map_or("", IntegrationType::as_str).to_owned(),
                // The server stores POST where none was given (G7); a mock integration calls nobody.
                method: integration.integration_method().filter(|_| !is_mock).unwrap_or("POST").to_owned(),
                uri: integration.integration_uri().unwrap_or_default().to_owned(),
                timeout_ms: integration.timeout_in_millis().unwrap_or(TIMEOUT_MS),
                status: selected(templates, integration.template_selection_expression()),
                answer: if is_mock { answer_of(ctx, &api_id, integration).await? } else { None },
            };
            found.push(Found::new(Key::new(names::INTEGRATION, id), id, fields(&spec)));
        }
        Ok(found)
    }

    /// An integration belongs to the route that targets it and whose function it calls. What is left belongs to a route
    /// without one whose function it calls. One that calls no function of ours, but is what a route of ours targets,
    /// was edited, and is that route's.
    fn identify(&self, scope: &Scope, observed: &mut Observed) {
        let mut given: Vec<(Key, String)> = Vec::new();
        for (by_uri, by_target) in [(true, true), (true, false), (false, true)] {
            for route in &names::routes(scope) {
                let key = names::integration(route);
                if given.iter().any(|(known, _)| *known == key) {
                    continue;
                }
                // Of what API Gateway answers itself there is one kind only.
                let of_function = scope.config.app.route(route.as_str()).map(|route| uri(scope, &route.function));
                let (field, value) = match &of_function {
                    Some(uri) => ("uri", uri.as_str()),
                    None => ("type", IntegrationType::Mock.as_str()),
                };
                let target = observed.get(&names::route(route)).map(|found| found.text("target").to_owned());
                let best = observed
                    .of_kind(names::INTEGRATION)
                    .filter(|found| !by_uri || found.text(field) == value)
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

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteIntegration", &found.key, || {
            ctx.aws.apigateway.delete_integration().api_id(&api_id).integration_id(&found.id).send()
        })
        .await
        .gone()
    }
}

#[async_trait]
impl Resource for RouteIntegration {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope, self.0.as_str()))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope, self.0.as_str());
        let is_mock = spec.status.is_some();
        let created = ctx
            .call("apigateway:CreateIntegration", key, || {
                ctx.aws
                    .apigateway
                    .create_integration()
                    .api_id(&api_id)
                    .integration_type(IntegrationType::from(spec.r#type.as_str()))
                    .set_integration_method((!is_mock).then(|| spec.method.clone()))
                    .set_integration_uri((!is_mock).then(|| spec.uri.clone()))
                    .set_request_templates(templates(spec.status.as_ref()))
                    .set_template_selection_expression(is_mock.then(|| MOCK_TEMPLATE.to_owned()))
                    .timeout_in_millis(spec.timeout_ms)
                    .send()
            })
            .await?;
        let id = created.integration_id.unwrap_or_default();
        if is_mock {
            create_answer(ctx, key, &id, &spec).await?;
        }
        Ok(id)
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let key = &found.key;
        let api_id = names::api_id(&ctx.scope);
        let spec = spec(&ctx.scope, self.0.as_str());
        let is_mock = spec.status.is_some();
        if ["type", "method", "uri", "timeoutMs", "status"].iter().any(|field| differences.touches(field)) {
            ctx.call("apigateway:UpdateIntegration", key, || {
                ctx.aws
                    .apigateway
                    .update_integration()
                    .api_id(&api_id)
                    .integration_id(&found.id)
                    .integration_type(IntegrationType::from(spec.r#type.as_str()))
                    .set_integration_method((!is_mock).then(|| spec.method.clone()))
                    .set_integration_uri((!is_mock).then(|| spec.uri.clone()))
                    .timeout_in_millis(spec.timeout_ms)
                    .set_request_templates(templates(spec.status.as_ref()))
                    .set_template_selection_expression(is_mock.then(|| MOCK_TEMPLATE.to_owned()))
                    .send()
            })
            .await?;
        }
        if !differences.touches("answer") {
            return Ok(());
        }
        for response in responses(ctx, key, &api_id, &found.id).await? {
            let id = response.integration_response_id().unwrap_or_default();
            ctx.call("apigateway:DeleteIntegrationResponse", key, || {
                let delete = ctx.aws.apigateway.delete_integration_response();
                delete.api_id(&api_id).integration_id(&found.id).integration_response_id(id).send()
            })
            .await
            .gone()?;
        }
        if is_mock { create_answer(ctx, key, &found.id, &spec).await } else { Ok(()) }
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let spec = spec(scope, self.0.as_str());
        let label = names::label(scope, &self.0);
        let logical_id = names::logical_id(&label, "Integration");
        let mut properties = json!({
            "ApiId": names::api_id(scope),
            "IntegrationType": spec.r#type,
            "TimeoutInMillis": spec.timeout_ms
        });
        let mut answer = None;
        if spec.status.is_some() {
            properties["RequestTemplates"] = json!(templates(spec.status.as_ref()));
            properties["TemplateSelectionExpression"] = json!(MOCK_TEMPLATE);
            answer = Some(Part {
                logical_id: names::logical_id(&label, "IntegrationResponse"),
                r#type: "AWS::ApiGatewayV2::IntegrationResponse",
                properties: json!({
                    "ApiId": names::api_id(scope),
                    "IntegrationId": reference(&logical_id),
                    "IntegrationResponseKey": ANY_STATUS,
                    "ResponseTemplates": templates(spec.answer.as_ref()),
                    "TemplateSelectionExpression": MOCK_TEMPLATE
                }),
            });
        } else {
            properties["IntegrationMethod"] = json!(spec.method);
            properties["IntegrationUri"] = json!(spec.uri);
        }
        let integration = Part { logical_id, r#type: "AWS::ApiGatewayV2::Integration", properties };
        [integration].into_iter().chain(answer).collect()
    }
}

async fn responses(
    ctx: &Ctx,
    key: &Key,
    api_id: &str,
    integration_id: &str,
) -> Result<Vec<IntegrationResponse>, Failure> {
    let responses = ctx.all(
        "apigateway:GetIntegrationResponses",
        key,
        |token| {
            let get = ctx.aws.apigateway.get_integration_responses();
            get.api_id(api_id).integration_id(integration_id).set_next_token(token).send()
        },
        |page| (page.items.unwrap_or_default(), page.next_token),
    );
    Ok(responses.await.optional()?.unwrap_or_default())
}

/// What a mock integration answers; nothing where it has another answer too, or none that is selected.
async fn answer_of(ctx: &Ctx, api_id: &str, integration: &Integration) -> Result<Option<String>, Failure> {
    let id = integration.integration_id().unwrap_or_default();
    let responses = responses(ctx, &Key::new(names::INTEGRATION, id), api_id, id).await?;
    let [response] = responses.as_slice() else { return Ok(None) };
    let is_for_all = response.integration_response_key() == Some(ANY_STATUS);
    let templates = response.response_templates().filter(|_| is_for_all);
    Ok(selected(templates, response.template_selection_expression()))
}

async fn create_answer(ctx: &Ctx, key: &Key, id: &str, spec: &IntegrationSpec) -> Result<(), Failure> {
    let api_id = names::api_id(&ctx.scope);
    ctx.call("apigateway:CreateIntegrationResponse", key, || {
        ctx.aws
            .apigateway
            .create_integration_response()
            .api_id(&api_id)
            .integration_id(id)
            .integration_response_key(ANY_STATUS)
            .set_response_templates(templates(spec.answer.as_ref()))
            .template_selection_expression(MOCK_TEMPLATE)
            .send()
    })
    .await
    .map(drop)
}
