//! Who may do what: the IAM actions of every call, and how each service says no (R5, P).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::operation::{Request, Service};
use crate::reply::Refusal;
use crate::state::Account;

/// An action that a call needs, and on what.
pub(crate) struct Need {
    pub action: Cow<'static, str>,
    pub resource: String,
}

/// Everything the call needs; the operation's own action first.
pub(crate) fn actions(request: &Request) -> Vec<Need> {
    let service = request.operation.service;
    let on = resource_arn(request);
    let own = match service {
        // Authorisation is by HTTP verb (P).
        Service::ApiGateway => Cow::Owned(format!("apigateway:{}", request.method)),
        _ => Cow::Owned(format!("{}:{}", service.name(), request.operation.name)),
    };
    let mut needs = vec![Need { action: own, resource: on }];
    // A create with tags also needs the service's tag action (P).
    let tagging = match (service, request.operation.name) {
        (Service::ApiGateway, "CreateApi" | "CreateStage") if request.fields.has("tags") => "apigateway:TagResource",
        (Service::ApiGateway, "TagResource") => "apigateway:TagResource",
        (Service::Lambda, "CreateFunction") if request.fields.has("Tags") => "lambda:TagResource",
        (Service::Iam, "CreateRole") if request.fields.has("Tags") => "iam:TagRole",
        (Service::DynamoDb, "CreateTable") if request.fields.has("Tags") => "dynamodb:TagResource",
        (Service::Logs, "CreateLogGroup") if request.fields.has("tags") => "logs:TagResource",
        _ => "",
    };
    if !tagging.is_empty() {
        let resource = needs[0].resource.clone();
        needs.push(Need { action: tagging.into(), resource });
    }
    // Whoever gives a function its role passes that role (I7).
    if service == Service::Lambda
        && let Some(role) = request.fields.peek("Role")
    {
        needs.push(Need { action: "iam:PassRole".into(), resource: role.to_owned() });
    }
    needs
}

fn resource_arn(request: &Request) -> String {
    let place = &request.place;
    let name = request.resource.as_str();
    if name.starts_with("arn:") && request.operation.service != Service::ApiGateway {
        return name.to_owned();
    }
    match request.operation.service {
        Service::ApiGateway => place.apigateway_arn(request.path.strip_prefix("/v2").unwrap_or(&request.path)),
        Service::Lambda if name.is_empty() => "*".to_owned(),
        Service::Lambda => place.arn("lambda", &format!("function:{name}")),
        Service::Iam => {
            let path = request.fields.peek("Path").unwrap_or("/");
            place.global_arn("iam", &format!("role{path}{name}"))
        }
        Service::DynamoDb => place.arn("dynamodb", &format!("table/{name}")),
        Service::Logs => place.arn("logs", &format!("log-group:{name}:log-stream:")),
        Service::Sts => "*".to_owned(),
    }
}

/// The first refusal that the account has for the call.
pub(crate) fn check(account: &Account, request: &Request) -> Result<(), Refusal> {
    // No policy can take GetCallerIdentity away (S1).
    let unrestricted = account.denied.is_empty()
        && account.denied_by_scp.is_empty()
        && account.allowed.is_none()
        && account.required_boundary.is_none();
    if unrestricted || request.operation.service == Service::Sts {
        return Ok(());
    }
    for need in actions(request) {
        if matches(&account.denied_by_scp, &need) {
            return Err(denied(request, &need, Some("with an explicit deny in a service control policy")));
        }
        let allowed = account.allowed.as_ref().is_none_or(|allowed| matches(allowed, &need));
        if !allowed || matches(&account.denied, &need) {
            return Err(denied(request, &need, None));
        }
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
    let Need { action, resource } = need;
    let because = match reason {
        Some(reason) => reason.to_owned(),
        None => format!("because no identity-based policy allows the {action} action"),
    };
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {because}",
        request.place.principal()
    );
    match request.operation.service {
        Service::Iam | Service::Sts => Refusal::new(403, "AccessDenied", message),
        Service::ApiGateway | Service::Lambda => Refusal::new(403, "AccessDeniedException", message),
        Service::DynamoDb | Service::Logs => Refusal::new(400, "AccessDeniedException", message),
    }
}
