//! `logs` against a stand-in for CloudWatch Logs that pages, denies, and has groups missing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::chat_server::{ChatServer, Faults};
use super::stage::Stage;
use chatctl::commands::logs::{LogFormat, LogsOptions, tail};
use chatctl::error::Exit;
use serde_json::Value;

fn options() -> LogsOptions {
    let since = Duration::from_secs(600);
    LogsOptions { follow: false, since, function: None, all: false, format: LogFormat::Text, color: false }
}

fn functions() -> Vec<String> {
    ["chat-onConnect", "chat-onDisconnect", "chat-sendMessage"].map(str::to_owned).to_vec()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The messages at the ends of the lines.
fn messages(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.rsplit("  ").next().unwrap()).collect()
}

/// Five events in three functions, interleaved, one of them too old.
async fn server() -> ChatServer {
    let (server, now) = (ChatServer::start().await, now());
    server.log("chat-onConnect", "0", now - 3_600_000, "too old");
    for (nth, function) in
        [(1, "onConnect"), (2, "sendMessage"), (3, "onConnect"), (4, "onDisconnect"), (5, "onConnect")]
    {
        let at = now - 10_000 + nth;
        server.log(&format!("chat-{function}"), &nth.to_string(), at, &format!("event {nth}\n"));
    }
    server
}

#[tokio::test]
async fn logs_are_merged_by_time() {
    let (server, stage) = (server().await, Stage::new());
    assert_eq!(tail(&stage.host, &server.aws(), &functions(), &options(), || ()).await.unwrap(), Exit::Done);
    let text = stage.stdout.text();
    assert_eq!(messages(&text), ["event 1", "event 2", "event 3", "event 4", "event 5"]);
    assert!(text.lines().nth(1).unwrap().contains("  sendMessage   event 2"), "{text}");
    assert_eq!(stage.stderr.text(), "");
}

#[tokio::test]
async fn one_function_can_be_chosen() {
    let (server, stage) = (server().await, Stage::new());
    let options = LogsOptions { function: Some("onConnect".into()), ..options() };
    tail(&stage.host, &server.aws(), &functions(), &options, || ()).await.unwrap();
    assert_eq!(messages(&stage.stdout.text()), ["event 1", "event 3", "event 5"]);
}

#[tokio::test]
async fn lines_for_machines_are_json() {
    let (server, stage) = (server().await, Stage::new());
    let options = LogsOptions { format: LogFormat::JsonLines, ..options() };
    tail(&stage.host, &server.aws(), &functions(), &options, || ()).await.unwrap();
    let lines: Vec<Value> = stage.stdout.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    for line in &lines {
        support::schema::assert_fits("logs", line);
    }
    assert_eq!((&lines[3]["function"], &lines[3]["message"]), (&"chat-onDisconnect".into(), &"event 4".into()));
    assert!(lines[3]["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_missing_group_is_a_note() {
    let (server, stage) = (ChatServer::start().await, Stage::new());
    server.log("chat-onConnect", "1", now(), "hello");
    assert_eq!(tail(&stage.host, &server.aws(), &functions(), &options(), || ()).await.unwrap(), Exit::Done);
    assert_eq!(messages(&stage.stdout.text()), ["hello"]);
    let notes = stage.stderr.text();
    assert_eq!(notes.lines().count(), 2, "{notes}");
    assert!(notes.contains("log group `/aws/lambda/chat-sendMessage` does not exist"), "{notes}");
}

#[tokio::test]
async fn a_group_that_nobody_may_read_is_an_error() {
    let server = ChatServer::start_with(Faults { access_denied: true, ..Faults::default() }).await;
    let error = tail(&Stage::new().host, &server.aws(), &functions(), &options(), || ()).await.unwrap_err();
    assert_eq!((error.exit, error.code.as_str()), (Exit::Failed, "AccessDeniedException"));
    assert!(error.message.contains("cannot read log group `/aws/lambda/chat-"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn following_shows_each_event_once_also_late_ones() {
    let (server, stage) = (ChatServer::start().await, Stage::new());
    let begun = now();
    server.log("chat-onConnect", "1", begun, "first");
    let (host, aws) = (stage.host.clone(), server.aws());
    let options = LogsOptions { follow: true, ..options() };
    let following = tokio::spawn(async move { tail(&host, &aws, &functions(), &options, || ()).await });
    stage.stdout.until(|text| text.contains("first")).await;
    server.log("chat-sendMessage", "2", begun + 5, "second");
    stage.stdout.until(|text| text.contains("second")).await;
    // Delivered after what happened later, in a group that was not there before.
    server.log("chat-onDisconnect", "3", begun + 2, "late");
    let text = stage.stdout.until(|text| text.contains("late")).await;
    assert_eq!(messages(&text), ["first", "second", "late"]);
    stage.host.interrupt.raise();
    assert_eq!(following.await.unwrap().unwrap(), Exit::Interrupted);
    assert_eq!(stage.stderr.text().lines().count(), 2, "a missing group is noted once");
}

/// What Lambda writes about every call drowns what the functions say.
#[tokio::test]
async fn what_lambda_writes_about_every_call_is_shown_on_request() {
    let server = ChatServer::start().await;
    let told = ["INIT_START x", "START RequestId: 1", "hello", "END RequestId: 1", "REPORT RequestId: 1 Duration"];
    for (nth, text) in told.iter().enumerate() {
        server.log("chat-onConnect", &nth.to_string(), now() - 10 + i64::try_from(nth).unwrap(), text);
    }
    for (all, wanted) in [(false, &told[2..3]), (true, &told[..])] {
        let stage = Stage::new();
        tail(&stage.host, &server.aws(), &functions(), &LogsOptions { all, ..options() }, || ()).await.unwrap();
        assert_eq!(messages(&stage.stdout.text()), wanted);
    }
}

#[tokio::test]
async fn where_nothing_is_deployed_there_are_no_logs_and_that_is_an_error() {
    let (server, stage) = (ChatServer::start().await, Stage::new());
    let error = tail(&stage.host, &server.aws(), &functions(), &options(), || ()).await.unwrap_err();
    assert_eq!((error.exit, error.code.as_str()), (Exit::Failed, "NotDeployed"));
    assert!(error.hint.unwrap().contains("`chatctl list` shows those that exist"));
}
