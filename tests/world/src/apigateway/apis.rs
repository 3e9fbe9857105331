//! APIs themselves.

use serde_json::{Value, json};

use super::{Listing, api_in, bad_request, listing, with_other};
use crate::clock;
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::place::{Place, dns_suffix};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules;
use crate::state::Api;

const OTHER: [&str; 5] =
    ["apiKeySelectionExpression", "disableExecuteApiEndpoint", "disableSchemaValidation", "ipAddressType", "version"];

/// Not idempotent: no token, and names need not be unique (G4).
pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let mut api = Api {
        id: cx.id(),
        name: fields.text("name").unwrap_or_default(),
        description: fields.text("description"),
        protocol_type: fields.text("protocolType").unwrap_or_default(),
        route_selection_expression: fields.text("routeSelectionExpression").unwrap_or_default(),
        tags: fields.text_map("tags").unwrap_or_default(),
        created: cx.now,
        ..Api::default()
    };
    fields.keep(&OTHER, &mut api.other);
    fields.done();
    check(&api)?;
    if let Some(fault) = rules::tags_fault(&api.tags) {
        return Err(bad_request(fault));
    }
    let view = view(&api, cx.place);
    cx.account.region(&cx.place.region).apis.insert(api.id.clone(), api);
    Ok(Reply::json(201, view))
}

fn check(api: &Api) -> Result<(), Refusal> {
    match api.protocol_type.as_str() {
        "WEBSOCKET" => {}
        "HTTP" => panic!("world: HTTP APIs are not in this model"),
        other => {
            return Err(bad_request(format!("Invalid protocol specified: '{other}'")));
        }
    }
    // G6
    if api.route_selection_expression.is_empty() {
        return Err(bad_request("RouteSelectionExpression is required for WebSocket APIs"));
    }
    if !api.route_selection_expression.contains("$request.body") {
        return Err(bad_request("Invalid RouteSelectionExpression specified"));
    }
    Ok(())
}

pub(super) fn get(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = fields.label("apiId");
    fields.done();
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &id)?;
    Ok(Reply::json(200, view(api, cx.place)))
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let Listing { limit, token, .. } = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let region = cx.account.region(&cx.place.region);
    region.gone_apis.retain(|(gone, _)| now < *gone + lag);
    let render = |api: &Api| view(api, cx.place);
    if region.gone_apis.is_empty() {
        let page = page(&region.apis, token, limit, |_, api| api.created + lag <= now);
        return Ok(listing(&page, render));
    }
    let mut all = region.apis.clone();
    all.extend(region.gone_apis.iter().map(|(_, api)| (api.id.clone(), api.clone())));
    let page = page(&all, token, limit, |_, api| api.created + lag <= now);
    Ok(listing(&page, render))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = fields.label("apiId");
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &id)?;
    let mut changed = Api {
        name: fields.text("name").unwrap_or_else(|| api.name.clone()),
        description: fields.text("description").or_else(|| api.description.clone()),
        route_selection_expression: fields
            .text("routeSelectionExpression")
            .unwrap_or_else(|| api.route_selection_expression.clone()),
        protocol_type: api.protocol_type.clone(),
        ..Api::default()
    };
    fields.keep(&OTHER, &mut changed.other);
    fields.done();
    check(&changed)?;
    api.name = changed.name;
    api.description = changed.description;
    api.route_selection_expression = changed.route_selection_expression;
    api.other.extend(changed.other);
    Ok(Reply::json(200, view(api, cx.place)))
}

/// Takes routes, integrations, deployments and stages along (G14).
pub(super) fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = fields.label("apiId");
    fields.done();
    let region = cx.account.region(&cx.place.region);
    if api_in(region, &cx.place.account, &id)?.has_mappings {
        return Err(bad_request(
            "Unable to delete API. Please remove all API mappings to the API before deleting the API.",
        ));
    }
    let gone = region.apis.remove(&id);
    if let Some(api) = gone.filter(|_| !cx.switches.list_lag.is_zero()) {
        region.gone_apis.push((cx.now, api));
    }
    Ok(Reply::empty(204))
}

fn view(api: &Api, place: &Place) -> Value {
    // G15: with scheme, without stage.
    let host = format!("{}.execute-api.{}.{}", api.id, place.region, dns_suffix(&place.region));
    let view = json!({
        "apiId": api.id,
        "apiEndpoint": format!("wss://{host}"),
        "apiKeySelectionExpression": "$request.header.x-api-key",
        "createdDate": clock::iso(api.created),
        "description": api.description,
        "disableExecuteApiEndpoint": false,
        "ipAddressType": "ipv4",
        "name": api.name,
        "protocolType": api.protocol_type,
        "routeSelectionExpression": api.route_selection_expression,
        "tags": api.tags,
    });
    with_other(view, &api.other)
}
