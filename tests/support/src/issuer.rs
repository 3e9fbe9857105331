//! A real issuer of tokens on 127.0.0.1, whose keys rotate when told to.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// It has the keys `one` and `two`, of which the first is published, and ends with its owner.
pub struct Issuer {
    pub url: String,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Issuer {
    pub async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("issuer.mjs");
        let mut node = Command::new("node");
        node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = node.spawn().expect("there is node");
        let orders = child.stdin.take().expect("stdin is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let url = answers.next_line().await.expect("it can be read").expect("it says where it is");
        Self { url, orders, answers, _child: child }
    }

    /// A token signed by `key`: one that holds, for the audience `chat` and named `alice`, but for what `claims` say.
    pub async fn token(&mut self, key: &str, claims: Value) -> String {
        self.order(json!({ "sign": claims, "by": key })).await
    }

    /// From now on these keys are published, and no others.
    pub async fn publish(&mut self, keys: &[&str]) {
        self.order(json!({ "publish": keys })).await;
    }

    async fn order(&mut self, order: Value) -> String {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        self.answers.next_line().await.expect("it can be read").expect("it answers")
    }
}
