//! A host whose outputs are kept in memory, and can be waited for.

use std::io::{self, Write};
use std::path::PathBuf;

use chatctl::host::{Env, Host, Interrupt, Output};
use tokio::sync::watch;

use super::chat_server::PATIENCE;

pub struct Stage {
    pub host: Host,
    pub stdout: Captured,
    pub stderr: Captured,
}

impl Stage {
    pub fn new() -> Self {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let host = Host {
            env: Env::default(),
            cwd: PathBuf::from("."),
            stdin_is_terminal: false,
            stdout: Output::new(stdout.clone(), false),
            stderr: Output::new(stderr.clone(), false),
            interrupt: Interrupt::default(),
            aws: None,
        };
        Self { host, stdout, stderr }
    }
}

#[derive(Clone, Default)]
pub struct Captured(std::sync::Arc<watch::Sender<String>>);

impl Captured {
    pub fn text(&self) -> String {
        self.0.borrow().clone()
    }

    /// Waits until `enough` of what has been written.
    pub async fn until(&self, enough: impl Fn(&str) -> bool) -> String {
        let mut text = self.0.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, text.wait_for(|text| enough(text))).await.is_ok();
        assert!(waiting, "waited in vain; so far there is:\n{}", self.text());
        self.text()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
