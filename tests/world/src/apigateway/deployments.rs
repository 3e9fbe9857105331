//! Deployments: snapshots of routes and integrations (G8, G9).

use serde_json::{Value, json};

use super::{Listing, api_in, bad_request, item, listing, not_found};
use crate::clock::{self, Moment};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Api, Deployment};

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, description, stage) = (fields.label("apiId"), fields.text("description"), fields.text("stageName"));
    fields.done();
    let id = cx.id();
    let (now, deployed_at) = (cx.now, cx.now + cx.switches.deployment_pending);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    if api.routes.is_empty() {
        return Err(bad_request("At least one route is required before deploying the Api."));
    }
    if description.as_ref().is_some_and(|text| text.chars().count() > 1_024) {
        return Err(bad_request("Description must have length less than or equal to 1024"));
    }
    let deployment = Deployment { description, ..snapshot(api, id.clone(), now, deployed_at) };
    if let Some(name) = stage {
        let stage = api.stages.get_mut(&name).ok_or_else(|| not_found("Invalid stage identifier specified"))?;
        stage.deployment_id = Some(id.clone());
        stage.updated = now;
    }
    let view = view(&deployment, now);
    api.deployments.insert(id, deployment);
    Ok(Reply::json(201, view))
}

fn snapshot(api: &Api, id: String, created: Moment, deployed_at: Moment) -> Deployment {
    Deployment {
        id,
        created,
        deployed_at,
        routes: api.routes.values().cloned().collect(),
        integrations: api.integrations.values().cloned().collect(),
        ..Deployment::default()
    }
}

/// Each change of an API with an automatic stage mints a deployment of its own (G10).
pub(super) fn deploy_automatically(cx: &mut Context<'_>, api_id: &str) {
    let now = cx.now;
    let Some(api) = cx.account.region(&cx.place.region).apis.get(api_id) else {
        return;
    };
    if api.routes.is_empty() || !api.stages.values().any(|stage| stage.auto_deploy) {
        return;
    }
    let id = cx.id();
    let Some(api) = cx.account.region(&cx.place.region).apis.get_mut(api_id) else {
        return;
    };
    let deployment = Deployment {
        auto_deployed: true,
        description: Some("Automatic deployment triggered by changes to the Api configuration".to_owned()),
        ..snapshot(api, id.clone(), now, now)
    };
    api.deployments.insert(id.clone(), deployment);
    for stage in api.stages.values_mut().filter(|stage| stage.auto_deploy) {
        stage.deployment_id = Some(id.clone());
        stage.updated = now;
    }
}

pub(super) fn get(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.deployments.get(&id).map(|found| Reply::json(200, view(found, cx.now))).ok_or_else(unknown)
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.deployments, request.token, request.limit, |_, item| item.created + lag <= now);
    Ok(listing(&page, |deployment| view(deployment, now)))
}

pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, id, description) = (fields.label("apiId"), fields.label("id"), fields.text("description"));
    fields.done();
    let now = cx.now;
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let deployment = api.deployments.get_mut(&id).ok_or_else(unknown)?;
    if description.is_some() {
        deployment.description = description;
    }
    Ok(Reply::json(200, view(deployment, now)))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, id) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    if !api.deployments.contains_key(&id) {
        return Err(unknown());
    }
    if api.stages.values().any(|stage| stage.deployment_id.as_deref() == Some(&id)) {
        return Err(bad_request("Active stages pointing to this deployment must be moved or deleted"));
    }
    api.deployments.remove(&id);
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid Deployment identifier specified")
}

fn view(deployment: &Deployment, now: Moment) -> Value {
    json!({
        "autoDeployed": deployment.auto_deployed,
        "createdDate": clock::iso(deployment.created),
        "deploymentId": deployment.id,
        "deploymentStatus": deployment.status(now),
        "deploymentStatusMessage": deployment.failure,
        "description": deployment.description,
    })
}
