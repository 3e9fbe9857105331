//! Authorizers, which guard `$connect`.

use serde_json::{Value, json};

use super::{Listing, api_in, bad_request, conflict, item, listing, not_found, with_other};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Api, Authorizer};

const OTHER: [&str; 6] = [
    "authorizerCredentialsArn",
    "authorizerResultTtlInSeconds",
    "authorizerType",
    "authorizerUri",
    "identitySource",
    "identityValidationExpression",
];

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let api_id = fields.label("apiId");
    let mut authorizer = Authorizer { id: cx.id(), created: cx.now, ..Authorizer::default() };
    fill(&mut authorizer, fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    check(api, &authorizer)?;
    let view = view(&authorizer);
    api.authorizers.insert(authorizer.id.clone(), authorizer);
    Ok(Reply::json(201, view))
}

fn fill(authorizer: &mut Authorizer, mut fields: Fields) {
    if let Some(name) = fields.text("name") {
        authorizer.name = name;
    }
    fields.keep(&OTHER, &mut authorizer.other);
    fields.done();
}

fn check(api: &Api, authorizer: &Authorizer) -> Result<(), Refusal> {
    if authorizer.other.get("authorizerType").and_then(Value::as_str) != Some("REQUEST") {
        return Err(bad_request("Only REQUEST authorizers are supported for WEBSOCKET APIs"));
    }
    // Required, though it may be empty (G21).
    if !authorizer.other.contains_key("identitySource") {
        return Err(bad_request("Missing required parameter 'identitySource'"));
    }
    if api.authorizers.values().any(|other| other.name == authorizer.name && other.id != authorizer.id) {
        return Err(conflict("Authorizer name must be unique"));
    }
    Ok(())
}

pub(super) fn get(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.authorizers.get(&id).map(|found| Reply::json(200, view(found))).ok_or_else(unknown)
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.authorizers, request.token, request.limit, |_, item| item.created + lag <= now);
    Ok(listing(&page, view))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, id) = (fields.label("apiId"), fields.label("id"));
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let mut changed = api.authorizers.get(&id).cloned().ok_or_else(unknown)?;
    fill(&mut changed, fields);
    check(api, &changed)?;
    let view = view(&changed);
    api.authorizers.insert(id, changed);
    Ok(Reply::json(200, view))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    if api.routes.values().any(|route| route.authorizer_id.as_deref() == Some(&id)) {
        return Err(conflict("Cannot delete authorizer, it is referenced by a route"));
    }
    api.authorizers.remove(&id).ok_or_else(unknown)?;
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid Authorizer identifier specified")
}

fn view(authorizer: &Authorizer) -> Value {
    with_other(json!({ "authorizerId": authorizer.id, "name": authorizer.name }), &authorizer.other)
}
