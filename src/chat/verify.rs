//! Verification: real clients through the deployed URL, and proof that everybody hears everybody exactly once.
//!
//! A round is: all clients connect; the first asks for an action that does not exist and sends a message without data;
//! senders send, each its next message once it has heard the last; all hear all; all leave, and leave the table.
//! A round that breaks is tried again, because permissions take a while to spread after `up` (H13).

mod client;
mod exchange;
mod junit;
mod report;
mod round;
mod terms;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::aws::log_events;
use crate::error::{Code, Error, Exit, Result};
use crate::host::{Host, visible};
use crate::progress::{Ended, Reporter};
use crate::websocket::Endpoint;

pub use exchange::Exchange;
pub use junit::Junit;
pub use report::{Answered, Bucket, Spread, TableCheck, UnknownAction, VerifyReport};

use terms::{At, Broken, Scale};

const TASK: &str = "chat round trip";
/// What the process needs open besides the clients' sockets.
const OTHER_FILES: u64 = 64;
/// How much of the failing function's log goes into the error.
const LOG_LINES: usize = 12;
/// What Lambda logs of code that it cannot even load: no other try will end better.
const UNLOADABLE: [&str; 4] =
    ["Runtime.ImportModuleError", "Runtime.UserCodeSyntaxError", "Runtime.HandlerNotFound", "SyntaxError: "];

#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// At least 1.
    pub clients: usize,
    /// How many of the clients send; `None`: each does.
    pub senders: Option<usize>,
    /// How many messages each sender sends; at least 1.
    pub messages: usize,
    /// For how long a broken round is tried again; thousands of clients get more, for the time that they take.
    pub patience: Duration,
    /// A chat whose 99th percentile of latency is above this fails.
    pub max_p99_ms: Option<u32>,
    /// What is tried on a route of one's own once the chat works.
    pub exchange: Option<Exchange>,
    /// Where the steps are told as well, whether they pass or fail.
    pub junit: Option<Junit>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            clients: 2,
            senders: None,
            messages: 1,
            patience: Duration::from_secs(60),
            max_p99_ms: None,
            exchange: None,
            junit: None,
        }
    }
}

/// What stands behind the URL, as far as it can be looked at.
#[derive(Clone)]
pub struct Backstage {
    pub aws: SdkConfig,
    pub table: String,
    pub on_connect: String,
    pub on_disconnect: String,
    pub send_message: String,
    /// The function of ours that checks tokens, where one does.
    pub authorizer: Option<String>,
}

/// Proves that the chat at `endpoint` works. Without a `backstage` the table and the logs are left out.
///
/// # Errors
/// `ChatFailed` (exit 5) when the last round broke, with what broke where, `TooSlow` (5) when it took longer than it may;
/// 2 or 1 when it could not begin, 1 when its report could not be written.
pub async fn verify(
    host: &Host,
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    options: &VerifyOptions,
    backstage: Option<&Backstage>,
) -> Result<VerifyReport> {
    let verified = attempt(host, reporter, endpoint, options, backstage).await;
    if let Some(junit) = &options.junit {
        let failed = verified.as_ref().err().map(|failure| (failure.at, &failure.error));
        let asked = [(At::Route, options.exchange.is_some()), (At::Latency, options.max_p99_ms.is_some())];
        let left_out: Vec<At> = asked.into_iter().filter_map(|(step, is_asked)| (!is_asked).then_some(step)).collect();
        match junit.end(failed, &left_out) {
            // What is wrong with the chat matters more.
            Err(unwritten) if verified.is_err() => reporter.note(&unwritten.message),
            ended => ended?,
        }
    }
    verified.map_err(|failure| failure.error)
}

/// Why a verification failed, and at which of its steps if it had come that far.
struct Failure {
    at: Option<At>,
    error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { at: None, error }
    }
}

async fn attempt(
    host: &Host,
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    options: &VerifyOptions,
    backstage: Option<&Backstage>,
) -> Result<VerifyReport, Failure> {
    let scale = Scale::of(options)?;
    allow_open_files(scale.clients as u64)?;
    reporter.begin(TASK, "verifying");
    let verified = tokio::select! {
        verified = all(reporter, endpoint, scale, options, backstage) => verified,
        () = host.interrupt.raised(1) => {
            Err(Error::new(Exit::Interrupted, Code::Interrupted, "interrupted before the chat was verified").into())
        }
    };
    let verified = verified.and_then(|report| quick_enough(report, options.max_p99_ms));
    reporter.end(
        TASK,
        match &verified {
            Ok(_) => Ended::Done("verified"),
            Err(Failure { error, .. }) => Ended::Failed(error.message.lines().next().unwrap_or_default().to_owned()),
        },
    );
    verified
}

/// The chat, and what is tried on a route of one's own.
async fn all(
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    scale: Scale,
    options: &VerifyOptions,
    backstage: Option<&Backstage>,
) -> Result<VerifyReport, Failure> {
    // Whatever was logged before was perhaps said by other code.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Since { here: i64::try_from(since.as_millis()).unwrap_or_default(), ahead: OnceCell::new() };
    let mut report = rounds(reporter, endpoint, scale, options.patience, backstage, &since).await?;
    let Some(exchange) = &options.exchange else { return Ok(report) };
    let begun = Instant::now();
    match exchange.with(endpoint, options.patience).await {
        Ok(took) => {
            let answer_ms = took.as_secs_f64() * 1_000.0;
            report.route = Some(Answered { route: exchange.route.clone(), answer_ms });
            Ok(report)
        }
        Err(broken) => {
            let log = match (backstage, &exchange.function) {
                (Some(backstage), Some(function)) => Some(Log::read(&backstage.aws, function, &since).await),
                _ => None,
            };
            Err(Failure { at: Some(broken.at), error: failure(broken, 1, begun.elapsed(), log) })
        }
    }
}

async fn rounds(
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    scale: Scale,
    patience: Duration,
    backstage: Option<&Backstage>,
    since: &Since,
) -> Result<VerifyReport, Failure> {
    let begun = Instant::now();
    let deadline = begun + patience + scale.allowance();
    let mut rounds = 0;
    let mut broke = None;
    loop {
        rounds += 1;
        let broken = match round::round(reporter, endpoint, scale, backstage, deadline).await {
            Ok(report) => {
                return Ok(VerifyReport { rounds, elapsed_ms: report::milliseconds(begun.elapsed()), ..report });
            }
            // What broke by itself says more than that the time was up.
            Err(broken) if broken.cut_short => broke.take().unwrap_or(broken),
            Err(broken) => broken,
        };
        let pause = Duration::from_secs(rounds.min(4).into()).mul_f64(0.75 + fastrand::f64() / 2.0);
        let last = rounds >= broken.rounds || Instant::now() + pause >= deadline;
        if last || backstage.is_some() {
            let denial = denial(&broken, backstage, since).await;
            let log = if denial.is_some() { None } else { log_of(&broken, backstage, since).await };
            if last || denial.is_some() || log.as_ref().is_some_and(Log::is_of_unloadable_code) {
                let at = Some(broken.at);
                return Err(Failure { at, error: failure(denial.unwrap_or(broken), rounds, begun.elapsed(), log) });
            }
        }
        reporter.waiting(TASK, &format!("another try: {}", broken.what));
        tokio::time::sleep(pause).await;
        broke = Some(broken);
    }
}

fn quick_enough(report: VerifyReport, max_p99_ms: Option<u32>) -> Result<VerifyReport, Failure> {
    let p99 = report.latency_ms.p99;
    match max_p99_ms {
        Some(most) if p99 > f64::from(most) => {
            let deliveries = report.deliveries;
            let message = format!(
                "the p99 latency of {deliveries} deliveries is {p99:.1} ms, above the {most} ms of `--max-p99`"
            );
            let error = Error::new(Exit::ChatFailed, Code::TooSlow, message)
                .hint("`chatctl verify` without `--max-p99` shows how the latencies are spread");
            Err(Failure { at: Some(At::Latency), error })
        }
        _ => Ok(report),
    }
}

/// The error for a broken round, with the last lines of the function that it points to.
fn failure(broken: Broken, rounds: u32, took: Duration, log: Option<Log>) -> Error {
    let tries = if rounds == 1 { String::new() } else { format!(" ({rounds} tries in {} s)", took.as_secs()) };
    let mut message = format!("the chat round trip failed at {}: {}{tries}", broken.at, broken.what);
    let unloadable = log.as_ref().is_some_and(Log::is_of_unloadable_code);
    message.extend(log.map(|log| log.last_lines()));
    let hint = if unloadable {
        Some("the code of the function cannot be loaded; correct it, then `chatctl up`".to_owned())
    } else {
        broken.hint
    };
    Error { hint, ..Error::new(Exit::ChatFailed, Code::ChatFailed, message) }
}

/// `broken` with the reason of the authorizer that says no to the token: no other try will end better.
async fn denial(broken: &Broken, backstage: Option<&Backstage>, since: &Since) -> Option<Broken> {
    let backstage = backstage.filter(|_| broken.said_no)?;
    let log = Log::read(&backstage.aws, backstage.authorizer.as_ref()?, since).await;
    let reason = log.told.ok()?.iter().rev().find_map(|message| refusal_in(message))?;
    Some(Broken {
        what: format!("{}, because of its token: {}", broken.what, visible(&reason)),
        hint: Some(
            "`--token @FILE` takes another one; `chatctl logs --function authorizer` shows what was refused".to_owned(),
        ),
        ..broken.clone()
    })
}

/// Why our authorizer refused a token, if `message` says that it did.
fn refusal_in(message: &str) -> Option<String> {
    // Before it stands what Lambda writes in front of a line: when, which call, how severe.
    let said: Value = serde_json::from_str(message.get(message.find('{')?..)?).ok()?;
    (said["error"] == "a token was refused").then(|| said["reason"].as_str().map(str::to_owned))?
}

/// What a function has logged since the verification began, but for the lines that Lambda itself writes about every call.
struct Log {
    function: String,
    told: Result<Vec<String>>,
}

/// When the verification began.
struct Since {
    /// By this machine's clock, in milliseconds since 1970.
    here: i64,
    /// By how much that is ahead of the clock by which events are told; asked for once, where a log is read.
    ahead: OnceCell<i64>,
}

impl Since {
    async fn by_events(&self, aws: &SdkConfig, function: &str) -> i64 {
        let ahead = || async { log_events::clock_ahead(aws, function).await.ok_or(()) };
        self.here - self.ahead.get_or_try_init(ahead).await.unwrap_or(&0)
    }
}

/// The log of the function that a broken round points to, if it points to one.
async fn log_of(broken: &Broken, backstage: Option<&Backstage>, since: &Since) -> Option<Log> {
    let backstage = backstage?;
    let function = match broken.at {
        At::Connect => &backstage.on_connect,
        At::SendMessage => &backstage.send_message,
        At::Disconnect => &backstage.on_disconnect,
        At::Network | At::Route | At::Latency => return None,
    };
    Some(Log::read(&backstage.aws, function, since).await)
}

impl Log {
    async fn read(aws: &SdkConfig, function: &str, since: &Since) -> Self {
        let since = since.by_events(aws, function).await;
        let told = log_events::since(aws, function, since).await.map(|events| {
            let messages = events.unwrap_or_default().into_iter().map(|event| event.message);
            messages.filter(|message| !log_events::is_routine(message)).collect()
        });
        Self { function: function.to_owned(), told }
    }

    fn is_of_unloadable_code(&self) -> bool {
        let says_so = |message: &String| UNLOADABLE.iter().any(|sign| message.contains(sign));
        self.told.as_ref().is_ok_and(|told| told.iter().any(says_so))
    }

    fn last_lines(&self) -> String {
        let function = &self.function;
        let told = match &self.told {
            Ok(told) => told,
            Err(error) => return format!("\n  the log of `{function}` could not be read: {}", error.message),
        };
        let mut lines = format!("\n  the log of `{function}`{}", if told.is_empty() { " says nothing" } else { ":" });
        for message in &told[told.len().saturating_sub(LOG_LINES)..] {
            for line in message.lines() {
                // Writing to a string cannot fail.
                let _ = write!(lines, "\n    {}", visible(line));
            }
        }
        lines
    }
}

/// Lets this process open a socket for each of `clients`.
fn allow_open_files(clients: u64) -> Result<()> {
    let need = clients + OTHER_FILES;
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if now >= need || (most >= need && setrlimit(Resource::RLIMIT_NOFILE, need, most).is_ok()) {
        return Ok(());
    }
    Err(Error::failed(
        Code::OpenFiles,
        format!("{clients} clients need {need} open files, this process may have {most}"),
    )
    .hint(format!("`ulimit -Hn {need}` as root, or fewer `--clients`")))
}
