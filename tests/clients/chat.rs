//! `chat` as a program of its own: in a real terminal and behind pipes, against a chat server that fails as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;
use support::{HOSTILE, is_harmless};

use super::chat_server::{ChatServer, Faults, Refusal};
use super::stage::Stage;
use super::tty::Tty;
use chatctl::chat::session::{ChatOptions, chat};
use chatctl::error::Exit;
use chatctl::websocket::{Auth, Endpoint, PING};
use nix::sys::signal::{Signal, kill};

/// `chat` with `name`, listening for `wait` after the end of its input.
fn program(server: &ChatServer, name: Option<&str>, wait: Duration) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    // Whoever runs the tests may have settings of their own.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHATCTL_")) {
        command.env_remove(name);
    }
    command.args(["chat", "--url", &server.url, "--wait", &format!("{}ms", wait.as_millis().max(1))]);
    command.args(name.into_iter().flat_map(|name| ["--as", name]));
    command
}

async fn terminal(server: &ChatServer) -> Tty {
    let tty = Tty::start(&program(server, Some("ada"), Duration::ZERO));
    tty.until(|lines| lines.last() == Some(&"ada>") && lines.iter().any(|line| line.contains("connected to"))).await;
    server.arrivals(1).await;
    tty
}

/// Runs `chat` behind pipes with `input`, until it ends.
async fn pipe(server: &ChatServer, input: &str, wait: Duration) -> Output {
    run(&mut program(server, None, wait), input).await
}

/// Runs `command` with `input`, until it ends.
async fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        // A program that refuses to go on reads no further.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pasted_lines_are_all_sent() {
    let server = ChatServer::start().await;
    let tty = terminal(&server).await;
    tty.keys("one\rtwo\rthree\r");
    for line in ["one", "two", "three"] {
        server.received(&chatctl::websocket::send_message(&format!("ada: {line}"))).await;
    }
}

const MOMENT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn what_others_say_appears_above_the_line_being_typed() {
    let server = ChatServer::start().await;
    let tty = terminal(&server).await;
    tty.keys("hello\r");
    server.received(r#"{"action":"sendmessage","data":"ada: hello"}"#).await;
    server.broadcast("bob: hi ada");
    tty.ends_with(&["ada> hello", "bob: hi ada", "ada>"]).await;
    tty.keys("half a ");
    tty.ends_with(&["ada> half a"]).await;
    server.broadcast("bob: are you there?");
    tty.ends_with(&["ada> hello", "bob: hi ada", "bob: are you there?", "ada> half a"]).await;
    tty.keys("sentence\r");
    server.received("ada: half a sentence").await;
    server.broadcast("bob: so?");
    tty.ends_with(&["ada> half a sentence", "bob: so?", "ada>"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_edited_and_recalled() {
    let server = ChatServer::start().await;
    let tty = terminal(&server).await;
    tty.keys("helo\x1b[Dl\r");
    server.received(r#""ada: hello""#).await;
    tty.keys("second\r");
    server.received(r#""ada: second""#).await;
    tty.keys("\x1b[A\x1b[A again\r");
    server.received(r#""ada: hello again""#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_understood() {
    let server = ChatServer::start().await;
    let mut tty = terminal(&server).await;
    tty.keys("/help\r");
    tty.shows("/quit or Ctrl-D leaves").await;
    tty.keys("/dance\r");
    tty.shows("there is no `/dance`").await;
    tty.keys("//slash\r");
    server.received(r#""ada: /slash""#).await;
    tty.keys("/quit\r");
    assert_eq!(tty.exit().await.code(), Some(0));
    assert_eq!(server.frames().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_arrives_can_steer_the_terminal() {
    let server = ChatServer::start().await;
    let tty = terminal(&server).await;
    server.broadcast("eve: \x1b[2J\x1b]0;owned\x07\rada> rm -rf\u{9b}31m\u{202e}");
    tty.shows(r"eve: \u{1b}[2J\u{1b}]0;owned\u{7}\rada> rm -rf\u{9b}31m\u{202e}").await;
    let raw = tty.raw();
    assert!(!raw.contains("\x1b[2J") && !raw.contains("\x1b]0;") && !raw.contains('\x07'), "{raw:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_is_made_again() {
    let server = ChatServer::start().await;
    let tty = terminal(&server).await;
    server.set(|faults| faults.refusals = 1);
    server.drop_connections();
    tty.shows("connection is gone").await;
    tty.keys("typed meanwhile\r");
    tty.shows("connected again").await;
    server.received("ada: typed meanwhile").await;
    server.broadcast("bob: welcome back");
    tty.shows("bob: welcome back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_come_back_is_told() {
    let server = ChatServer::start_with(Faults { deaf: Some(1), ..Faults::default() }).await;
    let tty = terminal(&server).await;
    tty.keys("anybody?\r");
    tty.shows("the chat did not send `ada: anybody?` back").await;
}

/// A large chat takes longer than one waits for the own copy; then it is still no message of somebody.
#[tokio::test(flavor = "multi_thread")]
async fn an_own_message_that_comes_late_is_not_shown_as_somebody_elses() {
    let server = ChatServer::start_with(Faults { held: true, ..Faults::default() }).await;
    let tty = terminal(&server).await;
    tty.keys("slow\r");
    tty.shows("the chat did not send `ada: slow` back").await;
    server.let_go();
    server.broadcast("bob: hi");
    let lines = tty.shows("bob: hi").await;
    assert!(lines.iter().any(|line| line.contains("did send `ada: slow` back, only late")), "{lines:?}");
    assert!(!lines.contains(&"ada: slow".to_owned()), "{lines:?}");
}

/// The clock is the test's once the connection is there, so that five minutes pass while nobody waits.
#[tokio::test]
async fn a_chat_that_gives_signs_of_life_is_asked_for_them() {
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let faults = Faults { keep_alive: true, ..Faults::default() };
    let server = elsewhere.spawn(ChatServer::start_with(faults)).await.unwrap();
    let (stage, endpoint) = (Stage::new(), Endpoint { url: server.url.clone(), auth: Auth::None });
    let there = server.clone();
    let heard = elsewhere.spawn(async move {
        there.arrivals(1).await;
        there.until(|frames| frames.iter().filter(|frame| *frame == PING).count() >= 3).await;
    });
    let arrived = server.clone();
    let years = Duration::from_secs(10 * 365 * 24 * 3600);
    let options = ChatOptions { name: None, wait: years, keep_alive: true, color: false };
    let chatting = chat(&stage.host, &endpoint, &endpoint, &options);
    let watching = async {
        elsewhere.spawn(async move { arrived.arrivals(1).await }).await.unwrap();
        tokio::time::pause();
        heard.await.unwrap();
        stage.host.interrupt.raise();
    };
    let (ended, ()) = tokio::join!(chatting, watching);
    assert_eq!(ended.unwrap(), Exit::Interrupted);
    assert_eq!((stage.stdout.text(), stage.stderr.text()), (String::new(), String::new()));
    elsewhere.shutdown_background();
}

/// As a local AWS does that was started again: what was there is nowhere now.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_has_moved_is_found_again() {
    let (first, second) = (ChatServer::start().await, ChatServer::start().await);
    let (stage, endpoint) = (Stage::new(), Endpoint { url: first.url.clone(), auth: Auth::None });
    let moved = Endpoint { url: second.url.clone(), auth: Auth::None };
    let options = ChatOptions { name: None, wait: Duration::from_secs(24 * 3600), keep_alive: false, color: false };
    let chatting = chat(&stage.host, &endpoint, &moved, &options);
    let watching = async {
        first.arrivals(1).await;
        first.set(|faults| faults.refusals = usize::MAX);
        first.drop_connections();
        second.arrivals(1).await;
        second.broadcast("bob: here now");
        stage.stdout.until(|text| text == "bob: here now\n").await;
        stage.host.interrupt.raise();
    };
    let (ended, ()) = tokio::join!(chatting, watching);
    assert_eq!(ended.unwrap(), Exit::Interrupted);
    assert!(stage.stderr.text().contains(&format!("connected again to {}", second.url)), "{}", stage.stderr.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_throttle_refuses_is_sent_again() {
    let server = ChatServer::start_with(Faults { throttled: 2, ..Faults::default() }).await;
    let tty = terminal(&server).await;
    tty.keys("hello\r");
    tty.shows("takes no more messages for the moment: trying on with `ada: hello`").await;
    // The third try is taken.
    server.until(|frames| frames.len() == 3).await;

    server.set(|faults| faults.throttled = 2);
    let output = pipe(&server, "one\ntwo\nthree\n", MOMENT).await;
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "one\ntwo\nthree\n"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.matches("trying on with `one`").count(), 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_cannot_move_its_cursor_gets_plain_lines() {
    let server = ChatServer::start().await;
    let mut tty = Tty::start(program(&server, Some("ada"), Duration::ZERO).env("TERM", "dumb"));
    tty.shows("connected to").await;
    tty.keys("hello\n");
    server.received(r#""ada: hello""#).await;
    server.broadcast("bob: hi \x1b[31mada");
    tty.ends_with(&["hello", r"bob: hi \u{1b}[31mada"]).await;
    assert!(!tty.raw().contains('\x1b'), "{:?}", tty.raw());
    tty.keys("/quit\n");
    assert_eq!(tty.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_gives_the_terminal_back() {
    for (keys, code) in [("\x03", 130), ("\x04", 0), ("/quit\r", 0)] {
        let server = ChatServer::start().await;
        let mut tty = terminal(&server).await;
        assert!(!tty.is_cooked());
        tty.keys(keys);
        assert_eq!(tty.exit().await.code(), Some(code), "{keys:?}");
        assert!(tty.is_cooked(), "{keys:?}");
        server.present(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_and_gives_the_terminal_back() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let server = ChatServer::start().await;
        let mut tty = terminal(&server).await;
        tty.keys("half a line");
        tty.shows("half a line").await;
        kill(tty.pid(), signal).unwrap();
        assert_eq!(tty.exit().await.code(), Some(130));
        assert!(tty.is_cooked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn piped_lines_are_sent_and_answers_printed() {
    let server = ChatServer::start().await;
    let output = pipe(&server, "one\n\ntwo\r\n/three\nno newline", MOMENT).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said(&output), "one\ntwo\n/three\nno newline\n");
    assert_eq!(output.stderr, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn piped_output_has_one_harmless_line_for_each_message() {
    let server = ChatServer::start().await;
    let (url, loud) = (server.clone(), server.clone());
    let listening = tokio::spawn(async move { pipe(&url, "", Duration::from_secs(2)).await });
    server.arrivals(1).await;
    loud.broadcast("two\nlines \x1b[31mred");
    assert_eq!(said(&listening.await.unwrap()), "two\\nlines \\u{1b}[31mred\n");
}

/// Somebody in the chat of a pipeline commands no runner and hides nothing: not by what is said, nor by what the service says.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_said_commands_a_runner() {
    let server = ChatServer::start().await;
    let (url, loud) = (server.clone(), server.clone());
    let listening = tokio::spawn(async move { pipe(&url, "", Duration::from_secs(2)).await });
    server.arrivals(1).await;
    for text in HOSTILE {
        loud.broadcast(text);
        loud.broadcast(&json!({ "chatctl": { "error": text } }).to_string());
    }
    let output = listening.await.unwrap();
    let (said, noted) = (said(&output), String::from_utf8(output.stderr.clone()).unwrap());
    assert_eq!(said.lines().count(), HOSTILE.len(), "a line a message: {said}");
    assert!(is_harmless(&said) && is_harmless(&noted), "{said}\n{noted}");
    assert!(noted.contains("owned"), "what the service says is told: {noted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_goes_before_each_piped_line_too() {
    let server = ChatServer::start().await;
    let mut command = program(&server, Some("build 7"), MOMENT);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"done\n").unwrap();
    server.received(r#""build 7: done""#).await;
    assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_go_in_frames_that_the_service_takes() {
    let server = ChatServer::start().await;
    let long = "ä".repeat(40_000);
    let output = pipe(&server, &format!("{long}\n"), MOMENT).await;
    assert_eq!(said(&output), format!("{long}\n"));
    let output = pipe(&server, &format!("{}\n", "x".repeat(140_000)), MOMENT).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is too long, API Gateway takes 131072"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_first_connection_is_an_error() {
    for (refuse_with, what) in [
        (Refusal::Forbidden, "the handshake was refused with HTTP 403"),
        (Refusal::Close, "the connection was refused (closed with 1008: Connection rejected)"),
    ] {
        let server = ChatServer::start_with(Faults { refusals: 1, refuse_with, ..Faults::default() }).await;
        let output = pipe(&server, "", Duration::from_secs(10)).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(what), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_could_not_be_sent_are_an_error() {
    let server = ChatServer::start().await;
    let mut command = program(&server, None, MOMENT);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    server.arrivals(1).await;
    server.set(|faults| faults.refusals = usize::MAX);
    server.drop_connections();
    let (status, told) = tokio::task::spawn_blocking(move || {
        let mut notes = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        notes.read_line(&mut told).unwrap();
        child.stdin.take().unwrap().write_all(b"lost\nlost too\n").unwrap();
        notes.read_to_string(&mut told).unwrap();
        (child.wait().unwrap(), told)
    })
    .await
    .unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("connection is gone") && told.contains("2 lines were not sent"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_and_a_closed_pipe_end_quietly() {
    let server = ChatServer::start().await;
    let mut command = program(&server, None, Duration::from_secs(60));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.arrivals(1).await;
    kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), &b""[..]));

    let mut command = program(&server, None, MOMENT);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.arrivals(2).await;
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"into the void\n").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    server.received("into the void").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_for_those_who_are_trusted() {
    let (server, certificate) = ChatServer::start_with_tls().await;
    let output = pipe(&server, "secret\n", MOMENT).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("the TLS handshake failed") && told.contains("name its CA certificate in `SSL_CERT_FILE`"),
        "{told}"
    );

    let file = std::env::temp_dir().join(format!("chatctl-certificate-{:016x}.pem", fastrand::u64(..)));
    std::fs::write(&file, certificate).unwrap();
    let mut command = program(&server, None, MOMENT);
    let mut child = command.env("SSL_CERT_FILE", &file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "secret\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_url_is_not_repeated() {
    let mut server = ChatServer::start().await;
    let plain = server.url.clone();
    server.url = format!("{plain}?token=sesame");
    let tty = terminal(&server).await;
    let greeting = tty.until(|lines| lines.iter().any(|line| line.contains(&format!("{plain}?…;")))).await;
    assert!(!greeting.join("\n").contains("sesame"), "{greeting:?}");
    assert_eq!(server.handshakes()[0].0, "/prod?token=sesame");

    for args in [
        vec!["chat", "--url", "ws://127.0.0.1:1/prod?token=sesame&no space"],
        vec!["chat", "--url", "ws://127.0.0.1:1/prod?token=sesame", "--header", "no name=x"],
        vec!["chat", "--url", "ws://127.0.0.1:1/prod?token=sesame"],
        vec!["verify", "ws://127.0.0.1:1/prod?token=sesame"],
        vec!["verify", "--rul=ws://127.0.0.1:1/prod?token=sesame"],
    ] {
        let output = run(Command::new(env!("CARGO_BIN_EXE_chatctl")).args(&args), "").await;
        let text = said(&output) + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("error: ") && !text.contains("sesame"), "{args:?}: {text}");
    }
    let mut verify = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    let output = run(verify.args(["verify", "-o", "json", "--url", &server.url]), "").await;
    assert!(said(&output).contains(&format!("\"url\":\"{plain}?…\"")), "{}", said(&output));
    support::schema::assert_described(&said(&output));
}

/// Other users of the machine read command lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_from_the_environment_or_a_file() {
    let server = ChatServer::start().await;
    let folder = support::Folder::new();
    let file = folder.0.join("token");
    std::fs::write(&file, "\nx-token=from,file\nroom=1\n").unwrap();
    let at_file = format!("@{}", file.display());
    for (env, args, path, header) in [
        (vec![("CHATCTL_QUERY", "token=env")], vec![], "/prod?token=env", None),
        (vec![("CHATCTL_QUERY", at_file.as_str())], vec![], "/prod?x-token=from%2Cfile&room=1", None),
        (vec![("CHATCTL_HEADER", "x-token=a,b=c\nx=y")], vec![], "/prod", Some("a,b=c")),
        (vec![("CHATCTL_HEADER", "x-token=env")], vec!["--header", "x-token=flag"], "/prod", Some("flag")),
        (vec![("CHATCTL_HEADER", "x-token=env")], vec!["--query", "token=flag"], "/prod?token=flag", None),
        (vec![], vec!["--header", at_file.as_str()], "/prod", Some("from,file")),
        (vec![], vec!["--query", at_file.as_str(), "--query", "x=y"], "/prod?x-token=from%2Cfile&room=1&x=y", None),
    ] {
        let mut command = program(&server, None, Duration::ZERO);
        let output = run(command.args(&args).envs(env.iter().copied()), "").await;
        assert!(output.status.success(), "{env:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (asked, token) = server.handshakes().pop().unwrap();
        assert_eq!((asked.as_str(), token.as_deref()), (path, header), "{env:?} {args:?}");
    }
    for (env, args, says) in [
        (
            vec![("CHATCTL_QUERY", "a=b"), ("CHATCTL_HEADER", "a=b")],
            vec![],
            "more than one of `CHATCTL_HEADER`, `CHATCTL_QUERY` and `CHATCTL_TOKEN` is set",
        ),
        (vec![], vec!["--query", "@nowhere"], "cannot read `nowhere`"),
        (vec![], vec!["--query", "@/dev/null"], "`/dev/null` holds no `name=value`"),
        (vec![], vec!["--query", "@/dev/zero"], "cannot read `/dev/zero`"),
        (vec![("CHATCTL_QUERY", "sesame")], vec![], "is not of the form `name=value`"),
    ] {
        let mut command = program(&server, None, Duration::ZERO);
        let output = run(command.args(&args).envs(env.iter().copied()), "").await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(says) && !told.contains("sesame"), "{told}");
    }
}
