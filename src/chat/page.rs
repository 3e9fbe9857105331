//! The chat in the browser, as a page that this process serves on 127.0.0.1.

mod entrance;
mod server;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::json;
use tokio::process::Command;

use self::entrance::Entrance;
use crate::error::{Error, Exit, Result};
use crate::host::{Host, random};
use crate::report::json;
use crate::websocket::{Auth, Endpoint, Place};

#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Show the page in the user's browser; else only its address is printed.
    pub browser: bool,
    /// The page asks for signs of life: the chat has a route that gives them.
    pub keep_alive: bool,
    /// The address as a JSON document.
    pub json: bool,
}

/// Serves the page until interrupted. It leads to `endpoint`, and later to wherever `place` finds the chat.
///
/// # Errors
/// When the API wants headers, which a browser cannot send, or no port can be had.
pub async fn open(host: &Host, endpoint: &Endpoint, place: Arc<dyn Place>, options: OpenOptions) -> Result<Exit> {
    if let Auth::Headers(_) = endpoint.auth {
        return Err(Error::usage("a browser cannot send headers with a WebSocket handshake")
            .hint("let the authorizer read its token from the query"));
    }
    let server = server::Server::bind(endpoint, place, options.keep_alive).await?;
    let address = server.address();
    if options.json {
        host.stdout.line(&json::document("open", json!({ "url": endpoint.shown(), "address": address })));
    } else {
        host.stdout.line(&address);
    }
    host.stderr.line("open it in several tabs to chat with yourself; Ctrl-C ends it");
    // There for as long as the page is.
    let entrance = if options.browser { show(host, &server) } else { None };
    if options.browser && entrance.is_none() {
        host.stderr.line("no browser could be started; open the address by hand");
    }
    tokio::select! {
        () = server.serve() => Ok(Exit::Done),
        () = host.interrupt.raised(1) => Ok(Exit::Interrupted),
    }
}

/// Shows the page in the user's browser; none when there is nothing to show it with.
fn show(host: &Host, server: &server::Server) -> Option<Entrance> {
    let temp = host.cwd.join(host.env.get("TMPDIR").unwrap_or("/tmp"));
    let folder = format!("chatctl-{}", random().ok()?);
    let entrance = Entrance::create(&temp, &folder, &server.entrance().ok()?).ok()?;
    launch(&entrance.file()).then_some(entrance)
}

fn launch(file: &Path) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || Stdio::null();
    Command::new(opener).arg(file).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().is_ok()
}
