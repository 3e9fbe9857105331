//! The chat in the terminal, and for pipes.
//!
//! On a terminal there is a line to edit, and what others say appears above it. One's own message is the line just
//! typed, so the copy that the chat sends back is not shown; if none comes, that is. With piped input each line is
//! sent and everything received is printed, the own lines too.

mod conversation;
mod screen;
mod typing;

use std::time::Duration;

use crate::error::{Exit, Result};
use crate::host::Host;
use crate::websocket::{Endpoint, Place};

#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// Goes before each message: `ada: hello`.
    pub name: Option<String>,
    /// How long to listen after piped input has ended.
    pub wait: Duration,
    /// Ask for signs of life: the chat has a route that gives them.
    pub keep_alive: bool,
    /// Colours on a terminal.
    pub color: bool,
}

/// Chats at `endpoint` until the user has had enough, or the piped input is at its end; goes along to wherever `place`
/// finds the chat later.
///
/// # Errors
/// When the first connection fails (later ones are tried again), or piped lines could not be sent.
pub async fn chat(host: &Host, endpoint: &Endpoint, place: &dyn Place, options: &ChatOptions) -> Result<Exit> {
    let socket = tokio::select! {
        socket = endpoint.connect() => socket.map_err(|error| endpoint.failed(&error))?,
        () = host.interrupt.raised(1) => return Ok(Exit::Interrupted),
    };
    let interactive = host.stdin_is_terminal && host.stdout.is_terminal;
    // One that cannot move its cursor gets plain lines, and edits them itself.
    let can_edit = !matches!(host.env.get("TERM"), None | Some("" | "dumb" | "cons25" | "emacs"));
    let (typed, screen, _terminal) = if interactive && can_edit {
        typing::edited(options)?
    } else {
        (typing::piped(), screen::Screen::plain(host), None)
    };
    let mut conversation = conversation::Conversation::new(endpoint, place, options, screen, interactive);
    conversation.greet();
    tokio::select! {
        ended = conversation.run(socket, typed) => ended,
        () = host.stdout.gone() => Ok(Exit::Done),
        () = host.interrupt.raised(1) => Ok(Exit::Interrupted),
    }
}
