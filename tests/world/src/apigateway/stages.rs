//! Stages: the addresses under which deployments are reached.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Listing, api_in, bad_request, conflict, deployments, item, listing, not_found, with_other};
use crate::clock::{self, Moment};
use crate::context::{Context, page};
use crate::fields::Fields;
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, spelled};
use crate::state::{Api, Stage};

const OTHER: [&str; 2] = ["clientCertificateId", "stageVariables"];

/// What a request says about a stage.
struct Wish {
    deployment_id: Option<String>,
    auto_deploy: Option<bool>,
    changed: Stage,
}

fn wish(mut fields: Fields) -> Result<Wish, Refusal> {
    let mut changed = Stage {
        name: fields.text("stageName").unwrap_or_default(),
        description: fields.text("description"),
        tags: fields.text_map("tags").unwrap_or_default(),
        ..Stage::default()
    };
    if let Some(Value::Object(settings)) = fields.raw("defaultRouteSettings") {
        changed.default_route_settings = Some(stored(settings));
    }
    if let Some(Value::Object(routes)) = fields.raw("routeSettings") {
        for (route, settings) in routes {
            let Value::Object(settings) = settings else { panic!("world: route settings are objects") };
            changed.route_settings.insert(route, stored(settings));
        }
    }
    // No role for logs is set in the account (G13).
    if fields.raw("accessLogSettings").is_some() {
        return Err(bad_request("CloudWatch Logs role ARN must be set in account settings to enable logging"));
    }
    fields.keep(&OTHER, &mut changed.other);
    let wish = Wish { deployment_id: fields.text("deploymentId"), auto_deploy: fields.flag("autoDeploy"), changed };
    fields.done();
    Ok(wish)
}

/// A block without the two numbers is stored with zeros, and everybody is throttled (G12).
fn stored(mut settings: Map<String, Value>) -> Map<String, Value> {
    settings.entry("throttlingBurstLimit").or_insert(json!(0));
    settings.entry("throttlingRateLimit").or_insert(json!(0.0));
    settings
}

/// G25
fn check_route_settings(api: &Api, settings: &BTreeMap<String, Map<String, Value>>) -> Result<(), Refusal> {
    match settings.keys().find(|key| !api.routes.values().any(|route| route.route_key == **key)) {
        Some(key) => Err(not_found(format!("Unable to find Route by key {key} within the provided RouteSettings"))),
        None => Ok(()),
    }
}

/// The deployment to attach, if the stage may have it.
fn attach(api: &Api, stage: &mut Stage, deployment_id: Option<String>, now: Moment) -> Result<(), Refusal> {
    let Some(id) = deployment_id else {
        return Ok(());
    };
    if stage.auto_deploy {
        // G10
        return Err(bad_request("DeploymentId cannot be set for stages with AutoDeploy enabled"));
    }
    let deployment = api.deployments.get(&id).ok_or_else(|| bad_request("Deployment id does not exist"))?;
    // Whether AWS takes one that is not yet deployed is not known; a program must not count on it (G9).
    if deployment.status(now) != "DEPLOYED" {
        return Err(bad_request(format!("Deployment {id} is {}", deployment.status(now))));
    }
    stage.deployment_id = Some(id);
    Ok(())
}

pub(super) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let api_id = fields.label("apiId");
    let Wish { deployment_id, auto_deploy, changed } = wish(fields)?;
    let now = cx.now;
    let mut stage = Stage { auto_deploy: auto_deploy.unwrap_or_default(), created: now, updated: now, ..changed };
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let name = stage.name.clone();
    if name.is_empty() || name.len() > 128 || !(spelled(&name, "-_") || name == "$default") {
        return Err(bad_request("Stage name only allows a-zA-Z0-9-_"));
    }
    if let Some(fault) = rules::tags_fault(&stage.tags) {
        return Err(bad_request(fault));
    }
    // G3
    if api.stages.contains_key(&name) {
        return Err(conflict("Stage already exists"));
    }
    check_route_settings(api, &stage.route_settings)?;
    attach(api, &mut stage, deployment_id, now)?;
    api.stages.insert(name.clone(), stage);
    deployments::deploy_automatically(cx, &api_id);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    Ok(Reply::json(201, view(&api.stages[&name])))
}

pub(super) fn get(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, name) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.stages.get(&name).map(|found| Reply::json(200, view(found))).ok_or_else(unknown)
}

pub(super) fn list(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let request = Listing::take(cx, fields);
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &request.api_id)?;
    let page = page(&api.stages, request.token, request.limit, |_, stage| stage.created + lag <= now);
    Ok(listing(&page, view))
}

/// Merges: what is left out stays (G11).
pub(super) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, name) = (fields.label("apiId"), fields.label("id"));
    let Wish { deployment_id, auto_deploy, changed } = wish(fields)?;
    let now = cx.now;
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let mut stage = api.stages.get(&name).cloned().ok_or_else(unknown)?;
    check_route_settings(api, &changed.route_settings)?;
    // A deployment cannot come in the same call that ends the automatic ones: the stage still is automatic (G10).
    attach(api, &mut stage, deployment_id, now)?;
    stage.auto_deploy = auto_deploy.unwrap_or(stage.auto_deploy);
    stage.description = changed.description.or(stage.description);
    if let Some(settings) = changed.default_route_settings {
        stage.default_route_settings.get_or_insert_default().extend(settings);
    }
    stage.route_settings.extend(changed.route_settings);
    stage.other.extend(changed.other);
    stage.updated = now;
    let view = view(&stage);
    api.stages.insert(name, stage);
    Ok(Reply::json(200, view))
}

pub(super) fn delete_route_settings(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (api_id, name, route) = (fields.label("apiId"), fields.label("id"), fields.label("routeKey"));
    fields.done();
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    let stage = api.stages.get_mut(&name).ok_or_else(unknown)?;
    stage.route_settings.remove(&route).ok_or_else(|| not_found("Unable to find the route settings"))?;
    Ok(Reply::empty(204))
}

pub(super) fn delete(cx: &mut Context<'_>, fields: Fields) -> Answer {
    let (api_id, name) = item(fields);
    let api = api_in(cx.account.region(&cx.place.region), &cx.place.account, &api_id)?;
    api.stages.remove(&name).ok_or_else(unknown)?;
    Ok(Reply::empty(204))
}

fn unknown() -> Refusal {
    not_found("Invalid stage identifier specified")
}

fn view(stage: &Stage) -> Value {
    let view = json!({
        "autoDeploy": stage.auto_deploy,
        "createdDate": clock::iso(stage.created),
        "defaultRouteSettings": stage.default_route_settings,
        "deploymentId": stage.deployment_id,
        "description": stage.description,
        "lastUpdatedDate": clock::iso(stage.updated),
        "routeSettings": stage.route_settings,
        "stageName": stage.name,
        "stageVariables": {},
        "tags": stage.tags,
    });
    with_other(view, &stage.other)
}
