//! `verify` against a chat server that fails as it is told.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::chat_server::{ChatServer, ErrorGoesTo, Faults, Refusal};
use super::stage::Stage;
use chatctl::chat::verify::{
    Backstage, Exchange, Junit, TableCheck, UnknownAction, VerifyOptions, VerifyReport, verify,
};
use chatctl::error::{Error, Exit, Result};
use chatctl::progress::{Ended, Reporter};
use chatctl::websocket::{Auth, Endpoint};
use serde_json::json;
use support::Folder;

/// Keeps what it is told, a line each.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Ear {
    fn hear(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Reporter for Ear {
    fn begin(&self, task: &str, doing: &'static str) {
        self.hear(format!("{task}: {doing}"));
    }
    fn waiting(&self, task: &str, what: &str) {
        self.hear(format!("{task}: waiting for {what}"));
    }
    fn end(&self, task: &str, ended: Ended) {
        self.hear(format!("{task}: {ended:?}"));
    }
    fn note(&self, text: &str) {
        self.hear(text.to_owned());
    }
}

fn backstage(server: &ChatServer) -> Backstage {
    Backstage {
        aws: server.aws(),
        table: "chat-connections".into(),
        on_connect: "chat-onConnect".into(),
        on_disconnect: "chat-onDisconnect".into(),
        send_message: "chat-sendMessage".into(),
        authorizer: Some("chat-authorizer".into()),
    }
}

fn endpoint(server: &ChatServer) -> Endpoint {
    Endpoint { url: server.url.clone(), auth: Auth::None }
}

/// For chats that fail: soon given up.
fn impatient() -> VerifyOptions {
    VerifyOptions { patience: Duration::from_secs(3), ..VerifyOptions::default() }
}

async fn run(server: &ChatServer, options: VerifyOptions) -> Result<VerifyReport> {
    verify(&Stage::new().host, &Ear::default(), &endpoint(server), &options, Some(&backstage(server))).await
}

async fn failure(faults: Faults) -> Error {
    let server = ChatServer::start_with(faults).await;
    let error = run(&server, impatient()).await.unwrap_err();
    assert_eq!(error.exit, Exit::ChatFailed, "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_chat_passes() {
    let server = ChatServer::start().await;
    server.add_row("somebody-else");
    let options = VerifyOptions { clients: 5, senders: Some(3), messages: 4, ..VerifyOptions::default() };
    let report = run(&server, options).await.unwrap();
    assert_eq!((report.clients, report.senders, report.messages), (5, 3, 4));
    assert_eq!((report.deliveries, report.rounds), (60, 1));
    assert_eq!((report.unknown_action, report.table), (UnknownAction::Forbidden, TableCheck::Clean));
    assert_eq!(report.histogram.iter().map(|bucket| bucket.count).sum::<usize>(), 60);
    assert!(report.latency_ms.p50 <= report.latency_ms.p99 && report.latency_ms.p99 <= report.latency_ms.max);
    assert!(report.latency_ms.max > 0.0);
    let text = report.to_string();
    assert!(text.starts_with("5 clients, 12 messages, 60 deliveries, each exactly once\n"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["unknownAction"], "forbidden");
    assert!(json["latencyMs"]["p99"].is_number() && json["histogram"][0]["upToMs"].is_number(), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_for_an_unknown_action_is_healthy_too() {
    let server = ChatServer::start_with(Faults { silent_unknown_action: true, ..Faults::default() }).await;
    let report = run(&server, VerifyOptions::default()).await.unwrap();
    assert_eq!((report.unknown_action, report.deliveries), (UnknownAction::Silent, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_people_in_the_same_chat_do_not_matter() {
    let server = ChatServer::start().await;
    let (url, loud) = (server.url.clone(), server.clone());
    let others = tokio::spawn(async move {
        loop {
            let guest = Endpoint { url: url.clone(), auth: Auth::None }.connect().await.unwrap();
            loud.broadcast("hello");
            loud.broadcast("chatctl verify 0123456789abcdef 0");
            drop(guest);
        }
    });
    let report = run(&server, VerifyOptions { messages: 20, ..VerifyOptions::default() }).await;
    others.abort();
    assert_eq!(report.unwrap().deliveries, 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_receiver_is_named() {
    let error = failure(Faults { deaf: Some(2), ..Faults::default() }).await;
    assert!(error.message.contains("at `sendmessage`: client "), "{error}");
    assert!(error.message.contains(" never received message 1 of client 1 (2 of 4 deliveries missing)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_is_named() {
    let error = failure(Faults { echoing: Some(2), ..Faults::default() }).await;
    assert!(error.message.contains("received message 1 of client 1 2 times"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handshake_is_told_with_its_status() {
    for (status, hint) in [(401, "proof"), (403, "deployment"), (429, "throttled"), (500, "repairs"), (502, "logs")] {
        let error = failure(Faults { refusals: 99, refuse_with: Refusal::Status(status), ..Faults::default() }).await;
        assert!(
            error.message.contains(&format!("at `$connect`: client 1: the handshake was refused with HTTP {status}")),
            "{error}"
        );
        assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_at_once_counts_as_refused() {
    let error = failure(Faults { refusals: 99, refuse_with: Refusal::Close, ..Faults::default() }).await;
    assert!(error.message.contains("the connection was refused (closed with 1008: Connection rejected)"), "{error}");
    assert!(error.message.contains("at `$connect`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_while_permissions_spread_is_tried_again() {
    let server = ChatServer::start_with(Faults { refusals: 1, ..Faults::default() }).await;
    let (ear, options) = (Ear::default(), VerifyOptions::default());
    let report =
        verify(&Stage::new().host, &ear, &endpoint(&server), &options, Some(&backstage(&server))).await.unwrap();
    assert_eq!(report.rounds, 2);
    let heard = ear.0.into_inner().unwrap();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard[1].contains("waiting for another try: client 1: the handshake was refused with HTTP 403"),
        "{heard:?}"
    );
}

/// Each try that the deadline cuts off would accuse the network.
#[tokio::test(flavor = "multi_thread")]
async fn what_broke_by_itself_is_told_and_not_that_the_time_was_up() {
    let error = failure(Faults { refusals: 1, mute: true, ..Faults::default() }).await;
    assert!(error.message.contains("at `$connect`: client 1: the handshake was refused with HTTP 403"), "{error}");

    let error = failure(Faults { mute: true, ..Faults::default() }).await;
    assert!(error.message.ends_with("client 1: the handshake got no answer before the time was up"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_ones_own_answers_as_expected() {
    let join = |expect: &str| {
        let send = r#"{"action":"join","room":"a"}"#.to_owned();
        let expect = (expect != "anything").then(|| expect.to_owned());
        let function = Some("chat-join".to_owned());
        VerifyOptions { exchange: Some(Exchange { route: "join".into(), send, expect, function }), ..impatient() }
    };
    let answering = |answer| Faults { joined: Some(answer), ..Faults::default() };
    let server = ChatServer::start_with(answering(json!({ "joined": "a", "who": ["x"] }))).await;
    let report = run(&server, join(r#"{"joined":"a"}"#)).await.unwrap();
    server.received(r#"{"action":"join","room":"a"}"#).await;
    assert!(report.to_string().contains("\nroute      join answered as expected in "), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    run(&server, join("anything")).await.unwrap();
    assert!(json["route"]["route"] == "join" && json["route"]["answerMs"].as_f64().unwrap() > 0.0, "{json}");

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    server.log("chat-join", "1", now + 1_000, "ERROR no room\n");
    let error = run(&server, join(r#"{"joined":"b"}"#)).await.unwrap_err();
    assert_eq!(error.exit, Exit::ChatFailed);
    let says =
        r#"at the route: `join`: no answer within 3 s was as expected, the last was `{"joined":"a","who":["x"]}`"#;
    assert!(error.message.contains(says), "{error}");
    assert!(error.message.ends_with("the log of `chat-join`:\n    ERROR no room"), "{error}");

    for expect in ["{}", "anything"] {
        let error = run(&ChatServer::start().await, join(expect)).await.unwrap_err();
        assert!(error.message.contains("`join`: the service answered `Forbidden`"), "{error}");
    }
    let failed = json!({ "message": "Internal server error", "connectionId": "c", "requestId": "r" });
    let error = run(&ChatServer::start_with(answering(failed)).await, join(r#"{"x":1}"#)).await.unwrap_err();
    assert!(error.message.contains("`join`: the service answered `Internal server error`"), "{error}");
}

/// The route is throttled by default, and all clients speak at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_throttle_refuses_is_said_again() {
    let server = ChatServer::start_with(Faults { throttled: 4, ..Faults::default() }).await;
    let options = VerifyOptions { clients: 3, messages: 2, ..VerifyOptions::default() };
    let report = run(&server, options).await.unwrap();
    assert_eq!((report.deliveries, report.rounds, report.throttled), (18, 1, 4));
    assert!(report.to_string().contains("\nthrottled  4 "), "{report}");

    let error = failure(Faults { throttled: usize::MAX, ..Faults::default() }).await;
    assert!(error.message.contains("never received message 1 of client 1"), "{error}");
    assert!(error.hint.unwrap().contains("`message-rate`"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_route_is_told_from_an_unknown_action() {
    let error = failure(Faults { no_route: true, ..Faults::default() }).await;
    assert!(error.message.contains("with `Forbidden`"), "{error}");
    assert!(error.hint.unwrap().contains("no route `sendmessage`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_function_is_told_with_its_last_words() {
    let internal = json!({ "message": "Internal server error", "connectionId": "c", "requestId": "r" });
    let body = json!({ "errorType": "Error", "errorMessage": "Internal server error", "trace": [] });
    for broken in [internal, body] {
        let server = ChatServer::start_with(Faults { broken_route: Some(broken), ..Faults::default() }).await;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        // Said before the verification began, so perhaps by other code.
        server.log("chat-sendMessage", "0", now - 1, "ERROR of an older version\n");
        let now = now + 1_000;
        server.log("chat-sendMessage", "1", now, "START RequestId: 1\n");
        server.log("chat-sendMessage", "2", now, "ERROR AccessDeniedException: no dynamodb:Scan\n  at line 1\n");
        server.log("chat-sendMessage", "3", now, "END RequestId: 1\n");
        let error = run(&server, impatient()).await.unwrap_err();
        assert_eq!(error.exit, Exit::ChatFailed);
        assert!(error.message.contains("with `Internal server error`"), "{error}");
        let words =
            "\n  the log of `chat-sendMessage`:\n    ERROR AccessDeniedException: no dynamodb:Scan\n      at line 1";
        assert!(error.message.ends_with(words), "{error}");
    }
}

/// What functions log has the time of the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_hides_no_line_of_the_log() {
    let broken = json!({ "message": "Internal server error", "connectionId": "c", "requestId": "r" });
    let faults = Faults { broken_route: Some(broken), behind: 180, ..Faults::default() };
    let server = ChatServer::start_with(faults).await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    server.log("chat-sendMessage", "1", now - 185_000, "ERROR of an older version\n");
    server.log("chat-sendMessage", "2", now - 179_000, "ERROR of this one\n");
    let error = run(&server, impatient()).await.unwrap_err();
    assert!(error.message.ends_with("\n  the log of `chat-sendMessage`:\n    ERROR of this one"), "{error}");
}

/// Code that Lambda cannot load heals by no waiting.
#[tokio::test(flavor = "multi_thread")]
async fn unloadable_code_ends_the_verification_at_once() {
    let broken = json!({ "message": "Internal server error", "connectionId": "c", "requestId": "r" });
    let server = ChatServer::start_with(Faults { broken_route: Some(broken), ..Faults::default() }).await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let said = r#"undefined ERROR Uncaught Exception {"errorType":"Runtime.ImportModuleError","errorMessage":"Error: Cannot find module"}"#;
    server.log("chat-sendMessage", "1", now + 1_000, said);
    let error = run(&server, VerifyOptions { patience: Duration::from_secs(3_600), ..VerifyOptions::default() }).await;
    let error = error.unwrap_err();
    assert!(!error.message.contains("tries"), "{error}");
    assert_eq!(error.hint.unwrap(), "the code of the function cannot be loaded; correct it, then `chatctl up`");
}

/// And neither does a token: what its authorizer says is told at once. Where it says nothing, permissions may still spread.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_verification_at_once() {
    let said = "2026-01-01T00:00:00Z\tid\tERROR\t{\"error\":\"a token was refused\",\"reason\":\"it has expired\"}";
    let patient = || VerifyOptions { patience: Duration::from_secs(3_600), ..VerifyOptions::default() };
    for refuse_with in [Refusal::Forbidden, Refusal::Close] {
        let server = ChatServer::start_with(Faults { refusals: 999, refuse_with, ..Faults::default() }).await;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        server.log("chat-authorizer", "1", now + 1_000, said);
        let error = run(&server, patient()).await.unwrap_err();
        assert!(!error.message.contains("tries"), "{error}");
        assert!(error.message.ends_with("because of its token: it has expired"), "{error}");
        assert!(error.hint.unwrap().starts_with("`--token @FILE` takes another one"));
    }
    // Round by round two logs are read, by what one look at the clock has told.
    let server = ChatServer::start_with(Faults { refusals: 999, ..Faults::default() }).await;
    let error = run(&server, impatient()).await.unwrap_err();
    assert!(error.message.contains("tries"), "{error}");
    assert_eq!(server.clock_reads(), 1);
    // Somebody else's token, while something else is broken here.
    let refuse_with = Refusal::Status(500);
    let server = ChatServer::start_with(Faults { refusals: 999, refuse_with, ..Faults::default() }).await;
    server.log("chat-authorizer", "1", i64::MAX / 2, said);
    let error = run(&server, impatient()).await.unwrap_err();
    assert!(error.message.contains("HTTP 500") && !error.message.contains("token"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_message_without_data_goes_to_its_sender_alone() {
    let error = failure(Faults { error_goes_to: ErrorGoesTo::Nobody, ..Faults::default() }).await;
    assert!(error.message.contains("`sendmessage` without `data` got no"), "{error}");
    let error = failure(Faults { error_goes_to: ErrorGoesTo::Everybody, ..Faults::default() }).await;
    assert!(error.message.contains("without `data` went to others too"), "{error}");
}

/// Thousands of clients take minutes: how far they are is told all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_round_tells_how_far_it_is() {
    let server = ChatServer::start_with(Faults { held: true, ..Faults::default() }).await;
    let (ear, stage, endpoint) = (Ear::default(), Stage::new(), endpoint(&server));
    let (options, backstage) = (VerifyOptions::default(), backstage(&server));
    let verifying = verify(&stage.host, &ear, &endpoint, &options, Some(&backstage));
    let watching = async {
        while !ear.0.lock().unwrap().iter().any(|line| line == "chat round trip: waiting for 4 of 4 deliveries") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.let_go();
    };
    let (verified, ()) = tokio::join!(verifying, watching);
    assert_eq!(verified.unwrap().deliveries, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_gone_from_the_table() {
    let error = failure(Faults { rows_stay: true, ..Faults::default() }).await;
    assert!(error.message.contains("at `$disconnect`: 2 of 2 clients that left are still in table"), "{error}");
    let error = failure(Faults { no_rows: true, ..Faults::default() }).await;
    assert!(error.message.contains("at `$connect`: 0 of 2 clients were in table"), "{error}");
    assert!(error.message.contains("the log of `chat-onConnect` says nothing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_may_read_is_a_note_and_no_failure() {
    let server = ChatServer::start_with(Faults { access_denied: true, ..Faults::default() }).await;
    let ear = Ear::default();
    let report =
        verify(&Stage::new().host, &ear, &endpoint(&server), &VerifyOptions::default(), Some(&backstage(&server)))
            .await
            .unwrap();
    assert_eq!(report.table, TableCheck::Unchecked);
    let heard = ear.0.into_inner().unwrap();
    assert!(heard[1].contains("goes unchecked") && heard[1].contains("not authorized"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it() {
    let server = ChatServer::start_with(Faults { deaf: Some(1), ..Faults::default() }).await;
    let stage = Stage::new();
    let (host, there) = (stage.host.clone(), server.clone());
    tokio::spawn(async move {
        there.present(2).await;
        host.interrupt.raise();
    });
    let options = VerifyOptions::default();
    let error = verify(&stage.host, &Ear::default(), &endpoint(&server), &options, None).await.unwrap_err();
    assert_eq!(error.exit, Exit::Interrupted);
    server.present(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_signatures_reach_the_authorizer() {
    let server = ChatServer::start().await;
    let credentials = aws_credential_types::provider::SharedCredentialsProvider::new(
        aws_credential_types::Credentials::new("AKID", "secret", None, None, "test"),
    );
    for auth in [
        Auth::Headers(vec![("x-token".into(), "sesame".into())]),
        Auth::Query(vec![("token".into(), "open sesame".into())]),
        Auth::Iam { credentials, region: "eu-west-1".into() },
        Auth::Protocol("open.se.same".into()),
    ] {
        let endpoint = Endpoint { url: server.url.clone(), auth };
        verify(&Stage::new().host, &Ear::default(), &endpoint, &VerifyOptions::default(), None).await.unwrap();
    }
    let handshakes = server.handshakes();
    assert_eq!(handshakes[0].1.as_deref(), Some("sesame"));
    assert_eq!(handshakes[2].0, "/prod?token=open%20sesame");
    let signed = &handshakes[4].0;
    assert!(
        signed.contains("X-Amz-Credential=AKID%2F") && signed.contains("%2Fexecute-api%2Faws4_request"),
        "{signed}"
    );
    assert_eq!(handshakes[6], ("/prod".to_owned(), Some("chatctl, bearer.open.se.same".to_owned())));
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_refused() {
    let server = ChatServer::start().await;
    for options in [
        VerifyOptions { clients: 0, ..impatient() },
        VerifyOptions { messages: 0, ..impatient() },
        VerifyOptions { senders: Some(3), ..impatient() },
    ] {
        assert_eq!(run(&server, options).await.unwrap_err().exit, Exit::Usage);
    }
    let error = run(&server, VerifyOptions { clients: 100_000_000, ..impatient() }).await.unwrap_err();
    assert_eq!((error.exit, error.code.as_str()), (Exit::Failed, "OpenFiles"));
    assert!(error.hint.unwrap().contains("ulimit"));
}

#[tokio::test]
async fn nobody_there_and_no_tls_are_told_apart() {
    let gone = Endpoint { url: "ws://127.0.0.1:1/prod?token=sesame".into(), auth: Auth::None };
    let options = VerifyOptions::default();
    let error = verify(&Stage::new().host, &Ear::default(), &gone, &options, None).await.unwrap_err();
    let told = "at the network: client 1: `ws://127.0.0.1:1/prod?…` cannot be reached: Connection refused";
    assert!(error.message.contains(told), "{error}");
    // Whoever refuses connections will not think better of it in a minute.
    assert!(error.message.contains("(3 tries in "), "{error}");

    let server = ChatServer::start().await;
    let plain = Endpoint { url: server.url.replace("ws://", "wss://"), auth: Auth::None };
    let error = verify(&Stage::new().host, &Ear::default(), &plain, &impatient(), None).await.unwrap_err();
    assert!(error.message.contains("the TLS handshake failed"), "{error}");
    assert!(error.hint.unwrap().contains("ws://"), "{}", error.message);
}

/// A report in a folder of its own, begun.
fn junit() -> (Folder, std::path::PathBuf, Junit) {
    let folder = Folder::new();
    let file = folder.0.join("verify.xml");
    let junit = Junit::begin(file.clone()).unwrap();
    (folder, file, junit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_junit_report_has_a_case_for_each_step() {
    let server = ChatServer::start().await;
    let (_folder, file, junit) = junit();
    let begun = std::fs::read_to_string(&file).unwrap();
    assert!(begun.contains(r#"failures="1""#) && begun.contains("the verification did not end"), "{begun}");
    run(&server, VerifyOptions { junit: Some(junit), ..VerifyOptions::default() }).await.unwrap();
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains(r#"<testsuite name="chatctl verify" tests="4" failures="0" skipped="0">"#), "{report}");
    for step in ["the network", "$connect", "sendmessage", "$disconnect"] {
        assert!(report.contains(&format!(r#"<testcase classname="chatctl verify" name="{step}"/>"#)), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_junit_report_says_which_step_failed_and_stays_well_formed() {
    let broken = json!({ "message": "Internal server error", "connectionId": "c", "requestId": "r" });
    let server = ChatServer::start_with(Faults { broken_route: Some(broken), ..Faults::default() }).await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    server.log("chat-sendMessage", "1", now + 1_000, "ERROR </failure>]]> & \"\u{1b}[31m\u{ffff}\n");
    let (_folder, file, junit) = junit();
    run(&server, VerifyOptions { junit: Some(junit), ..impatient() }).await.unwrap_err();
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains(r#"tests="4" failures="1" skipped="1">"#), "{report}");
    let failed =
        r#"name="sendmessage"><failure type="ChatFailed" message="the chat round trip failed at `sendmessage`"#;
    assert!(report.contains(failed), "{report}");
    assert!(report.contains(r#"name="$connect"/>"#) && report.contains(r#"name="$disconnect"><skipped/>"#), "{report}");
    assert!(report.contains("ERROR &lt;/failure&gt;]]&gt; &amp; &quot;\\u{1b}[31m\\u{ffff}"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_slower_than_it_may_be_fails_with_its_latency() {
    let server = ChatServer::start().await;
    let (_folder, file, junit) = junit();
    let slow = VerifyOptions { max_p99_ms: Some(0), junit: Some(junit), ..VerifyOptions::default() };
    let error = run(&server, slow).await.unwrap_err();
    assert_eq!((error.exit, error.code.as_str()), (Exit::ChatFailed, "TooSlow"));
    assert!(error.message.ends_with("above the 0 ms of `--max-p99`"), "{error}");
    assert!(error.hint.unwrap().contains("without `--max-p99`"));
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains(r#"tests="5" failures="1" skipped="0">"#), "{report}");
    assert!(report.contains(r#"name="the latency"><failure type="TooSlow" message="the p99 latency of"#), "{report}");

    let options = VerifyOptions { max_p99_ms: Some(60_000), ..VerifyOptions::default() };
    assert_eq!(run(&server, options).await.unwrap().deliveries, 4);
}

#[test]
fn a_junit_report_that_cannot_be_written_is_refused_before_anything() {
    let folder = Folder::new();
    let error = Junit::begin(folder.0.join("none/verify.xml")).unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    assert!(error.message.contains("the folder of `--junit`") && error.message.contains("none"), "{error}");
    let error = Junit::begin(folder.0.clone()).unwrap_err();
    assert_eq!((error.exit, error.code.as_str()), (Exit::Failed, "Unwritable"));
    assert!(error.message.contains("cannot be written: "), "{error}");
}

/// Both ends of every connection live in this process: 400 clients need about 800 open files.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_clients_fit_into_one_process() {
    let (clients, senders) = match std::env::var("CHATCTL_TEST_CLIENTS") {
        Ok(clients) => (clients.parse().unwrap(), 4),
        Err(_) => (400, 2),
    };
    let server = ChatServer::start().await;
    let options = VerifyOptions { clients, senders: Some(senders), messages: 2, ..VerifyOptions::default() };
    let report = run(&server, options).await.unwrap();
    assert_eq!(report.deliveries, (clients * senders * 2) as u64);
    println!("{report}{} ms", report.elapsed_ms);
}
