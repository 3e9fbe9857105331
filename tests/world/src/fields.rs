//! The members of a request, each of which must be taken: what nobody takes, the model does not know, and says so.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::state::Tags;

pub(crate) struct Fields {
    operation: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    pub fn new(operation: &'static str, map: Map<String, Value>) -> Self {
        Self { operation, map }
    }

    /// Looks without taking.
    pub fn peek(&self, key: &str) -> Option<&str> {
        self.map.get(key)?.as_str()
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| match value {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        })
    }

    pub fn raw(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        self.raw(key).map(|value| match value {
            Value::String(text) => text,
            other => self.misshapen(key, "a string", &other),
        })
    }

    /// A member of the path, which is always there.
    pub fn label(&mut self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| panic!("world: {} without `{key}`", self.operation))
    }

    /// A number, also from the query string, where it is text.
    pub fn number(&mut self, key: &str) -> Option<i64> {
        self.raw(key).map(|value| {
            let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            number.unwrap_or_else(|| self.misshapen(key, "a number", &value))
        })
    }

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.raw(key).map(|value| {
            let flag = value.as_bool().or_else(|| value.as_str()?.parse().ok());
            flag.unwrap_or_else(|| self.misshapen(key, "a boolean", &value))
        })
    }

    pub fn object(&mut self, key: &str) -> Option<Fields> {
        self.raw(key).map(|value| match value {
            Value::Object(map) => Fields::new(self.operation, map),
            other => self.misshapen(key, "an object", &other),
        })
    }

    pub fn objects(&mut self, key: &str) -> Option<Vec<Fields>> {
        self.raw(key).map(|value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::Object(map) => Fields::new(self.operation, map),
                    other => self.misshapen(key, "a list of objects", &other),
                })
                .collect(),
            other => self.misshapen(key, "a list", &other),
        })
    }

    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.raw(key).map(|value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => text,
                    other => self.misshapen(key, "a list of strings", &other),
                })
                .collect(),
            // A list of one in a query string.
            Value::String(text) => vec![text],
            other => self.misshapen(key, "a list", &other),
        })
    }

    /// An object whose values are strings.
    pub fn text_map(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        self.raw(key).map(|value| match value {
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(text) => (name, text),
                    other => self.misshapen(key, "a map of strings", &other),
                })
                .collect(),
            other => self.misshapen(key, "a map", &other),
        })
    }

    /// `[{"Key": …, "Value": …}]`, in the order sent.
    pub fn tag_list(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        let items = self.objects(key)?;
        Some(
            items
                .into_iter()
                .map(|mut tag| {
                    let pair = (tag.label("Key"), tag.text("Value").unwrap_or_default());
                    tag.done();
                    pair
                })
                .collect(),
        )
    }

    /// Moves the named members to `into`, where `None` (not sent) leaves the old value.
    pub fn keep(&mut self, names: &[&str], into: &mut Map<String, Value>) {
        for name in names {
            if let Some(value) = self.raw(name) {
                into.insert((*name).to_owned(), value);
            }
        }
    }

    /// Nothing may be left: what the model cannot handle must never pass in silence.
    pub fn done(self) {
        let left: Vec<_> = self.map.into_iter().filter(|(_, value)| !value.is_null()).collect();
        assert!(left.is_empty(), "world: {} with members the model does not know: {left:?}", self.operation);
    }

    fn misshapen(&self, key: &str, wanted: &str, value: &Value) -> ! {
        panic!("world: {}: `{key}` is not {wanted}: {value}", self.operation)
    }
}

/// A tag list as a map.
pub(crate) fn tags_of(list: Vec<(String, String)>) -> Tags {
    list.into_iter().collect()
}
