//! `init`: a commented settings file, what editors check it by, and an editable copy of the handlers; `schema`: the second
//! alone, for a file that is older than this program. Calls nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::config::Config;
use crate::error::{Error, Exit, Result};
use crate::handlers::embedded;
use crate::host::Host;
use crate::report;

/// Every setting, with its default, and the folder of the handlers set.
pub const SETTINGS: &str = include_str!("../../templates/chatctl.toml");

/// What `SETTINGS` names in its first line, so that an editor needs nothing but what lies beside it.
pub const SCHEMA: &str = include_str!("../../templates/chatctl.schema.json");
const SCHEMA_FILE: &str = "chatctl.schema.json";

/// The folder that `SETTINGS` names.
const HANDLERS: &str = "lambda";

/// Writes the files into `folder`, and prints their paths.
///
/// # Errors
/// A usage error that names the files that exist already, before any was written; a folder that takes none.
pub fn init(host: &Host, config: &Config, folder: Option<&Path>) -> Result<Exit> {
    let folder = folder.unwrap_or(Path::new(""));
    let beside = [("chatctl.toml", SETTINGS), (SCHEMA_FILE, SCHEMA)];
    let beside = beside.map(|(name, content)| (folder.join(name), content.as_bytes().to_vec()));
    let handlers = embedded().into_iter().map(|(name, content)| (folder.join(HANDLERS).join(name), content));
    let files: Vec<_> = beside.into_iter().chain(handlers).collect();
    // A folder that is a link leads elsewhere, so it counts as something that is there already.
    let linked = (folder.join(HANDLERS), vec![]);
    let is_link = host.cwd.join(&linked.0).is_symlink();
    let existing: Vec<String> = files
        .iter()
        .filter(|(path, _)| host.cwd.join(path).symlink_metadata().is_ok())
        .chain(Some(&linked).filter(|_| is_link))
        .map(|(path, _)| format!("`{}`", path.display()))
        .collect();
    if !existing.is_empty() {
        let verb = if existing.len() == 1 { "exists" } else { "exist" };
        return Err(Error::usage(format!("{} {verb} already, nothing was written", existing.join(", ")))
            .hint("name another folder, or move them away first"));
    }
    for (path, content) in &files {
        write(&host.cwd.join(path), content)
            .map_err(|error| Error::usage(format!("cannot write `{}`: {error}", path.display())))?;
    }
    let paths: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    if config.face.json {
        host.stdout.line(&report::json::document("init", json!({ "files": paths })));
    } else {
        host.stdout.line(&paths.join("\n"));
    }
    Ok(Exit::Done)
}

pub fn schema(host: &Host) -> Exit {
    host.stdout.write(SCHEMA);
    Exit::Done
}

/// Never over a file that somebody has made in the meantime.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(content)
}
