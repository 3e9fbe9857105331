//! A service in a child process that says where it listens and ends with its owner.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running service. It ends at the end of its stdin, which is when this is dropped or the test dies.
pub struct Service {
    pub url: String,
    _child: Child,
}

impl Service {
    /// Runs `script` with Python, which prints its port as its first line.
    pub(crate) async fn start(mut command: Command, script: &str, args: &[&str]) -> Self {
        command.args(["-c", script]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let port = timeout(Duration::from_secs(60), lines.next_line()).await.expect("the service starts in time");
        let port = port.expect("its output can be read").expect("the service prints its port");
        // Whatever it prints later has a reader, so it never blocks.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url: format!("http://127.0.0.1:{port}"), _child: child }
    }
}
