//! `init`: a commented settings file, what editors check it by, and an editable copy of the handlers; `schema`: the second
//! alone, for a file that is older than this program. Calls nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::cli::{self, Example};
use crate::config::Config;
use crate::error::{Error, Exit, Result};
use crate::handlers::embedded;
use crate::host::Host;
use crate::report;
use crate::report::hints::quoted;

/// Every setting, with its default, and the folder of the handlers set.
pub const SETTINGS: &str = include_str!("../../templates/chatctl.toml");

/// What `SETTINGS` names in its first line, so that an editor needs nothing but what lies beside it.
pub const SCHEMA: &str = include_str!("../../templates/chatctl.schema.json");
const SCHEMA_FILE: &str = "chatctl.schema.json";

/// The folder that `SETTINGS` names.
const HANDLERS: &str = "lambda";

/// What an example has beside the handlers of the chat: its settings, its own handler, and what else there is to it.
pub fn example(example: Example) -> &'static [(&'static str, &'static str)] {
    match example {
        Example::Echo => &[
            ("chatctl.toml", include_str!("../../templates/examples/echo/chatctl.toml")),
            ("lambda/echo.mjs", include_str!("../../templates/examples/echo/lambda/echo.mjs")),
        ],
        Example::Rooms => &[
            ("chatctl.toml", include_str!("../../templates/examples/rooms/chatctl.toml")),
            ("rooms.html", include_str!("../../templates/examples/rooms/rooms.html")),
            ("lambda/rooms.mjs", include_str!("../../templates/examples/rooms/lambda/rooms.mjs")),
        ],
    }
}

/// Writes the files into the folder, and prints their paths.
///
/// # Errors
/// A usage error that names the files that exist already, before any was written; a folder that takes none.
pub fn init(host: &Host, config: &Config, flags: &cli::Init) -> Result<Exit> {
    let folder = flags.folder.as_deref().unwrap_or(Path::new(""));
    let own = flags.example.map_or(&[("chatctl.toml", SETTINGS)][..], example);
    let beside = own.iter().chain(&[(SCHEMA_FILE, SCHEMA)]);
    let beside = beside.map(|(name, content)| (folder.join(name), content.as_bytes().to_vec()));
    let handlers = embedded().into_iter().map(|(name, content)| (folder.join(HANDLERS).join(name), content));
    let files: Vec<_> = beside.chain(handlers).collect();
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
    report::reporter(config.face, host).note(&next(folder, flags.example));
    Ok(Exit::Done)
}

pub fn schema(host: &Host) -> Exit {
    host.stdout.write(SCHEMA);
    Exit::Done
}

/// What to do with it.
fn next(folder: &Path, example: Option<Example>) -> String {
    let there = if folder == Path::new("") {
        String::new()
    } else {
        format!("cd {} && ", quoted(&folder.display().to_string()))
    };
    let try_it = match example {
        None => "",
        Some(Example::Echo) => "; then send {\"action\":\"echo\",\"data\":\"hello\"} to the URL",
        Some(Example::Rooms) => "; then open `rooms.html#URL` in two tabs, with the URL that it prints",
    };
    format!("hint: `{there}chatctl dev` brings it up on this machine, and every edit after that{try_it}")
}

/// Never over a file that somebody has made in the meantime.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(content)
}
