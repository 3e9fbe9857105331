//! Would a chat work? Judged as the data plane would: by snapshot, permission, role and table.

use serde_json::{Map, Value};

use crate::apigateway::function_of;
use crate::clock::Moment;
use crate::place::Place;
use crate::policy;
use crate::rules::{covers, role_by_arn};
use crate::state::{Account, Deployment, Function, Region, Role, Route};

/// What each route's handler needs on the table.
const NEEDS: [(&str, &[&str]); 3] = [
    ("$connect", &["dynamodb:PutItem"]),
    ("$disconnect", &["dynamodb:DeleteItem"]),
    ("sendmessage", &["dynamodb:Scan", "dynamodb:DeleteItem"]),
];

pub(crate) fn chat_works(
    account: &mut Account,
    place: &Place,
    api_id: &str,
    stage: &str,
    now: Moment,
) -> Result<(), Vec<String>> {
    // Makes the region, so that the rest may borrow it shared.
    account.region(&place.region);
    let account = &*account;
    let region = &account.regions[&place.region];
    let probe = Probe { account, region, place, api_id, stage, now };
    let deployment = match probe.deployment() {
        Ok(deployment) => deployment,
        Err(fault) => return Err(vec![fault]),
    };
    let mut faults = Vec::new();
    for (route, actions) in NEEDS {
        if let Err(fault) = probe.route(deployment, route, actions) {
            faults.push(format!("{route}: {fault}"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Whether the function's policy lets API Gateway call it from `source`.
fn may_call(function: &Function, source: &str) -> bool {
    function.policy.values().any(|statement| {
        statement.principal == "apigateway.amazonaws.com"
            && covers(&statement.action, "lambda:InvokeFunction")
            && statement.source_arn.as_deref().is_none_or(|pattern| covers(pattern, source))
    })
}

/// What a client hears that sends a message with the action `route`, where API Gateway answers it itself (G28).
pub(crate) fn mock_answer(region: &Region, api_id: &str, stage: &str, route: &str) -> Result<String, &'static str> {
    let api = region.apis.get(api_id).ok_or("no such API")?;
    let deployment = api.deployment_of(stage).ok_or("the stage has no deployment (G8)")?;
    let route = deployment.routes.iter().find(|each| each.route_key == route).ok_or("not in the deployment (G8)")?;
    let id = route.target.as_deref().and_then(|target| target.strip_prefix("integrations/")).ok_or("no target")?;
    let integration = deployment.integrations.iter().find(|each| each.id == id).ok_or("no integration")?;
    if integration.integration_type != "MOCK" {
        return Err("it calls something");
    }
    let selected = |of: &Map<String, Value>, templates: &str| {
        let selection = of.get("templateSelectionExpression").and_then(Value::as_str)?;
        Some(of.get(templates)?.get(selection)?.as_str()?.to_owned())
    };
    let status = selected(&integration.other, "requestTemplates").ok_or("no request template is selected")?;
    let status: Value = serde_json::from_str(&status).map_err(|_| "the request template is not JSON")?;
    if status["statusCode"] != 200 {
        return Err("the request template gives no status");
    }
    let has_key = |of: &Map<String, Value>, key: &str| of.get(key).and_then(Value::as_str) == Some("$default");
    let response = integration.responses.values().find(|response| has_key(response, "integrationResponseKey"));
    let answer = selected(response.ok_or("no integration response")?, "responseTemplates");
    let responds = has_key(&route.other, "routeResponseSelectionExpression")
        && route.responses.values().any(|response| has_key(response, "routeResponseKey"));
    if !responds {
        return Err("the route has no response (H9)");
    }
    answer.ok_or("no response template is selected")
}

struct Probe<'a> {
    account: &'a Account,
    region: &'a Region,
    place: &'a Place,
    api_id: &'a str,
    stage: &'a str,
    now: Moment,
}

impl<'a> Probe<'a> {
    fn deployment(&self) -> Result<&'a Deployment, String> {
        let api = self.region.apis.get(self.api_id).ok_or("no such API")?;
        let stage = api.stages.get(self.stage).ok_or("no such stage")?;
        let mut settings = stage.default_route_settings.iter().chain(stage.route_settings.values());
        if settings.any(|block| block.get("throttlingRateLimit").and_then(Value::as_f64) == Some(0.0)) {
            return Err("the stage throttles everything (G12)".to_owned());
        }
        let deployment = api.deployment_of(self.stage).ok_or("the stage has no deployment (G8)")?;
        match deployment.status(self.now) {
            "DEPLOYED" => Ok(deployment),
            status => Err(format!("the deployment is {status}")),
        }
    }

    fn route(&self, deployment: &Deployment, key: &str, actions: &[&str]) -> Result<(), String> {
        let route =
            deployment.routes.iter().find(|route| route.route_key == key).ok_or("not in the deployment (G8)")?;
        let id = route.target.as_deref().and_then(|target| target.strip_prefix("integrations/")).ok_or("no target")?;
        let integration = deployment
            .integrations
            .iter()
            .find(|integration| integration.id == id)
            .ok_or("its integration is not in the deployment")?;
        let arn =
            integration.uri.as_deref().and_then(|uri| function_of(uri, self.place)).ok_or("no function behind it")?;
        let function = self.region.functions.values().find(|function| function.arn == arn).ok_or("no such function")?;
        self.function(function, key)?;
        if route.authorization_type == "CUSTOM" {
            self.authorizer(route)?;
        }
        let role = role_by_arn(self.account, &function.role).ok_or("its role does not exist")?;
        self.role(function, role, key, actions)
    }

    fn function(&self, function: &Function, key: &str) -> Result<(), String> {
        let name = &function.name;
        if function.state(self.now) != "Active" {
            return Err(format!("{name} is {}", function.state(self.now)));
        }
        let source = self.place.arn("execute-api", &format!("{}/{}/{key}", self.api_id, self.stage));
        let permitted = may_call(function, &source);
        if permitted { Ok(()) } else { Err(format!("{name} may not be called from {source} (L7)")) }
    }

    /// Whether API Gateway gets an answer from the authorizer's function, which may be in any region of the account.
    fn authorizer(&self, route: &Route) -> Result<(), String> {
        let id = route.authorizer_id.as_deref().ok_or("it has no authorizer")?;
        let authorizer = self.region.apis[self.api_id].authorizers.get(id).ok_or("its authorizer does not exist")?;
        let uri = authorizer.other.get("authorizerUri").and_then(Value::as_str).unwrap_or_default();
        let mut functions = self.account.regions.values().flat_map(|region| region.functions.values());
        let function = functions
            .find(|function| uri.ends_with(&format!("/functions/{}/invocations", function.arn)))
            .ok_or("its authorizer's function does not exist")?;
        let source = self.place.arn("execute-api", &format!("{}/authorizers/{id}", self.api_id));
        let permitted = may_call(function, &source);
        if permitted { Ok(()) } else { Err(format!("500: {} may not be called from {source} (G20)", function.name)) }
    }

    /// Whether the function can do what the route is for; the worker has no queue to send to.
    fn role(&self, function: &Function, role: &Role, key: &str, actions: &[&str]) -> Result<(), String> {
        let name = &role.name;
        if function.encrypted_for != role.id {
            return Err(format!("{}: KMSAccessDeniedException: its variables are another role's (I12)", function.name));
        }
        if role.assumable_at > self.now || !policy::trusts(&role.trust, "lambda.amazonaws.com") {
            return Err(format!("{name} cannot be assumed by Lambda"));
        }
        let table = function.environment.get("TABLE_NAME").ok_or("TABLE_NAME is not set")?;
        let table = self.region.tables.get(table).ok_or("its table does not exist")?;
        if table.status(self.now) != "ACTIVE" {
            return Err(format!("its table is {}", table.status(self.now)));
        }
        let may = |action: &str, resource: &str| {
            let documents = role.inline.values().map(|policy| policy.document.as_str());
            policy::allow(documents, self.place.partition(), action, resource)
        };
        let queue =
            function.environment.get("QUEUE_URL").filter(|_| function.timeout_seconds < 60 && key == "sendmessage");
        if let Some(url) = queue {
            let queue =
                self.region.queues.values().find(|queue| queue.url == *url).ok_or("its queue does not exist")?;
            if !may("sqs:SendMessage", &queue.arn) {
                return Err(format!("{name} may not send to {}", queue.arn));
            }
            let mapping = self.region.mappings.values().find(|mapping| mapping.source == queue.arn);
            let mapping =
                mapping.filter(|mapping| mapping.state(self.now) == "Enabled").ok_or("nothing feeds a worker")?;
            let worker = self.region.functions.get(&mapping.function).ok_or("there is no worker")?;
            let role = role_by_arn(self.account, &worker.role).ok_or("the worker's role does not exist")?;
            // What the worker does is what `sendMessage` does where it has no queue.
            return self.role(worker, role, key, actions).map_err(|fault| format!("the worker: {fault}"));
        }
        for action in actions {
            if !may(action, &table.arn) {
                return Err(format!("{name} may not {action} on {}", table.arn));
            }
        }
        let connections = self.place.arn("execute-api", &format!("{}/{}/POST/@connections/x", self.api_id, self.stage));
        if key == "sendmessage" && !may("execute-api:ManageConnections", &connections) {
            return Err(format!("{name} may not post to connections (I8)"));
        }
        Ok(())
    }
}
