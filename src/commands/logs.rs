//! `logs`: the functions' logs, merged by time, and followed on request.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::sync::watch;

use super::Session;
use crate::aws::endpoints::Endpoints;
use crate::aws::log_events::{self, LogEvent};
use crate::cli;
use crate::config::duration;
use crate::error::{Code, Error, Exit, Result};
use crate::host::{Host, visible};

/// CloudWatch allows about five reads a second in an account: so many groups are read at once, and of more the next when
/// this has passed, which leaves room for others.
const AT_ONCE: usize = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// Until they are read again.
const POLL: Duration = Duration::from_secs(2);
/// Events come late and out of order: each poll looks back this far, and known ids are not shown again.
const LATE: Duration = Duration::from_secs(60);

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

pub struct LogsOptions {
    /// Go on until interrupted.
    pub follow: bool,
    /// How far to look back.
    pub since: Duration,
    /// Only this function, in full or without the deployment's name before it.
    pub function: Option<String>,
    /// Also what Lambda writes about every call.
    pub all: bool,
    pub format: LogFormat,
    /// A colour for each function; only the text format has colours.
    pub color: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One object a line.
    JsonLines,
}

/// # Errors
/// When a log group cannot be read.
pub async fn logs(session: &Session, flags: &cli::Logs) -> Result<Exit> {
    let functions = session.config().app.functions().iter();
    let functions: Vec<String> = functions.map(|function| session.config().function_name(&function.name)).collect();
    let options = LogsOptions {
        follow: flags.follow,
        since: duration("since", &flags.since)?,
        function: flags.function.clone(),
        all: flags.all,
        format: if session.config().face.json { LogFormat::JsonLines } else { LogFormat::Text },
        color: session.colored(),
    };
    tail(&session.host, &session.sdk, &functions, &options, || session.deadline.lift()).await
}

/// Shows the logs of `functions` on stdout; `following` is called once it only waits for more.
///
/// # Errors
/// When `options.function` is none of them, or a log group cannot be read.
pub async fn tail(
    host: &Host,
    aws: &SdkConfig,
    functions: &[String],
    options: &LogsOptions,
    following: impl Fn(),
) -> Result<Exit> {
    let chosen = choose(functions, options.function.as_deref())?;
    tokio::select! {
        done = show(host, aws, &chosen, options, following) => done.map(|()| Exit::Done),
        () = host.stdout.gone() => Ok(Exit::Done),
        () = host.interrupt.raised(1) => Ok(Exit::Interrupted),
    }
}

fn choose<'a>(functions: &'a [String], wish: Option<&str>) -> Result<Vec<&'a str>> {
    let Some(wish) = wish else { return Ok(functions.iter().map(String::as_str).collect()) };
    match functions.iter().find(|function| *function == wish || short(function) == wish) {
        Some(function) => Ok(vec![function]),
        None => Err(Error::usage(format!("there is no function `{wish}` in this deployment"))
            .hint(format!("it has `{}`", functions.iter().map(|f| short(f)).collect::<Vec<_>>().join("`, `")))),
    }
}

/// `sendMessage` of `chat-sendMessage`.
fn short(function: &str) -> &str {
    function.rsplit_once('-').map_or(function, |(_, short)| short)
}

async fn show(
    host: &Host,
    aws: &SdkConfig,
    functions: &[&str],
    options: &LogsOptions,
    following: impl Fn(),
) -> Result<()> {
    let mut reading = Reading::from(now(aws) - milliseconds(options.since));
    let printer = Printer::new(functions, options);
    loop {
        let New { events, missing } = reading.next(aws, functions).await?;
        // That there is nothing at all is said once.
        if !options.follow && missing.len() == functions.len() {
            return Err(not_deployed());
        }
        for function in missing {
            host.stderr.line(&format!("log group `/aws/lambda/{function}` does not exist: no lines"));
        }
        for event in events.iter().filter(|event| options.all || !log_events::is_routine(&event.message)) {
            host.stdout.line(&printer.line(event));
        }
        if !options.follow {
            return Ok(());
        }
        following();
        tokio::time::sleep(POLL).await;
    }
}

/// Shows on stderr what functions log from now on, those which `followed` has at the time; never ends.
pub async fn follow(host: &Host, color: bool, mut followed: watch::Receiver<Followed>) -> Infallible {
    /// A local AWS has no quota of reads.
    const POLL: Duration = Duration::from_millis(500);
    let options =
        LogsOptions { follow: true, since: Duration::ZERO, function: None, all: false, format: LogFormat::Text, color };
    let mut reading = Reading::from(now(&followed.borrow().aws));
    loop {
        let Followed { aws, functions } = followed.borrow_and_update().clone();
        let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
        match reading.next(&aws, &functions).await {
            Ok(new) => {
                let printer = Printer::new(&functions, &options);
                for event in new.events.iter().filter(|event| !log_events::is_routine(&event.message)) {
                    host.stderr.line(&printer.line(event));
                }
            }
            Err(error) => {
                host.stderr.line(&format!("the logs are not shown until the next update: {error}"));
                // Where nobody is left to send, nobody waits for this either.
                let _ = followed.changed().await;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whose logs are shown while they change.
#[derive(Clone)]
pub struct Followed {
    pub aws: SdkConfig,
    pub functions: Vec<String>,
}

/// How far logs have been read: what comes next is only what has not been seen.
struct Reading {
    /// Milliseconds since 1970.
    from: i64,
    shown: BTreeMap<String, i64>,
    missing: BTreeSet<String>,
}

/// What a look at the logs brings.
struct New {
    /// Oldest first.
    events: Vec<LogEvent>,
    /// The functions without a log, the first time that this is seen.
    missing: Vec<String>,
}

impl Reading {
    fn from(from: i64) -> Self {
        Self { from, shown: BTreeMap::new(), missing: BTreeSet::new() }
    }

    async fn next(&mut self, aws: &SdkConfig, functions: &[&str]) -> Result<New> {
        let logs = read(aws, functions, self.from).await?;
        let mut new = New { events: Vec::new(), missing: Vec::new() };
        for (function, log) in functions.iter().zip(logs) {
            match log {
                Some(log) => new.events.extend(log.into_iter().filter(|event| !self.shown.contains_key(&event.id))),
                None if self.missing.insert((*function).to_owned()) => new.missing.push((*function).to_owned()),
                None => {}
            }
        }
        new.events.sort_by_key(|event| event.at);
        self.shown.extend(new.events.iter().map(|event| (event.id.clone(), event.at)));
        self.from = self.from.max(self.shown.values().max().copied().unwrap_or(self.from) - milliseconds(LATE));
        let from = self.from;
        self.shown.retain(|_, at| *at >= from);
        Ok(new)
    }
}

/// The events of each function, of any number of functions at the pace that CloudWatch allows. A local AWS has no quota.
async fn read(aws: &SdkConfig, functions: &[&str], from: i64) -> Result<Vec<Option<Vec<LogEvent>>>> {
    let at_once = if Endpoints::of(aws)?.emulator.is_some() { usize::MAX } else { AT_ONCE };
    let mut logs = Vec::new();
    for some in functions.chunks(at_once) {
        if !logs.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        logs.extend(try_join_all(some.iter().map(|function| log_events::since(aws, function, from))).await?);
    }
    Ok(logs)
}

fn not_deployed() -> Error {
    Error::failed(Code::NotDeployed, "there is no log of such a deployment here")
        .hint("`chatctl up` creates it; `chatctl list` shows those that exist")
}

/// Milliseconds since 1970, by the clock that also signs the requests.
fn now(aws: &SdkConfig) -> i64 {
    let now = aws.time_source().map_or_else(SystemTime::now, |source| source.now());
    milliseconds(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Turns events into lines.
struct Printer<'a> {
    functions: &'a [&'a str],
    format: LogFormat,
    color: bool,
    width: usize,
}

impl<'a> Printer<'a> {
    /// Cyan, yellow and magenta can be read on dark and light backgrounds and told apart by most eyes.
    const COLORS: [&'static str; 3] = ["\x1b[36m", "\x1b[33m", "\x1b[35m"];

    fn new(functions: &'a [&'a str], options: &LogsOptions) -> Self {
        let width = functions.iter().map(|function| short(function).len()).max().unwrap_or_default();
        Self { functions, format: options.format, color: options.color, width }
    }

    fn line(&self, event: &LogEvent) -> String {
        match self.format {
            LogFormat::Text => self.text(event),
            LogFormat::JsonLines => {
                let (time, function, message) = (written(event.at, DATE_TIME), &event.function, &event.message);
                crate::host::json(
                    &json!({ "timestamp": time, "function": function, "message": message, "id": event.id }).to_string(),
                )
            }
        }
    }

    /// What users send ends up in logs, so a log line must not steer the terminal; the lines of a stack trace stay lines.
    fn text(&self, event: &LogEvent) -> String {
        let name = format!("{:width$}", short(&event.function), width = self.width);
        let time = written(event.at, TIME);
        let indent = format!("\n{:width$}", "", width = time.len() + self.width + 4);
        let tame = |line: &str| line.trim_end_matches('\r').split('\t').map(visible).collect::<Vec<_>>().join("\t");
        let message = event.message.split('\n').map(tame).collect::<Vec<_>>().join(&indent);
        if !self.color {
            return format!("{time}  {name}  {message}");
        }
        let nth = self.functions.iter().position(|function| *function == event.function).unwrap_or_default();
        format!("\x1b[2m{time}\x1b[0m  {}{name}\x1b[0m  {message}", Self::COLORS[nth % Self::COLORS.len()])
    }
}

/// The time in UTC, as CloudWatch shows it.
fn written(at: i64, format: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(color: bool, format: LogFormat) -> LogsOptions {
        LogsOptions { follow: false, since: Duration::from_secs(600), function: None, all: false, format, color }
    }

    fn event(message: &str) -> LogEvent {
        LogEvent { id: "1".into(), function: "chat-sendMessage".into(), at: 1_700_000_000_123, message: message.into() }
    }

    #[test]
    fn lines_are_aligned_coloured_and_tame() {
        let functions = ["chat-onConnect", "chat-onDisconnect", "chat-sendMessage"];
        let plain = Printer::new(&functions, &options(false, LogFormat::Text));
        assert_eq!(plain.line(&event("hi\tthere")), "2023-11-14 22:13:20.123Z  sendMessage   hi\tthere");
        assert_eq!(
            plain.line(&event("Error\n at \u{1b}[2J")),
            "2023-11-14 22:13:20.123Z  sendMessage   Error\n                                         at \\u{1b}[2J"
        );
        let colored = Printer::new(&functions, &options(true, LogFormat::Text));
        assert_eq!(
            colored.line(&event("hi")),
            "\x1b[2m2023-11-14 22:13:20.123Z\x1b[0m  \x1b[35msendMessage \x1b[0m  hi"
        );
        let json = Printer::new(&functions, &options(true, LogFormat::JsonLines));
        assert_eq!(
            json.line(&event("hi")),
            r#"{"function":"chat-sendMessage","id":"1","message":"hi","timestamp":"2023-11-14T22:13:20.123Z"}"#
        );
    }

    #[test]
    fn nothing_in_a_log_steers_who_reads_it() {
        let functions = ["chat-sendMessage"];
        for (text, format) in
            support::HOSTILE.into_iter().flat_map(|text| [(text, LogFormat::Text), (text, LogFormat::JsonLines)])
        {
            let line = Printer::new(&functions, &options(false, format)).line(&event(text));
            // As it leaves: tabs stay.
            let shown = crate::host::lines(&line).replace('\t', " ");
            assert!(support::is_harmless(&shown), "{shown:?}");
            assert!(format == LogFormat::Text || shown == line, "a document is as it is: {shown:?}");
        }
    }

    #[test]
    fn a_function_is_chosen_by_either_name() {
        let functions = ["pr-7-onConnect".to_owned(), "pr-7-sendMessage".to_owned()];
        assert_eq!(choose(&functions, None).unwrap().len(), 2);
        assert_eq!(choose(&functions, Some("sendMessage")).unwrap(), ["pr-7-sendMessage"]);
        assert_eq!(choose(&functions, Some("pr-7-onConnect")).unwrap(), ["pr-7-onConnect"]);
        let error = choose(&functions, Some("other")).unwrap_err();
        assert_eq!((error.exit, error.hint.as_deref()), (Exit::Usage, Some("it has `onConnect`, `sendMessage`")));
    }
}
