//! Handlers are read by Node.js, where there is one, before anything is written: what it cannot parse, and what they
//! import and nobody has put there. Nothing of them runs.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::child::{command, which};
use crate::error::{Error, Result};
use crate::host::Env;

const SCRIPT: &str = include_str!("syntax.mjs");
/// Reading is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What Node.js could not load.
#[derive(Deserialize)]
struct Flaw {
    /// Within the folder.
    file: String,
    /// From 1; 0 where that is not known.
    line: u32,
    what: String,
}

/// Reads the handlers `entries` of `folder` and what they import; `skipped` is told why, where it cannot be done.
///
/// # Errors
/// A usage error with the first flaw, by file and line.
pub async fn check(env: &Env, folder: &Path, entries: &[String], runtime: &str, skipped: impl Fn(&str)) -> Result<()> {
    let Some(program) = which(env, "node") else {
        skipped("the handlers were not checked: there is no Node.js here");
        return Ok(());
    };
    // Where it is now, since Node.js is started elsewhere.
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    let wish = json!({ "folder": folder, "entries": entries }).to_string();
    let mut node = command(&program, env);
    node.args([
        "--experimental-vm-modules",
        "--no-warnings",
        "--input-type=module",
        "--eval",
        SCRIPT,
        "--",
        "-",
        &wish,
    ]);
    let told = match timeout(PATIENCE, node.output()).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => {
            skipped("the handlers were not checked: this Node.js cannot do it");
            return Ok(());
        }
    };
    let flaws: Vec<Flaw> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let Some(Flaw { file, line, what }) = flaws.first() else { return Ok(()) };
    let more = match flaws.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let place = if *line == 0 { String::new() } else { format!(":{line}") };
    let path = folder.join(file);
    // A missing module is missing for every Node.js.
    let read_by = match version(command(&program, env)).await {
        Some(here) if major(&here) < major(runtime) && !what.starts_with("cannot find module") => {
            format!(" (says Node.js {here}; the functions run on {runtime}, which may take newer syntax)")
        }
        _ => String::new(),
    };
    Err(Error::usage(format!("`{}{place}`: {what}{read_by}{more}", path.display()))
        .hint("the functions would fail to start; nothing was touched"))
}

/// `20.11.1`, if this Node.js says so.
async fn version(mut node: Command) -> Option<String> {
    let output = timeout(PATIENCE, node.arg("--version").output()).await.ok()?.ok()?;
    let told = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned();
    Some(told).filter(|told| !told.is_empty())
}

/// 20 of `20.11.1`, 24 of `nodejs24.x`.
fn major(version: &str) -> Option<u32> {
    version.trim_start_matches("nodejs").split('.').next()?.parse().ok()
}
