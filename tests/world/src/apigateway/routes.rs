//! Routes: which message goes where.

use serde_json::{Value, json};

use super::{Listing, api_in, bad_request, conflict, deployments, item, listing, not_found, with_other};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Api, Route};

const OTHER: [&str; 7] = [
    "apiKeyRequired",
    "authorizationScopes",
    "modelSelectionExpression",
    "operationName",
    "requestModels",
    "requestParameters",
    "routeResponseSelectionExpression",
];

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let api_id = fields.label("apiId");
    let mut route = Route { id: cx.id(), authorization_type: "NONE".to_owned(), created: cx.now, ..Route::default() };
    fill(&mut route, fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    check(api, &route)?;
    let view = view(&route);
    api.routes.insert(route.id.clone(), route);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(201, view))
}

/// What is sent replaces; what is left out stays.
fn fill(route: &mut Route, mut fields: Fields) {
    if let Some(key) = fields.text("routeKey") {
        route.route_key = key;
    }
    if let Some(kind) = fields.text("authorizationType") {
        route.authorization_type = kind;
    }
    route.target = fields.text("target").or_else(|| route.target.take());
    route.authorizer_id = fields.text("authorizerId").or_else(|| route.authorizer_id.take());
    if route.authorization_type == "NONE" {
        route.authorizer_id = None;
    }
    fields.keep(&OTHER, &mut route.other);
    fields.done();
}

fn check(api: &Api, route: &Route) -> Result<(), Refusal> {
    let key = route.route_key.as_str();
    let special = matches!(key, "$connect" | "$disconnect" | "$default");
    if key.is_empty() || (key.starts_with('$') && !special) {
        return Err(bad_request(format!("Invalid route key specified: '{key}'")));
    }
    // G3
    if api.routes.values().any(|other| other.route_key == key && other.id != route.id) {
        return Err(conflict(format!("Route with key {key} already exists for this API")));
    }
    if let Some(target) = &route.target {
        let id = target.strip_prefix("integrations/").ok_or_else(|| bad_request("Invalid route target specified"))?;
        if !api.integrations.contains_key(id) {
            return Err(not_found("Invalid Integration identifier specified"));
        }
    }
    match (route.authorization_type.as_str(), &route.authorizer_id) {
        ("NONE", _) => {}
        ("AWS_IAM" | "CUSTOM", _) if key != "$connect" => {
            return Err(bad_request("Currently, authorization is restricted to the $connect route only"));
        }
        ("AWS_IAM", _) => {}
        ("CUSTOM", Some(id)) if api.authorizers.contains_key(id) => {}
        ("CUSTOM", _) => return Err(bad_request("Invalid authorizer ID specified")),
        (other, _) => {
            return Err(bad_request(format!("Invalid authorization type specified: '{other}'")));
        }
    }
    if let Some(models) = route.other.get("requestModels").and_then(Value::as_object) {
        let is_known = |name: &Value| api.models.values().any(|model| *name == model.name);
        if let Some(unknown) = models.values().find(|name| !is_known(name)) {
            return Err(bad_request(format!("Invalid model name specified: {unknown}")));
        }
    }
    if key != "$connect" && route.other.get("requestParameters").is_some() {
        return Err(bad_request("Request parameters are only supported on the $connect route"));
    }
    Ok(())
}

pub(super) fn get(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.routes.get(&id).map(|found| Reply::json(200, view(found))).ok_or_else(unknown)
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.routes, request.token, request.limit, |_, route| route.created + lag <= now);
    Ok(listing(&page, view))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, id) = (fields.label("apiId"), fields.label("id"));
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let mut changed = api.routes.get(&id).cloned().ok_or_else(unknown)?;
    fill(&mut changed, fields);
    check(api, &changed)?;
    let view = view(&changed);
    api.routes.insert(id, changed);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(200, view))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.routes.remove(&id).ok_or_else(unknown)?;
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid Route identifier specified")
}

fn view(route: &Route) -> Value {
    let view = json!({
        "apiKeyRequired": false,
        "authorizationType": route.authorization_type,
        "authorizerId": route.authorizer_id,
        "routeId": route.id,
        "routeKey": route.route_key,
        "target": route.target,
    });
    with_other(view, &route.other)
}
