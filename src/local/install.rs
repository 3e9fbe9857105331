//! Puts MiniStack and the AWS SDK for Node.js into a private folder, every file of them checked against a pinned hash.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::child::{command, which};
use super::{ended, failed_io, own};
use crate::error::{Code, Error, Result};
use crate::host::{Env, private};
use crate::progress::Reporter;

/// What is installed, by name. The names are the ones that `pip`, `npm` and `Server::launch` look for.
const FILES: [(&str, &str); 6] = [
    ("requirements.txt", include_str!("../../templates/local/requirements.txt")),
    ("package.json", include_str!("../../templates/local/package.json")),
    ("package-lock.json", include_str!("../../templates/local/package-lock.json")),
    ("serve.py", include_str!("../../templates/local/serve.py")),
    ("guard.py", include_str!("../../templates/local/guard.py")),
    ("likeness.py", include_str!("../../templates/local/likeness.py")),
];

/// What MiniStack and its dependencies need.
const OLDEST_PYTHON: (u32, u32) = (3, 10);
/// What the AWS SDK for Node.js needs.
const OLDEST_NODE: u32 = 20;

/// A finished installation.
#[derive(Clone, Debug)]
pub struct Installation {
    pub folder: PathBuf,
}

impl Installation {
    pub(super) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// False when the Python that it was made with has since gone or become another.
    async fn works(&self, env: &Env) -> bool {
        let mut import = command(&self.python(), env);
        import.args(["-I", "-c", "import hypercorn, ministack"]).stdout(Stdio::null()).stderr(Stdio::null());
        import.status().await.is_ok_and(|status| status.success())
    }
}

/// The installation below `home`, made now if there is none. To be called by one process at a time.
///
/// It is made beside its place and then renamed, so whatever stands in its place is whole; its name is the hash of
/// all pins, so other pins are another installation.
///
/// # Errors
/// `MissingPython`, `MissingNode`, `MissingNpm`, `InstallFailed`; `LocalFolder` when `home` cannot be written.
pub async fn install(home: &Path, env: &Env, reporter: &dyn Reporter) -> Result<Installation> {
    own::check(home)?;
    let installation = Installation { folder: home.join(stamp()) };
    let works = own::is_marked(&installation.folder) && installation.works(env).await;
    if !works && installation.folder.exists() {
        let broken = partial(home);
        fs::rename(&installation.folder, &broken).map_err(|error| failed_io("move", &installation.folder, error))?;
    }
    clear(home, &installation.folder)?;
    if works {
        return Ok(installation);
    }
    let python = Python::find(env).await?;
    let npm = npm(env).await?;

    let partial = partial(home);
    own::make(&partial).map_err(|error| failed_io("create", &partial, error))?;
    for (name, text) in FILES {
        let path = partial.join(name);
        let written = private::file(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| failed_io("write", &path, error))?;
    }
    // Both to their end, so that both have told how they ended.
    let (ministack, sdk) = tokio::join!(
        watched(reporter, "MiniStack", python.install(&partial, env)),
        watched(reporter, "AWS SDK for Node.js", install_node_modules(&npm, &partial, env)),
    );
    if let Err(error) = ministack.and(sdk) {
        own::remove(&partial);
        return Err(error);
    }
    fs::rename(&partial, &installation.folder).map_err(|error| failed_io("create", &installation.folder, error))?;
    Ok(installation)
}

fn stamp() -> String {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(format!("{name}\0{text}\0"));
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// A place of its own: an installer whose parent was killed may still be at work in another one.
fn partial(home: &Path) -> PathBuf {
    home.join(format!("{PARTIAL}{:016x}", fastrand::u64(..)))
}

const PARTIAL: &str = ".partial-";

/// Whether an entry of the home is by its name an installation, whole or not.
pub(super) fn is_installation(name: &str) -> bool {
    match name.strip_prefix(PARTIAL) {
        Some(rest) => is_hex(rest, 16),
        None => is_hex(name, 12),
    }
}

pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Removes what killed installers and other versions have left. What is still being written to stays until next time.
fn clear(home: &Path, installation: &Path) -> Result<()> {
    let entries = fs::read_dir(home).map_err(|error| failed_io("read", home, error))?;
    for entry in entries.flatten() {
        if entry.path() != installation && entry.file_name().to_str().is_some_and(is_installation) {
            own::remove(&entry.path());
        }
    }
    Ok(())
}

/// The way to a Python environment on this machine.
pub enum Python {
    Uv(PathBuf),
    Itself(PathBuf),
}

impl Python {
    /// Prefers `uv`: it is fast, and it brings a Python where there is none.
    ///
    /// # Errors
    /// `MissingPython`, with what to install.
    pub async fn find(env: &Env) -> Result<Self> {
        if let Some(uv) = which(env, "uv") {
            return Ok(Self::Uv(uv));
        }
        let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
        let mut problem = "no Python was found".to_owned();
        for python in names.iter().filter_map(|name| which(env, name)) {
            let mut probe = command(&python, env);
            probe.args(["-I", "-c", "import sys; print(*sys.version_info[:2], flush=True); import ensurepip, venv"]);
            let Ok(output) = probe.output().await else { continue };
            let text = String::from_utf8_lossy(&output.stdout);
            let mut numbers = text.split_whitespace().map_while(|number| number.parse::<u32>().ok());
            let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { continue };
            if (major, minor) < OLDEST_PYTHON {
                problem = format!("`{}` is Python {major}.{minor}", python.display());
            } else if output.status.success() {
                return Ok(Self::Itself(python));
            } else {
                let name = python.display();
                return Err(Error::failed(Code::MissingPython, format!("the `venv` module of `{name}` is missing"))
                    .hint("install it (Debian and Ubuntu: `apt install python3-venv`), or install `uv`"));
            }
        }
        let (major, minor) = OLDEST_PYTHON;
        Err(Error::failed(
            Code::MissingPython,
            format!("the local AWS needs Python {major}.{minor} or newer: {problem}"),
        )
        .hint("install Python 3 (https://www.python.org/downloads), or `uv` (https://docs.astral.sh/uv)"))
    }

    /// Installs what `requirements.txt` in `folder` asks for into a new environment, `venv` in `folder`.
    ///
    /// # Errors
    /// `InstallFailed`, with the tail of the output.
    pub async fn install(&self, folder: &Path, env: &Env) -> Result<()> {
        let (venv, requirements) = (folder.join("venv"), folder.join("requirements.txt"));
        let python = venv.join("bin/python");
        let (venv, python, requirements) = (venv.as_os_str(), python.as_os_str(), requirements.as_os_str());
        match self {
            Self::Uv(uv) => {
                let oldest = format!(">={}.{}", OLDEST_PYTHON.0, OLDEST_PYTHON.1);
                run(env, uv, words(&["venv", "--no-project", "--python", &oldest]).chain([venv])).await?;
                let install = words(&["pip", "install", "--require-hashes", "-r"]);
                run(env, uv, install.chain([requirements, OsStr::new("--python"), python])).await
            }
            Self::Itself(system) => {
                run(env, system, words(&["-I", "-m", "venv"]).chain([venv])).await?;
                let install = words(&["-I", "-m", "pip", "install", "--require-hashes", "-r"]).chain([requirements]);
                // Most of it is never imported, and what is gets compiled then.
                let briefly = ["--no-compile", "--no-input", "--disable-pip-version-check", "--progress-bar=off"];
                run(env, Path::new(python), install.chain(words(&briefly))).await
            }
        }
    }
}

fn words<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a OsStr> {
    words.iter().map(OsStr::new)
}

/// `npm`, once it is clear that it and a Node.js that is new enough are there.
async fn npm(env: &Env) -> Result<PathBuf> {
    let missing = |problem: &str| {
        Error::failed(Code::MissingNode, format!("the local AWS needs Node.js {OLDEST_NODE} or newer: {problem}"))
            .hint("install Node.js with npm (https://nodejs.org/en/download)")
    };
    let node = which(env, "node").ok_or_else(|| missing("`node` was not found"))?;
    let output = command(&node, env).arg("--version").output().await;
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|number| number.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return Err(missing(&format!("`{}` is {version}", node.display())));
    }
    which(env, "npm").ok_or_else(|| {
        Error::failed(Code::MissingNpm, "the local AWS needs `npm`, which was not found beside Node.js")
            .hint("install it (Debian and Ubuntu: `apt install npm`)")
    })
}

async fn install_node_modules(npm: &Path, folder: &Path, env: &Env) -> Result<()> {
    let install = words(&["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--prefix"]);
    run(env, npm, install.chain([folder.as_os_str()])).await
}

/// Runs a step of the installation; its output is seen only if it fails.
async fn run(env: &Env, program: &Path, args: impl Iterator<Item = &OsStr>) -> Result<()> {
    let mut step = command(program, env);
    step.args(args).stdin(Stdio::null());
    let name = program.display();
    let output = step
        .output()
        .await
        .map_err(|error| Error::failed(Code::InstallFailed, format!("`{name}` could not be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let message = format!("`{name}` could not install the local AWS ({}):\n{}", output.status, tail(&said));
    Err(Error::failed(Code::InstallFailed, message)
        .hint("a re-run tries again; its package registry must be reachable"))
}

/// The last lines of what a program said, indented.
pub(super) fn tail(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("  {line}")).collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Reports on a task, with a sign of life every ten seconds.
async fn watched(reporter: &dyn Reporter, task: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
    reporter.begin(task, "installing");
    let mut work = std::pin::pin!(work);
    let began = Instant::now();
    let result = loop {
        match tokio::time::timeout(Duration::from_secs(10), &mut work).await {
            Ok(result) => break result,
            Err(_) => reporter.waiting(task, &format!("its download ({} s so far)", began.elapsed().as_secs())),
        }
    };
    reporter.end(task, ended(&result, "installed"));
    result
}
