//! Who may do what: the IAM actions of every call, and how each service says no (R5, P).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::caller::Caller;
use crate::operation::Request;
use crate::policy::Facts;
use crate::reply::Refusal;
use crate::service::Service;
use crate::state::{Account, Role};

/// An action that a call needs, and on what.
pub(crate) struct Need {
    pub action: Cow<'static, str>,
    pub resource: String,
    /// What conditions may look at.
    pub facts: Facts,
}

/// Everything the call needs; the operation's own action first. `role` is the one that it is about, if there is one
/// and IAM sees it.
pub(crate) fn actions(request: &Request, role: Option<&Role>) -> Vec<Need> {
    let service = request.operation.service;
    let model = service.model();
    let own = Cow::Owned(model.action(request));
    let mut needs = vec![Need { action: own, resource: model.arn(request, role), facts: facts(request, role) }];
    let mut also = |action: &'static str, resource: String, facts: Facts| {
        needs.push(Need { action: action.into(), resource, facts });
    };
    // A create with tags also needs the service's tag action (P).
    let is_given = |(name, member, _): &&(&str, &str, _)| *name == request.operation.name && request.fields.has(member);
    if let Some((name, _, action)) = model.tagging().iter().find(is_given) {
        // A mapping has no name before it is made.
        let tagged = match *name {
            "CreateEventSourceMapping" => request.place.arn("lambda", "event-source-mapping:any"),
            _ => model.arn(request, role),
        };
        also(action, tagged, Facts::new());
    }
    if service == Service::ApiGateway {
        tag_needs(request, &mut also);
    }
    // Whoever gives a function its role passes that role (I7).
    if service == Service::Lambda
        && let Some(role) = request.fields.peek("Role")
    {
        let to = Facts::from([("iam:passedtoservice".to_owned(), "lambda.amazonaws.com".to_owned())]);
        also("iam:PassRole", role.to_owned(), to);
    }
    needs
}

/// Reports differ on what API Gateway asks for when tags are given or taken (G16); here it is all of it at once.
fn tag_needs(request: &Request, also: &mut impl FnMut(&'static str, String, Facts)) {
    let place = &request.place;
    let path = request.path.strip_prefix("/v2").unwrap_or(&request.path);
    match request.operation.name {
        "CreateApi" | "CreateStage" if request.fields.has("tags") => {
            let tags = place.apigateway_arn("/tags/new");
            also("apigateway:TagResource", place.apigateway_arn(path), Facts::new());
            also("apigateway:PUT", tags.clone(), Facts::new());
            also("apigateway:POST", tags.clone(), Facts::new());
            also("apigateway:POST", place.apigateway_arn(&tags), Facts::new());
        }
        "TagResource" => {
            also("apigateway:TagResource", request.resource.clone(), Facts::new());
            also("apigateway:PUT", place.apigateway_arn(path), Facts::new());
        }
        "UntagResource" => also("apigateway:UntagResource", request.resource.clone(), Facts::new()),
        _ => {}
    }
}

/// The tags of the API that a call is about; whether AWS gives those to calls about what lives in it, nobody tells (G27).
fn tags_of_api(account: &Account, request: &Request) -> Facts {
    let path = request.path.strip_prefix("/v2/apis/").filter(|_| request.operation.service == Service::ApiGateway);
    let region = account.regions.get(&request.place.region);
    let api = path.zip(region).and_then(|(id, region)| region.apis.get(id));
    let tags = api.into_iter().flat_map(|api| &api.tags);
    tags.map(|(key, value)| (format!("aws:resourcetag/{}", key.to_lowercase()), value.clone())).collect()
}

/// The boundary that a role has, or is to have.
fn facts(request: &Request, role: Option<&Role>) -> Facts {
    let boundary = match request.operation.name {
        "CreateRole" | "PutRolePermissionsBoundary" => request.fields.peek("PermissionsBoundary").map(str::to_owned),
        _ => role.and_then(|role| role.boundary.clone()),
    };
    boundary.map(|arn| ("iam:permissionsboundary".to_owned(), arn)).into_iter().collect()
}

/// The function that a mapping feeds.
fn mapped(account: &Account, request: &Request) -> Option<String> {
    let region = account.regions.get(&request.place.region);
    let known =
        request.fields.peek("UUID").and_then(|id| region?.mappings.get(id)).map(|mapping| mapping.function.as_str());
    let name = request.fields.peek("FunctionName").or(known)?;
    let names_one = request.operation.name.ends_with("EventSourceMapping");
    names_one.then(|| request.place.arn("lambda", &format!("function:{name}")))
}

/// The first refusal that the account has for the caller's call.
pub(crate) fn check(account: &Account, role: Option<&Role>, request: &Request, by: &Caller) -> Result<(), Refusal> {
    // No policy can take GetCallerIdentity away (S1).
    if request.operation.service == Service::Sts {
        return Ok(());
    }
    let tags = tags_of_api(account, request);
    for mut need in actions(request, role) {
        need.facts.extend(tags.clone());
        need.facts.extend(mapped(account, request).map(|arn| ("lambda:functionarn".to_owned(), arn)));
        if matches(&account.denied_by_scp, &need) {
            return Err(denied(request, &need, Some("with an explicit deny in a service control policy")));
        }
        let allowed = account.allowed.as_ref().is_none_or(|allowed| matches(allowed, &need));
        if !allowed || matches(&account.denied, &need) {
            return Err(denied(request, &need, None));
        }
        by.may(&need.action, &need.resource, &need.facts).map_err(|why| denied(request, &need, Some(&why)))?;
        if need.action == "iam:CreateRole"
            && account.required_boundary.is_some()
            && account.required_boundary.as_deref() != request.fields.peek("PermissionsBoundary")
        {
            return Err(denied(request, &need, None));
        }
    }
    Ok(())
}

fn matches(patterns: &BTreeSet<String>, need: &Need) -> bool {
    patterns.iter().any(|pattern| {
        let (action, resource) = pattern.split_once(' ').unwrap_or((pattern, ""));
        let action_fits = match action.strip_suffix('*') {
            Some(prefix) => need.action.starts_with(prefix),
            None => need.action == action,
        };
        action_fits && need.resource.contains(resource)
    })
}

/// Access denied, in the service's words: the message names who, the action and on what.
pub(crate) fn denied(request: &Request, need: &Need, reason: Option<&str>) -> Refusal {
    let Need { action, resource, .. } = need;
    let because = match reason {
        Some(reason) => reason.to_owned(),
        None => format!("because no identity-based policy allows the {action} action"),
    };
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {because}",
        request.place.principal()
    );
    let (status, code) = request.operation.service.model().refusals().denied;
    Refusal::new(status, code, message)
}
