//! What is wanted: resources by key, and what each needs before it can be made.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::engine::scope::Scope;
use crate::resources::KINDS;

/// Names one resource: its kind and its name within that kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    pub kind: &'static str,
    pub name: String,
}

impl Key {
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Everything one deployment consists of, in the order of `KINDS`, each with the keys it needs.
pub struct Graph {
    order: Vec<Key>,
    needs: BTreeMap<Key, Vec<Key>>,
}

impl Graph {
    pub fn declare(scope: &Scope) -> Self {
        let declared: Vec<(Key, Vec<Key>)> = KINDS.iter().flat_map(|kind| kind.declare(scope)).collect();
        Self { order: declared.iter().map(|(key, _)| key.clone()).collect(), needs: declared.into_iter().collect() }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.order.iter()
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.needs.contains_key(key)
    }

    /// What must stand before `key` can be made; nothing for a key that is not wanted.
    pub fn needs(&self, key: &Key) -> &[Key] {
        self.needs.get(key).map_or(&[], Vec::as_slice)
    }
}
