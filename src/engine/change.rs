//! What is to be done to one resource.

use serde::Serialize;
use serde_json::Value;

use crate::engine::found::Found;
use crate::engine::key::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Replace,
    Delete,
}

impl Action {
    /// `creating`
    pub fn doing(self) -> &'static str {
        match self {
            Self::Create => "creating",
            Self::Update => "updating",
            Self::Replace => "replacing",
            Self::Delete => "deleting",
        }
    }

    /// `created`
    pub fn done(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Update => "updated",
            Self::Replace => "replaced",
            Self::Delete => "deleted",
        }
    }
}

/// One property that is not as wanted. `Null` stands for none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub field: String,
    pub from: Value,
    pub to: Value,
}

impl Difference {
    /// Whether it only says anew when it all expires.
    pub fn is_renewal(&self) -> bool {
        self.field == "expiresAt" && !self.from.is_null() && !self.to.is_null()
    }
}

/// The properties of one resource that are not as wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Differences(pub Vec<Difference>);

impl Differences {
    /// Whether `field`, or an entry of it, is among them.
    pub fn touches(&self, field: &str) -> bool {
        self.0.iter().any(|difference| root(&difference.field) == field)
    }

    /// The entries of a map such as `tags`: those to set, and those to remove.
    pub fn entries(&self, field: &str) -> (Vec<(String, String)>, Vec<String>) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for difference in &self.0 {
            if let Some(entry) = difference.field.strip_prefix(field).and_then(|rest| rest.strip_prefix('.')) {
                match &difference.to {
                    Value::String(value) => set.push((entry.to_owned(), value.clone())),
                    _ => removed.push(entry.to_owned()),
                }
            }
        }
        (set, removed)
    }
}

/// The property that `field` is, or is an entry of.
pub fn root(field: &str) -> &str {
    field.split('.').next().unwrap_or(field)
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Change {
    pub action: Action,
    pub key: Key,
    pub fields: Differences,
    /// What exists of it now.
    pub found: Option<Found>,
    /// It goes with this one, without a call of its own.
    pub with: Option<Key>,
    /// Indexes of the changes that must be done first.
    pub after: Vec<usize>,
}

impl Change {
    pub fn new(action: Action, key: Key, found: Option<Found>) -> Self {
        Self { action, key, fields: Differences::default(), found, with: None, after: Vec::new() }
    }

    /// Whether `field` of what stands becomes `to`; what is made now comes from nothing as well.
    pub fn turns(&self, field: &str, to: &Value) -> bool {
        self.found.is_some() && self.fields.0.iter().any(|changed| changed.field == field && changed.to == *to)
    }
}
