//! What decides what is wanted: the configuration, where it is to be, and what is known of the account. A plain value.

use std::collections::BTreeMap;

use crate::aws::endpoints::Endpoints;
use crate::aws::identity::{Identity, partition_of};
use crate::config::Config;
use crate::engine::key::Key;
use crate::handlers::Bundles;

/// Stands in a planned value for an id that AWS has yet to choose.
pub const UNKNOWN: &str = "(known after apply)";

pub const MANAGED: &str = "chatctl:managed";
pub const NAME: &str = "chatctl:name";
pub const EXPIRES_AT: &str = "chatctl:expires-at";

/// All that decides what is wanted.
#[derive(Clone)]
pub struct Scope {
    pub config: Config,
    pub region: String,
    /// Where calls go (S3).
    pub endpoints: Endpoints,
    /// When this deployment expires, RFC 3339; set iff the configuration has a time to live.
    pub expires_at: Option<String>,
    pub bundles: Bundles,
    /// Whose account it is, once that is known.
    pub identity: Option<Identity>,
    /// What AWS calls the resources that exist.
    pub ids: BTreeMap<Key, String>,
}

impl Scope {
    /// Nothing is known yet.
    pub fn new(
        config: Config,
        region: String,
        endpoints: Endpoints,
        expires_at: Option<String>,
        bundles: Bundles,
    ) -> Self {
        Self { config, region, endpoints, expires_at, bundles, identity: None, ids: BTreeMap::new() }
    }

    /// The id that AWS gave to `key`, or a placeholder while there is none.
    pub fn id(&self, key: &Key) -> String {
        self.ids.get(key).cloned().unwrap_or_else(|| UNKNOWN.to_owned())
    }

    /// `arn:<partition>:<service>:<region>:<account>:<resource>`; IAM's have no region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let partition = self.partition();
        let account = self.identity.as_ref().map_or(UNKNOWN, |id| id.account.as_str());
        let region = if service == "iam" { "" } else { self.region.as_str() };
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    pub fn partition(&self) -> &str {
        self.identity.as_ref().map_or_else(|| partition_of(&self.region), |id| id.partition.as_str())
    }

    /// The tags of everything that can carry them, without the expiry: ours and the user's.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.config.tags.clone();
        tags.insert(MANAGED.to_owned(), "true".to_owned());
        tags.insert(NAME.to_owned(), self.config.name.to_string());
        tags
    }

    /// What a create call carries: the tags, and when it all expires.
    pub fn tags_at_creation(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags();
        tags.extend(self.expires_at.clone().map(|at| (EXPIRES_AT.to_owned(), at)));
        tags
    }
}
