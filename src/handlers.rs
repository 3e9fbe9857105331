//! The handlers as Lambda takes them: one reproducible zip a function, and its SHA-256 (L11).

mod folder;
pub mod schema;

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::app::{App, Function, FunctionName, QueueEnd, WORKER};
use crate::error::{Error, Result};

/// The code of one function.
pub struct Bundle {
    pub zip: Vec<u8>,
    /// Base64, as Lambda's `CodeSha256` has it.
    pub sha256: String,
    /// What is in it, and of how many bytes.
    pub files: Vec<(String, usize)>,
}

impl Bundle {
    /// A name that changes with the content.
    pub fn file_name(&self, function: &FunctionName) -> String {
        let hash: String = Sha256::digest(&self.zip).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{function}-{hash}.zip")
    }
}

/// The code of all functions, or of none where it does not matter; cheap to clone.
#[derive(Clone, Default)]
pub struct Bundles {
    of: Arc<BTreeMap<FunctionName, Bundle>>,
    /// What is in one zip or in all.
    files: Arc<[String]>,
}

/// What is built in, by path within the zip.
const EMBEDDED: [(&str, &str); 12] = [
    ("aws.mjs", include_str!("../lambda/aws.mjs")),
    ("broadcast.mjs", include_str!("../lambda/broadcast.mjs")),
    ("checkpoint.mjs", include_str!("../lambda/checkpoint.mjs")),
    ("delivery.mjs", include_str!("../lambda/delivery.mjs")),
    ("http.mjs", include_str!("../lambda/http.mjs")),
    ("log.mjs", include_str!("../lambda/log.mjs")),
    ("onConnect.mjs", include_str!("../lambda/onConnect.mjs")),
    ("onDisconnect.mjs", include_str!("../lambda/onDisconnect.mjs")),
    ("paced.mjs", include_str!("../lambda/paced.mjs")),
    ("posts.mjs", include_str!("../lambda/posts.mjs")),
    ("receivers.mjs", include_str!("../lambda/receivers.mjs")),
    ("sendMessage.mjs", include_str!("../lambda/sendMessage.mjs")),
];

/// What checks tokens, by path within its zip. It is never of a folder, so that a repair of it comes with a new version.
const AUTHORIZER: [(&str, &str); 3] = [
    ("authorizer.mjs", include_str!("../lambda/authorizer.mjs")),
    ("issuer.mjs", include_str!("../lambda/issuer.mjs")),
    ("jwt.mjs", include_str!("../lambda/jwt.mjs")),
];

/// What Lambda takes for an entry file, the handler being `<function>.handler`.
const ENTRY_ENDINGS: [&str; 3] = ["mjs", "js", "cjs"];

/// Bytes of a zip that is sent with the call, and of what comes out of it (L11).
const LARGEST_ZIP: usize = 50 * 1024 * 1024;
const LARGEST_CONTENT: usize = 250 * 1024 * 1024;

type Files = BTreeMap<String, Vec<u8>>;

impl Bundles {
    /// The handlers of `app`: those built in, or those in `folder`.
    ///
    /// # Errors
    /// A usage error where the folder cannot be read, lacks a handler, or holds more than Lambda takes.
    pub fn load(app: &App, folder: Option<&Path>) -> Result<Self> {
        let files = match folder {
            Some(folder) => folder::read(folder)?,
            None => embedded(),
        };
        let of = app.functions().iter().map(|f| Ok((f.name.clone(), bundle(app, &files, f, folder)?)));
        Ok(Self { of: Arc::new(of.collect::<Result<_>>()?), files: files.into_keys().collect() })
    }

    /// The paths of all that was packed.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The paths of the files that functions of `app` begin with.
    pub fn entries(&self, app: &App) -> Vec<String> {
        let is_entry =
            |path: &&String| app.functions().iter().any(|function| is_entry_of(path, function.name.as_str()));
        self.files.iter().filter(is_entry).cloned().collect()
    }

    /// The code of `function`, of a run that may need it.
    pub fn of(&self, function: &FunctionName) -> &Bundle {
        match self.of.get(function) {
            Some(bundle) => bundle,
            None => unreachable!("no function is called {function}"),
        }
    }

    /// The hash of `function`; none in a run that needs no handlers.
    pub fn sha256(&self, function: &FunctionName) -> Option<&str> {
        self.of.get(function).map(|bundle| bundle.sha256.as_str())
    }
}

/// The files that are built in: what `init` writes for editing.
pub fn embedded() -> Files {
    files(&EMBEDDED)
}

fn files(of: &[(&str, &str)]) -> Files {
    of.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// The handler of `function` that is built in, with what it imports, as one CommonJS file: what CloudFormation makes
/// of code within a template.
pub fn inline(function: &Function) -> String {
    let entry = format!("{}.mjs", function.name);
    let mut text = format!("'use strict';\n// {entry} with what it imports, put into one file by chatctl.\n");
    let imported: &[&str] = match function.queue_end {
        _ if function.authorizes => &["jwt.mjs", "issuer.mjs"],
        Some(QueueEnd::Receives) => {
            &["http.mjs", "aws.mjs", "receivers.mjs", "log.mjs", "posts.mjs", "paced.mjs", "checkpoint.mjs"]
        }
        _ if function.posts_to_connections => {
            &["http.mjs", "aws.mjs", "receivers.mjs", "log.mjs", "posts.mjs", "delivery.mjs"]
        }
        _ => &["http.mjs", "aws.mjs"],
    };
    for path in imported.iter().copied().chain([entry.as_str()]) {
        let module =
            EMBEDDED.iter().chain(&AUTHORIZER).find(|(known, _)| *known == path).map_or("", |(_, module)| module);
        text.push('\n');
        for line in module.lines().filter(|line| !(line.starts_with("import ") && line.contains(" from './"))) {
            text.push_str(&common_js(line));
            text.push('\n');
        }
    }
    text.push_str("\nexports.handler = handler;\n");
    text
}

/// A line of one of our modules, all of which import and export at the beginning of a line.
fn common_js(line: &str) -> String {
    let import = line.strip_prefix("import ").and_then(|rest| rest.strip_suffix(';')?.split_once(" from "));
    match import {
        Some((names, module)) => format!("const {} = require({module});", names.replace(" as ", ": ")),
        None => line.strip_prefix("export ").unwrap_or(line).to_owned(),
    }
}

fn is_entry_of(path: &str, function: &str) -> bool {
    let ending = path.strip_prefix(function).and_then(|rest| rest.strip_prefix('.'));
    ending.is_some_and(|ending| ENTRY_ENDINGS.contains(&ending))
}

/// A function's zip has everything but the entry files of the others, so that a change of one handler is a change
/// of one function. Nothing in it tells when or where it was made.
fn bundle(app: &App, files: &Files, function: &Function, folder: Option<&Path>) -> Result<Bundle> {
    let Function { name: function, declared_at, authorizes, .. } = function;
    if *authorizes {
        return packed(self::files(&AUTHORIZER).iter(), None);
    }
    if !files.keys().any(|path| is_entry_of(path, function.as_str())) {
        let place = declared_at.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        return Err(Error::usage(format!("{place}there is no handler `{function}.mjs`{}", within(folder)))
            .hint("`chatctl init` writes a complete folder to begin with"));
    }
    // The worker's too where it is no function: what is delivered how does not change the others.
    let names = || app.functions().iter().map(|other| other.name.as_str()).chain([WORKER]);
    let others = || names().filter(|other| *other != function.as_str());
    let own = files.iter().filter(|(path, _)| !others().any(|other| is_entry_of(path, other)));
    packed(own, folder)
}

fn packed<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)> + Clone, folder: Option<&Path>) -> Result<Bundle> {
    let sizes = files.clone().map(|(path, content)| (path.clone(), content.len())).collect();
    let zip =
        zip(files).map_err(|error| Error::usage(format!("cannot pack the handlers{}: {error}", within(folder))))?;
    if zip.len() > LARGEST_ZIP {
        return Err(too_large(folder, "the zip", LARGEST_ZIP));
    }
    let sha256 = STANDARD.encode(Sha256::digest(&zip));
    Ok(Bundle { zip, sha256, files: sizes })
}

fn too_large(folder: Option<&Path>, what: &str, limit: usize) -> Error {
    let within = within(folder);
    Error::usage(format!("the handlers{within} are too large for Lambda: {what} has more than {} MB", limit >> 20))
}

fn within(folder: Option<&Path>) -> String {
    folder.map_or_else(String::new, |folder| format!(" in `{}`", folder.display()))
}

fn zip<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path, options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}
