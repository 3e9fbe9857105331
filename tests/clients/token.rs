//! `--token`: it reaches the authorizer where that looks for it, and nobody else.

use std::fs;

use nix::sys::signal::Signal;
use support::{Chatctl, Folder, chatctl, eventually};

use super::chat_server::{ChatServer, Faults, Refusal};

const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
const JWT: &str = "authorizer = 'jwt'\njwt-issuer = 'https://issuer.example'\njwt-audience = 'chat'\n";

/// The binary in a folder with a token, and settings if they are any.
fn command(folder: &Folder, line: &str, settings: &str) -> Chatctl {
    fs::write(folder.0.join("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(folder.0.join("chatctl.toml"), settings).unwrap();
    chatctl(env!("CARGO_BIN_EXE_chatctl")).args(line.split_whitespace()).cwd(&folder.0)
}

#[tokio::test]
async fn a_token_is_put_where_the_authorizer_looks_for_it_whichever_way_it_comes() {
    let (server, folder) = (ChatServer::start().await, Folder::new());
    let verify = format!("verify --url {} --clients 1 -v", server.url);
    let query = |name: &str| (format!("/prod?{name}={TOKEN}"), None);
    let jwt = |place: &str| format!("{JWT}jwt-token = '{place}'\n");
    for (settings, arrives) in [
        ("", query("token")),
        (JWT, query("token")),
        (&jwt("query:ticket"), query("ticket")),
        (&jwt("header:X-Token"), ("/prod".to_owned(), Some(format!("Bearer {TOKEN}")))),
        (&jwt("protocol"), ("/prod".to_owned(), Some(format!("chatctl, bearer.{TOKEN}")))),
    ] {
        for way in [
            command(&folder, &format!("{verify} --token @token"), settings),
            command(&folder, &format!("{verify} --token - -o json"), settings).stdin(&format!("{TOKEN}\n")),
            command(&folder, &verify, settings).env("CHATCTL_TOKEN", TOKEN),
        ] {
            let ended = way.run().await.expect(0);
            assert_eq!(server.handshakes().last(), Some(&arrives), "{settings}");
            assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("eyJ"), "{} {}", ended.stdout, ended.stderr);
        }
    }
}

#[tokio::test]
async fn no_failure_tells_the_token() {
    let (server, folder) = (ChatServer::start().await, Folder::new());
    let protocol = format!("{JWT}jwt-token = 'protocol'\n");
    let refused = Faults { refusals: usize::MAX, refuse_with: Refusal::Status(401), ..Faults::default() };
    for (faults, says) in [
        (refused, "refused with HTTP 401"),
        (Faults { names_no_protocol: true, ..Faults::default() }, "accepted without a subprotocol"),
    ] {
        server.set(|now| *now = faults);
        for line in ["verify -v", "chat"] {
            let run = command(&folder, &format!("{line} --url {} --token @token", server.url), &protocol);
            let ended = run.run().await;
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert!(ended.code != Some(0) && told.contains(says) && !told.contains("eyJ"), "{line}: {told}");
        }
    }
    let gone = command(&folder, "verify --url ws://127.0.0.1:1/prod --token @token --timeout 2s", "").run().await;
    assert!(gone.code != Some(0) && !gone.stderr.contains("eyJ"), "{}", gone.stderr);
    for (text, line) in [("", "@empty"), ("two words", "@empty"), ("a\nb", "@empty")] {
        fs::write(folder.0.join("empty"), text).unwrap();
        let run = command(&folder, &format!("verify --url {} --token {line}", server.url), "");
        let ended = run.run().await.expect(2);
        assert!(ended.stderr.contains("this is not a token") && !ended.stderr.contains("words"), "{}", ended.stderr);
    }
    let other = command(&folder, &format!("verify --url {} --token @token", server.url), "authorizer = 'iam'").run();
    assert!(other.await.expect(2).stderr.contains("a token is for `authorizer = \"jwt\"` alone"));
}

/// Other users of the machine read command lines and environments' names, and a person's screen is seen by others.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_stays_shows_its_token_in_no_process_list() {
    let (server, folder) = (ChatServer::start().await, Folder::new());
    let line = format!("chat --url {} --token @token --wait 60s", server.url);
    let chat = command(&folder, &line, "").stdin("hello\n").start().await;
    eventually("it is there", || async { !server.handshakes().is_empty() }).await;
    let lists =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lists: Vec<String> = lists.map(|list| String::from_utf8_lossy(&list).into_owned()).collect();
    assert!(lists.iter().any(|list| list.contains(&server.url)) && !lists.iter().any(|list| list.contains(TOKEN)));
    chat.signal(Signal::SIGINT);
    let ended = chat.finish().await;
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("eyJ"), "{}", ended.stderr);
}
