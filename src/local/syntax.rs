//! Handlers are read by Node.js, where there is one, before anything is written: what it cannot parse, and what they
//! import and nobody has put there. Nothing of them runs.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
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
pub async fn check(env: &Env, folder: &Path, entries: &[String], skipped: impl Fn(&str)) -> Result<()> {
    let Some(node) = which(env, "node") else {
        skipped("the handlers were not checked: there is no Node.js here");
        return Ok(());
    };
    // Where it is now, since Node.js is started elsewhere.
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    let wish = json!({ "folder": folder, "entries": entries }).to_string();
    let mut node = command(&node, env);
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
    Err(Error::usage(format!("`{}{place}`: {what}{more}", path.display()))
        .hint("the functions would fail to start; nothing was touched"))
}
