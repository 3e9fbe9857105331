//! Which operation a request is: the five wire formats read back into names and members.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::demands;
use crate::fields::Fields;
use crate::place::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    ApiGateway,
    DynamoDb,
    Iam,
    Lambda,
    Logs,
    Sqs,
    Sts,
}

impl Service {
    /// The name in IAM actions and in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiGateway => "apigateway",
            Self::DynamoDb => "dynamodb",
            Self::Iam => "iam",
            Self::Lambda => "lambda",
            Self::Logs => "logs",
            Self::Sqs => "sqs",
            Self::Sts => "sts",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub service: Service,
    pub name: &'static str,
    pub write: bool,
}

/// A request as the model sees it.
pub(crate) struct Request {
    pub operation: Operation,
    pub place: Place,
    pub method: String,
    /// Undecoded, without the query.
    pub path: String,
    pub fields: Fields,
    /// The name that the call is about, for the log.
    pub resource: String,
    /// The SDK's attempt, from 1.
    pub attempt: u32,
}

/// What of an HTTP request names the operation.
pub(crate) struct Wire<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// `X-Amz-Target`
    pub target: Option<&'a str>,
    pub body: &'a [u8],
}

const IAM: &[(&str, bool)] = &[
    ("CreateRole", true),
    ("GetRole", false),
    ("DeleteRole", true),
    ("TagRole", true),
    ("UntagRole", true),
    ("ListRoleTags", false),
    ("ListRoles", false),
    ("UpdateAssumeRolePolicy", true),
    ("UpdateRole", true),
    ("PutRolePermissionsBoundary", true),
    ("DeleteRolePermissionsBoundary", true),
    ("PutRolePolicy", true),
    ("GetRolePolicy", false),
    ("DeleteRolePolicy", true),
    ("ListRolePolicies", false),
    ("ListAttachedRolePolicies", false),
    ("AttachRolePolicy", true),
    ("DetachRolePolicy", true),
    ("ListInstanceProfilesForRole", false),
];

const DYNAMODB: &[(&str, bool)] = &[
    ("CreateTable", true),
    ("DescribeTable", false),
    ("UpdateTable", true),
    ("DeleteTable", true),
    ("ListTables", false),
    ("UpdateTimeToLive", true),
    ("DescribeTimeToLive", false),
    ("TagResource", true),
    ("UntagResource", true),
    ("ListTagsOfResource", false),
];

const LOGS: &[(&str, bool)] = &[
    ("CreateLogGroup", true),
    ("DescribeLogGroups", false),
    ("PutRetentionPolicy", true),
    ("DeleteRetentionPolicy", true),
    ("DeleteLogGroup", true),
    ("TagResource", true),
    ("UntagResource", true),
    ("ListTagsForResource", false),
    ("FilterLogEvents", false),
];

const SQS: &[(&str, bool)] = &[
    ("CreateQueue", true),
    ("GetQueueUrl", false),
    ("GetQueueAttributes", false),
    ("SetQueueAttributes", true),
    ("DeleteQueue", true),
    ("TagQueue", true),
    ("UntagQueue", true),
    ("ListQueueTags", false),
    ("ReceiveMessage", true),
    ("SendMessage", true),
    ("DeleteMessage", true),
];

/// Reads a request; panics at one that the model does not know, for an answer would be a lie.
pub(crate) fn read(service: Service, wire: &Wire<'_>) -> (Operation, Fields, String) {
    let (operation, map) = match service {
        Service::ApiGateway => apigateway(wire),
        Service::Lambda => lambda(wire),
        Service::Iam => query(service, IAM, wire),
        Service::Sts => query(service, &[("GetCallerIdentity", false)], wire),
        Service::DynamoDb => target(service, "DynamoDB_20120810.", DYNAMODB, wire),
        Service::Logs => target(service, "Logs_20140328.", LOGS, wire),
        Service::Sqs => target(service, "AmazonSQS.", SQS, wire),
    };
    demands::check(service, operation.name, wire, &map);
    let resource = resource(&map);
    (operation, Fields::new(operation.name, map), resource)
}

/// The first member that names something.
fn resource(map: &Map<String, Value>) -> String {
    const NAMES: [&str; 11] = [
        "apiId",
        "functionName",
        "FunctionName",
        "RoleName",
        "TableName",
        "logGroupName",
        "resourceArn",
        "ResourceArn",
        "name",
        "QueueName",
        "QueueUrl",
    ];
    NAMES.iter().find_map(|name| map.get(*name)?.as_str()).unwrap_or_default().to_owned()
}

fn known(service: Service, table: &[(&'static str, bool)], name: &str) -> Operation {
    let Some(&(name, write)) = table.iter().find(|(known, _)| *known == name) else {
        panic!("world: {} has no operation `{name}` in this model", service.name());
    };
    Operation { service, name, write }
}

fn target(
    service: Service,
    prefix: &str,
    table: &[(&'static str, bool)],
    wire: &Wire<'_>,
) -> (Operation, Map<String, Value>) {
    let name = wire.target.and_then(|target| target.strip_prefix(prefix)).unwrap_or_default();
    (known(service, table, name), json(wire.body))
}

fn json(body: &[u8]) -> Map<String, Value> {
    if body.is_empty() {
        return Map::new();
    }
    serde_json::from_slice(body).expect("world: the body is a JSON object")
}

/// The query protocol: `Tags.member.1.Key=…` becomes `"Tags": [{"Key": …}]`.
fn query(service: Service, table: &[(&'static str, bool)], wire: &Wire<'_>) -> (Operation, Map<String, Value>) {
    let body = std::str::from_utf8(wire.body).expect("world: a query body is text");
    let mut map = Map::new();
    let mut name = String::new();
    for (key, value) in pairs(body) {
        match key.as_str() {
            "Action" => name = value,
            "Version" => {}
            _ => match key.split_once(".member.") {
                None => {
                    map.insert(key, Value::String(value));
                }
                Some((list, rest)) => insert_member(&mut map, list, rest, value),
            },
        }
    }
    (known(service, table, &name), map)
}

fn insert_member(map: &mut Map<String, Value>, list: &str, rest: &str, value: String) {
    let Value::Array(items) = map.entry(list.to_owned()).or_insert_with(|| Value::Array(Vec::new())) else {
        panic!("world: `{list}` is both a member and a list");
    };
    match rest.split_once('.') {
        None => items.push(Value::String(value)),
        Some((index, member)) => {
            let index: usize = index.parse().expect("world: a list index");
            items.resize(items.len().max(index), Value::Object(Map::new()));
            items[index - 1][member] = Value::String(value);
        }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().expect("world: percent-encoded UTF-8").into_owned()
}

/// A REST request: body, query and path members in one map; members of the path under the names given.
struct Rest<'a> {
    service: Service,
    wire: &'a Wire<'a>,
    segments: Vec<&'a str>,
}

impl<'a> Rest<'a> {
    fn new(service: Service, wire: &'a Wire<'a>) -> Self {
        Self { service, wire, segments: wire.path.split('/').filter(|segment| !segment.is_empty()).collect() }
    }

    fn is(&self, name: &'static str, labels: &[(&str, &str)]) -> (Operation, Map<String, Value>) {
        let mut map = json(self.wire.body);
        for (key, value) in pairs(self.wire.query) {
            match map.get_mut(&key) {
                // `tagKeys=a&tagKeys=b`
                Some(Value::Array(items)) => items.push(Value::String(value)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
                None => {
                    map.insert(key, Value::String(value));
                }
            }
        }
        for (key, value) in labels {
            map.insert((*key).to_owned(), Value::String(decode(value)));
        }
        let write = self.wire.method != "GET";
        (Operation { service: self.service, name, write }, map)
    }

    fn unknown(&self) -> ! {
        panic!("world: {} has no {} {} in this model", self.service.name(), self.wire.method, self.wire.path)
    }
}

fn apigateway(wire: &Wire<'_>) -> (Operation, Map<String, Value>) {
    let rest = Rest::new(Service::ApiGateway, wire);
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

fn lambda(wire: &Wire<'_>) -> (Operation, Map<String, Value>) {
    let rest = Rest::new(Service::Lambda, wire);
    match (wire.method, rest.segments.as_slice()) {
        ("POST", ["2015-03-31", "functions"]) => rest.is("CreateFunction", &[]),
        ("GET", ["2015-03-31", "functions"]) => rest.is("ListFunctions", &[]),
        ("GET", ["2015-03-31", "functions", f]) => rest.is("GetFunction", &[("functionName", f)]),
        ("DELETE", ["2015-03-31", "functions", f]) => rest.is("DeleteFunction", &[("functionName", f)]),
        ("PUT", ["2015-03-31", "functions", f, "code"]) => rest.is("UpdateFunctionCode", &[("functionName", f)]),
        ("GET", ["2015-03-31", "functions", f, "configuration"]) => {
            rest.is("GetFunctionConfiguration", &[("functionName", f)])
        }
        ("PUT", ["2015-03-31", "functions", f, "configuration"]) => {
            rest.is("UpdateFunctionConfiguration", &[("functionName", f)])
        }
        ("PUT", ["2017-10-31", "functions", f, "concurrency"]) => {
            rest.is("PutFunctionConcurrency", &[("functionName", f)])
        }
        ("DELETE", ["2017-10-31", "functions", f, "concurrency"]) => {
            rest.is("DeleteFunctionConcurrency", &[("functionName", f)])
        }
        ("GET", ["2015-03-31", "functions", f, "policy"]) => rest.is("GetPolicy", &[("functionName", f)]),
        ("POST", ["2015-03-31", "functions", f, "policy"]) => rest.is("AddPermission", &[("functionName", f)]),
        ("DELETE", ["2015-03-31", "functions", f, "policy", sid]) => {
            rest.is("RemovePermission", &[("functionName", f), ("statementId", sid)])
        }
        ("POST", ["2015-03-31", "event-source-mappings"]) => rest.is("CreateEventSourceMapping", &[]),
        ("GET", ["2015-03-31", "event-source-mappings"]) => rest.is("ListEventSourceMappings", &[]),
        ("PUT", ["2015-03-31", "event-source-mappings", id]) => rest.is("UpdateEventSourceMapping", &[("UUID", id)]),
        ("DELETE", ["2015-03-31", "event-source-mappings", id]) => rest.is("DeleteEventSourceMapping", &[("UUID", id)]),
        ("GET", ["2017-03-31", "tags", arn]) => rest.is("ListTags", &[("resourceArn", arn)]),
        ("POST", ["2017-03-31", "tags", arn]) => rest.is("TagResource", &[("resourceArn", arn)]),
        ("DELETE", ["2017-03-31", "tags", arn]) => rest.is("UntagResource", &[("resourceArn", arn)]),
        _ => rest.unknown(),
    }
}
