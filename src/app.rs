//! The app that a deployment serves: its routes, and the functions behind them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Functions, and routes that each call one of them; several routes may call the same.
#[derive(Clone, Debug)]
pub struct App {
    functions: Vec<Function>,
    routes: Vec<Route>,
}

/// The name is that of its entry file in the handlers folder, and the last part of its AWS name.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: FunctionName,
    /// The DynamoDB actions it may take on the connection table.
    pub table_actions: &'static [&'static str],
    /// Whether it may post to every client through `@connections` (I8).
    pub posts_to_connections: bool,
    /// MB, where nothing is configured. 512 is the least that serves 50,000 connections within the timeout, and costs
    /// no more than 256 from 1,000 on (`docs/performance-broadcast.md`); the others make one call each.
    pub default_memory: i32,
    /// MB, of this function alone.
    pub memory: Option<i32>,
    /// Seconds, of this function alone.
    pub timeout: Option<i32>,
    /// Whether it decides who may connect, and is behind no route.
    pub authorizes: bool,
    /// Its end of the queue of messages, if it has one.
    pub queue_end: Option<QueueEnd>,
    /// Variables besides ours.
    pub environment: BTreeMap<String, String>,
    /// Where in the settings it comes from, if it does: `chatctl.toml:3:1`.
    pub declared_at: Option<String>,
}

/// What a function may do with the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TableAccess {
    None,
    Read,
    Write,
    ReadWrite,
}

/// How a message reaches everybody (`docs/delivery.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `sendMessage` posts to everybody itself.
    Direct,
    /// Through a queue, to a worker that posts so many times a second at most.
    Queue { rate: i32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    Sends,
    Receives,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub key: RouteKey,
    pub function: FunctionName,
    /// Whether what the function returns goes back to the sender (H9).
    pub reply: bool,
    /// What its messages must be like for the function to be called at all.
    pub schema: Option<MessageSchema>,
    /// What it takes, where that is not what the stage does.
    pub throttle: Option<Throttle>,
}

/// A JSON Schema in a file.
#[derive(Clone, Debug)]
pub struct MessageSchema {
    pub path: PathBuf,
    /// Where in the settings it is named: `chatctl.toml:3:1`.
    pub declared_at: String,
    /// What is in the file; none in a run in which it does not matter.
    pub content: Option<Value>,
}

/// How much is let through: both numbers, because a lone one is stored as zero and refuses everybody (G12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// A second, of all clients together.
    pub rate: i32,
    pub burst: i32,
}

/// At most 14 letters, digits and `_`: role names have no room for more (I2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct FunctionName(String);

/// What messages name in their `action` (G26).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct RouteKey(String);

/// Each route of the walkthrough with its function. Their resources are named after the function alone, as they were
/// when there were no others.
const WALKTHROUGH: [(&str, &str); 3] =
    [("$connect", "onConnect"), ("$disconnect", "onDisconnect"), ("sendmessage", "sendMessage")];

/// The function behind the queue, and how long it may take: what a batch does not end in, it hands back. Seconds.
pub const WORKER: &str = "broadcast";
pub const WORKER_TIMEOUT: i32 = 300;

/// The function that checks tokens, and how long it may take: its issuer has five seconds to answer, and API Gateway
/// waits for 29 (G7). Seconds.
pub const AUTHORIZER: &str = "authorizer";
const AUTHORIZER_TIMEOUT: i32 = 10;

impl Delivery {
    /// What it was before it became this.
    pub fn other(self) -> Self {
        match self {
            Self::Direct => Self::Queue { rate: 0 },
            Self::Queue { .. } => Self::Direct,
        }
    }
}

impl App {
    /// The three functions of AWS's walkthrough, and with a queue the one behind it.
    pub fn walkthrough(delivery: Delivery) -> Self {
        let [on_connect, on_disconnect, send_message] = WALKTHROUGH.map(|(_, name)| FunctionName(name.to_owned()));
        let function = |name, table_actions| Function { table_actions, ..Function::new(name) };
        let delivers = Function {
            default_memory: 512,
            posts_to_connections: true,
            ..function(send_message.clone(), &["dynamodb:Scan", "dynamodb:DeleteItem"])
        };
        let mut functions =
            vec![function(on_connect, &["dynamodb:PutItem"]), function(on_disconnect, &["dynamodb:DeleteItem"])];
        functions.extend(match delivery {
            Delivery::Direct => vec![delivers],
            Delivery::Queue { .. } => vec![
                Function {
                    posts_to_connections: true, // to tell the sender what was wrong
                    queue_end: Some(QueueEnd::Sends),
                    ..function(send_message, &[])
                },
                Function {
                    name: FunctionName(WORKER.to_owned()),
                    timeout: Some(WORKER_TIMEOUT),
                    queue_end: Some(QueueEnd::Receives),
                    ..delivers
                },
            ],
        });
        let routes = WALKTHROUGH.map(|(key, name)| {
            let (key, function) = (RouteKey(key.to_owned()), FunctionName(name.to_owned()));
            Route { key, function, reply: false, schema: None, throttle: None }
        });
        Self { functions, routes: routes.into() }
    }

    pub fn add(&mut self, function: Function) {
        self.functions.push(function);
    }

    /// Adds `route`, in the place of the one with its key if there is one.
    pub fn lead(&mut self, route: Route) {
        match self.routes.iter_mut().find(|known| known.key == route.key) {
            Some(known) => *known = route,
            None => self.routes.push(route),
        }
    }

    /// Without the functions that no route leads to, and without a worker for which nobody puts messages into a queue.
    pub fn drop_unused(&mut self) {
        let routes = &self.routes;
        let is_used = |function: &Function| routes.iter().any(|route| route.function == function.name);
        self.functions.retain(|function| function.queue_end == Some(QueueEnd::Receives) || is_used(function));
        if self.at_queue(QueueEnd::Sends).is_none() {
            self.functions.retain(|function| function.queue_end.is_none());
        }
    }

    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    pub fn functions_mut(&mut self) -> impl Iterator<Item = &mut Function> {
        self.functions.iter_mut()
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn schemas_mut(&mut self) -> impl Iterator<Item = &mut MessageSchema> {
        self.routes.iter_mut().filter_map(|route| route.schema.as_mut())
    }

    pub fn route(&self, key: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.key.as_str() == key)
    }

    /// The function at this end of the queue; there is none where messages are delivered directly.
    pub fn at_queue(&self, end: QueueEnd) -> Option<&Function> {
        self.functions.iter().find(|function| function.queue_end == Some(end))
    }

    /// The function of ours that decides who may connect, if one does.
    pub fn authorizer(&self) -> Option<&Function> {
        self.functions.iter().find(|function| function.authorizes)
    }

    /// The function called `name`, which is only the last part of its AWS name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.as_str() == name)
    }
}

impl Function {
    /// A function that may do nothing but write its log.
    pub fn new(name: FunctionName) -> Self {
        Self {
            name,
            table_actions: &[],
            posts_to_connections: false,
            default_memory: 256,
            memory: None,
            timeout: None,
            authorizes: false,
            queue_end: None,
            environment: BTreeMap::new(),
            declared_at: None,
        }
    }

    /// The function that checks tokens, as its `environment` says.
    pub fn authorizer(environment: BTreeMap<String, String>) -> Self {
        Self {
            authorizes: true,
            timeout: Some(AUTHORIZER_TIMEOUT),
            environment,
            ..Self::new(FunctionName(AUTHORIZER.to_owned()))
        }
    }

    /// The functions of the walkthrough, of which something may stand before anything tells of it.
    pub fn of_walkthrough() -> impl Iterator<Item = FunctionName> {
        WALKTHROUGH.iter().map(|(_, name)| FunctionName((*name).to_owned()))
    }

    pub fn is_of_walkthrough(&self) -> bool {
        WALKTHROUGH.iter().any(|(_, name)| self.name.as_str() == *name)
    }
}

impl TableAccess {
    /// What two of them allow together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, more) | (more, Self::None) => more,
            (one, other) if one == other => one,
            _ => Self::ReadWrite,
        }
    }

    /// The DynamoDB actions that it stands for.
    pub fn actions(self) -> &'static [&'static str] {
        const READ_WRITE: &[&str] = &[
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "dynamodb:BatchWriteItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ];
        let (read, write) = READ_WRITE.split_at(4);
        match self {
            Self::None => &[],
            Self::Read => read,
            Self::Write => write,
            Self::ReadWrite => READ_WRITE,
        }
    }
}

impl Route {
    /// Whether this is a route of the walkthrough with the function that it has there.
    pub fn is_walkthrough(&self) -> bool {
        WALKTHROUGH.contains(&(self.key.as_str(), self.function.as_str()))
    }

    /// What a template calls its resources; no two routes have the same.
    pub fn label(&self) -> String {
        if self.is_walkthrough() { self.function.to_string() } else { format!("{}Action", self.key) }
    }
}

impl FunctionName {
    pub const MAX: usize = 14;

    /// # Errors
    /// A usage error that names the broken rule.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = if text.is_empty() {
            "it is empty"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            "it has characters other than a-z, A-Z, 0-9 and `_`"
        } else if text.len() > Self::MAX {
            "it is longer than 14 characters, for which the name of its role has no room"
        } else if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "it does not start with a letter"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid name of a function: {rule}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether roles that are named after both would have one name (I2).
    pub fn is_same_to_iam(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl RouteKey {
    /// So long that its permission's name, in which some characters take two, fits Lambda's 100.
    pub const MAX: usize = 46;

    /// # Errors
    /// A usage error that names the broken rule.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = if text.is_empty() {
            "it is empty"
        } else if ["$connect", "$disconnect", "$default"].contains(&text) {
            return Ok(Self(text.to_owned()));
        } else if text.starts_with('$') {
            "`$` begins only `$connect`, `$disconnect` and `$default`"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) {
            "it has characters other than a-z, A-Z, 0-9 and `_ - . /`"
        } else if text.len() > Self::MAX {
            "it is longer than 46 characters"
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it does not start with a letter or a digit"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid route: {rule}")))
    }

    /// The route that no function is behind.
    pub fn ping() -> Self {
        Self("ping".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is about a connection that begins or ends, and no message.
    pub fn is_about_connections(&self) -> bool {
        ["$connect", "$disconnect"].contains(&self.as_str())
    }

    /// The key where only letters, digits, `-` and `_` go; no two keys become the same.
    pub fn escaped(&self) -> String {
        self.0.replace('_', "__").replace('$', "_d").replace('.', "_p").replace('/', "_s")
    }
}

impl TryFrom<String> for FunctionName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for RouteKey {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_walkthrough_keeps_its_own_rules() {
        let app = App::walkthrough(Delivery::Direct);
        for route in app.routes() {
            assert_eq!(RouteKey::parse(route.key.as_str()).unwrap(), route.key);
            assert_eq!(FunctionName::parse(route.function.as_str()).unwrap(), route.function);
            assert!(route.is_walkthrough() && app.function(route.function.as_str()).is_some());
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_told_the_rule() {
        let function = |text: &str| FunctionName::parse(text).map_err(|error| error.message);
        let route = |text: &str| RouteKey::parse(text).map_err(|error| error.message);
        for good in ["join", "a", "join_room_2", "exactly14chars"] {
            assert!(function(good).is_ok(), "{good}");
        }
        for (bad, rule) in [
            ("", "empty"),
            ("exactly15charss", "14 characters"),
            ("2nd", "start"),
            ("a-b", "0-9 and `_`"),
            ("ünder", "a-z"),
        ] {
            assert!(function(bad).unwrap_err().contains(rule), "{bad}");
        }
        for good in ["$default", "join", "rooms/join", "v1.join", "0"] {
            assert!(route(good).is_ok(), "{good}");
        }
        for (bad, rule) in
            [("", "empty"), ("$join", "`$`"), (&"x".repeat(47), "46"), (".x", "start"), ("a*", "other than")]
        {
            assert!(route(bad).unwrap_err().contains(rule), "{bad}");
        }
    }

    #[test]
    fn two_accesses_to_the_table_allow_together_what_either_does_and_no_more() {
        use TableAccess::{None, Read, ReadWrite, Write};
        let all = [None, Read, Write, ReadWrite];
        for (one, other) in all.into_iter().flat_map(|one| all.map(|other| (one, other))) {
            let together: BTreeSet<_> = one.actions().iter().chain(other.actions()).collect();
            assert_eq!(one.and(other).actions().iter().collect::<BTreeSet<_>>(), together, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn no_two_routes_are_escaped_to_the_same() {
        let keys = ["a.b", "a_b", "a/b", "a-b", "ab", "a_pb", "$default", "default"];
        let escaped: BTreeSet<String> = keys.iter().map(|key| RouteKey::parse(key).unwrap().escaped()).collect();
        assert_eq!(escaped.len(), keys.len());
        let longest = RouteKey::parse(&format!("a{}", "_".repeat(45))).unwrap().escaped();
        assert!(longest.len() <= 100 - "chatctl-".len());
        assert!(escaped.iter().all(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))));
    }
}
