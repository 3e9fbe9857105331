//! The app that a deployment serves: its routes, and the functions behind them.

use std::fmt;

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
    /// MB, where the configuration names none. 512 is the least that serves 50,000 connections within the timeout, and
    /// costs no more than 256 from 1,000 on (`docs/performance-broadcast.md`); the others make one call each.
    pub memory: i32,
    /// Whether it may post to every client through `@connections` (I8).
    pub posts_to_connections: bool,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub key: RouteKey,
    pub function: FunctionName,
}

/// At most 14 letters, digits and `_`: role names have no room for more (I2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionName(String);

/// What messages name in their `action` (G26).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey(String);

/// Each route of the walkthrough with its function. Their resources are named after the function alone, as they were
/// when there were no others.
const WALKTHROUGH: [(&str, &str); 3] =
    [("$connect", "onConnect"), ("$disconnect", "onDisconnect"), ("sendmessage", "sendMessage")];

impl App {
    /// The three functions of AWS's walkthrough.
    pub fn walkthrough() -> Self {
        let [on_connect, on_disconnect, send_message] = WALKTHROUGH.map(|(_, name)| FunctionName(name.to_owned()));
        let function = |name, table_actions| Function { name, table_actions, memory: 256, posts_to_connections: false };
        let functions = vec![
            function(on_connect, &["dynamodb:PutItem"]),
            function(on_disconnect, &["dynamodb:DeleteItem"]),
            Function {
                memory: 512,
                posts_to_connections: true,
                ..function(send_message, &["dynamodb:Scan", "dynamodb:DeleteItem"])
            },
        ];
        let routes = WALKTHROUGH
            .map(|(key, name)| Route { key: RouteKey(key.to_owned()), function: FunctionName(name.to_owned()) });
        Self { functions, routes: routes.into() }
    }

    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn route(&self, key: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.key.as_str() == key)
    }

    /// The function called `name`, which is only the last part of its AWS name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.as_str() == name)
    }
}

impl Function {
    /// The functions of the walkthrough, of which something may stand before anything tells of it.
    pub fn of_walkthrough() -> impl Iterator<Item = FunctionName> {
        WALKTHROUGH.iter().map(|(_, name)| FunctionName((*name).to_owned()))
    }

    pub fn is_of_walkthrough(&self) -> bool {
        WALKTHROUGH.iter().any(|(_, name)| self.name.as_str() == *name)
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
        } else if text.len() > Self::MAX {
            "it is longer than 14 characters, for which the name of its role has no room"
        } else if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "it does not start with a letter"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            "it has characters other than letters, digits and `_`"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid name of a function: {rule}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
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
        } else if text.len() > Self::MAX {
            "it is longer than 46 characters"
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it does not start with a letter or a digit"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) {
            "it has characters other than letters, digits and `_ - . /`"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid route: {rule}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key where only letters, digits, `-` and `_` go; no two keys become the same.
    pub fn escaped(&self) -> String {
        self.0.replace('_', "__").replace('$', "_d").replace('.', "_p").replace('/', "_s")
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
        let app = App::walkthrough();
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
        for (bad, rule) in
            [("", "empty"), ("exactly15charss", "14 characters"), ("2nd", "letter"), ("a-b", "letters, digits and `_`")]
        {
            assert!(function(bad).unwrap_err().contains(rule), "{bad}");
        }
        for good in ["$default", "join", "rooms/join", "v1.join", "0"] {
            assert!(route(good).is_ok(), "{good}");
        }
        for (bad, rule) in
            [("", "empty"), ("$join", "`$`"), (&"x".repeat(47), "46"), ("*", "start"), ("a*", "other than")]
        {
            assert!(route(bad).unwrap_err().contains(rule), "{bad}");
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
