//! One run of the release binary: what it did, how long it took, and the most memory it had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use support::{Folder, chatctl};

/// What `--timings` tells in a result document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub doing: String,
    pub kind: String,
    pub name: String,
    pub phase: usize,
    pub after: Vec<usize>,
    /// When it had all that it waited for.
    pub from_ms: f64,
    pub calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub operation: String,
    pub from_ms: f64,
    pub to_ms: f64,
}

pub struct Run {
    pub wall: Duration,
    pub tasks: Vec<Task>,
}

/// The binary as users get it; built first, where it is not there yet.
pub fn release_binary() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    // What `cargo run` tells about this program would have build scripts run again.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        build.env_remove(name);
    }
    build.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    build.args(["build", "--release", "--package", "chatctl", "--bin", "chatctl", "--message-format=json"]);
    let built = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(built.status.success(), "the release build fails");
    let messages = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.expect("cargo says where the binary is")
}

/// An app with `routes` of its own, each with a function behind it.
pub async fn app(program: &Path, routes: usize) -> Folder {
    let folder = Folder::new();
    let program = program.to_str().expect("the path is UTF-8");
    chatctl(program).args(["init"]).cwd(&folder.0).run().await.expect(0);
    let settings = folder.0.join("chatctl.toml");
    let mut all = fs::read_to_string(&settings).expect("`init` writes it");
    for nth in 0..routes {
        let handler = folder.0.join(format!("lambda/own{nth}.mjs"));
        fs::write(handler, "export const handler = async () => ({});\n").expect("the folder takes files");
        all.push_str(&format!("\n[routes.own{nth}]\ntable = \"read\"\n"));
    }
    fs::write(settings, all).expect("the folder takes files");
    folder
}

/// Runs `chatctl ARGS` with the root user of `account` of the AWS behind `url`.
pub async fn run(program: &Path, args: &[&str], url: &str, account: &str) -> Run {
    let program = program.to_str().expect("the path is UTF-8");
    let timed = args.iter().copied().chain(["--timings", "-o", "json"]);
    let finished = chatctl(program).args(timed).credentials(url, account, "local").run().await;
    assert_eq!(finished.code, Some(0), "`chatctl {}` fails: {}", args.join(" "), finished.stderr);
    let mut document: serde_json::Value = serde_json::from_str(&finished.stdout).expect("the result is JSON");
    let tasks = serde_json::from_value(document["timings"].take()).expect("the result has timings");
    Run { wall: finished.elapsed, tasks }
}

/// How long `chatctl ARGS` takes that calls nobody: the median of many runs.
pub fn start_up(program: &Path, args: &[&str]) -> Duration {
    let mut times: Vec<Duration> = (0..41)
        .map(|_| {
            let began = Instant::now();
            let status = std::process::Command::new(program).args(args).stdout(Stdio::null()).status();
            assert!(status.expect("the binary runs").success(), "`chatctl {}` fails", args.join(" "));
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// The most memory that `chatctl up` has, in bytes; `VmHWM` only grows, so the last look before its end tells.
pub async fn peak_memory(program: &Path, url: &str, account: &str) -> Option<u64> {
    let home = Folder::new();
    let mut command = tokio::process::Command::new(program);
    command.arg("up").env("HOME", &home.0).env("AWS_ENDPOINT_URL", url).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", account).env("AWS_SECRET_ACCESS_KEY", "local");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary runs");
    let status = format!("/proc/{}/status", child.id()?);
    let mut peak = None;
    while child.try_wait().expect("it can be waited for").is_none() {
        peak = std::fs::read_to_string(&status).ok().and_then(|text| high_water(&text)).or(peak);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    peak
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
