//! The local AWS behind `--local`: MiniStack, installed in a private place, at most one per user, on 127.0.0.1.
//!
//! Its account lives as long as its process. `stop`, a crash and a reboot all end with the same thing, an empty
//! account: MiniStack saves its state only when it ends in peace, so to keep it would be a promise that a crash breaks.

mod child;
mod install;
mod own;
mod server;
pub mod syntax;

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::error::{Code, Error, Exit, Result};
use crate::host::{Env, Host};
use crate::progress::{Ended, Reporter};

pub use child::which;
pub use install::{Installation, Python, install};
pub use server::{Endpoint, Lifetime, Server};

/// The region of the local AWS where none is asked for.
pub const REGION: &str = "us-east-1";

/// The running local AWS; installs it on first use, and starts it where none runs.
///
/// Any number of `chatctl`s may do this at once, and any of them may be killed while it does.
///
/// # Errors
/// `MissingPython`, `MissingNode`, `MissingNpm` with what to install; `InstallFailed` and `StartFailed` with the tail
/// of the output of what failed; `Interrupted`.
pub async fn start(host: &Host, reporter: &dyn Reporter) -> Result<Endpoint> {
    let home = home(&host.env)?;
    let server = Server::at(home.join("instance.json"));
    own::claim(&home, is_known)?;
    if let Some(endpoint) = server.find().await? {
        return Ok(endpoint);
    }
    let start = async {
        let _lock = lock(&home, reporter).await?;
        if let Some(endpoint) = server.find().await? {
            return Ok(endpoint);
        }
        let installation = install(&home, &host.env, reporter).await?;
        // One that runs but does not answer is of no use to anybody.
        server.stop().await?;
        reporter.begin("local AWS", "starting");
        let started = server.launch(&installation, &host.env, Lifetime::Detached).await;
        reporter.end("local AWS", ended(&started, "started"));
        if started.is_ok() && geteuid().is_root() {
            reporter
                .note("warning: started as root, so the functions in the local AWS may do anything on this machine");
        }
        started.map(|(endpoint, _)| endpoint)
    };
    tokio::select! {
        started = start => started,
        () = host.interrupt.raised(1) => {
            Err(Error::new(Exit::Interrupted, Code::Interrupted, "interrupted while setting up the local AWS"))
        }
    }
}

/// The local AWS, if it runs and answers. Starts nothing, installs nothing.
///
/// # Errors
/// When the data folder cannot be read.
pub async fn find(host: &Host) -> Result<Option<Endpoint>> {
    match server(host)? {
        Some(server) => server.find().await,
        None => Ok(None),
    }
}

/// `NotRunning`: says that none runs, and whether one was killed, or went with a restart of the machine.
pub fn not_running(host: &Host) -> Error {
    let was_lost = server(host).is_ok_and(|server| server.is_some_and(|server| server.was_lost().unwrap_or(false)));
    let what = if was_lost {
        "the local AWS was killed, and its account is gone with all that was in it"
    } else {
        "no local AWS is running"
    };
    Error::failed(Code::NotRunning, what).hint("`chatctl up --local` starts one")
}

/// The place of the local AWS, if there is one yet; somebody else's is an error.
fn server(host: &Host) -> Result<Option<Server>> {
    let home = home(&host.env)?;
    if fs::symlink_metadata(&home).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    own::check(&home)?;
    Ok(Some(Server::at(home.join("instance.json"))))
}

/// What stands in our folder, by name.
fn is_known(name: &str) -> bool {
    matches!(name, "lock" | "port" | "port.new") || name.starts_with("instance.json") || install::is_installation(name)
}

/// Ends the local AWS, its functions and its account; says whether there was one.
///
/// # Errors
/// `StopFailed` when it does not end within ten seconds.
pub async fn stop(host: &Host) -> Result<bool> {
    match server(host)? {
        Some(server) => server.stop().await,
        None => Ok(false),
    }
}

/// Where installation and record are: below `CHATCTL_DATA_DIR`, or where this system keeps the data of programs.
fn home(env: &Env) -> Result<PathBuf> {
    let data = if let Some(folder) = env.get("CHATCTL_DATA_DIR") {
        PathBuf::from(folder)
    } else if let Some(folder) = env.get("XDG_DATA_HOME") {
        Path::new(folder).join("chatctl")
    } else if let Some(home) = env.get("HOME") {
        let data = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
        Path::new(home).join(data).join("chatctl")
    } else {
        return Err(Error::usage("there is no place for the local AWS: neither `HOME` nor `CHATCTL_DATA_DIR` is set"));
    };
    std::path::absolute(data.join("local"))
        .map_err(|error| Error::usage(format!("`{}` cannot be used as a folder: {error}", data.display())))
}

/// Waits for its turn to install and start. The lock ends with the file, so also when its holder is killed.
async fn lock(home: &Path, reporter: &dyn Reporter) -> Result<File> {
    const TASK: &str = "local AWS";
    let path = home.join("lock");
    let cannot = |error| failed_io("lock", &path, error);
    let file = own::lock_file(&path).map_err(cannot)?;
    let mut waits = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if !waits => {
                waits = true;
                reporter.begin(TASK, "starting");
                reporter.waiting(TASK, "another chatctl, which is setting it up");
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if waits {
        reporter.end(TASK, Ended::Done("found"));
    }
    Ok(file)
}

fn ended<T>(result: &Result<T>, done: &'static str) -> Ended {
    match result {
        Ok(_) => Ended::Done(done),
        Err(error) => Ended::Failed(error.message.clone()),
    }
}

fn failed_io(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::failed(Code::LocalFolder, format!("cannot {what} `{}`: {error}", path.display()))
        .hint("set `CHATCTL_DATA_DIR` to a folder that you may write to")
}
