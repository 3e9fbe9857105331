//! The chat in the browser, as a page that this process serves on 127.0.0.1.

mod entrance;
mod server;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinHandle;

use self::entrance::Entrance;
use self::server::Server;
use crate::error::{Error, Exit, Result};
use crate::host::{Env, Host, random};
use crate::local::which;
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
    let mut page = Page::serve(endpoint, place, options.keep_alive).await?;
    let address = page.address();
    if options.json {
        host.stdout.line(&json::document("open", json!({ "url": endpoint.shown(), "address": address })));
    } else {
        host.stdout.line(&address);
    }
    host.stderr.line("open it in several tabs to chat with yourself; Ctrl-C ends it");
    if options.browser {
        page.show(host);
    }
    host.interrupt.raised(1).await;
    Ok(Exit::Interrupted)
}

/// The page, which is there for as long as this is.
pub struct Page {
    server: Arc<Server>,
    serving: JoinHandle<()>,
    entrance: Option<Entrance>,
}

impl Page {
    /// # Errors
    /// When the API wants headers, which a browser cannot send, or no port can be had.
    pub async fn serve(endpoint: &Endpoint, place: Arc<dyn Place>, keep_alive: bool) -> Result<Self> {
        if let Auth::Headers(_) = endpoint.auth {
            return Err(Error::usage("a browser cannot send headers with a WebSocket handshake")
                .hint("let the authorizer read its token from the query"));
        }
        let server = Arc::new(Server::bind(endpoint, place, keep_alive).await?);
        let serving = server.clone();
        let serving = tokio::spawn(async move { serving.serve().await });
        Ok(Self { server, serving, entrance: None })
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Shows it in the user's browser, or says that there is none.
    pub fn show(&mut self, host: &Host) {
        self.entrance = self.shown(host);
        if self.entrance.is_none() {
            host.stderr.line("no browser could be started; open the address by hand");
        }
    }

    fn shown(&self, host: &Host) -> Option<Entrance> {
        let temp = host.cwd.join(host.env.get("TMPDIR").unwrap_or("/tmp"));
        let folder = format!("chatctl-{}", random().ok()?);
        let entrance = Entrance::create(&temp, &folder, &self.server.entrance().ok()?).ok()?;
        launch(&host.env, &entrance.file()).then_some(entrance)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// From `/`, so that neither the program nor what it starts is looked for in the working directory.
fn launch(env: &Env, file: &Path) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let Some(opener) = which(env, opener) else { return false };
    let quiet = || Stdio::null();
    Command::new(opener).arg(file).current_dir("/").stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().is_ok()
}
