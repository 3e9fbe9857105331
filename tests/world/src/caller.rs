//! Who calls, and what its policies and its boundary let it do.

use std::sync::Arc;

use crate::policy::{self, Facts, Grant, Kind};

/// Whoever makes calls. By default the account itself, who may do everything.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    policies: Option<Arc<Vec<Grant>>>,
    boundary: Option<Arc<Vec<Grant>>>,
}

impl Caller {
    /// Somebody with these identity policies and no other.
    ///
    /// # Panics
    /// At a document that IAM would not store.
    pub fn with<'a>(policies: impl IntoIterator<Item = &'a str>, partition: &str) -> Self {
        let grants = policies.into_iter().flat_map(|document| grants(document, partition)).collect();
        Self { policies: Some(Arc::new(grants)), boundary: None }
    }

    /// The same within a permissions boundary.
    ///
    /// # Panics
    /// At a document that IAM would not store.
    #[must_use]
    pub fn within(self, boundary: &str, partition: &str) -> Self {
        Self { boundary: Some(Arc::new(grants(boundary, partition))), ..self }
    }

    /// Whether it may do this, as far as no condition asks for more.
    pub fn can(&self, action: &str, resource: &str) -> bool {
        self.may(action, resource, &Facts::new()).is_ok()
    }

    /// Nothing, or why it may not do this.
    pub(crate) fn may(&self, action: &str, resource: &str, facts: &Facts) -> Result<(), String> {
        let granted = |grants: &Option<Arc<Vec<Grant>>>| {
            grants.as_ref().is_none_or(|grants| policy::granted(grants, action, resource, facts))
        };
        if !granted(&self.policies) {
            return Err(format!("because no identity-based policy allows the {action} action"));
        }
        if !granted(&self.boundary) {
            return Err(format!("because no permissions boundary allows the {action} action"));
        }
        Ok(())
    }
}

fn grants(document: &str, partition: &str) -> Vec<Grant> {
    policy::read(document, Kind::Identity, partition).unwrap_or_else(|why| panic!("world: {why}: {document}"))
}
