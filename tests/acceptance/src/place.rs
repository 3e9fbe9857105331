//! Where the life is lived: how `chatctl` is run there, and what the place cannot show.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use chatctl::host::Interrupt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;

/// How a run of `chatctl` ended.
pub struct Ran {
    /// None if it was killed.
    pub code: Option<u8>,
    pub stdout: String,
    pub stderr: String,
}

/// An AWS, real or not, and a `chatctl` that works on it.
#[async_trait(?Send)]
pub trait Place: Sync {
    /// Runs `chatctl` with these arguments, split at white space. It is killed after `limit`, if there is one.
    async fn chatctl(&self, line: &str, limit: Option<Duration>) -> Ran;

    /// A way to AWS beside `chatctl`'s own.
    fn sdk(&self) -> &SdkConfig;

    /// Whether `chatctl` runs under exactly the policy that it prints, whatever the caller may do.
    fn runs_as_printed(&self) -> bool {
        false
    }

    /// The policy as the IAM here understands it.
    fn policy(&self, printed: &str) -> String {
        printed.to_owned()
    }

    /// From now on `chatctl` runs with these credentials; without any, with the caller's own.
    async fn run_as(&self, credentials: Option<Credentials>);

    /// Why no client can connect here, if none can.
    fn no_clients(&self) -> Option<&'static str> {
        None
    }

    /// Why what has no SDK here cannot be asked: CloudFormation, S3, Access Analyzer.
    fn lacks(&self) -> Option<&'static str> {
        None
    }

    /// The settings of a stack, without those that the CloudFormation here makes nothing of.
    fn settings_of_stack(&self, all: &str) -> String {
        all.to_owned()
    }

    /// The template as the CloudFormation here understands it.
    fn template(&self, exported: &Value) -> Value {
        exported.clone()
    }

    /// Whether this difference between a stack and a deployment is of the CloudFormation here alone.
    fn forgives(&self, _difference: &str) -> bool {
        false
    }

    /// Where `chatctl` runs, for files.
    fn folder(&self) -> &Path;

    /// Raised when a person has had enough.
    fn interrupt(&self) -> &Interrupt;
}

/// The AWS that the environment leads to, and real processes.
pub struct Processes {
    program: PathBuf,
    folder: PathBuf,
    env: BTreeMap<String, String>,
    /// What stands in for the caller's credentials.
    credentials: Mutex<Option<Credentials>>,
    sdk: SdkConfig,
    interrupt: Interrupt,
}

impl Processes {
    /// `program` is run in this folder, with this environment and no other.
    pub fn new(
        program: PathBuf,
        folder: PathBuf,
        env: BTreeMap<String, String>,
        sdk: SdkConfig,
        interrupt: Interrupt,
    ) -> Self {
        Self { program, folder, env, credentials: Mutex::default(), sdk, interrupt }
    }

    async fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        if let Some(credentials) = &*self.credentials.lock().await {
            for name in ["AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
                env.remove(name);
            }
            let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
            set("AWS_ACCESS_KEY_ID", credentials.access_key_id());
            set("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
            set("AWS_SESSION_TOKEN", credentials.session_token().unwrap_or_default());
        }
        env
    }
}

#[async_trait(?Send)]
impl Place for Processes {
    async fn chatctl(&self, line: &str, limit: Option<Duration>) -> Ran {
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace()).current_dir(&self.folder).env_clear().envs(self.env().await);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ran { code: None, stdout: String::new(), stderr: error.to_string() },
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let tell = |signal| pid.is_some_and(|pid| kill(pid, signal).is_ok());
        // What runs after an interrupt clears up; only another one stops that.
        let enough = if self.interrupt.is_raised() { 2 } else { 1 };
        let ended = child.wait_with_output();
        tokio::pin!(ended);
        let never = Duration::from_secs(3_600);
        let output = tokio::select! {
            output = &mut ended => output,
            () = tokio::time::sleep(limit.unwrap_or(never)) => {
                tell(Signal::SIGKILL);
                ended.await
            }
            () = self.interrupt.raised(enough) => {
                tell(Signal::SIGINT);
                ended.await
            }
        };
        match output {
            Ok(output) => Ran {
                code: output.status.code().and_then(|code| u8::try_from(code).ok()),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => Ran { code: None, stdout: String::new(), stderr: error.to_string() },
        }
    }

    fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    async fn run_as(&self, credentials: Option<Credentials>) {
        *self.credentials.lock().await = credentials;
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}
