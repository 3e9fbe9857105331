//! The responses of integrations and of routes: what of an answer goes back to the sender (G28).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{api_in, bad_request, conflict, deployments, not_found};
use crate::context::Context;
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::Api;

const MEMBERS: [&str; 8] = [
    "contentHandlingStrategy",
    "integrationResponseKey",
    "modelSelectionExpression",
    "responseModels",
    "responseParameters",
    "responseTemplates",
    "routeResponseKey",
    "templateSelectionExpression",
];

/// What a response is of.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Integration,
    Route,
}

type Responses = BTreeMap<String, Map<String, Value>>;

impl Of {
    /// The responses of the one with `id`, if it may have any.
    fn responses<'a>(self, api: &'a mut Api, id: &str) -> Result<&'a mut Responses, Refusal> {
        match self {
            Self::Integration => {
                let integration = api.integrations.get_mut(id).ok_or_else(|| self.unknown())?;
                if integration.integration_type.ends_with("_PROXY") {
                    return Err(bad_request("Integration responses are not supported for proxy integrations"));
                }
                Ok(&mut integration.responses)
            }
            Self::Route => Ok(&mut api.routes.get_mut(id).ok_or_else(|| self.unknown())?.responses),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Integration => "integrationResponseKey",
            Self::Route => "routeResponseKey",
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::Integration => "integrationResponseId",
            Self::Route => "routeResponseId",
        }
    }

    fn unknown(self) -> Refusal {
        match self {
            Self::Integration => not_found("Invalid Integration identifier specified"),
            Self::Route => not_found("Invalid Route identifier specified"),
        }
    }

    fn view(self, id: &str, response: &Map<String, Value>) -> Value {
        let mut view = Value::Object(response.clone());
        view[self.id()] = json!(id);
        view
    }
}

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields, of: Of) -> Answer {
    let (api_id, id, new) = (fields.label("apiId"), fields.label("id"), cx.id());
    let mut response = Map::new();
    fields.keep(&MEMBERS, &mut response);
    fields.done();
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let responses = of.responses(api, &id)?;
    let key = response.get(of.key()).cloned().unwrap_or_default();
    if matches!(of, Of::Route) && key != "$default" {
        return Err(bad_request("Only $default is supported as a route response key"));
    }
    if responses.values().any(|other| other.get(of.key()) == Some(&key)) {
        return Err(conflict(format!("Response with key {key} already exists")));
    }
    let view = of.view(&new, &response);
    responses.insert(new, response);
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::json(201, view))
}

pub(super) fn list(cx: &mut Context<'_>, mut fields: Fields, of: Of) -> Answer {
    let (api_id, id) = (fields.label("apiId"), fields.label("id"));
    fields.done();
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let items: Vec<Value> = of.responses(api, &id)?.iter().map(|(id, response)| of.view(id, response)).collect();
    Ok(Reply::json(200, json!({ "items": items })))
}

pub(super) fn delete(cx: &mut Context<'_>, mut fields: Fields, of: Of) -> Answer {
    let (api_id, id, response) = (fields.label("apiId"), fields.label("id"), fields.label("responseId"));
    fields.done();
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    of.responses(api, &id)?.remove(&response).ok_or_else(|| not_found("Invalid response identifier specified"))?;
    deployments::deploy_automatically(cx, &api_id);
    Ok(Reply::empty(204))
}
