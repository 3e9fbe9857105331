//! What exists in the model: plain structs that a test may read and change behind the program's back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::clock::Moment;
use crate::throttle::Buckets;

pub type Tags = BTreeMap<String, String>;

/// Everything in every account.
#[derive(Clone, Default)]
pub struct State {
    pub accounts: BTreeMap<String, Account>,
}

impl State {
    /// The account, empty where nothing has touched it yet.
    pub fn account(&mut self, id: &str) -> &mut Account {
        if !self.accounts.contains_key(id) {
            self.accounts.insert(id.to_owned(), Account::default());
        }
        self.accounts.get_mut(id).expect("was just inserted")
    }

    /// One region of one account.
    pub fn region(&mut self, account: &str, region: &str) -> &mut Region {
        self.account(account).region(region)
    }

    /// Lets everything that only waited for its time happen: tables and functions that are done deleting go.
    pub(crate) fn settle(&mut self, now: Moment) {
        for region in self.accounts.values_mut().flat_map(|account| account.regions.values_mut()) {
            region.settle(now);
        }
    }
}

/// One account: what is global in it, its regions, and what its callers may not do.
#[derive(Clone, Default)]
pub struct Account {
    /// By name in lower case: IAM's names are case-insensitive (I2).
    pub roles: BTreeMap<String, Role>,
    pub regions: BTreeMap<String, Region>,
    /// ARNs of customer-managed policies that exist; those of AWS (`arn:…:iam::aws:policy/…`) always do.
    pub managed_policies: BTreeSet<String>,
    /// What those say that are used as boundaries, by ARN; of others nothing is known, and they allow everything.
    pub boundaries: BTreeMap<String, String>,
    /// Actions refused, `service:Action`, with `*` at the end if wanted; after a blank, a part of the resource's ARN
    /// that the refusal is limited to.
    pub denied: BTreeSet<String>,
    /// The same, refused by a service control policy (I7).
    pub denied_by_scp: BTreeSet<String>,
    /// If set, everything that is not in it is refused.
    pub allowed: Option<BTreeSet<String>>,
    /// If set, `CreateRole` is allowed only with this permissions boundary (I7).
    pub required_boundary: Option<String>,
    pub(crate) busy: Busy,
    /// Roles as they were before a write, by key, and how long reads may still show them so.
    pub(crate) older_roles: Vec<(Moment, String, Option<Role>)>,
}

impl Account {
    pub fn region(&mut self, name: &str) -> &mut Region {
        if !self.regions.contains_key(name) {
            self.regions.insert(name.to_owned(), Region::default());
        }
        self.regions.get_mut(name).expect("was just inserted")
    }

    /// A role by its name in whatever case.
    pub fn role(&mut self, name: &str) -> Option<&mut Role> {
        self.roles.get_mut(&name.to_lowercase())
    }
}

/// One region of one account.
#[derive(Clone, Default)]
pub struct Region {
    pub apis: BTreeMap<String, Api>,
    pub functions: BTreeMap<String, Function>,
    pub tables: BTreeMap<String, Table>,
    pub log_groups: BTreeMap<String, LogGroup>,
    /// The days that a policy of the account keeps the logs of every group, whatever the group says (L16).
    pub log_retention_policy: Option<i64>,
    /// Of CloudWatch, by name.
    pub alarms: BTreeMap<String, Alarm>,
    /// Alarms that are gone, and until when reads still show them (W3).
    pub(crate) gone_alarms: BTreeMap<String, (Moment, Alarm)>,
    pub queues: BTreeMap<String, Queue>,
    /// Names of queues, and until when nobody may have them again (Q2).
    pub(crate) gone_queues: BTreeMap<String, Moment>,
    /// Event source mappings, by UUID.
    pub mappings: BTreeMap<String, Mapping>,
    /// APIs that are gone, and since when: a lagging list still shows them.
    pub(crate) gone_apis: Vec<(Moment, Api)>,
    pub(crate) buckets: Buckets,
    pub(crate) busy: Busy,
}

impl Region {
    pub(crate) fn settle(&mut self, now: Moment) {
        self.tables.retain(|_, table| table.deleted_at.is_none_or(|at| now < at));
        self.functions.retain(|_, function| function.deleted_at.is_none_or(|at| now < at));
        self.mappings.retain(|_, mapping| mapping.deleted_at.is_none_or(|at| now < at));
        self.gone_alarms.retain(|_, (until, _)| now < *until);
        self.queues.retain(|_, queue| queue.deleted_at.is_none_or(|at| now < at));
    }

    /// The APIs with this display name.
    pub fn apis_named(&self, name: &str) -> Vec<&Api> {
        self.apis.values().filter(|api| api.name == name).collect()
    }
}

/// Until when a write is under way, by what it writes.
#[derive(Clone, Default)]
pub(crate) struct Busy(BTreeMap<String, Moment>);

impl Busy {
    /// Takes `key` until `until`, unless a write of before still has it.
    pub fn take(&mut self, key: String, now: Moment, until: Moment) -> bool {
        self.0.retain(|_, end| now < *end);
        if self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, until);
        true
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Api {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub protocol_type: String,
    pub route_selection_expression: String,
    pub tags: Tags,
    pub created: Moment,
    pub routes: BTreeMap<String, Route>,
    pub integrations: BTreeMap<String, Integration>,
    pub deployments: BTreeMap<String, Deployment>,
    /// By name.
    pub stages: BTreeMap<String, Stage>,
    pub authorizers: BTreeMap<String, Authorizer>,
    pub models: BTreeMap<String, Model>,
    /// A custom domain still points here, so that `DeleteApi` is refused (G14).
    pub has_mappings: bool,
    /// Members that the model stores and gives back only.
    pub other: Map<String, Value>,
}

impl Api {
    pub fn route(&self, key: &str) -> Option<&Route> {
        self.routes.values().find(|route| route.route_key == key)
    }

    /// The integration behind a route.
    pub fn integration_of(&self, route_key: &str) -> Option<&Integration> {
        let target = self.route(route_key)?.target.as_deref()?;
        self.integrations.get(target.strip_prefix("integrations/")?)
    }

    /// The deployment that the stage points at.
    pub fn deployment_of(&self, stage: &str) -> Option<&Deployment> {
        self.deployments.get(self.stages.get(stage)?.deployment_id.as_deref()?)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    pub id: String,
    pub route_key: String,
    pub target: Option<String>,
    pub authorization_type: String,
    pub authorizer_id: Option<String>,
    pub created: Moment,
    /// By id.
    pub responses: BTreeMap<String, Map<String, Value>>,
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub id: String,
    pub name: String,
    pub description: String,
    pub content_type: String,
    pub schema: String,
    pub created: Moment,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Integration {
    pub id: String,
    pub integration_type: String,
    pub method: Option<String>,
    pub uri: Option<String>,
    pub timeout_millis: i64,
    pub created: Moment,
    /// By id.
    pub responses: BTreeMap<String, Map<String, Value>>,
    pub other: Map<String, Value>,
}

/// A snapshot (G8): what clients of a stage that points here meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    pub id: String,
    pub description: Option<String>,
    pub auto_deployed: bool,
    pub created: Moment,
    /// `PENDING` before.
    pub deployed_at: Moment,
    /// `FAILED` with this message.
    pub failure: Option<String>,
    pub routes: Vec<Route>,
    pub integrations: Vec<Integration>,
}

impl Deployment {
    pub fn status(&self, now: Moment) -> &'static str {
        match self.failure {
            Some(_) => "FAILED",
            None if now < self.deployed_at => "PENDING",
            None => "DEPLOYED",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    pub name: String,
    /// Open connections: they end with the stage (G23).
    pub connections: usize,
    pub deployment_id: Option<String>,
    pub auto_deploy: bool,
    pub description: Option<String>,
    pub tags: Tags,
    pub created: Moment,
    pub updated: Moment,
    /// As stored, zeros included (G12).
    pub default_route_settings: Option<Map<String, Value>>,
    /// By route key, as stored.
    pub route_settings: BTreeMap<String, Map<String, Value>>,
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorizer {
    pub id: String,
    pub name: String,
    pub created: Moment,
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    pub name: String,
    pub arn: String,
    pub runtime: String,
    pub handler: String,
    pub role: String,
    /// The unique id of the role that the variables are encrypted for (I12).
    pub encrypted_for: String,
    pub architecture: String,
    pub memory_mb: i64,
    pub timeout_seconds: i64,
    pub description: String,
    pub environment: BTreeMap<String, String>,
    /// Kept of the account's runs at once.
    pub reserved: Option<i64>,
    pub tags: Tags,
    /// Base64 of the SHA-256, as Lambda gives it back.
    pub code_sha256: String,
    pub code_size: usize,
    /// The resource policy, by statement id.
    pub policy: BTreeMap<String, Statement>,
    pub created: Moment,
    pub modified: Moment,
    /// `Pending` before.
    pub active_at: Moment,
    /// `InProgress` before.
    pub updated_at: Moment,
    /// `Failed`, from `active_at` on, with this reason.
    pub failure: Option<String>,
    /// `Deleting` before, gone from then on.
    pub deleted_at: Option<Moment>,
    /// Counts the changes; gives the revision id.
    pub revision: u64,
    pub other: Map<String, Value>,
}

impl Function {
    pub fn state(&self, now: Moment) -> &'static str {
        match self {
            Self { deleted_at: Some(_), .. } => "Deleting",
            _ if now < self.active_at => "Pending",
            Self { failure: Some(_), .. } => "Failed",
            _ => "Active",
        }
    }

    pub fn last_update_status(&self, now: Moment) -> &'static str {
        if now < self.updated_at { "InProgress" } else { "Successful" }
    }
}

/// One statement of a function's resource policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    pub sid: String,
    pub principal: String,
    pub action: String,
    pub source_arn: Option<String>,
    pub source_account: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    pub name: String,
    pub path: String,
    pub arn: String,
    pub id: String,
    pub description: Option<String>,
    pub max_session_seconds: i64,
    /// The trust policy, JSON.
    pub trust: String,
    pub boundary: Option<String>,
    pub tags: Tags,
    /// Inline policies by name, JSON.
    pub inline: BTreeMap<String, InlinePolicy>,
    /// ARNs of attached policies.
    pub attached: BTreeSet<String>,
    pub instance_profiles: BTreeSet<String>,
    pub created: Moment,
    /// Lambda cannot assume it before.
    pub assumable_at: Moment,
    /// When the last policy left it (I3).
    pub stripped_at: Option<Moment>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct InlinePolicy {
    pub document: String,
    pub written: Moment,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub name: String,
    pub arn: String,
    pub id: String,
    /// `(name, HASH or RANGE)`
    pub key_schema: Vec<(String, String)>,
    /// Name to type, `S`, `N` or `B`.
    pub attributes: BTreeMap<String, String>,
    /// The hash keys of the global secondary indexes, by their names.
    pub indexes: BTreeMap<String, String>,
    pub billing_mode: String,
    pub provisioned: Option<(i64, i64)>,
    /// Encrypted with a KMS key rather than with one that DynamoDB owns.
    pub kms: bool,
    pub kms_key: Option<String>,
    pub deletion_protection: bool,
    pub table_class: Option<String>,
    pub tags: Tags,
    /// What a read may still give instead, before `tags_shown_at` (D9).
    pub old_tags: Tags,
    pub tags_shown_at: Moment,
    pub ttl: TimeToLive,
    pub created: Moment,
    /// `CREATING` before.
    pub active_at: Moment,
    /// `UPDATING` before.
    pub updated_at: Moment,
    /// `DELETING` before, gone from then on.
    pub deleted_at: Option<Moment>,
    /// Data that the provisioning must never lose.
    pub items: Vec<String>,
}

impl Table {
    pub fn status(&self, now: Moment) -> &'static str {
        match self {
            Self { deleted_at: Some(_), .. } => "DELETING",
            _ if now < self.active_at => "CREATING",
            _ if now < self.updated_at => "UPDATING",
            _ => "ACTIVE",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeToLive {
    pub attribute: Option<String>,
    pub enabled: bool,
    pub changed_at: Option<Moment>,
    /// `ENABLING` or `DISABLING` before.
    pub settled_at: Moment,
}

impl TimeToLive {
    pub fn status(&self, now: Moment) -> &'static str {
        match (self.enabled, now < self.settled_at) {
            (true, true) => "ENABLING",
            (true, false) => "ENABLED",
            (false, true) => "DISABLING",
            (false, false) => "DISABLED",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogGroup {
    pub name: String,
    /// Without the `:*` that `DescribeLogGroups` adds to one of its two members.
    pub arn: String,
    pub retention_days: Option<i64>,
    pub tags: Tags,
    pub class: String,
    pub created: Moment,
    pub deletion_protection: bool,
    /// In the order of their time.
    pub events: Vec<LogEvent>,
}

/// An alarm of CloudWatch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    pub name: String,
    pub arn: String,
    /// As they were sent.
    pub settings: Map<String, Value>,
    pub tags: Tags,
    /// Not found before (W3).
    pub seen_at: Moment,
    /// What reads still give, before `shown_at` (W3).
    pub old: Option<(Map<String, Value>, Tags)>,
    pub shown_at: Moment,
}

impl Alarm {
    /// What a read gives.
    pub(crate) fn shown(&self, now: Moment) -> (&Map<String, Value>, &Tags) {
        match &self.old {
            Some((settings, tags)) if now < self.shown_at => (settings, tags),
            _ => (&self.settings, &self.tags),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogEvent {
    pub id: String,
    pub stream: String,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    pub name: String,
    pub url: String,
    pub arn: String,
    /// As they were set.
    pub attributes: BTreeMap<String, String>,
    pub tags: Tags,
    /// Not found before (Q2).
    pub seen_at: Moment,
    /// What reads still give, before `shown_at` (Q2).
    pub old: Option<(BTreeMap<String, String>, Tags)>,
    pub shown_at: Moment,
    /// Gone, and found until then (Q2).
    pub deleted_at: Option<Moment>,
    /// In their order, but for those that nobody has deleted in time.
    pub messages: Vec<Message>,
    /// What was sent under an id is dropped when it is sent again before that.
    pub sent: BTreeMap<String, Moment>,
}

/// One in a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub id: String,
    pub body: String,
    pub group: String,
    /// In somebody's hands until then.
    pub hidden_until: Moment,
    pub handle: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    pub id: String,
    pub arn: String,
    pub function: String,
    pub source: String,
    pub enabled: bool,
    pub batch_size: i64,
    pub responses: Vec<String>,
    pub tags: Tags,
    /// `Creating` or `Updating` before.
    pub settled_at: Moment,
    pub is_new: bool,
    /// `Deleting` before, gone from then on.
    pub deleted_at: Option<Moment>,
}

impl Mapping {
    pub fn state(&self, now: Moment) -> &'static str {
        match self {
            Self { deleted_at: Some(_), .. } => "Deleting",
            Self { is_new: true, .. } if now < self.settled_at => "Creating",
            _ if now < self.settled_at => "Updating",
            Self { enabled: true, .. } => "Enabled",
            Self { enabled: false, .. } => "Disabled",
        }
    }
}
