//! One MiniStack process: how it is started, found again and ended.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::install::{is_hex, is_installation, tail};
use super::{Installation, failed_io, own};
use crate::error::{Code, Error, Result};
use crate::host::{Env, private, random};

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// With this, `serve.py` says that it left the field to another one.
const ALREADY_RUNNING: i32 = 75;

/// Where a local AWS listens, and with what it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://127.0.0.1:PORT`, for every service.
    pub url: String,
    /// The account, as MiniStack has it for the root user.
    pub access_key: String,
    pub secret: String,
    pub log: PathBuf,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).field("access_key", &self.access_key).finish_non_exhaustive()
    }
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
#[serde(rename_all = "camelCase")]
struct Record {
    pid: i32,
    port: u16,
    nonce: String,
    folder: PathBuf,
    #[serde(default)]
    access_key: String,
    /// Empty where others may have read it; such a server is ended, but not spoken to.
    #[serde(default)]
    secret: String,
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

    /// The server, if it runs and proves that it knows the secret of the record. Whoever else has got its process id or
    /// its port is not taken for it.
    ///
    /// # Errors
    /// `LocalFolder` when the record cannot be read.
    pub async fn find(&self) -> Result<Option<Endpoint>> {
        let Some(record) = self.read()?.filter(|record| !record.secret.is_empty() && record.is_running()) else {
            return Ok(None);
        };
        let nonce = random()?;
        let answer = timeout(ANSWER_DEADLINE, asked(record.port, &nonce)).await;
        if !matches!(answer, Ok(Ok(proof)) if record.is_proven_by(&nonce, &proof)) {
            return Ok(None);
        }
        let url = format!("http://127.0.0.1:{}", record.port);
        let log = record.folder.join("log");
        Ok(Some(Endpoint { url, access_key: record.access_key, secret: record.secret, log }))
    }

    /// Whether a server was started here and has ended without being stopped.
    ///
    /// # Errors
    /// `LocalFolder` when the record cannot be read.
    pub fn was_lost(&self) -> Result<bool> {
        Ok(self.read()?.is_some_and(|record| !record.is_running()))
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
        own::check(&installation.folder)?;
        let nonce = random()?;
        // The functions are unpacked below this folder, so they find `node_modules` above it, as on AWS.
        let folder = installation.folder.join("run").join(&nonce);
        let log = folder.join("log");
        let open_log = || private::folders(&folder.join("tmp")).and_then(|()| private::file(&log));
        let output = open_log().map_err(|error| failed_io("create", &log, error))?;
        let errors = output.try_clone().map_err(|error| failed_io("open", &log, error))?;

        let mut command = Command::new(installation.python());
        command.arg("-I").arg(installation.folder.join("serve.py")).arg(&self.record).arg(&nonce);
        command.env_clear().envs(environment(env, &folder, lifetime)).current_dir("/").stdout(output).stderr(errors);
        match lifetime {
            Lifetime::Detached => command.stdin(Stdio::null()),
            Lifetime::WithChild => command.arg("--until-eof").stdin(Stdio::piped()),
        };
        let failed = |what: &str| {
            let said = fs::read(&log).unwrap_or_default();
            Error::failed(Code::StartFailed, format!("the local AWS {what}:\n{}", tail(&said)))
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
                    return Err(Error::failed(Code::StopFailed, format!("process {pid}, the local AWS, does not end")));
                }
            }
        }
        if record.has_its_folder() {
            let _ = fs::remove_dir_all(&record.folder);
        }
        let _ = fs::remove_file(&self.record);
        Ok(was_there)
    }

    /// The record; one that is half there or not of our making counts as none.
    fn read(&self) -> Result<Option<Record>> {
        let found = own::read(&self.record).map_err(|error| failed_io("read", &self.record, error))?;
        let Some((text, found)) = found else { return Ok(None) };
        let record = serde_json::from_slice::<Record>(&text).ok().filter(|record| is_hex(&record.nonce, 32));
        Ok(record
            .map(|record| if own::is_closed(&found) { record } else { Record { secret: String::new(), ..record } }))
    }
}

/// The command line of a process, where there is no `/proc`.
fn told_by_ps(pid: i32) -> io::Result<Vec<u8>> {
    let mut ps = std::process::Command::new("/bin/ps");
    let output = ps.env_clear().args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output()?;
    Ok(output.stdout)
}

impl Record {
    /// Process ids are used again, but no other process has our nonce in its command line.
    fn is_running(&self) -> bool {
        let command_line = if cfg!(target_os = "linux") {
            fs::read(format!("/proc/{}/cmdline", self.pid))
        } else {
            told_by_ps(self.pid)
        };
        let Ok(command_line) = command_line else { return false };
        self.pid > 1 && String::from_utf8_lossy(&command_line).contains(&self.nonce)
    }

    /// Whether its folder is where we make such folders: `INSTALLATION/run/NONCE`, without a link on the way.
    fn has_its_folder(&self) -> bool {
        let run = self.folder.parent();
        let Some((run, installation)) = run.and_then(|run| Some((run, run.parent()?))) else { return false };
        let is_named = |folder: &Path, name: &str| folder.file_name().is_some_and(|found| found == name);
        let has_names = is_named(&self.folder, &self.nonce)
            && is_named(run, "run")
            && installation.file_name().and_then(|name| name.to_str()).is_some_and(is_installation);
        has_names
            && [installation, run, &self.folder].iter().all(|folder| own::check(folder).is_ok())
            && own::is_marked(installation)
    }

    fn is_proven_by(&self, nonce: &str, proof: &str) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else { return false };
        mac.update(format!("chatctl alive {} {nonce}", self.port).as_bytes());
        let bytes = (0..proof.len() / 2).map(|at| u8::from_str_radix(proof.get(at * 2..at * 2 + 2)?, 16).ok());
        bytes.collect::<Option<Vec<u8>>>().is_some_and(|bytes| mac.verify_slice(&bytes).is_ok())
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

/// What the one that listens on `port` says to `nonce`. The socket listens before the server is ready, so one call also
/// waits for it.
async fn asked(port: u16, nonce: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request =
        format!("GET /_chatctl/alive?{nonce} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.take(4096).read_to_string(&mut response).await?;
    Ok(response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// What MiniStack sees, and with it every function: nothing of the user's own AWS configuration.
fn environment(env: &Env, folder: &Path, lifetime: Lifetime) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let services = match lifetime {
        Lifetime::Detached => "apigateway,dynamodb,iam,lambda,logs,sqs,sts",
        // Tests also deploy what `export` prints.
        Lifetime::WithChild => "apigateway,cloudformation,dynamodb,iam,kms,lambda,logs,s3,sqs,sts,tagging",
    };
    // By the last two, GitHub Actions and Jenkins know what to sweep up when the job ends.
    let kept = ["PATH", "LANG", "LC_ALL", "TZ", "RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE"];
    let mut environment: Vec<_> = kept.into_iter().filter_map(|name| Some((name, env.get(name)?.to_owned()))).collect();
    environment.extend(
        [
            // Roles are enforced as on AWS; a root user (see `credentials`) may do all.
            ("AUTH", "true"),
            ("SERVICES", services),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux has `/proc` instead, but there, too, it answers as macOS has it.
    #[test]
    fn ps_tells_the_whole_command_line_of_a_process_and_nothing_of_none() {
        let nonce = "0123456789abcdef".repeat(40);
        let mut process =
            std::process::Command::new("sh").args(["-c", "read _", &nonce]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = process.id().cast_signed();
        assert!(String::from_utf8(told_by_ps(pid).unwrap()).unwrap().contains(&nonce));
        drop(process.stdin.take());
        process.wait().unwrap();
        assert_eq!(told_by_ps(pid).unwrap(), b"");
    }
}
