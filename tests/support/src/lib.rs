//! What the integration tests stand on. Whatever it starts ends with the test that started it, even if that is killed.

mod account;
mod binary;
mod client;
mod hostile;
mod inworld;
mod issuer;
mod ministack;
mod node;
mod process;
mod proxy;
mod python;
pub mod schema;
pub mod settings;

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use chatctl::host::{Env, Host, Interrupt, Output};
use chatctl::progress::{self, Reporter};

pub use account::Account;
pub use binary::{Chatctl, Finished, Running, chatctl};
pub use client::{Client, eventually};
pub use hostile::{HOSTILE, is_harmless, is_plain};
pub use inworld::{
    ACCOUNT, Ended, Process, REGION, assert_nothing_left, assert_whole, brisk, problems, put_function, run,
};
pub use issuer::Issuer;
pub use ministack::{DataDir, Ministack, installation, ministack, private_ministack, sdk_config};
pub use node::axe;
pub use process::Service;
pub use proxy::{Call, Proxy};
pub use python::{Tools, microburst, moto, moto_with_deployments, python_tools};

/// The folder below `target/` in which tests keep what they download; as `CHATCTL_DATA_DIR` it spares a second download.
pub fn data_dir() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
        let folder = target.expect("tests run below a Cargo target folder").join("support");
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        folder
    };
    FOLDER.get_or_init(find).clone()
}

/// A surrounding for code that runs in the test itself: no environment, and nobody hears what it prints.
pub fn silent_host(cwd: &Path) -> Host {
    let nowhere = || Output::new(std::io::sink(), false);
    Host {
        env: Env::default(),
        cwd: cwd.to_owned(),
        stdin_is_terminal: false,
        stdout: nowhere(),
        stderr: nowhere(),
        interrupt: Interrupt::default(),
        aws: None,
    }
}

/// A new, empty folder below `target/`, removed with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    #[allow(clippy::new_without_default, reason = "it creates a folder")]
    pub fn new() -> Self {
        // The model of AWS seeds the generator that all share, so its numbers repeat.
        let folder = data_dir().join("tmp").join(format!("{:016x}", RandomState::new().build_hasher().finish()));
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds off all other tests, in this process and others, that ask for the same name.
async fn turn(name: &'static str) -> File {
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(data_dir().join(name)).expect("the target folder can be written to");
        file.lock().expect("files can be locked");
        file
    });
    locked.await.expect("nothing in it panics")
}

/// The environment of the test, for what installs and starts things.
fn env() -> Env {
    Env(std::env::vars().collect())
}

/// Tells the work as it goes, on stderr.
pub struct Told;

impl Reporter for Told {
    fn begin(&self, task: &str, doing: &'static str) {
        eprintln!("{task}: {doing}");
    }

    fn waiting(&self, task: &str, what: &str) {
        eprintln!("{task}: waiting for {what}");
    }

    fn end(&self, task: &str, ended: progress::Ended) {
        eprintln!("{task}: {ended:?}");
    }

    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}
