//! `chatctl.toml`: where it is, and what is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Settings;
use crate::error::{Error, Result};
use crate::host::Host;

/// Bytes of a settings file.
const LARGEST: u64 = 1024 * 1024;

/// The text that settings come from, for errors that are found after it was read.
#[derive(Default)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// `path:line:column` of the beginning of `span`.
    pub fn place(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// `error`, which is about what stands at `span`.
    pub fn locate(&self, span: &Range<usize>, error: Error) -> Error {
        Error { message: format!("{}: {}", self.place(span), error.message), ..error }
    }
}

/// The settings file: the one that was named, which must exist, or `chatctl.toml` where there is one.
pub(super) fn read(flags: &Settings, host: &Host) -> Result<Option<(Settings, Source)>> {
    let path = host.cwd.join(flags.config.as_deref().unwrap_or(Path::new("chatctl.toml")));
    let text = match regular(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => return Ok(None),
        Err(error) => return Err(Error::usage(format!("cannot read `{}`: {error}", path.display()))),
    };
    let source = Source { path, text };
    match toml::from_str(&source.text) {
        Ok(settings) => Ok(Some((settings, source))),
        Err(error) => Err(file_error(&source, &error)),
    }
}

/// The text of a regular file of a size that settings may have: what never ends, or waits for somebody to write, is
/// refused at once.
fn regular(path: &Path) -> io::Result<String> {
    // Asked before it is opened, because opening a FIFO waits.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it has more than 1 MB"));
    }
    Ok(text)
}

/// The folder that relative paths in the file start from.
pub(super) fn folder(named: Option<&Path>, host: &Host) -> PathBuf {
    named.and_then(Path::parent).map_or_else(|| host.cwd.clone(), |folder| host.cwd.join(folder))
}

/// Where in the file the error is, and what was probably meant.
fn file_error(source: &Source, error: &toml::de::Error) -> Error {
    let message = &error.message().replace("expected i32", "expected a whole number");
    let failure = source.locate(&error.span().unwrap_or_default(), Error::usage(message));
    match suggestion(message) {
        Some(key) => failure.hint(format!("did you mean `{key}`?")),
        None => failure,
    }
}

/// The nearest of the keys that serde lists behind an unknown one.
fn suggestion(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|key| (strsim::jaro_winkler(unknown, key), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}
