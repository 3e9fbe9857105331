//! What a program that we start is given: no working directory but `/`, and of the environment only what it needs.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::host::Env;

/// By name: where programs are and where they may write, how text is to be shown, how the network and the package
/// registries are reached, whose certificates are trusted, and where a version manager keeps its Python and Node.js.
/// Nothing of AWS, and nothing that makes an interpreter load code.
const NAMES: [&str; 47] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_CACHE_DIR",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_CACHE_DIR",
    "UV_NATIVE_TLS",
    "UV_PYTHON_INSTALL_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "VOLTA_HOME",
    // Where the Python of GitHub's `setup-python` finds its own library.
    "LD_LIBRARY_PATH",
    "NODE_USE_SYSTEM_CA",
];

/// npm reads its settings from variables in either case; these are the ones that say where packages come from.
const NPM_SETTINGS: [&str; 8] =
    ["registry", "userconfig", "globalconfig", "cache", "cafile", "proxy", "https_proxy", "noproxy"];

/// `program`, to be given arguments.
pub fn command(program: &Path, env: &Env) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment(env)).current_dir("/").kill_on_drop(true);
    command
}

/// The variables of `env` that a child may have.
pub(super) fn environment(env: &Env) -> impl Iterator<Item = (&str, String)> {
    let is_npm = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("npm_config_").is_some_and(|setting| NPM_SETTINGS.contains(&setting))
    };
    let kept = env.0.iter().filter(move |(name, _)| NAMES.contains(&name.as_str()) || is_npm(name));
    kept.map(|(name, value)| (name.as_str(), if name == "PATH" { absolute(value) } else { value.clone() }))
}

/// The program of this name. A relative entry of `PATH` is passed over: it would mean whatever folder we are in.
pub fn which(env: &Env, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    folders(env.get("PATH")?).map(|folder| folder.join(name)).find(is_program)
}

fn absolute(path: &str) -> String {
    std::env::join_paths(folders(path)).ok().and_then(|path| path.into_string().ok()).unwrap_or_default()
}

fn folders(path: &str) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).filter(|folder| folder.is_absolute())
}
