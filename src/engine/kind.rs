//! What the engine asks of a kind of resource.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::aws::failure::Failure;
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, Observed};
use crate::engine::key::Key;
use crate::engine::run::Ctx;
use crate::engine::scope::{EXPIRES_AT, MANAGED, NAME, Scope};
use crate::error::Error;

/// What is always so of a kind.
#[derive(Clone, Copy)]
pub struct Facts {
    /// As users read it: `log-group`.
    pub name: &'static str,
    /// The kind that this one lives in; it is looked for only where its parent was found.
    pub parent: Option<&'static str>,
    /// Whether deleting the parent deletes it too.
    pub vanishes_with_parent: bool,
    /// The lane that all of its kind share: their writes are strictly serial.
    pub lane: Option<&'static str>,
    /// What users notice when one that stands goes or is made anew.
    pub loss: Option<&'static str>,
    /// Properties that cannot be changed in place.
    pub immutable: &'static [&'static str],
    /// The kinds that this one is a snapshot of: it is made anew when one of those changes.
    pub snapshot_of: &'static [&'static str],
    /// The kinds that may still refer to one that is to go, or are found by it: it is deleted after they were changed.
    pub referred_to_by: &'static [&'static str],
    /// The kind that alone tells, by a mark on it, of one that is wanted no more: it takes the mark before this is made, and
    /// lets go of it, or goes, after this is deleted.
    pub marked_on: Option<&'static str>,
    /// Whether a look shows everything that a reply has confirmed, at once.
    pub is_seen_at_once: bool,
    /// Whether a look may show it, for some seconds, as it was before the last writes.
    pub is_shown_late: bool,
    /// The pause between two looks at one that has not settled. That it has is seen by so much later at most.
    pub look_again: Duration,
}

impl Facts {
    /// Of a kind about which there is nothing to say.
    pub const fn of(name: &'static str) -> Self {
        Self {
            name,
            parent: None,
            vanishes_with_parent: false,
            lane: None,
            loss: None,
            immutable: &[],
            snapshot_of: &[],
            referred_to_by: &[],
            marked_on: None,
            is_seen_at_once: false,
            is_shown_late: false,
            look_again: Duration::from_millis(450),
        }
    }

    /// The same for what lives in one of the kind `parent`, and goes with it.
    pub const fn within(self, parent: &'static str) -> Self {
        Self { parent: Some(parent), vanishes_with_parent: true, ..self }
    }
}

/// One kind of resource: what is wanted of it, and how whatever exists of it is found, known and deleted. What is already
/// gone counts as deleted.
#[async_trait]
pub trait Kind: Send + Sync {
    fn facts(&self) -> Facts;

    fn name(&self) -> &'static str {
        self.facts().name
    }

    /// Says, before the first call, what of the settings is in vain where this is to be. Pure.
    ///
    /// # Errors
    /// A usage error: settings with which it cannot be there.
    fn check(&self, _scope: &Scope) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// What this deployment wants of it. Pure.
    fn declare(&self, scope: &Scope) -> Vec<Wanted>;

    /// The places to look at: one look each, all at once. A kind that has a parent is looked for once a parent.
    fn probes(&self, scope: &Scope) -> Vec<String> {
        vec![scope.config.name.to_string()]
    }

    /// Further places to look at in a second wave, to which what was found in the first points.
    fn hinted(&self, _scope: &Scope, _found: &[Found]) -> Vec<String> {
        vec![]
    }

    /// What exists at `probe`; what is not wanted there too. Nothing only if AWS says that there is nothing:
    /// access denied is an error. The id of the parent that it looks in is known.
    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure>;

    /// Gives the keys of the program to what was found under ids of AWS's, where it takes what else was found to know which is
    /// which: an integration is known by the route that leads to it. Pure.
    fn identify(&self, _scope: &Scope, _observed: &mut Observed) {}

    /// The entries of the map `field` whose values are ours to show; any other may be somebody's secret.
    fn shown_entries(&self, _field: &str) -> Option<&'static [&'static str]> {
        None
    }

    /// The lane whose writes are strictly serial, if this change is one of those.
    fn lane(&self, _change: &Change) -> Option<String> {
        self.facts().lane.map(str::to_owned)
    }

    /// Called before the first change, in a pass, of something that this kind is a snapshot of: notes where it lasts
    /// that the snapshot is about to be out of date, so that the next run knows if this one dies in between.
    async fn outdate(&self, _ctx: &Ctx) -> Result<(), Failure> {
        Ok(())
    }

    /// What `change` takes back of what another run has asked for, if somebody may miss that. Pure.
    fn taken_back(&self, _change: &Change) -> Option<TakenBack> {
        None
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure>;

    /// The deployments that own something of this kind in this account and region; only of kinds that can be listed.
    async fn signs(&self, _ctx: &Ctx) -> Result<Vec<Sign>, Failure> {
        Ok(vec![])
    }

    /// What the identity that runs `chatctl` must be allowed to do for this kind, on no more than what belongs to
    /// this deployment and to those whose names begin with `<its name>-`.
    /// Those of what lives in an API are the API's.
    fn permissions(&self, _scope: &Scope) -> Vec<Permission> {
        vec![]
    }
}

/// What another run has asked for and this one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TakenBack {
    pub setting: &'static str,
    /// What that means from now on.
    pub now: &'static str,
}

/// One resource that is wanted, and knows itself: how it should be, and how it is made so. Of a kind that has only one, it
/// is the kind.
///
/// Every write is idempotent: what exists already makes `create` fail with `AlreadyExists`, upon which the engine adopts
/// it if it is ours.
#[async_trait]
pub trait Resource: Send + Sync {
    /// The properties as they should be. Pure; ids that are not known yet show as a placeholder.
    fn wanted(&self, scope: &Scope) -> Fields;

    /// Makes it as wanted and returns its id.
    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure>;

    /// Changes the properties that differ.
    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure>;

    /// The same in CloudFormation, and after it what belongs to it there. Pure; what CloudFormation alone knows stands as
    /// a `reference` in texts.
    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part>;
}

/// A resource that is wanted, under its key.
pub struct Wanted {
    pub key: Key,
    /// What must stand before it.
    pub needs: Vec<Key>,
    pub resource: Box<dyn Resource>,
}

impl Wanted {
    pub fn new(key: Key, needs: Vec<Key>, resource: impl Resource + 'static) -> Self {
        Self { key, needs, resource: Box::new(resource) }
    }
}

/// One resource of a CloudFormation template.
pub struct Part {
    /// What the template calls it.
    pub logical_id: String,
    /// Such as `AWS::IAM::Role`.
    pub r#type: &'static str,
    pub properties: Value,
}

/// What a reference begins and ends with in texts: two of the characters that Unicode keeps for use within a program, so that no
/// setting looks like one, whatever is written in it.
pub const REFERENCE: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// Stands in a text of a part for what CloudFormation fills in: the id of a part, a parameter, `AWS::Region`.
pub fn reference(name: &str) -> String {
    let [open, close] = REFERENCE;
    format!("{open}{name}{close}")
}

/// A sign of a deployment: something that carries its tags.
#[derive(Clone, Debug)]
pub struct Sign {
    pub deployment: String,
    pub expires_at: Option<String>,
    /// The API, where this is one.
    pub api: Option<Found>,
}

impl Sign {
    /// The deployment whose tags these are, if they are ours.
    pub fn of(tags: &BTreeMap<String, String>) -> Option<Self> {
        let is_managed = tags.get(MANAGED).is_some_and(|value| value == "true");
        let deployment = tags.get(NAME).filter(|_| is_managed)?.clone();
        Some(Self { deployment, expires_at: tags.get(EXPIRES_AT).cloned(), api: None })
    }
}

/// Which verbs need an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All that look at a deployment; `status` needs no more.
    Read,
    /// `up`, `down` and `reap`.
    Write,
    /// `list`, `reap`, `verify`, `chat`, `open` and `logs`: beyond the resources of one deployment, or into them.
    Other,
}

/// One statement of the deployer's policy.
pub struct Permission {
    pub access: Access,
    pub actions: &'static [&'static str],
    pub resources: Vec<String>,
    pub condition: Option<Value>,
}

impl Permission {
    pub fn read(actions: &'static [&'static str], resources: Vec<String>) -> Self {
        Self { access: Access::Read, actions, resources, condition: None }
    }

    pub fn write(actions: &'static [&'static str], resources: Vec<String>) -> Self {
        Self { access: Access::Write, actions, resources, condition: None }
    }

    pub fn other(actions: &'static [&'static str], resources: Vec<String>) -> Self {
        Self { access: Access::Other, actions, resources, condition: None }
    }

    /// Only where `condition` holds, if there is one.
    pub fn when(self, condition: Option<Value>) -> Self {
        Self { condition, ..self }
    }
}
