//! Which operation of API Gateway a request is.

use crate::operation::{Rest, Wire};
use crate::service::Read;

pub(super) fn read(wire: &Wire<'_>) -> Read {
    let rest = Rest::new(wire);
    match (wire.method, rest.segments.as_slice()) {
        ("POST", ["v2", "apis"]) => rest.is("CreateApi", &[]),
        ("GET", ["v2", "apis"]) => rest.is("GetApis", &[]),
        (method, ["v2", "apis", api]) => {
            let name = match method {
                "GET" => "GetApi",
                "PATCH" => "UpdateApi",
                "DELETE" => "DeleteApi",
                _ => rest.unknown(),
            };
            rest.is(name, &[("apiId", api)])
        }
        (method, ["v2", "apis", api, kind]) => {
            let name = match (method, *kind) {
                ("POST", "integrations") => "CreateIntegration",
                ("GET", "integrations") => "GetIntegrations",
                ("POST", "models") => "CreateModel",
                ("GET", "models") => "GetModels",
                ("POST", "routes") => "CreateRoute",
                ("GET", "routes") => "GetRoutes",
                ("POST", "deployments") => "CreateDeployment",
                ("GET", "deployments") => "GetDeployments",
                ("POST", "stages") => "CreateStage",
                ("GET", "stages") => "GetStages",
                ("POST", "authorizers") => "CreateAuthorizer",
                ("GET", "authorizers") => "GetAuthorizers",
                _ => rest.unknown(),
            };
            rest.is(name, &[("apiId", api)])
        }
        (method, ["v2", "apis", api, kind, id]) => {
            let name = match (method, *kind) {
                ("GET", "integrations") => "GetIntegration",
                ("PATCH", "integrations") => "UpdateIntegration",
                ("DELETE", "integrations") => "DeleteIntegration",
                ("PATCH", "models") => "UpdateModel",
                ("DELETE", "models") => "DeleteModel",
                ("GET", "routes") => "GetRoute",
                ("PATCH", "routes") => "UpdateRoute",
                ("DELETE", "routes") => "DeleteRoute",
                ("GET", "deployments") => "GetDeployment",
                ("PATCH", "deployments") => "UpdateDeployment",
                ("DELETE", "deployments") => "DeleteDeployment",
                ("GET", "stages") => "GetStage",
                ("PATCH", "stages") => "UpdateStage",
                ("DELETE", "stages") => "DeleteStage",
                ("GET", "authorizers") => "GetAuthorizer",
                ("PATCH", "authorizers") => "UpdateAuthorizer",
                ("DELETE", "authorizers") => "DeleteAuthorizer",
                _ => rest.unknown(),
            };
            rest.is(name, &[("apiId", api), ("id", id)])
        }
        (method, ["v2", "apis", api, kind, id, _responses]) => {
            let name = match (method, *kind) {
                ("POST", "integrations") => "CreateIntegrationResponse",
                ("GET", "integrations") => "GetIntegrationResponses",
                ("POST", "routes") => "CreateRouteResponse",
                ("GET", "routes") => "GetRouteResponses",
                _ => rest.unknown(),
            };
            rest.is(name, &[("apiId", api), ("id", id)])
        }
        ("DELETE", ["v2", "apis", api, "integrations", id, _, response]) => {
            rest.is("DeleteIntegrationResponse", &[("apiId", api), ("id", id), ("responseId", response)])
        }
        ("DELETE", ["v2", "apis", api, "routes", id, _, response]) => {
            rest.is("DeleteRouteResponse", &[("apiId", api), ("id", id), ("responseId", response)])
        }
        ("DELETE", ["v2", "apis", api, "stages", id, "routesettings", key]) => {
            rest.is("DeleteRouteSettings", &[("apiId", api), ("id", id), ("routeKey", key)])
        }
        ("POST", ["v2", "tags", arn]) => rest.is("TagResource", &[("resourceArn", arn)]),
        ("DELETE", ["v2", "tags", arn]) => rest.is("UntagResource", &[("resourceArn", arn)]),
        ("GET", ["v2", "tags", arn]) => rest.is("GetTags", &[("resourceArn", arn)]),
        _ => rest.unknown(),
    }
}
