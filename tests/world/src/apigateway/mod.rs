//! API Gateway v2, the control plane of WebSocket APIs.

mod apis;
mod authorizers;
mod deployments;
mod integrations;
mod models;
mod responses;
mod routes;
mod stages;
mod tags;
mod wire;

pub(crate) use integrations::function_of;

use serde_json::{Map, Value, json};

use self::responses::Of;
use crate::context::{self, Context};
use crate::fields::Fields;
use crate::operation::{Request, Wire};
use crate::reply::{Answer, Refusal, Reply};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Api, Region, Role};

pub(crate) struct ApiGateway;

impl Model for ApiGateway {
    fn name(&self) -> &'static str {
        "apigateway"
    }

    fn model_name(&self) -> &'static str {
        "apigatewayv2"
    }

    fn protocol(&self) -> Protocol {
        Protocol::RestJson
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        wire::read(wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["apiId", "resourceArn", "name"]
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            denied: (403, "AccessDeniedException"),
            throttled: (429, "TooManyRequestsException", "Too Many Requests"),
            expired: (403, "ExpiredTokenException"),
            skewed: (403, "InvalidSignatureException"),
            broken: "InternalServerErrorException",
            unavailable: "ServiceUnavailable",
        }
    }

    fn error(&self, refusal: &Refusal) -> Value {
        json!({ "message": refusal.message })
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        request.place.apigateway_arn(request.path.strip_prefix("/v2").unwrap_or(&request.path))
    }

    /// By HTTP verb (P).
    fn action(&self, request: &Request) -> String {
        format!("apigateway:{}", request.method)
    }
}

fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateApi" => apis::create(cx, fields),
        "GetApi" => apis::get(cx, fields),
        "GetApis" => apis::list(cx, fields),
        "UpdateApi" => apis::update(cx, fields),
        "DeleteApi" => apis::delete(cx, fields),
        "CreateIntegration" => integrations::create(cx, fields),
        "GetIntegration" => integrations::get(cx, fields),
        "GetIntegrations" => integrations::list(cx, fields),
        "UpdateIntegration" => integrations::update(cx, fields),
        "DeleteIntegration" => integrations::delete(cx, fields),
        "CreateIntegrationResponse" => responses::create(cx, fields, Of::Integration),
        "GetIntegrationResponses" => responses::list(cx, fields, Of::Integration),
        "DeleteIntegrationResponse" => responses::delete(cx, fields, Of::Integration),
        "CreateRouteResponse" => responses::create(cx, fields, Of::Route),
        "GetRouteResponses" => responses::list(cx, fields, Of::Route),
        "DeleteRouteResponse" => responses::delete(cx, fields, Of::Route),
        "CreateModel" => models::create(cx, fields),
        "GetModels" => models::list(cx, fields),
        "UpdateModel" => models::update(cx, fields),
        "DeleteModel" => models::delete(cx, fields),
        "CreateRoute" => routes::create(cx, fields),
        "GetRoute" => routes::get(cx, fields),
        "GetRoutes" => routes::list(cx, fields),
        "UpdateRoute" => routes::update(cx, fields),
        "DeleteRoute" => routes::delete(cx, fields),
        "CreateDeployment" => deployments::create(cx, fields),
        "GetDeployment" => deployments::get(cx, fields),
        "GetDeployments" => deployments::list(cx, fields),
        "UpdateDeployment" => deployments::update(cx, fields),
        "DeleteDeployment" => deployments::delete(cx, fields),
        "CreateStage" => stages::create(cx, fields),
        "GetStage" => stages::get(cx, fields),
        "GetStages" => stages::list(cx, fields),
        "UpdateStage" => stages::update(cx, fields),
        "DeleteStage" => stages::delete(cx, fields),
        "DeleteRouteSettings" => stages::delete_route_settings(cx, fields),
        "CreateAuthorizer" => authorizers::create(cx, fields),
        "GetAuthorizer" => authorizers::get(cx, fields),
        "GetAuthorizers" => authorizers::list(cx, fields),
        "UpdateAuthorizer" => authorizers::update(cx, fields),
        "DeleteAuthorizer" => authorizers::delete(cx, fields),
        "GetTags" => tags::get(cx, fields),
        "TagResource" => tags::tag(cx, fields),
        "UntagResource" => tags::untag(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

/// The API that a call writes to, also through an ARN.
pub(crate) fn api_of(request: &Request) -> Option<&str> {
    if request.operation.name == "CreateApi" {
        return None;
    }
    Some(match request.resource.split_once("/apis/") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => &request.resource,
    })
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequestException", message)
}

fn not_found(message: impl Into<String>) -> Refusal {
    Refusal::new(404, "NotFoundException", message)
}

fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(409, "ConflictException", message)
}

/// The API named in the path.
fn api_in<'a>(region: &'a mut Region, account: &str, id: &str) -> Result<&'a mut Api, Refusal> {
    region.apis.get_mut(id).ok_or_else(|| not_found(format!("Invalid API identifier specified {account}:{id}")))
}

/// A list answer: `items` and, if there is more, `nextToken` (G5).
fn listing<T>(page: &context::Page<'_, T>, view: impl Fn(&T) -> Value) -> Reply {
    let items: Vec<Value> = page.items.iter().map(|(_, item)| view(item)).collect();
    let mut body = json!({ "items": items });
    if let Some(next) = &page.next {
        body["nextToken"] = json!(next);
    }
    Reply::json(200, body)
}

/// The members of a list request.
struct Listing {
    api_id: String,
    limit: usize,
    token: Option<String>,
}

impl Listing {
    fn take(cx: &Context<'_>, mut fields: Fields) -> Self {
        let listing = Self {
            api_id: fields.text("apiId").unwrap_or_default(),
            limit: context::limit(fields.number("maxResults"), cx.switches),
            token: fields.text("nextToken"),
        };
        fields.done();
        listing
    }
}

/// The two members of a request that names one item of an API.
fn item(mut fields: Fields) -> (String, String) {
    let ids = (fields.label("apiId"), fields.label("id"));
    fields.done();
    ids
}

/// Members stored as they came.
fn with_other(mut view: Value, other: &Map<String, Value>) -> Value {
    for (key, value) in other {
        view[key] = value.clone();
    }
    view
}
