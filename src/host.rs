//! The world outside the program, handed in whole so that tests can run it in-process.

mod escape;
mod fold;
pub mod keys;
pub mod private;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use rustls::crypto::ring;
use tokio::sync::watch;

use crate::error::{Code, Error, Result};

pub use escape::{json, lines, visible, yaml};

/// Everything the program takes from its surroundings.
#[derive(Clone)]
pub struct Host {
    pub env: Env,
    /// Relative paths in flags and files start here.
    pub cwd: PathBuf,
    pub stdin_is_terminal: bool,
    pub stdout: Output,
    pub stderr: Output,
    pub interrupt: Interrupt,
    /// A ready AWS configuration instead of the SDK's own chain: how tests reach their model of AWS.
    pub aws: Option<SdkConfig>,
}

impl Host {
    /// The process as it is.
    ///
    /// # Errors
    /// When the working directory cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            env: Env::of_this_process(),
            cwd: std::env::current_dir()?,
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout: Output::new(io::stdout(), io::stdout().is_terminal()),
            stderr: Output::new(io::stderr(), io::stderr().is_terminal()),
            interrupt: Interrupt::default(),
            aws: None,
        })
    }
}

/// The environment variables; those set to nothing count as not set.
#[derive(Clone, Debug, Default)]
pub struct Env(pub BTreeMap<String, String>);

impl Env {
    /// Without variables that are not UTF-8: the program knows none of them.
    fn of_this_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// One of the two output streams.
#[derive(Clone)]
pub struct Output {
    to: Arc<Mutex<dyn Write + Send>>,
    gone: Arc<watch::Sender<bool>>,
    pub is_terminal: bool,
}

impl Output {
    pub fn new(to: impl Write + Send + 'static, is_terminal: bool) -> Self {
        Self { to: Arc::new(Mutex::new(to)), gone: Arc::new(watch::Sender::new(false)), is_terminal }
    }

    /// Writes `text` as it is: what was made here from nothing of others. A reader that has gone away (a closed pipe or terminal) is no error of ours:
    /// the work goes on, and the exit code tells how it ended.
    pub fn write(&self, text: &str) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_err() {
            self.gone.send_replace(true);
        }
    }

    /// Returns once a write has found nobody there to read it.
    pub async fn gone(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Writes `text` and ends the line. Whoever wrote it, it steers no terminal and commands no runner.
    pub fn line(&self, text: &str) {
        self.write(&format!("{}\n", lines(text)));
    }

    /// As [`Self::line`], for what people read: on a terminal no line is longer than that is wide, where it can be broken.
    pub fn prose(&self, text: &str) {
        match self.columns() {
            Some(columns) => self.line(&fold::folded(&lines(text), columns)),
            None => self.line(text),
        }
    }

    /// Columns of the terminal, if it is one.
    pub fn columns(&self) -> Option<usize> {
        self.is_terminal.then(columns)
    }
}

/// Columns of the terminal behind stdout or stderr; 80 where there is none.
pub fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr()).or_else(|| terminal_size::terminal_size_of(io::stdout()));
    size.map_or(80, |(width, _)| usize::from(width.0))
}

/// 128 bits that nobody guesses, as 32 hex digits.
///
/// # Errors
/// `NoRandomness` when this machine has none.
pub fn random() -> Result<String> {
    let mut bytes = [0; 16];
    let filled = ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Error::failed(Code::NoRandomness, "this machine gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The wish of a person or a runner to stop: how many signals have come.
#[derive(Clone)]
pub struct Interrupt(Arc<watch::Sender<u32>>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Interrupt {
    pub fn raise(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub fn is_raised(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Returns once `count` signals have come.
    pub async fn raised(&self, count: u32) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|seen| *seen >= count).await;
    }
}
