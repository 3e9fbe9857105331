//! What exists, as it was found.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::aws::identity::Identity;
use crate::engine::key::Key;
use crate::engine::scope::{MANAGED, NAME, Scope};

/// The properties of a resource, by name, as they are compared and shown.
pub type Fields = Map<String, Value>;

/// Properties of resources, by name.
pub type Properties = BTreeSet<(Key, &'static str)>;

/// A typed description of a resource as named properties.
pub fn fields(of: &impl Serialize) -> Fields {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a description is a struct of plain values: {other:?}"),
    }
}

/// Whose it is, by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Ours,
    /// Its tags may just not be shown yet; says what is missing.
    Unclear(String),
    /// Somebody else's; says how one can tell.
    Foreign(String),
}

impl Owner {
    pub fn by_tags(scope: &Scope, tags: &BTreeMap<String, String>) -> Self {
        match (tags.get(MANAGED).map(String::as_str), tags.get(NAME)) {
            (Some("true"), Some(name)) if name == scope.config.name.as_str() => Self::Ours,
            (Some("true"), Some(other)) => Self::Foreign(format!("it belongs to the deployment `{other}`")),
            _ => Self::Foreign(format!("it does not carry our tags `{MANAGED}` and `{NAME}`")),
        }
    }
}

/// One thing that exists.
#[derive(Clone, Debug)]
pub struct Found {
    pub key: Key,
    /// What AWS calls it: an id, an ARN or again the name.
    pub id: String,
    pub owner: Owner,
    pub fields: Fields,
    /// What it is waiting for, while AWS still works on it.
    pub settling: Option<String>,
    /// Why it must be made anew, when AWS gave up on it.
    pub broken: Option<String>,
    /// Why AWS will not delete it, when somebody has seen to that.
    pub guarded: Option<String>,
    /// Facts that nobody can wish for: when it was made, its endpoint.
    pub attributes: BTreeMap<&'static str, String>,
    /// The resource that it lives in.
    pub parent: Option<Key>,
}

impl Found {
    pub fn new(key: Key, id: impl Into<String>, fields: Fields) -> Self {
        Self {
            key,
            id: id.into(),
            owner: Owner::Ours,
            fields,
            settling: None,
            broken: None,
            guarded: None,
            attributes: BTreeMap::new(),
            parent: None,
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// A property that is a text; empty where there is none.
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Everything that was found.
#[derive(Clone, Default)]
pub struct Observed {
    pub found: Vec<Found>,
    /// Whose account it was found in.
    pub identity: Option<Identity>,
    /// What AWS is known to refuse to change for now: no plan asks for it.
    pub deferred: Properties,
}

impl Observed {
    pub fn get(&self, key: &Key) -> Option<&Found> {
        self.found.iter().find(|found| found.key == *key)
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Found> {
        self.found.iter().filter(move |found| found.key.kind == kind)
    }

    /// `scope` as it is known from here: in which account it is, and the ids of what exists.
    pub fn within(&self, scope: &Scope) -> Scope {
        Scope { identity: self.identity.clone(), ids: self.ids(), ..scope.clone() }
    }

    pub fn ids(&self) -> BTreeMap<Key, String> {
        self.found.iter().map(|found| (found.key.clone(), found.id.clone())).collect()
    }
}
