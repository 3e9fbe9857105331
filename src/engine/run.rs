//! What work is done with: the way to AWS, the scope as far as it is known, and what all of a run shares.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::aws::Clients;
use crate::aws::failure::{Class, Failure, Operation};
use crate::aws::identity::Identity;
use crate::aws::pace::Pace;
use crate::aws::retry::{QUOTA, Rule};
use crate::engine::book::Book;
use crate::engine::key::Key;
use crate::engine::scope::Scope;
use crate::engine::trace::{Call, Trace};
use crate::error::Code;
use crate::host::Interrupt;
use crate::progress::Reporter;

/// How many try at once whether AWS sees something new: more would only use up each other's quota (L8).
const FIRST_TRIES: usize = 6;

/// What everything that one run does shares.
pub struct Run {
    pub reporter: Arc<dyn Reporter>,
    pub interrupt: Interrupt,
    pub began: Instant,
    /// What the time goes to, for `--timings`.
    pub trace: Trace,
    pub book: Book,
    pace: Pace,
    /// Turns to make something of what this run has just made, and AWS may not see yet.
    first_tries: Semaphore,
    identity: OnceCell<Identity>,
}

impl Run {
    /// Whose account this is, if that is known.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// The ARN of something of ours tells whose account this is.
    pub fn learn_identity(&self, arn: &str) {
        // Whatever was found first, all of it is in one account.
        let _ = Identity::from_arn(arn).map(|identity| self.identity.set(identity));
    }
}

/// What one look or one step works with: the scope as it is known when that begins. Cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    pub scope: Arc<Scope>,
    pub aws: Clients,
    pub run: Arc<Run>,
    /// On whose behalf calls are made, in the trace.
    task: Option<usize>,
}

impl Ctx {
    /// A run begins.
    pub fn new(scope: Scope, aws: Clients, reporter: Arc<dyn Reporter>, interrupt: Interrupt) -> Self {
        let run = Run {
            reporter,
            interrupt,
            began: Instant::now(),
            trace: Trace::default(),
            book: Book::default(),
            pace: Pace::default(),
            first_tries: Semaphore::new(FIRST_TRIES),
            identity: OnceCell::new(),
        };
        Self { scope: Arc::new(scope), aws, run: Arc::new(run), task: None }
    }

    /// The same run where more is known.
    pub fn with(&self, scope: impl Into<Arc<Scope>>) -> Self {
        Self { scope: scope.into(), ..self.clone() }
    }

    /// The same run where the id of `key` is known too.
    pub fn knowing(&self, key: &Key, id: &str) -> Self {
        let mut scope = self.scope.clone();
        Arc::make_mut(&mut scope).ids.insert(key.clone(), id.to_owned());
        self.with(scope)
    }

    /// The same for one task of the trace.
    pub fn for_task(&self, task: usize) -> Self {
        Self { task: Some(task), ..self.clone() }
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
        self.call_upon(operation, key, send, Duration::MAX, || std::future::ready(false)).await
    }

    /// The same for what rests on something that may be gone: a long wait is for nothing then, and the world has moved. That
    /// is asked `every` so often.
    ///
    /// # Errors
    /// Those of `call`.
    pub async fn call_upon<T, E, F, R, G>(
        &self,
        operation: &'static str,
        key: &Key,
        send: F,
        every: Duration,
        is_gone: impl Fn() -> G,
    ) -> Result<T, Failure>
    where
        F: Fn() -> R,
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
        G: Future<Output = bool>,
    {
        let (service, name) = operation.split_once(':').unwrap_or(("", operation));
        let parsed = Operation { service, name };
        let subject = key.to_string();
        let begun = Instant::now();
        let mut waiting_for = None;
        let mut next_look = every;
        loop {
            // A local AWS has no quotas.
            let turn = if self.is_paced() { self.run.pace.turn(service, name) } else { Duration::ZERO };
            if !turn.is_zero() && !self.pause(turn).await {
                return Err(Failure::interrupted(parsed, &subject));
            }
            let from = Instant::now();
            let answer = send().await;
            self.record(&subject, Call { operation, from, to: Instant::now() });
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let failure = Failure::of(parsed, &subject, &error);
            let is_read = ["Get", "List", "Describe"].iter().any(|verb| name.starts_with(verb));
            let Some(rule) = Rule::for_failure(&failure, !is_read && self.run.book.is_in_young(key)) else {
                return Err(failure);
            };
            if begun.elapsed() >= rule.budget {
                return Err(failure);
            }
            if waiting_for != Some(rule.waits_for) && (waiting_for.is_none() || rule.waits_for != QUOTA) {
                waiting_for = Some(rule.waits_for);
                self.waiting(key, rule.waits_for);
            }
            if !self.pause(rule.pause(begun.elapsed())).await {
                return Err(Failure::interrupted(parsed, &subject));
            }
            if begun.elapsed() >= next_look {
                next_look += every;
                if is_gone().await {
                    return Err(Failure { class: Class::Moved, ..failure });
                }
            }
        }
    }

    /// The items of a list that comes in pages, read to its end (G5).
    ///
    /// # Errors
    /// That of the first page that cannot be read.
    pub async fn all<T, P, E, R>(
        &self,
        operation: &'static str,
        key: &Key,
        send: impl Fn(Option<String>) -> R,
        read: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, Failure>
    where
        R: Future<Output = Result<P, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.call(operation, key, || send(token.clone())).await?;
            let (items, next) = read(page);
            all.extend(items);
            // Some emulators end a list with an empty token.
            token = next.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    fn is_paced(&self) -> bool {
        self.scope.endpoints.emulator.is_none()
    }

    /// Waits for a turn to try what works only once AWS sees something new; none when the interrupt came meanwhile.
    pub async fn first_try(&self) -> Option<SemaphorePermit<'_>> {
        tokio::select! {
            biased;
            () = self.run.interrupt.raised(1) => None,
            turn = self.run.first_tries.acquire() => turn.ok(),
        }
    }

    /// AWS has seen it: what was made with it is most likely seen too.
    pub fn first_try_worked(&self) {
        self.run.first_tries.add_permits(FIRST_TRIES);
    }

    /// Sleeps; false when the interrupt came meanwhile.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.run.interrupt.raised(1) => false,
        }
    }

    fn record(&self, subject: &str, call: Call) {
        if self.scope.config.face.verbose {
            let took = call.to.duration_since(call.from).as_millis();
            self.run.reporter.note(&format!("{} for {subject} took {took} ms", call.operation));
        }
        self.run.trace.record(self.task, call);
    }

    /// Work on `key` goes on, but now waits for something out of our hands: `the role to be assumable`.
    pub fn waiting(&self, key: &Key, what: &str) {
        self.run.reporter.waiting(&key.to_string(), what);
    }

    /// Notes that AWS refuses to change `field` now, and why.
    pub fn defer(&self, key: &Key, field: &'static str, why: &str) {
        self.run.reporter.note(&format!("warning: {key}: {why}"));
        self.run.book.deferred(key, field);
    }

    /// Whose account this is; asks STS unless it is known. The ARN of anything that was found tells it too, which is
    /// one call less for every run that finds its deployment.
    ///
    /// # Errors
    /// When STS does not answer.
    pub async fn identity(&self) -> Result<&Identity, Failure> {
        let ask = || async {
            let us = Key::new("identity", "of the caller");
            let caller = self.call("sts:GetCallerIdentity", &us, || self.aws.sts.get_caller_identity().send()).await?;
            caller.arn().and_then(Identity::from_arn).ok_or_else(|| {
                let operation = Operation { service: "sts", name: "GetCallerIdentity" };
                Failure::ours(operation, "identity", Code::NoIdentity, "the answer has no ARN")
            })
        };
        self.run.identity.get_or_try_init(ask).await
    }
}
