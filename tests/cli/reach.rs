//! An AWS or a chat that cannot be reached: it is named, and given up in time.

use std::net::TcpListener;

use chatctl::error::Exit;
use support::chatctl as binary;

use crate::run::chatctl;

/// A chat that takes every connection and never says a word.
#[tokio::test]
async fn a_chat_that_never_answers_is_given_up_by_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/prod", silent.local_addr().unwrap());
    let ended = chatctl(&format!("verify --url {url} --timeout 1s")).run().await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.stderr);
    assert!(ended.stderr.contains("error: not done within 1s\nhint: "), "{}", ended.stderr);
}

/// Every verb that reads first, through the real client: which endpoint, why, and one of the likely causes.
#[tokio::test]
async fn an_endpoint_that_refuses_is_named() {
    for verb in ["status", "list", "logs"] {
        let run = binary(env!("CARGO_BIN_EXE_chatctl")).credentials("http://127.0.0.1:1", "000000000001", "local");
        let ended = run.args([verb, "--timeout", "12s"]).run().await.expect(1);
        assert!(ended.stderr.contains("connection refused at http://127.0.0.1:1"), "{verb}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: nothing listens there"), "{verb}: {}", ended.stderr);
    }
}
