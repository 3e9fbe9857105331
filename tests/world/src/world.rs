//! The world itself: the state, its lock, its log, and the way of a call through them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region as AwsRegion;
use tokio::sync::watch;

use crate::caller::Caller;
use crate::calls::{Call, Entry, Log};
use crate::clock::{Clock, Moment};
use crate::connector::Process;
use crate::context::Context;
use crate::crowd::{self, Crowd};
use crate::fault::{self, CallInfo, Verdict};
use crate::operation::{Operation, Request};
use crate::place::Place;
use crate::reply::{Answer, Refusal};
use crate::service::Service;
use crate::state::State;
use crate::switches::Switches;
use crate::{access, apigateway, dump, lambda, policy, probe};

/// A model of AWS; clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

type Interceptor = Arc<dyn Fn(&CallInfo) -> Verdict + Send + Sync>;
type Witness = Arc<dyn Fn(&Call) + Send + Sync>;

struct Inner {
    clock: Clock,
    core: Mutex<Core>,
    interceptor: Mutex<Option<Interceptor>>,
    witness: Mutex<Option<Witness>>,
    /// How many processes died, by label.
    deaths: watch::Sender<BTreeMap<Arc<str>, usize>>,
}

struct Core {
    switches: Arc<Switches>,
    state: State,
    log: Log,
    ids: fastrand::Rng,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// A world as it was at some moment, of which any number of worlds can be made that go on from there: what every process
/// that dies at that moment leaves behind.
#[derive(Clone)]
pub struct Snapshot {
    age: Moment,
    switches: Arc<Switches>,
    state: State,
    ids: fastrand::Rng,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("age", &self.age).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// How old the world was.
    pub fn age(&self) -> Moment {
        self.age
    }

    /// A world that goes on from there, with an empty log, and with nobody in it who decides about calls. Seeds `fastrand`
    /// as a new world does.
    pub fn world(&self) -> World {
        let Self { age, switches, state, ids } = self.clone();
        fastrand::seed(switches.seed);
        World(Arc::new(Inner {
            clock: Clock::start(age),
            core: Mutex::new(Core { switches, state, log: Log::default(), ids }),
            interceptor: Mutex::new(None),
            witness: Mutex::new(None),
            deaths: watch::Sender::new(BTreeMap::new()),
        }))
    }
}

impl World {
    /// An empty world, whose time begins now. Also seeds `fastrand` on this thread, from which the SDK draws the
    /// jitter of its retries, so that the same seed gives the same history on a current-thread runtime.
    pub fn new(switches: Switches) -> Self {
        let ids = fastrand::Rng::with_seed(switches.seed);
        Snapshot { age: Duration::ZERO, switches: Arc::new(switches), state: State::default(), ids }.world()
    }

    /// The world as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let age = self.now();
        let core = self.core();
        Snapshot { age, switches: core.switches.clone(), state: core.state.clone(), ids: core.ids.clone() }
    }

    /// A client that serves every account and region; its calls carry no label.
    pub fn http_client(&self) -> SharedHttpClient {
        self.http_client_for("")
    }

    /// A client that stands for one process: its calls carry `label`, and a `Hang` verdict kills it alone.
    pub fn http_client_for(&self, label: &str) -> SharedHttpClient {
        self.http_client_of(label, Caller::default())
    }

    fn http_client_of(&self, label: &str, by: Caller) -> SharedHttpClient {
        SharedHttpClient::new(Process::start(self.clone(), label, by))
    }

    /// What a program running in this world gets instead of the configuration from its environment.
    pub fn sdk_config(&self, account: &str, region: &str) -> SdkConfig {
        self.sdk_config_for(account, region, "")
    }

    /// The same for one process among several; each call of this function is a new process, also with an old label.
    pub fn sdk_config_for(&self, account: &str, region: &str, label: &str) -> SdkConfig {
        self.sdk_config_of(account, region, label, Caller::default())
    }

    /// The same for a process that may do what `by` may do.
    pub fn sdk_config_of(&self, account: &str, region: &str, label: &str, by: Caller) -> SdkConfig {
        assert!(account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()), "an account has 12 digits");
        // The access key is the account, so that one client can serve all.
        let credentials = Credentials::new(account, "secret", None, None, "world");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(AwsRegion::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(self.http_client_of(label, by))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(self.time_source())
            .retry_config(RetryConfig::standard())
            .build()
    }

    /// The wall clock of the model, for signatures and for the program's own idea of the time.
    pub fn time_source(&self) -> SharedTimeSource {
        SharedTimeSource::new(self.0.clock)
    }

    /// How long the world exists.
    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// The wire log.
    pub fn calls(&self) -> Vec<Call> {
        self.core().log.calls().to_vec()
    }

    /// The writes in the wire log that were applied.
    pub fn effects(&self) -> Vec<Call> {
        self.core().log.calls().iter().filter(|call| call.effect).cloned().collect()
    }

    /// Forgets the log; the next call is number 0.
    pub fn clear_calls(&self) {
        self.core().log.clear();
    }

    /// Has `f` decide about every call as it arrives. `f` may use the world.
    pub fn set_interceptor(&self, f: impl Fn(&CallInfo) -> Verdict + Send + Sync + 'static) {
        *self.0.interceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    pub fn clear_interceptor(&self) {
        *self.0.interceptor.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Has `f` look at the world right after each write that was applied, before anybody hears of it.
    pub fn set_witness(&self, f: impl Fn(&Call) + Send + Sync + 'static) {
        *self.0.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    pub fn clear_witness(&self) {
        *self.0.witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks at or changes the state, behind everybody's back.
    pub fn edit<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let now = self.now();
        let mut core = self.core();
        core.state.settle(now);
        f(&mut core.state)
    }

    /// Changes the rules from now on.
    pub fn switch(&self, f: impl FnOnce(&mut Switches)) {
        f(Arc::make_mut(&mut self.core().switches));
    }

    /// Everything in an account, in full, a line each, sorted: equal iff nothing changed.
    pub fn everything(&self, account: &str) -> Vec<String> {
        self.edit(|state| dump::everything(state.account(account)))
    }

    /// Fills an account with strangers' resources.
    pub fn populate(&self, account: &str, region: &str, crowd: Crowd) {
        let now = self.now();
        let place = Place { account: account.to_owned(), region: region.to_owned() };
        let mut core = self.core();
        let core = &mut *core;
        crowd::populate(core.state.account(account), &place, crowd, now, &mut core.ids);
    }

    /// Whoever has a token of the identity provider with these claims, as the role; or nobody, where that is not trusted.
    pub fn assume(&self, account: &str, role: &str, provider: &str, claims: &[(String, &str)]) -> Option<Caller> {
        let claims = claims.iter().map(|(key, value)| (key.to_lowercase(), (*value).to_owned())).collect();
        self.edit(|state| {
            let role =
                state.account(account).role(role).filter(|role| policy::trusts_token(&role.trust, provider, &claims));
            role.is_some()
        })
        .then(|| self.as_role(account, role))
    }

    /// Somebody with the policies of a role, within its boundary.
    ///
    /// # Panics
    /// Without such a role.
    pub fn as_role(&self, account: &str, role: &str) -> Caller {
        let partition = "aws";
        self.edit(|state| {
            let account = state.account(account);
            let role = account.role(role).unwrap_or_else(|| panic!("world: no role {role}")).clone();
            let caller = Caller::with(role.inline.values().map(|policy| policy.document.as_str()), partition);
            match role.boundary.and_then(|arn| account.boundaries.get(&arn)) {
                Some(boundary) => caller.within(boundary, partition),
                None => caller,
            }
        })
    }

    /// Whether a chat through this stage would work: what clients meet is judged by the deployment's snapshot, the
    /// functions, their permissions, their roles and the table. Says all that is wrong.
    pub fn chat_works(&self, account: &str, region: &str, api: &str, stage: &str) -> Result<(), Vec<String>> {
        let now = self.now();
        let place = Place { account: account.to_owned(), region: region.to_owned() };
        self.edit(|state| probe::chat_works(state.account(account), &place, api, stage, now))
    }

    /// What a client of this stage hears whose message is for `route`, which API Gateway answers itself.
    ///
    /// # Errors
    /// What keeps it from hearing anything.
    pub fn mock_answer(
        &self,
        account: &str,
        region: &str,
        api: &str,
        stage: &str,
        route: &str,
    ) -> Result<String, &'static str> {
        self.edit(|state| probe::mock_answer(state.region(account, region), api, stage, route))
    }

    /// Resolves when a process dies from now on.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.killed_where(|_| true)
    }

    /// Resolves when a process with this label dies from now on.
    pub fn killed_of(&self, label: &str) -> impl Future<Output = ()> + Send + 'static {
        let label = label.to_owned();
        self.killed_where(move |name| *name == *label)
    }

    fn killed_where(
        &self,
        counts: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let count = move |deaths: &BTreeMap<Arc<str>, usize>| -> usize {
            deaths.iter().filter(|(label, _)| counts(label)).map(|(_, deaths)| deaths).sum()
        };
        let mut receiver = self.0.deaths.subscribe();
        let before = count(&receiver.borrow());
        let world = self.clone();
        async move {
            // The world holds the sender, so waiting cannot fail while this future holds the world.
            let _ = receiver.wait_for(|deaths| count(deaths) > before).await;
            drop(world);
        }
    }

    pub(crate) fn note_death(&self, label: &Arc<str>) {
        self.0.deaths.send_modify(|deaths| *deaths.entry(label.clone()).or_default() += 1);
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // A handler that panicked at something unknown changed nothing yet.
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the call and asks the interceptor.
    pub(crate) fn arrive(&self, request: &Request, label: &Arc<str>) -> (Entry, Verdict) {
        let now = self.now();
        let (entry, info) = self.core().log.open(request, label, now);
        let interceptor = self.0.interceptor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let verdict = interceptor.map_or(Verdict::Pass, |decide| decide(&info));
        (entry, verdict)
    }

    pub(crate) fn latency(&self) -> Duration {
        self.core().switches.latency
    }

    /// Whether the service takes the call at all: quota, permission, and no other write in its way.
    pub(crate) fn admit(&self, request: &Request, latency: Duration, by: &Caller) -> Result<(), Refusal> {
        let now = self.now();
        let mut core = self.core();
        let switches = core.switches.clone();
        let Place { account, region } = &request.place;
        let account = core.state.account(account);
        if !account.region(region).buckets.admit(&request.operation, &switches, now) {
            return Err(fault::throttled(request.operation.service));
        }
        let window = switches.iam_role_window;
        let role = request.fields.peek("RoleName").and_then(|name| account.roles.get(&name.to_lowercase()));
        access::check(account, role.filter(|role| role.created + window <= now), request, by)?;
        let Some(lane) = lane(request, &switches) else {
            return Ok(());
        };
        let busy = match lane.refusal.code.as_ref() {
            "ConcurrentModification" => &mut account.busy,
            _ => &mut account.region(region).busy,
        };
        if busy.take(lane.key, now, now + latency) { Ok(()) } else { Err(lane.refusal) }
    }

    /// Does what the call asks for.
    pub(crate) fn execute(&self, request: Request, entry: Entry, by: &Caller) -> Answer {
        let now = self.now();
        let mut guard = self.core();
        let core = &mut *guard;
        let Request { operation, place, fields, .. } = request;
        core.state.region(&place.account, &place.region).settle(now);
        let switches = core.switches.clone();
        let mut context = Context {
            account: core.state.account(&place.account),
            place: &place,
            by,
            switches: &switches,
            now,
            ids: &mut core.ids,
        };
        let answer = operation.service.model().handle(&mut context, operation.name, fields);
        let applied = operation.write && answer.is_ok();
        let call = core.log.at(entry).map(|call| {
            call.effect = applied;
            call.clone()
        });
        drop(guard);
        let witness = self.0.witness.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (true, Some(call), Some(witness)) = (applied, call, witness) {
            witness(&call);
        }
        answer
    }

    /// Ends the call's entry in the log; `refusal` is what the caller heard.
    pub(crate) fn close(&self, entry: Entry, status: Option<u16>, refusal: Option<&Refusal>) {
        let now = self.now();
        if let Some(call) = self.core().log.at(entry) {
            call.end = Some(now);
            call.status = status;
            if let Some(refusal) = refusal {
                call.code = Some(refusal.code.to_string());
                call.message = Some(refusal.message.clone());
            }
        }
    }
}

/// What only one write at a time may hold, and what the other hears.
struct Lane {
    key: String,
    refusal: Refusal,
}

fn lane(request: &Request, switches: &Switches) -> Option<Lane> {
    let Operation { service, name, write: true } = request.operation else {
        return None;
    };
    match service {
        // G2
        Service::ApiGateway if switches.api_conflicts => Some(Lane {
            key: format!("api {}", apigateway::api_of(request)?),
            refusal: Refusal::new(
                409,
                "ConflictException",
                "Unable to complete operation due to concurrent modification. Please try again later.",
            ),
        }),
        // L7
        Service::Lambda if switches.policy_conflicts && matches!(name, "AddPermission" | "RemovePermission") => {
            Some(Lane {
                key: format!("policy {}", lambda::bare_name(&request.resource)),
                refusal: Refusal::new(
                    409,
                    "ResourceConflictException",
                    "The function could not be updated due to a concurrent update operation.",
                ),
            })
        }
        // I4, for the operations whose model has the error.
        Service::Iam
            if switches.iam_concurrent_modification
                && matches!(name, "CreateRole" | "DeleteRole" | "TagRole" | "UntagRole") =>
        {
            Some(Lane {
                key: format!("role {}", request.resource.to_lowercase()),
                refusal: Refusal::new(
                    409,
                    "ConcurrentModification",
                    "The request was rejected because multiple requests to change this object were submitted simultaneously. \
                     Wait a few minutes and submit your request again.",
                ),
            })
        }
        _ => None,
    }
}
