//! The chat in the browser, as a page that this process serves on 127.0.0.1.

mod server;

use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Error, Exit, Result};
use crate::host::Host;
use crate::websocket::{Auth, Endpoint};

#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Show the page in the user's browser; else only its address is printed.
    pub browser: bool,
}

/// Serves the page until interrupted.
///
/// # Errors
/// When the API wants headers, which a browser cannot send, or no port can be had.
pub async fn open(host: &Host, endpoint: &Endpoint, options: OpenOptions) -> Result<Exit> {
    if let Auth::Headers(_) = endpoint.auth {
        return Err(Error::usage("a browser cannot send headers with a WebSocket handshake")
            .hint("let the authorizer read its token from the query"));
    }
    let server = server::Server::bind(endpoint).await?;
    let address = server.address();
    host.stdout.line(&address);
    host.stderr.line("open it in several tabs to chat with yourself; Ctrl-C ends it");
    if options.browser && !launch(&address) {
        host.stderr.line("no browser could be started; open the address by hand");
    }
    tokio::select! {
        () = server.serve() => Ok(Exit::Done),
        () = host.interrupt.raised(1) => Ok(Exit::Interrupted),
    }
}

/// Shows `address` in the user's browser; false when there is nothing to show it with.
fn launch(address: &str) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || Stdio::null();
    Command::new(opener).arg(address).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().is_ok()
}
