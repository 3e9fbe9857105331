//! What the user types: edited lines on a terminal, plain lines from a pipe. Each is read by a thread of its own,
//! since reading blocks, and the end of the program does not wait for it.

use std::io::BufRead;
use std::thread;

use rustyline::Editor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use tokio::sync::mpsc;

use super::ChatOptions;
use super::screen::Screen;
use crate::error::{Code, Error, Result};
use crate::host::keys::Terminal;

/// Lines that may wait to be sent before reading from a pipe pauses.
const WAITING: usize = 16;

pub(super) enum Typed {
    Line(String),
    /// Ctrl-D, the end of the input, or a terminal that is gone.
    End,
    /// Ctrl-C.
    Interrupt,
}

type Input = mpsc::Receiver<Typed>;

/// A line editor with a history that lasts as long as the chat.
pub(super) fn edited(options: &ChatOptions) -> Result<(Input, Screen, Option<Terminal>)> {
    let unusable = |e: ReadlineError| {
        Error::failed(Code::Terminal, format!("this terminal cannot be used: {e}"))
            .hint("pipe the messages in: `echo hello | chatctl chat`")
    };
    let terminal = Terminal::remember();
    // A pasted line is a message, as a typed one is.
    let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
    let mut editor =
        Editor::<(), MemHistory>::with_history(config.clone(), MemHistory::with_config(&config)).map_err(unusable)?;
    let screen = Screen::terminal(editor.create_external_printer().map_err(unusable)?, options.color);
    let prompt = options.name.as_ref().map_or("> ".to_owned(), |name| format!("{name}> "));
    let (typed, input) = mpsc::channel(WAITING);
    thread::spawn(move || {
        loop {
            let (next, last) = match editor.readline(&prompt) {
                Ok(line) => (Typed::Line(line), false),
                Err(ReadlineError::Interrupted) => (Typed::Interrupt, true),
                Err(_) => (Typed::End, true),
            };
            if typed.blocking_send(next).is_err() || last {
                return;
            }
        }
    });
    Ok((input, screen, terminal))
}

/// The lines of stdin.
pub(super) fn piped() -> Input {
    let (typed, input) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            let next = match stdin.read_until(b'\n', &mut line) {
                Ok(1..) => Typed::Line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned()),
                Ok(0) | Err(_) => Typed::End,
            };
            let last = matches!(next, Typed::End);
            if typed.blocking_send(next).is_err() || last {
                return;
            }
        }
    });
    input
}
