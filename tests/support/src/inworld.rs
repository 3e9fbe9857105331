//! The whole program in-process, in the model of AWS: what a process is there, and how it ends.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use chatctl::error::Exit;
use chatctl::host::{Env, Host, Interrupt, Output};
use serde_json::Value;
use world::{Caller, Function, Switches, World};

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";

/// A process that is going to run in the model.
pub struct Process {
    world: World,
    label: String,
    region: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    by: Option<Caller>,
    endpoints: Endpoints,
    pub interrupt: Interrupt,
}

/// Where variables lead the calls of services, by what the SDK calls these; in the model they come to the same place.
#[derive(Clone, Debug, Default)]
struct Endpoints(BTreeMap<String, String>);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        self.0.get(key.service_id()).cloned()
    }
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// None if it was killed.
    pub exit: Option<Exit>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// `line` is split at white space.
    pub fn new(world: &World, line: &str) -> Self {
        Self {
            world: world.clone(),
            label: "process".to_owned(),
            region: REGION.to_owned(),
            args: line.split_whitespace().map(str::to_owned).collect(),
            env: BTreeMap::new(),
            by: None,
            endpoints: Endpoints::default(),
            interrupt: Interrupt::default(),
        }
    }

    /// Tells it apart in the wire log and for whoever kills it.
    pub fn label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.label);
        self
    }

    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn endpoint(mut self, service: &str, url: &str) -> Self {
        self.endpoints.0.insert(service.to_owned(), url.to_owned());
        self
    }

    /// Runs it as somebody else than who has the policy that the program prints for its settings.
    pub fn by(mut self, caller: Caller) -> Self {
        self.by = Some(caller);
        self
    }

    /// Runs it until it ends or the model kills it.
    pub async fn run(self) -> Ended {
        let (stdout, stderr) = (Pipe::default(), Pipe::default());
        let by = match self.by {
            Some(caller) => caller,
            None => deployer(&self.args, &self.env, &self.region).await,
        };
        let sdk = self.world.sdk_config_of(ACCOUNT, &self.region, &self.label, by);
        let host = Host {
            env: Env(self.env),
            cwd: PathBuf::from("/nowhere"),
            stdin_is_terminal: false,
            stdout: Output::new(stdout.clone(), false),
            stderr: Output::new(stderr.clone(), false),
            interrupt: self.interrupt,
            aws: Some(sdk.into_builder().service_config(self.endpoints).build()),
        };
        let killed = self.world.killed_of(&self.label);
        let exit = tokio::select! {
            exit = chatctl::run(&self.args, &host) => Some(exit),
            () = killed => None,
        };
        let stdout = stdout.text();
        crate::schema::assert_described(&stdout);
        Ended { exit, stdout, stderr: stderr.text() }
    }
}

/// Options of one verb, which `policy` does not have, and whether a value follows.
const OF_VERBS: [(&str, bool); 7] = [
    ("--verify", false),
    ("--destroy", false),
    ("--exit-code", false),
    ("--dry-run", false),
    ("--clients", true),
    ("--senders", true),
    ("--messages", true),
];

/// Who may do exactly what `policy` prints for these settings; everybody where it prints nothing, because the
/// settings are wrong.
async fn deployer(args: &[String], env: &BTreeMap<String, String>, region: &str) -> Caller {
    let mut line = ["policy", "--account", ACCOUNT, "--region", region].map(str::to_owned).to_vec();
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        match OF_VERBS.iter().find(|(option, _)| option == arg) {
            Some((_, true)) => drop(rest.next()),
            Some((_, false)) => {}
            None => line.push(arg.clone()),
        }
    }
    policy(&line, env, region).await.unwrap_or_default()
}

/// What the program prints for `line`, as a caller; kept, because it is the same for the same settings.
async fn policy(line: &[String], env: &BTreeMap<String, String>, region: &str) -> Option<Caller> {
    type Known = BTreeMap<String, Option<Caller>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let key = format!("{line:?} {env:?}");
    let known = |known: &Mutex<Known>| known.lock().expect("nobody panics here").get(&key).cloned();
    if let Some(caller) = known(&KNOWN) {
        return caller;
    }
    let stdout = Pipe::default();
    let host = Host {
        env: Env(env.clone()),
        stdout: Output::new(stdout.clone(), false),
        ..crate::silent_host(Path::new("/nowhere"))
    };
    let printed = chatctl::run(line, &host).await == Exit::Done;
    let caller = printed.then(|| Caller::with([stdout.text().as_str()], world::partition(region)));
    KNOWN.lock().expect("nobody panics here").insert(key, caller.clone());
    caller
}

/// AWS with all its behaviours, but short waits and long pages: for tests that go through every call of a run, where
/// the tenth poll of the same thing is no case of its own.
pub fn brisk() -> Switches {
    let second = Duration::from_secs(1);
    Switches {
        page_size: 25,
        iam_propagation: second,
        function_pending: second,
        function_updating: second,
        table_creating: second,
        table_deleting: second,
        table_updating: second,
        queue_lag: second,
        mapping_settling: second,
        mapping_sees_policy: second,
        ..Switches::default()
    }
}

/// Puts a function there that is the user's, and that lets nobody call it.
pub fn put_function(world: &World, region: &str, name: &str) {
    let arn = format!("arn:aws:lambda:{region}:{ACCOUNT}:function:{name}");
    let function = Function { name: name.to_owned(), arn, ..Function::default() };
    world.edit(|state| state.region(ACCOUNT, region).functions.insert(name.to_owned(), function));
}

/// Runs `line` in `world` to its end.
pub async fn run(world: &World, line: &str) -> Ended {
    Process::new(world, line).run().await
}

impl Ended {
    /// Fails the test, showing all, unless it ended with `exit`.
    #[track_caller]
    pub fn expect(self, exit: Exit) -> Self {
        assert_eq!(self.exit, Some(exit), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Its stdout, which must be one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics while writing")).into_owned()
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a deployment named `name` must be in the model: one of everything, a chat that works, nothing else of ours.
#[track_caller]
pub fn assert_whole(world: &World, name: &str) {
    let problems = problems(world, name);
    assert!(problems.is_empty(), "{problems:#?}\n{:#?}", world.everything(ACCOUNT));
}

/// All that is wrong with the deployment named `name`.
pub fn problems(world: &World, name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let ids = world.edit(|state| {
        let account = state.account(ACCOUNT);
        let mut count = |what: &str, found: usize, wanted: usize| {
            if found != wanted {
                problems.push(format!("{found} {what}, not {wanted}"));
            }
        };
        let is_ours = |tags: &world::Tags| tags.get("chatctl:name").is_some_and(|owner| owner == name);
        let is_worker = |function: &world::Function| function.name == format!("{name}-broadcast");
        let with_queue = usize::from(account.region(REGION).functions.values().any(is_worker));
        // The one that checks tokens, which a route's guard alone would call.
        let is_authorizer = |function: &world::Function| function.name == format!("{name}-authorizer");
        let with_authorizer = usize::from(account.region(REGION).functions.values().any(is_authorizer));
        let functions = 3 + with_queue + with_authorizer;
        count("roles", account.roles.values().filter(|role| is_ours(&role.tags)).count(), functions);
        for role in account.roles.values().filter(|role| is_ours(&role.tags)) {
            count("policies of a role", role.inline.len() + role.attached.len(), 1);
        }
        let region = account.region(REGION);
        count("functions", region.functions.values().filter(|function| is_ours(&function.tags)).count(), functions);
        count("queues", region.queues.values().filter(|queue| is_ours(&queue.tags)).count(), 2 * with_queue);
        count("mappings", region.mappings.values().filter(|mapping| is_ours(&mapping.tags)).count(), with_queue);
        for function in region.functions.values().filter(|function| is_ours(&function.tags) && !is_worker(function)) {
            count("permissions of a function", function.policy.len(), 1);
        }
        let tells = |group: &&world::LogGroup| is_ours(&group.tags) && group.tags.contains_key("chatctl:alarm");
        let told = region.log_groups.values().filter(tells).count();
        count("alarms", region.alarms.values().filter(|alarm| is_ours(&alarm.tags)).count(), told);
        // A run that died between a creation and the call that completes it leaves just this behind.
        let for_ever = |group: &&world::LogGroup| is_ours(&group.tags) && group.retention_days.is_none();
        count("log groups that keep for ever", region.log_groups.values().filter(for_ever).count(), 0);
        let expires = |table: &world::Table| table.ttl.enabled && table.ttl.attribute.as_deref() == Some("expiresAt");
        let keeps = |table: &&world::Table| is_ours(&table.tags) && !expires(table);
        count("tables whose rows stay", region.tables.values().filter(keeps).count(), 0);
        count("tables", region.tables.values().filter(|table| is_ours(&table.tags)).count(), 1);
        count("log groups", region.log_groups.values().filter(|group| is_ours(&group.tags)).count(), functions);
        let apis: Vec<&world::Api> = region.apis.values().filter(|api| is_ours(&api.tags)).collect();
        count("APIs", apis.len(), 1);
        for api in &apis {
            count("routes", api.routes.len(), 3);
            count("integrations", api.integrations.len(), 3);
            let held = api.routes.values().filter(|route| route.other.contains_key("requestModels"));
            count("models", api.models.len(), held.count());
            count("deployments", api.deployments.len(), 1);
            count("stages", api.stages.len(), 1);
        }
        apis.iter().map(|api| api.id.clone()).collect::<Vec<_>>()
    });
    for id in ids {
        if let Err(faults) = world.chat_works(ACCOUNT, REGION, &id, "prod") {
            problems.extend(faults);
        }
    }
    problems
}

/// Fails unless nothing with our tags is left in the account.
#[track_caller]
pub fn assert_nothing_left(world: &World) {
    let left: Vec<String> =
        world.everything(ACCOUNT).into_iter().filter(|line| line.contains("chatctl:managed")).collect();
    assert!(left.is_empty(), "{left:#?}");
}
