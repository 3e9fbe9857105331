//! The real `chatctl`, as a user starts it, in an environment that holds nothing of this machine's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::{DataDir, Folder, Ministack};

/// A run of the binary, as it is going to be.
pub struct Chatctl {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    home: Folder,
    cwd: Option<PathBuf>,
    stdin: String,
    timeout: Duration,
}

/// `program` is `env!("CARGO_BIN_EXE_chatctl")`, which only an integration test knows. It gets a minute, an empty home
/// and working folder, and this machine's `PATH`. What is to start a local AWS needs a [`DataDir`].
pub fn chatctl(program: &str) -> Chatctl {
    let home = Folder::new();
    let env = [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", home.0.display().to_string()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    Chatctl {
        program: program.into(),
        args: Vec::new(),
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        home,
        cwd: None,
        stdin: String::new(),
        timeout: Duration::from_secs(60),
    }
}

impl Chatctl {
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Where the local AWS is.
    pub fn data_dir(self, data_dir: &DataDir) -> Self {
        self.env("CHATCTL_DATA_DIR", data_dir.path())
    }

    /// With the root user of an account of MiniStack.
    pub fn account(self, ministack: &Ministack, account: &str) -> Self {
        self.credentials(ministack.url(), account, "local")
    }

    pub fn credentials(self, url: &str, access_key: &str, secret: &str) -> Self {
        let region = chatctl::local::REGION;
        self.env("AWS_ENDPOINT_URL", url)
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", region)
    }

    pub fn cwd(mut self, folder: &Path) -> Self {
        self.cwd = Some(folder.to_owned());
        self
    }

    /// What it finds on stdin, which then ends.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.to_owned();
        self
    }

    /// After this long it is killed and the test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub async fn run(self) -> Finished {
        self.start().await.finish().await
    }

    pub async fn start(self) -> Running {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).current_dir(self.cwd.as_deref().unwrap_or(&self.home.0));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let began = Instant::now();
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // It may end without reading.
        let _ = stdin.write_all(self.stdin.as_bytes()).await;
        Running { child, began, timeout: self.timeout, args: self.args, _home: self.home }
    }
}

/// A run that goes on; killed when dropped.
pub struct Running {
    child: Child,
    began: Instant,
    timeout: Duration,
    args: Vec<String>,
    _home: Folder,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it has not been waited for");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub async fn finish(self) -> Finished {
        let limit = self.timeout.saturating_sub(self.began.elapsed());
        let output = tokio::time::timeout(limit, self.child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("`chatctl {}` did not end in time", self.args.join(" ")));
        let output = output.expect("its output can be read");
        crate::schema::assert_described(&String::from_utf8_lossy(&output.stdout));
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: self.began.elapsed(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Finished {
    /// Fails the test, showing all, unless it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}
