//! Tags, as all services have them and no two spell them: what makes a resource ours (T2), from its creation on (T4).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::engine::change::Differences;
use crate::engine::scope::{EXPIRES_AT, Scope};

pub type Tags = BTreeMap<String, String>;

/// As CloudFormation has them for most resources.
pub fn listed(tags: Tags) -> Value {
    tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// The tags that are compared, and apart from them when it all expires. AWS's own (`aws:`) are nobody's business.
pub fn split(mut tags: Tags) -> (Tags, Option<String>) {
    tags.retain(|key, _| !key.starts_with("aws:"));
    let expires_at = tags.remove(EXPIRES_AT);
    (tags, expires_at)
}

/// The tags to set and those to remove, of what also tells when it all expires.
pub fn changed(scope: &Scope, differences: &Differences) -> (Vec<(String, String)>, Vec<String>) {
    let (mut set, mut removed) = differences.entries("tags");
    if differences.touches("expiresAt") {
        match &scope.expires_at {
            Some(at) => set.push((EXPIRES_AT.to_owned(), at.clone())),
            None => removed.push(EXPIRES_AT.to_owned()),
        }
    }
    (set, removed)
}
