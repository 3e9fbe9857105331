//! `[routes.…]` of `chatctl.toml`: what becomes of the walkthrough by them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::checks::{FUNCTION_TIMEOUT, MEMORY, RATES, in_range};
use super::file::Source;
use crate::app::{
    App, Delivery, Function, FunctionName, MessageSchema, QueueEnd, Route, RouteKey, TableAccess, Throttle,
};
use crate::error::{Error, Result};

/// Bytes of all names and values that Lambda takes, with room for ours.
const LARGEST_ENVIRONMENT: usize = 3 * 1024;
/// Global secondary indexes of a table (D10).
pub(super) const MOST_INDEXES: usize = 20;
/// Characters of the name of one.
pub(super) const INDEX_NAME: (usize, usize) = (3, 64);
/// What the functions are told by Lambda, or by us.
const OURS: [&str; 5] = ["TABLE_NAME", "MESSAGE_SIZE", "QUEUE_URL", "DELIVERY_RATE", "CHATCTL_CONNECTIONS_ENDPOINT"];
const OF_LAMBDA: [&str; 2] = ["AWS_", "LAMBDA_"];

/// The routes of the settings file, by their keys.
pub type Routes = BTreeMap<Spanned<RouteKey>, RouteSettings>;

/// One route, and what it wants of the function behind it.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RouteSettings {
    /// File in the folder of the handlers, without its ending; routes may share one [default: the route]
    #[cfg_attr(test, schemars(with = "String"))]
    handler: Option<Spanned<FunctionName>>,
    /// What the handler may do with the table of connections [default: none]
    table: Option<TableAccess>,
    /// Whether the handler may post to connections [default: false]
    posts: Option<bool>,
    /// Whether what the handler returns as `body` goes back to the sender [default: false]
    #[cfg_attr(test, schemars(with = "bool"))]
    reply: Option<Spanned<bool>>,
    /// File with the JSON Schema (draft 4) of its messages: API Gateway refuses what does not fit
    #[cfg_attr(test, schemars(with = "PathBuf"))]
    schema: Option<Spanned<PathBuf>>,
    /// Memory of its function in MB [default: that of all functions]
    #[cfg_attr(test, schemars(with = "i32"))]
    memory: Option<Spanned<i32>>,
    /// Timeout of its function in seconds, at most 25 [default: that of all functions]
    #[cfg_attr(test, schemars(with = "i32"))]
    timeout: Option<Spanned<i32>>,
    /// Variables of its function, besides TABLE_NAME
    #[cfg_attr(test, schemars(with = "BTreeMap<String, String>"))]
    environment: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Messages a second of this route; needs `burst`
    #[cfg_attr(test, schemars(with = "i32"))]
    rate: Option<Spanned<i32>>,
    /// Messages at once of this route; needs `rate`
    #[cfg_attr(test, schemars(with = "i32"))]
    burst: Option<Spanned<i32>>,
}

/// # Errors
/// A usage error with its place in the file: what cannot be an index, twice the same, too many.
pub(super) fn table_indexes(attributes: &[Spanned<String>], source: &Source) -> Result<BTreeSet<String>> {
    let mut indexes = BTreeSet::new();
    for attribute in attributes {
        let name = attribute.get_ref();
        let rule = if !(INDEX_NAME.0..=INDEX_NAME.1).contains(&name.len()) {
            "it takes 3 to 64 characters"
        } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            "it takes a-z, A-Z, 0-9 and `_`"
        } else if name == "connectionId" {
            "it is the key of the table itself"
        } else if !indexes.insert(name.clone()) {
            "it is there twice"
        } else if indexes.len() > MOST_INDEXES {
            "a table has at most 20"
        } else {
            continue;
        };
        let error = Error::usage(format!("`{name}` is not a valid index of the table: {rule}"));
        return Err(source.locate(&attribute.span(), error));
    }
    Ok(indexes)
}

/// The walkthrough with what the routes of the file add and change.
///
/// # Errors
/// A usage error with its place in the file: a rule that is broken, or two things that do not go together.
pub(super) fn app(routes: &Routes, delivery: Delivery, source: &Source) -> Result<App> {
    let mut app = App::walkthrough(delivery);
    let mut of_functions: BTreeMap<FunctionName, Vec<&RouteSettings>> = BTreeMap::new();
    for (key, settings) in routes {
        let at = settings.handler.as_ref().map_or_else(|| key.span(), Spanned::span);
        let name = handler(&app, key.get_ref(), settings).map_err(|error| source.locate(&at, error))?;
        if app.at_queue(QueueEnd::Receives).is_some_and(|worker| worker.name.is_same_to_iam(&name)) {
            let error = Error::usage(format!("`{name}` is the function behind the queue, and no route may call it"));
            return Err(source.locate(&at, error.hint("give the handler another name")));
        }
        if let Some(other) = app.functions().iter().find(|function| function.name.is_same_to_iam(&name)) {
            if other.name != name {
                let rule = "which IAM takes for the same: it does not tell small letters from capitals";
                let error = Error::usage(format!("there would be the functions `{}` and `{name}`, {rule}", other.name));
                return Err(source.locate(&at, error));
            }
        } else {
            app.add(Function { declared_at: Some(source.place(&at)), ..Function::new(name.clone()) });
        }
        let throttle = throttle(key, settings, source)?;
        let reply = reply(key.get_ref(), settings, source)?;
        let schema = schema(key.get_ref(), settings, source)?;
        app.lead(Route { key: key.get_ref().clone(), function: name.clone(), reply, schema, throttle });
        of_functions.entry(name).or_default().push(settings);
    }
    app.drop_unused();
    for function in app.functions_mut() {
        if let Some(settings) = of_functions.get(&function.name) {
            configure(function, settings, source)?;
        }
    }
    Ok(app)
}

/// The handler that was named, or the one of the walkthrough, or the one that is called like the route.
fn handler(app: &App, key: &RouteKey, settings: &RouteSettings) -> Result<FunctionName> {
    if let Some(name) = &settings.handler {
        return Ok(name.get_ref().clone());
    }
    if let Some(route) = app.route(key.as_str()) {
        return Ok(route.function.clone());
    }
    FunctionName::parse(key.as_str().trim_start_matches('$'))
        .map_err(|error| error.hint("set `handler` where the file is not named after its route"))
}

fn reply(key: &RouteKey, settings: &RouteSettings, source: &Source) -> Result<bool> {
    match &settings.reply {
        Some(reply) if *reply.get_ref() && key.is_about_connections() => {
            let error = Error::usage(format!("`{key}` answers no message, so nobody would get its reply"));
            Err(source.locate(&reply.span(), error))
        }
        reply => Ok(reply.as_ref().is_some_and(|reply| *reply.get_ref())),
    }
}

/// The file is read by the runs that need what is in it.
fn schema(key: &RouteKey, settings: &RouteSettings, source: &Source) -> Result<Option<MessageSchema>> {
    let Some(path) = &settings.schema else { return Ok(None) };
    if key.is_about_connections() {
        let error = Error::usage(format!("`{key}` carries no message that a schema could check"));
        return Err(source.locate(&path.span(), error));
    }
    let declared_at = source.place(&path.span());
    Ok(Some(MessageSchema { path: source.folder().join(path.get_ref()), declared_at, content: None }))
}

fn throttle(key: &Spanned<RouteKey>, settings: &RouteSettings, source: &Source) -> Result<Option<Throttle>> {
    let number = |what, number: &Spanned<i32>, unit| {
        in_range(what, *number.get_ref(), RATES, unit).map_err(|error| source.locate(&number.span(), error))
    };
    match (&settings.rate, &settings.burst) {
        (None, None) => Ok(None),
        (Some(rate), Some(burst)) => Ok(Some(Throttle {
            rate: number("rate", rate, "messages a second")?,
            burst: number("burst", burst, "messages")?,
        })),
        // A lone one is stored as zero for the other, and zero refuses everybody (G12).
        _ => {
            let error =
                Error::usage(format!("the route `{}` needs both `rate` and `burst`, or neither", key.get_ref()));
            Err(source.locate(&key.span(), error))
        }
    }
}

/// What all routes to one function want of it: its rights add up, all else they must agree on.
fn configure(function: &mut Function, routes: &[&RouteSettings], source: &Source) -> Result<()> {
    if let Some(table) = routes.iter().filter_map(|route| route.table).reduce(TableAccess::and) {
        function.table_actions = table.actions();
    }
    if let Some(posts) = routes.iter().filter_map(|route| route.posts).reduce(|one, other| one || other) {
        function.posts_to_connections = posts;
    }
    for route in routes {
        if let Some(memory) = &route.memory {
            let checked = in_range("memory", *memory.get_ref(), MEMORY, "MB");
            let checked = checked.and_then(|mb| agree("memory", &function.name, &mut function.memory, mb));
            checked.map_err(|error| source.locate(&memory.span(), error))?;
        }
        if let Some(timeout) = &route.timeout {
            let checked = in_range("timeout", *timeout.get_ref(), FUNCTION_TIMEOUT, "seconds");
            let checked = checked.and_then(|seconds| agree("timeout", &function.name, &mut function.timeout, seconds));
            checked.map_err(|error| source.locate(&timeout.span(), error))?;
        }
        for (variable, value) in &route.environment {
            let mut known = function.environment.get(variable.get_ref()).cloned();
            let what = variable.get_ref();
            check_variable(what)
                .and_then(|()| agree(what, &function.name, &mut known, value.get_ref().clone()))
                .map_err(|error| source.locate(&variable.span(), error))?;
            function.environment.insert(what.clone(), value.get_ref().clone());
            if function.environment.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
                > LARGEST_ENVIRONMENT
            {
                let error = format!(
                    "the environment of `{}` is too large: all names and values have at most 3 KB",
                    function.name
                );
                return Err(source.locate(&value.span(), Error::usage(error)));
            }
        }
    }
    Ok(())
}

/// Sets `known`, which nobody has set to something else.
fn agree<T: PartialEq>(what: &str, function: &FunctionName, known: &mut Option<T>, wanted: T) -> Result<()> {
    if known.as_ref().is_some_and(|known| *known != wanted) {
        return Err(Error::usage(format!("another route to the handler `{function}` sets another `{what}`")));
    }
    *known = Some(wanted);
    Ok(())
}

fn check_variable(name: &str) -> Result<()> {
    let rule = if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        "it takes a-z, A-Z, 0-9 and `_`"
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "it begins with a letter"
    } else if OF_LAMBDA.iter().any(|prefix| name.starts_with(prefix)) {
        "what begins with `AWS_` or `LAMBDA_` is set by Lambda"
    } else if OURS.contains(&name) {
        "it is set by chatctl"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("`{name}` is not a valid variable: {rule}")))
}
