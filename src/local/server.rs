//! One MiniStack process: how it is started, found again and ended.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::install::tail;
use super::{Installation, failed_io};
use crate::error::{Error, Result};
use crate::host::Env;

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// With this, `serve.py` says that it left the field to another one.
const ALREADY_RUNNING: i32 = 75;

/// Where a local AWS listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://127.0.0.1:PORT`, for every service.
    pub url: String,
    pub log: PathBuf,
}

impl Endpoint {
    /// What `/{apiId}/{stage}` is appended to: `ws://127.0.0.1:PORT/_aws/execute-api`.
    pub fn websocket_base(&self) -> String {
        format!("{}/_aws/execute-api", self.url.replacen("http", "ws", 1))
    }
}

/// How long a server lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is stopped, whatever becomes of us.
    Detached,
    /// As long as the `Child` that `launch` returns; not even a `SIGKILL` of ours leaves it behind.
    WithChild,
}

/// What `serve.py` writes down about itself.
#[derive(Deserialize)]
struct Record {
    pid: i32,
    port: u16,
    nonce: String,
    folder: PathBuf,
}

/// A place where at most one server runs: the file in which it writes down where it listens.
#[derive(Clone, Debug)]
pub struct Server {
    record: PathBuf,
}

impl Server {
    pub fn at(record: PathBuf) -> Self {
        Self { record }
    }

    /// The server, if it runs and answers by its own name. Whoever else has got its process id or its port is not taken
    /// for it.
    ///
    /// # Errors
    /// `LocalFolder` when the record cannot be read.
    pub async fn find(&self) -> Result<Option<Endpoint>> {
        let Some(record) = self.read()?.filter(Record::is_running) else { return Ok(None) };
        let answer = timeout(ANSWER_DEADLINE, nonce_at(record.port)).await;
        let is_ours = matches!(answer, Ok(Ok(nonce)) if nonce == record.nonce);
        Ok(is_ours
            .then(|| Endpoint { url: format!("http://127.0.0.1:{}", record.port), log: record.folder.join("log") }))
    }

    /// Starts a server and waits until it answers. Where another one was faster, its endpoint is returned.
    ///
    /// # Errors
    /// `StartFailed`, with the tail of the log.
    pub async fn launch(
        &self,
        installation: &Installation,
        env: &Env,
        lifetime: Lifetime,
    ) -> Result<(Endpoint, Child)> {
        let nonce = format!("{:032x}", fastrand::u128(..));
        // The functions are unpacked below this folder, so they find `node_modules` above it, as on AWS.
        let folder = installation.folder.join("run").join(&nonce);
        let log = folder.join("log");
        let open_log = || fs::create_dir_all(folder.join("tmp")).and_then(|()| File::create(&log));
        let output = open_log().map_err(|error| failed_io("create", &log, error))?;
        let errors = output.try_clone().map_err(|error| failed_io("open", &log, error))?;

        let mut command = Command::new(installation.python());
        command.arg(installation.folder.join("serve.py")).arg(&self.record).arg(&nonce);
        command.env_clear().envs(environment(env, &folder)).current_dir(&folder).stdout(output).stderr(errors);
        match lifetime {
            Lifetime::Detached => command.stdin(Stdio::null()),
            Lifetime::WithChild => command.arg("--until-eof").stdin(Stdio::piped()),
        };
        let failed = |what: &str| {
            let said = fs::read(&log).unwrap_or_default();
            Error::failed("StartFailed", format!("the local AWS {what}:\n{}", tail(&said)))
                .hint(format!("its whole log is `{}`", log.display()))
        };
        let mut child = command.spawn().map_err(|error| failed(&format!("could not be run ({error})")))?;

        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if let Some(endpoint) = self.find().await? {
                return Ok((endpoint, child));
            }
            match child.try_wait() {
                Ok(Some(status)) if status.code() != Some(ALREADY_RUNNING) => {
                    return Err(failed(&format!("ended at once ({status})")));
                }
                _ => sleep(POLL).await,
            }
        }
        let _ = child.start_kill();
        Err(failed(&format!("did not answer within {} s", START_DEADLINE.as_secs())))
    }

    /// Ends the server and all that it started, and removes what it wrote; says whether there was one. A process that
    /// is not ours is not touched, whatever the record says.
    ///
    /// # Errors
    /// `StopFailed` when it is still there after ten seconds.
    pub async fn stop(&self) -> Result<bool> {
        let Some(record) = self.read()? else { return Ok(false) };
        let pid = Pid::from_raw(record.pid);
        let was_there = record.is_running();
        if was_there {
            // Its last act is to kill its process group. If it cannot, we can.
            let _ = kill(pid, Signal::SIGTERM);
            if !record.ends().await {
                let _ = killpg(pid, Signal::SIGKILL);
                if !record.ends().await {
                    return Err(Error::failed("StopFailed", format!("process {pid}, the local AWS, does not end")));
                }
            }
        }
        if record.folder.ends_with(&record.nonce) {
            let _ = fs::remove_dir_all(&record.folder);
        }
        let _ = fs::remove_file(&self.record);
        Ok(was_there)
    }

    /// The record; one that is half there or not of our making counts as none.
    fn read(&self) -> Result<Option<Record>> {
        match fs::read(&self.record) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed_io("read", &self.record, error)),
        }
    }
}

impl Record {
    /// Process ids are used again, but no other process has our nonce in its command line.
    fn is_running(&self) -> bool {
        let command_line = if cfg!(target_os = "linux") {
            fs::read(format!("/proc/{}/cmdline", self.pid))
        } else {
            let mut ps = std::process::Command::new("ps");
            ps.args(["-ww", "-o", "command=", "-p", &self.pid.to_string()]).output().map(|output| output.stdout)
        };
        let Ok(command_line) = command_line else { return false };
        self.pid > 1 && String::from_utf8_lossy(&command_line).contains(&self.nonce)
    }

    async fn ends(&self) -> bool {
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }
}

/// Who listens on `port`. The socket listens before the server is ready, so one call also waits for it.
async fn nonce_at(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /_chatctl/nonce HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.take(4096).read_to_string(&mut response).await?;
    Ok(response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// What MiniStack sees, and with it every function: nothing of the user's own AWS configuration.
fn environment(env: &Env, folder: &Path) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.join(name).to_string_lossy().into_owned();
    // By the last two, GitHub Actions and Jenkins know what to sweep up when the job ends.
    let kept = ["PATH", "LANG", "LC_ALL", "TZ", "RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE"];
    let mut environment: Vec<_> = kept.into_iter().filter_map(|name| Some((name, env.get(name)?.to_owned()))).collect();
    environment.extend(
        [
            // Roles are enforced as on AWS; a root user (see `credentials`) may do all.
            ("AUTH", "true"),
            ("SERVICES", "apigateway,cloudformation,dynamodb,iam,kms,lambda,logs,s3,sts,tagging"),
            // With the domain of AWS, `requestContext.domainName` is such that handlers written for AWS work as they
            // are: MiniStack leads calls to that domain from within a function back to itself.
            ("MINISTACK_HOST", "us-east-1.amazonaws.com"),
            ("LAMBDA_EXECUTOR", "local"),
            ("DOCKER_HOST", "unix:///nonexistent"),
            // Listeners that nobody asked for.
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
            ("PERSIST_STATE", "0"),
            ("LOG_LEVEL", "WARNING"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // In every log of a function, where it runs on a Node.js that the SDK is about to leave behind.
            ("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true"),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    );
    environment.extend([("HOME", folder.to_string_lossy().into_owned()), ("TMPDIR", inside("tmp"))]);
    environment.extend([("STATE_DIR", inside("state")), ("S3_DATA_DIR", inside("s3"))]);
    environment
}
