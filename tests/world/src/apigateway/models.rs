//! Models: what messages of a route must be like (G31).

use serde_json::{Map, Value, json};

use super::{Listing, api_in, bad_request, conflict, deployments, item, listing, not_found};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Api, Model};

/// What of JSON Schema is no part of draft 4, of which API Gateway refuses all that it does not know.
const UNSUPPORTED: [&str; 8] = ["$defs", "$id", "const", "contains", "examples", "if", "prefixItems", "propertyNames"];

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let api_id = fields.label("apiId");
    let mut model = Model { id: cx.id(), content_type: "application/json".to_owned(), ..Model::default() };
    model.created = cx.now;
    fill(&mut model, fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    check(api, &model)?;
    let view = view(&model);
    api.models.insert(model.id.clone(), model);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(201, view))
}

/// What is sent replaces; what is left out stays.
fn fill(model: &mut Model, mut fields: Fields) {
    for (member, at) in [
        ("name", &mut model.name),
        ("description", &mut model.description),
        ("contentType", &mut model.content_type),
        ("schema", &mut model.schema),
    ] {
        if let Some(text) = fields.text(member) {
            *at = text;
        }
    }
    fields.done();
}

fn check(api: &Api, model: &Model) -> Result<(), Refusal> {
    if model.name.is_empty() || !model.name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(bad_request("Model name must be alphanumeric"));
    }
    if api.models.values().any(|other| other.name == model.name && other.id != model.id) {
        return Err(conflict(format!("Model name already exists for this API: {}", model.name)));
    }
    let schema: Map<String, Value> =
        serde_json::from_str(&model.schema).map_err(|_| bad_request("Invalid model specified: invalid JSON"))?;
    match UNSUPPORTED.iter().find(|keyword| schema.contains_key(**keyword)) {
        Some(keyword) => {
            Err(bad_request(format!("Invalid model schema specified. Unsupported keyword(s): [\"{keyword}\"]")))
        }
        None => Ok(()),
    }
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.models, request.token, request.limit, |_, model| model.created + lag <= now);
    Ok(listing(&page, view))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, id) = (fields.label("apiId"), fields.label("id"));
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let mut changed = api.models.get(&id).cloned().ok_or_else(unknown)?;
    fill(&mut changed, fields);
    check(api, &changed)?;
    let view = view(&changed);
    api.models.insert(id, changed);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(200, view))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let name = api.models.get(&id).ok_or_else(unknown)?.name.clone();
    let names_it = |models: &Value| models.as_object().is_some_and(|map| map.values().any(|value| *value == name));
    if api.routes.values().any(|route| route.other.get("requestModels").is_some_and(names_it)) {
        return Err(conflict(format!("Cannot delete model '{name}', it is referenced by a route")));
    }
    api.models.remove(&id);
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid Model identifier specified")
}

fn view(model: &Model) -> Value {
    json!({
        "contentType": model.content_type,
        "description": model.description,
        "modelId": model.id,
        "name": model.name,
        "schema": model.schema,
    })
}
