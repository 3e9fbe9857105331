//! What each resource is called: every key, name and ARN, by which kinds refer to one another.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::app::{Function, FunctionName, QueueEnd, Route, RouteKey, WORKER};
use crate::aws::identity::Identity;
use crate::config::Authorizer;
use crate::engine::found::{Found, Owner};
use crate::engine::key::Key;
use crate::engine::scope::Scope;

pub const API: &str = "api";
pub const AUTHORIZER: &str = "authorizer";
pub const AUTHORIZER_PERMISSION: &str = "authorizer-permission";
pub const DEPLOYMENT: &str = "deployment";
pub const EVENT_SOURCE_MAPPING: &str = "event-source-mapping";
pub const FUNCTION: &str = "function";
pub const INTEGRATION: &str = "integration";
pub const LOG_GROUP: &str = "log-group";
pub const MODEL: &str = "model";
pub const PERMISSION: &str = "permission";
pub const QUEUE: &str = "queue";
pub const ROLE: &str = "role";
pub const ROLE_POLICY: &str = "role-policy";
pub const ROUTE: &str = "route";
pub const STAGE: &str = "stage";
pub const TABLE: &str = "table";

/// The lane of all writes to the API and what lives in it: two at once are refused (G2).
pub const API_LANE: &str = "api";

/// What lets API Gateway call a function is called so where it is the only one.
pub const STATEMENT_ID: &str = "chatctl";

pub fn api(scope: &Scope) -> Key {
    Key::new(API, scope.config.name.as_str())
}

/// What AWS calls the API.
pub fn api_id(scope: &Scope) -> String {
    scope.id(&api(scope))
}

/// API Gateway's own ARNs have no account (G16).
pub fn api_arn(scope: &Scope, path: &str) -> String {
    format!("arn:{}:apigateway:{}::{path}", scope.partition(), scope.region)
}

/// The ARN of the function that decides who may connect: ours, or the one that the configuration names.
pub fn authorizer_function(scope: &Scope) -> Option<Cow<'_, str>> {
    match &scope.config.authorizer {
        Authorizer::Lambda(arn) => Some(arn.into()),
        Authorizer::Jwt(_) => scope.config.app.authorizer().map(|ours| function_arn(scope, &ours.name).into()),
        Authorizer::None | Authorizer::Iam => None,
    }
}

/// Named after its function, so that another function is another authorizer, made before the old one goes.
pub fn wanted_authorizer(scope: &Scope) -> Option<Key> {
    let name = match &scope.config.authorizer {
        Authorizer::Lambda(arn) => arn.splitn(7, ':').last()?.replace(':', "-"),
        Authorizer::Jwt(_) => scope.config.function_name(&scope.config.app.authorizer()?.name),
        Authorizer::None | Authorizer::Iam => return None,
    };
    Some(Key::new(AUTHORIZER, name))
}

/// The account that a function belongs to, where that is known not to be ours.
pub fn other_account<'a>(ours: Option<&Identity>, function_arn: &'a str) -> Option<&'a str> {
    let account = function_arn.split(':').nth(4).unwrap_or_default();
    let is_ours = |own: &str| own == account || !own.chars().all(|c| c.is_ascii_digit());
    ours.is_some_and(|identity| !is_ours(&identity.account)).then_some(account)
}

/// Named after the user's function that it is on; on one of another account, only its owner can make it.
pub fn authorizer_permission(scope: &Scope) -> Option<Key> {
    let Authorizer::Lambda(arn) = &scope.config.authorizer else { return None };
    let is_ours_to_make = other_account(scope.identity.as_ref(), arn).is_none();
    is_ours_to_make.then(|| Key::new(AUTHORIZER_PERMISSION, arn))
}

/// By which our own authorizer may be called.
pub fn own_authorizer_permission(scope: &Scope) -> Option<Key> {
    let ours = scope.config.app.authorizer()?;
    Some(permission_of(&scope.config.function_name(&ours.name), STATEMENT_ID))
}

pub fn deployment(scope: &Scope) -> Key {
    Key::new(DEPLOYMENT, scope.config.name.as_str())
}

pub fn function(scope: &Scope, function: &FunctionName) -> Key {
    Key::new(FUNCTION, scope.config.function_name(function))
}

pub fn function_arn(scope: &Scope, function: &FunctionName) -> String {
    scope.arn("lambda", &format!("function:{}", scope.config.function_name(function)))
}

/// The functions of this deployment and of those whose names begin with `<its name>-`.
pub fn function_pattern(scope: &Scope) -> String {
    scope.arn("lambda", &format!("function:{}-*", scope.config.name))
}

/// How API Gateway calls a function: the long form; a WebSocket API takes no bare function ARN (G7).
pub fn invocation_uri(scope: &Scope, function_arn: &str) -> String {
    let (partition, region) = (scope.partition(), &scope.region);
    format!("arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{function_arn}/invocations")
}

/// Every route that is wanted: those of the app and, to keep connections alive, `ping`.
pub fn routes(scope: &Scope) -> Vec<RouteKey> {
    let of_app = scope.config.app.routes().iter().map(|route| route.key.clone());
    of_app.chain(scope.config.keep_alive.then(RouteKey::ping)).collect()
}

/// The routes whose messages are held to a schema. An emulator knows no models.
pub fn modelled(scope: &Scope) -> impl Iterator<Item = &Route> {
    let routes = scope.config.app.routes().iter().filter(|route| route.schema.is_some());
    routes.filter(|_| scope.endpoints.emulator.is_none())
}

/// Named after the route whose messages it describes.
pub fn model(route_key: &RouteKey) -> Key {
    Key::new(MODEL, route_key.as_str())
}

/// What API Gateway calls it: letters and digits, and no two routes have the same.
pub fn model_name(route_key: &RouteKey) -> String {
    logical_id(route_key.as_str(), "Message")
}

/// What a template calls the resources of a route.
pub fn label(scope: &Scope, route_key: &RouteKey) -> String {
    scope.config.app.route(route_key.as_str()).map_or_else(|| "Ping".to_owned(), Route::label)
}

/// What feeds the worker from the queue; named after the worker, and there is one where there is a queue.
pub fn event_source_mapping(scope: &Scope) -> Key {
    Key::new(EVENT_SOURCE_MAPPING, format!("{}-{WORKER}", scope.config.name))
}

/// Named after the route that it stands behind.
pub fn integration(route_key: &RouteKey) -> Key {
    Key::new(INTEGRATION, route_key.as_str())
}

/// How a route names its integration (G7).
pub fn target(integration_id: &str) -> String {
    format!("integrations/{integration_id}")
}

/// `/aws/lambda/<function>`
pub fn log_group_name(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

pub fn log_group(scope: &Scope, function: &FunctionName) -> Key {
    Key::new(LOG_GROUP, log_group_name(&scope.config.function_name(function)))
}

/// The function whose log group is called `name`, of this deployment; another's name would have to have a `-`.
pub fn function_of_log_group(scope: &Scope, name: &str) -> Option<FunctionName> {
    let prefix = log_group_name(&format!("{}-", scope.config.name));
    name.strip_prefix(&prefix).and_then(|rest| FunctionName::parse(rest).ok())
}

/// The functions that are wanted no more and of which something may still stand: those of the walkthrough, and those
/// whose log group was found, which is made first and deleted last.
pub fn once_wanted(scope: &Scope, found: &[Found]) -> BTreeSet<FunctionName> {
    let groups = found.iter().filter(|found| found.key.kind == LOG_GROUP && found.owner == Owner::Ours);
    let names = groups.filter_map(|found| function_of_log_group(scope, &found.key.name));
    let is_wanted = |name: &FunctionName| scope.config.app.function(name.as_str()).is_some();
    names.chain(Function::of_walkthrough()).filter(|name| !is_wanted(name)).collect()
}

/// Whether only its log group tells of a function that is wanted no more: one that not every deployment has.
pub fn is_registered(function: &FunctionName) -> bool {
    Function::of_walkthrough().all(|name| name != *function)
}

/// Named after its function, and after its statement where it is not the one of the walkthrough.
pub fn permission(scope: &Scope, route: &Route) -> Key {
    permission_of(&scope.config.function_name(&route.function), &statement_id(route))
}

/// The permission that the statement `id` in the policy of `function` is.
pub fn permission_of(function: &str, id: &str) -> Key {
    Key::new(PERMISSION, if id == STATEMENT_ID { function.to_owned() } else { format!("{function}/{id}") })
}

/// The statement by which a route may call its function.
pub fn statement_id(route: &Route) -> String {
    if route.is_walkthrough() { STATEMENT_ID.to_owned() } else { format!("{STATEMENT_ID}-{}", route.key.escaped()) }
}

/// What the names of the two queues end with.
pub const MESSAGES: &str = "messages.fifo";
pub const DEAD_LETTERS: &str = "dead-letters.fifo";

/// The queue of messages, which keeps their order.
pub fn messages(scope: &Scope) -> Key {
    Key::new(QUEUE, format!("{}-{MESSAGES}", scope.config.name))
}

/// Where messages go that could not be delivered.
pub fn dead_letters(scope: &Scope) -> Key {
    Key::new(QUEUE, format!("{}-{DEAD_LETTERS}", scope.config.name))
}

/// The log group of the worker, where one is wanted: it is made first and deleted last, so that a later run which wants
/// no worker still finds all that belongs to it.
pub fn registered_worker(scope: &Scope) -> Option<Key> {
    scope.config.app.at_queue(QueueEnd::Receives).map(|worker| log_group(scope, &worker.name))
}

/// Whether what belongs to a worker may stand although none is wanted.
pub fn worker_once_wanted(scope: &Scope, found: &[Found]) -> bool {
    once_wanted(scope, found).iter().any(|function| function.as_str() == WORKER)
}

pub fn queue_arn(scope: &Scope, queue: &Key) -> String {
    scope.arn("sqs", &queue.name)
}

/// Role names are global to the account, so the region is part of the name (I2).
pub fn role(scope: &Scope, function: &FunctionName) -> Key {
    Key::new(ROLE, format!("{}-{}-{function}", scope.config.name, scope.region))
}

/// The deployment that a role of this region is named after, if it is named like one of ours.
pub fn deployment_of_role<'a>(scope: &Scope, name: &'a str) -> Option<&'a str> {
    let (deployment, function) = name.rsplit_once(&format!("-{}-", scope.region))?;
    FunctionName::parse(function).is_ok().then_some(deployment)
}

/// The functions whose roles are ours to make: all but those with a role brought along (I7).
pub fn with_own_role(scope: &Scope) -> impl Iterator<Item = &Function> {
    let functions = scope.config.app.functions().iter();
    functions.filter(|function| !scope.config.role_arns.contains_key(function.name.as_str()))
}

/// The ARN of a role of ours, or the pattern of several.
pub fn role_arn(scope: &Scope, name: &str) -> String {
    scope.arn("iam", &format!("role{}{name}", scope.config.role_path))
}

/// The roles of this deployment, and of those whose names begin with `<its name>-`, in this region.
pub fn role_pattern(scope: &Scope) -> String {
    role_arn(scope, &role_names(scope))
}

/// The same, and as IAM writes a role that is not there, or that it does not see yet: without its path (I11).
pub fn any_role_pattern(scope: &Scope) -> Vec<String> {
    vec![role_pattern(scope), scope.arn("iam", &format!("role/{}", role_names(scope)))]
}

fn role_names(scope: &Scope) -> String {
    format!("{}-*{}-*", scope.config.name, scope.region)
}

/// Named after its role, of which it is the only policy.
pub fn role_policy(scope: &Scope, function: &FunctionName) -> Key {
    Key::new(ROLE_POLICY, role(scope, function).name)
}

pub fn route(route_key: &RouteKey) -> Key {
    Key::new(ROUTE, route_key.as_str())
}

pub fn stage(scope: &Scope) -> Key {
    Key::new(STAGE, scope.config.stage.as_str())
}

pub fn table(scope: &Scope) -> Key {
    Key::new(TABLE, scope.config.table_name())
}

pub fn table_arn(scope: &Scope) -> String {
    scope.arn("dynamodb", &format!("table/{}", scope.config.table_name()))
}

/// What templates call the resource of a kind that belongs to `owner`, a function or a route: `OnConnectRole`. Letters
/// and digits; no two owners become the same.
pub fn logical_id(owner: &str, kind: &str) -> String {
    let plain = |(at, c): (usize, char)| match c {
        c if at == 0 && c.is_ascii_lowercase() => c.to_ascii_uppercase().to_string(),
        c if at > 0 && c != 'X' && c.is_ascii_alphanumeric() => c.to_string(),
        other => format!("X{:02x}", u32::from(other)),
    };
    owner.chars().enumerate().map(plain).chain([kind.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::logical_id;

    #[test]
    fn no_two_owners_have_one_logical_id() {
        assert_eq!(logical_id("onConnect", "Role"), "OnConnectRole");
        assert_eq!(logical_id("$default", "Route"), "X24defaultRoute");
        let owners = ["a_b", "ab", "aB", "Ab", "AB", "a-b", "X61b", "x61b", "aX62"];
        let ids: std::collections::BTreeSet<String> = owners.iter().map(|owner| logical_id(owner, "Role")).collect();
        assert_eq!(ids.len(), owners.len());
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric())));
    }
}
