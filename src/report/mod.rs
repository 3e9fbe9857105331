//! The faces of the program: how progress and results reach people and machines.

pub mod difference;
pub mod github;
pub mod hints;
pub mod json;
pub mod plain;
pub mod style;
pub mod terminal;
pub mod text;
pub mod timings;

use std::sync::Arc;

use crate::config::Face;
use crate::error::Error;
use crate::host::Host;
use crate::progress::{Ended, Reporter};

/// The face for progress: live on a terminal, plain lines elsewhere, nothing when quiet.
pub fn reporter(face: Face, host: &Host) -> Arc<dyn Reporter> {
    if face.quiet {
        Arc::new(Silent)
    } else if host.stderr.is_terminal && !face.verbose && host.env.get("TERM") != Some("dumb") {
        Arc::new(terminal::Terminal::new(host, face))
    } else {
        Arc::new(plain::Plain::new(host.stderr.clone()))
    }
}

/// The face for work that is done again and again: what goes wrong or takes long, nothing when quiet.
pub fn brief_reporter(face: Face, host: &Host) -> Arc<dyn Reporter> {
    if face.quiet { Arc::new(Silent) } else { Arc::new(plain::Plain::brief(host.stderr.clone())) }
}

/// Prints nothing.
struct Silent;

impl Reporter for Silent {
    fn begin(&self, _task: &str, _doing: &'static str) {}
    fn waiting(&self, _task: &str, _what: &str) {}
    fn end(&self, _task: &str, _ended: Ended) {}
    fn note(&self, _text: &str) {}
}

/// An error, for people on stderr and, under `-o json`, as one document on stdout.
pub fn error(host: &Host, face: Face, error: &Error) {
    if face.json {
        host.stdout.line(&json::error(error));
    }
    host.stderr.prose(text::error(error, face.verbose, style::is_colored(face, host, &host.stderr)).trim_end());
    github::annotate(host, error);
}
