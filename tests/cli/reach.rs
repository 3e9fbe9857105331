//! An AWS or a chat that cannot be reached: it is named, and given up in time.

use std::net::TcpListener;

use chatctl::error::Exit;

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
