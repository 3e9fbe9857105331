//! What a run works with: the pure part that decides (`Scope`), and the part that reaches AWS (`Ctx`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::aws::Clients;
use crate::aws::failure::{Failure, Operation};
use crate::aws::identity::{Identity, partition_of};
use crate::aws::retry::{QUOTA, Rule};
use crate::config::Config;
use crate::engine::key::Key;
use crate::engine::trace::{Call, Trace};
use crate::handlers::Bundles;
use crate::host::Interrupt;
use crate::progress::Reporter;

/// Stands in a planned value for an id that AWS has yet to choose.
pub const UNKNOWN: &str = "(known after apply)";

/// All that decides what is wanted. Only the ids and the identity are learned on the way.
pub struct Scope {
    pub config: Config,
    pub region: String,
    /// The endpoint override, when the SDK has one: then this is no real AWS (S3).
    pub endpoint_override: Option<String>,
    /// When this deployment expires, RFC 3339; set iff the configuration has a time to live.
    pub expires_at: Option<String>,
    pub bundles: Bundles,
    identity: OnceCell<Identity>,
    ids: Mutex<BTreeMap<Key, String>>,
}

impl Scope {
    pub fn new(
        config: Config,
        region: String,
        endpoint_override: Option<String>,
        expires_at: Option<String>,
        bundles: Bundles,
    ) -> Self {
        Self {
            config,
            region,
            endpoint_override,
            expires_at,
            bundles,
            identity: OnceCell::new(),
            ids: Mutex::default(),
        }
    }

    /// The id that AWS gave to `key`, or a placeholder while there is none.
    pub fn id(&self, key: &Key) -> String {
        lock(&self.ids).get(key).cloned().unwrap_or_else(|| UNKNOWN.to_owned())
    }

    pub fn learn_id(&self, key: &Key, id: impl Into<String>) {
        lock(&self.ids).insert(key.clone(), id.into());
    }

    /// The id will be another one: `key` is going to be made anew.
    pub fn forget_id(&self, key: &Key) {
        lock(&self.ids).remove(key);
    }

    pub fn forget_ids(&self) {
        lock(&self.ids).clear();
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    pub fn learn_identity(&self, identity: impl Into<Option<Identity>>) {
        // Two observations of one run find the same account.
        let _ = identity.into().map(|identity| self.identity.set(identity));
    }

    /// Learns the identity from `ask`, once, unless it is known.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn identity_or(&self, ask: impl Future<Output = Result<Identity, Failure>>) -> Result<(), Failure> {
        self.identity.get_or_try_init(|| ask).await.map(drop)
    }

    /// `arn:<partition>:<service>:<region>:<account>:<resource>`; IAM's have no region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let partition = self.partition();
        let account = self.identity().map_or(UNKNOWN, |id| id.account.as_str());
        let region = if service == "iam" { "" } else { self.region.as_str() };
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    pub fn partition(&self) -> &str {
        self.identity().map_or_else(|| partition_of(&self.region), |id| id.partition.as_str())
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

/// How long a resource counts as young (I1).
const YOUNG: Duration = Duration::from_secs(30);

pub const MANAGED: &str = "chatctl:managed";
pub const NAME: &str = "chatctl:name";
pub const EXPIRES_AT: &str = "chatctl:expires-at";

/// Holds the task that had the last turn.
pub type Lane = Arc<tokio::sync::Mutex<Option<usize>>>;

/// When tags were written, and which; `None` where one was removed.
type Written = (Instant, BTreeMap<String, Option<String>>);

/// A run: the scope, the way to AWS, and what is known of the run so far.
pub struct Ctx {
    pub scope: Scope,
    pub aws: Clients,
    pub reporter: Arc<dyn Reporter>,
    pub interrupt: Interrupt,
    pub began: Instant,
    /// What this run has made and when, for the rules that forgive a young resource (I1).
    fresh: Mutex<BTreeMap<Key, Instant>>,
    /// The tags that this run has written: reads may be older (D9).
    tagged: Mutex<BTreeMap<Key, Written>>,
    /// What stands now, as far as this run knows: the leftovers, should it fail.
    standing: Mutex<BTreeSet<Key>>,
    /// Fields that AWS will not change now; `up` says so and ends well (D8).
    deferred: Mutex<BTreeMap<(Key, &'static str), String>>,
    /// The snapshots that know, in this pass, that they are going to be out of date.
    told: Mutex<BTreeSet<&'static str>>,
    /// What the time goes to, for `--timings`.
    pub trace: Trace,
    lanes: Mutex<BTreeMap<String, Lane>>,
}

impl Ctx {
    pub fn new(scope: Scope, aws: Clients, reporter: Arc<dyn Reporter>, interrupt: Interrupt) -> Self {
        Self {
            scope,
            aws,
            reporter,
            interrupt,
            began: Instant::now(),
            fresh: Mutex::default(),
            tagged: Mutex::default(),
            standing: Mutex::default(),
            deferred: Mutex::default(),
            told: Mutex::default(),
            trace: Trace::default(),
            lanes: Mutex::default(),
        }
    }

    /// Makes one AWS call about `key`, again and again as long as a rule of `retry.rs` allows it.
    ///
    /// # Errors
    /// The failure that no rule forgives, or the last one when its budget is used up.
    pub async fn call<T, E, F, R>(&self, operation: &'static str, key: &Key, send: F) -> Result<T, Failure>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (service, name) = operation.split_once(':').unwrap_or(("", operation));
        let parsed = Operation { service, name };
        let subject = key.to_string();
        let begun = Instant::now();
        let mut waiting_for = None;
        loop {
            let from = Instant::now();
            let answer = send().await;
            self.record(&subject, Call { operation, from, to: Instant::now() });
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let failure = Failure::of(parsed, &subject, &error);
            let is_read = ["Get", "List", "Describe"].iter().any(|verb| name.starts_with(verb));
            let Some(rule) = Rule::for_failure(&failure, !is_read && self.is_fresh_name(&key.name)) else {
                return Err(failure);
            };
            if begun.elapsed() >= rule.budget {
                return Err(failure);
            }
            if waiting_for != Some(rule.waits_for) && (waiting_for.is_none() || rule.waits_for != QUOTA) {
                waiting_for = Some(rule.waits_for);
                self.reporter.waiting(&subject, rule.waits_for);
            }
            if !self.pause(rule.pause(begun.elapsed())).await {
                return Err(Failure::interrupted(parsed, &subject));
            }
        }
    }

    /// Sleeps; false when the interrupt came meanwhile.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.interrupt.raised(1) => false,
        }
    }

    fn record(&self, subject: &str, call: Call) {
        if self.scope.config.face.verbose {
            let took = call.to.duration_since(call.from).as_millis();
            self.reporter.note(&format!("{} for {subject} took {took} ms", call.operation));
        }
        self.trace.record(call);
    }

    /// Whether this run made `key` a moment ago.
    pub fn is_fresh(&self, key: &Key) -> bool {
        lock(&self.fresh).get(key).is_some_and(|made| made.elapsed() < YOUNG)
    }

    /// Whether this run made `key`, or what it belongs to and shares the name with.
    fn is_fresh_name(&self, name: &str) -> bool {
        lock(&self.fresh).iter().any(|(key, made)| key.name == name && made.elapsed() < YOUNG)
    }

    /// This run has made `key`.
    pub fn made(&self, key: &Key) {
        lock(&self.fresh).insert(key.clone(), Instant::now());
        lock(&self.standing).insert(key.clone());
    }

    /// This run has set and removed these tags of `key`.
    pub fn tagged(&self, key: &Key, set: &[(String, String)], removed: &[String]) {
        let set = set.iter().map(|(tag, value)| (tag.clone(), Some(value.clone())));
        let written = set.chain(removed.iter().map(|tag| (tag.clone(), None))).collect();
        lock(&self.tagged).insert(key.clone(), (Instant::now(), written));
    }

    /// Whether `tags` of `key` are likely older than what this run has written: a matter of seconds.
    pub fn is_outdated(&self, key: &Key, tags: &BTreeMap<String, String>) -> bool {
        lock(&self.tagged).get(key).is_some_and(|(at, written)| {
            at.elapsed() < YOUNG && written.iter().any(|(tag, value)| tags.get(tag) != value.as_ref())
        })
    }

    /// Whether `key` exists, as far as this run knows.
    pub fn stands(&self, key: &Key) -> bool {
        lock(&self.standing).contains(key)
    }

    /// Whether the snapshots of the kind `snapshot` know already that they are going to be out of date.
    pub fn is_told(&self, snapshot: &str) -> bool {
        lock(&self.told).contains(snapshot)
    }

    pub fn told(&self, snapshot: &'static str) {
        lock(&self.told).insert(snapshot);
    }

    pub fn is_gone(&self, key: &Key) {
        lock(&self.standing).remove(key);
        lock(&self.fresh).remove(key);
    }

    /// A new pass begins, in which `keys` exist.
    pub fn set_standing(&self, keys: BTreeSet<Key>) {
        *lock(&self.standing) = keys;
        lock(&self.told).clear();
    }

    pub fn standing(&self) -> Vec<String> {
        lock(&self.standing).iter().map(ToString::to_string).collect()
    }

    /// Notes that AWS refuses to change `field` now, and why.
    pub fn defer(&self, key: &Key, field: &'static str, why: String) {
        self.reporter.note(&format!("warning: {key}: {why}"));
        lock(&self.deferred).insert((key.clone(), field), why);
    }

    pub fn is_deferred(&self, key: &Key, field: &str) -> bool {
        lock(&self.deferred).keys().any(|(k, f)| k == key && *f == field)
    }

    /// The lock that keeps the writes of one lane strictly serial.
    pub fn lane(&self, name: &str) -> Lane {
        lock(&self.lanes).entry(name.to_owned()).or_default().clone()
    }
}

/// A panic elsewhere leaves these plain maps whole, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
