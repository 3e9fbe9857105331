//! Integrations: where a route leads.

use serde_json::{Value, json};

use super::{Listing, api_in, bad_request, conflict, deployments, item, listing, not_found, with_other};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::place::Place;
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::Arn;
use crate::state::{Account, Integration};

const OTHER: [&str; 8] = [
    "connectionType",
    "contentHandlingStrategy",
    "credentialsArn",
    "description",
    "passthroughBehavior",
    "requestParameters",
    "requestTemplates",
    "templateSelectionExpression",
];

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let api_id = fields.label("apiId");
    let mut integration =
        Integration { id: cx.id(), timeout_millis: 29_000, created: cx.now, ..Integration::default() };
    fill(&mut integration, fields)?;
    api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    check(cx, &integration)?;
    let view = view(&integration);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.integrations.insert(integration.id.clone(), integration);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(201, view))
}

/// What is sent replaces; what is left out stays.
fn fill(integration: &mut Integration, mut fields: Fields) -> Result<(), Refusal> {
    if let Some(kind) = fields.text("integrationType") {
        integration.integration_type = kind;
    }
    integration.method = fields.text("integrationMethod").or_else(|| integration.method.take());
    integration.uri = fields.text("integrationUri").or_else(|| integration.uri.take());
    if let Some(timeout) = fields.number("timeoutInMillis") {
        integration.timeout_millis = timeout;
    }
    // A member of HTTP APIs (G7).
    if fields.text("payloadFormatVersion").is_some() {
        return Err(bad_request("PayloadFormatVersion is not supported for WEBSOCKET APIs"));
    }
    fields.keep(&OTHER, &mut integration.other);
    fields.done();
    Ok(())
}

fn check(cx: &mut Context<'_>, integration: &Integration) -> Result<(), Refusal> {
    match integration.integration_type.as_str() {
        "AWS_PROXY" => {}
        "MOCK" | "HTTP" | "HTTP_PROXY" | "AWS" => return Ok(()),
        other => {
            return Err(bad_request(format!("Invalid integration type specified: '{other}'")));
        }
    }
    if !matches!(integration.method.as_deref(), None | Some("POST")) {
        return Err(bad_request("Invalid integration method for AWS_PROXY: must be POST"));
    }
    if !(50..=29_000).contains(&integration.timeout_millis) {
        return Err(bad_request("Timeout should be between 50 ms and 29000 ms"));
    }
    let uri = integration.uri.as_deref().unwrap_or_default();
    let Some(function) = function_of(uri, cx.place) else {
        return Err(bad_request(format!("Invalid integration URI specified: '{uri}'")));
    };
    if cx.switches.integration_checks_function && !has_function(cx.account, cx.place, &function) {
        return Err(bad_request(format!("Invalid function ARN or invalid URI: {function}")));
    }
    Ok(())
}

fn has_function(account: &mut Account, place: &Place, arn: &str) -> bool {
    account.region(&place.region).functions.values().any(|function| function.arn == arn)
}

/// The function behind the long form of the URI, the only one that WebSocket APIs take (G7).
pub(crate) fn function_of(uri: &str, place: &Place) -> Option<String> {
    let prefix = format!("arn:{}:apigateway:{}:lambda:path/2015-03-31/functions/", place.partition(), place.region);
    let function = uri.strip_prefix(&prefix)?.strip_suffix("/invocations")?;
    let arn = Arn::read(function)?;
    (arn.partition == place.partition() && arn.service == "lambda" && arn.rest.starts_with("function:"))
        .then(|| function.to_owned())
}

pub(super) fn get(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.integrations.get(&id).map(|found| Reply::json(200, view(found))).ok_or_else(unknown)
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.integrations, request.token, request.limit, |_, item| item.created + lag <= now);
    Ok(listing(&page, view))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, id) = (fields.label("apiId"), fields.label("id"));
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let mut changed = api.integrations.get(&id).cloned().ok_or_else(unknown)?;
    fill(&mut changed, fields)?;
    check(cx, &changed)?;
    let view = view(&changed);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.integrations.insert(id, changed);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(200, view))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    if !api.integrations.contains_key(&id) {
        return Err(unknown());
    }
    let target = format!("integrations/{id}");
    if let Some(route) = api.routes.values().find(|route| route.target.as_deref() == Some(&target)) {
        return Err(conflict(format!(
            "Cannot delete Integration '{id}', it is referenced by route '{}'",
            route.route_key
        )));
    }
    api.integrations.remove(&id);
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid Integration identifier specified")
}

fn view(integration: &Integration) -> Value {
    let view = json!({
        "connectionType": "INTERNET",
        "integrationId": integration.id,
        // The service stores POST where none was sent (G7).
        "integrationMethod": integration.method.as_deref().unwrap_or("POST"),
        "integrationType": integration.integration_type,
        "integrationUri": integration.uri,
        "passthroughBehavior": "WHEN_NO_MATCH",
        "integrationResponseSelectionExpression": "${integration.response.statuscode}",
        "timeoutInMillis": integration.timeout_millis,
    });
    with_other(view, &integration.other)
}
