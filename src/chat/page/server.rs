//! The local server behind `open`: one page, and one question, "where do I connect?".
//!
//! Whoever may ask is handed a way into the chat, so: only 127.0.0.1 is listened on, the path holds a random token,
//! a foreign `Host` (DNS rebinding) and requests from pages of other origins are refused, and nothing is cached. A
//! browser is let in by a second token, which is good for once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::entrance;
use crate::error::{Code, Error, Result};
use crate::host::random;
use crate::websocket::{Endpoint, Place};

/// `{{policy}}` says once more what the header says, `{{nonce}}` marks the page's own script and style.
const PAGE: &str = include_str!("../../../templates/chat.html");

/// No request of a browser for this page is longer, or takes longer.
const REQUEST_BYTES: usize = 16 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(10);

pub(super) struct Server {
    listener: TcpListener,
    site: Arc<Site>,
}

struct Site {
    at: SocketAddr,
    token: String,
    /// Until it has been used.
    once: Mutex<Option<String>>,
    chat: Mutex<Chat>,
    place: Arc<dyn Place>,
    keep_alive: bool,
}

/// Where the chat was when it was last looked for.
struct Chat {
    endpoint: Endpoint,
    /// A page was told, so who asks now has lost it, or comes later.
    told: bool,
}

impl Server {
    pub async fn bind(endpoint: &Endpoint, place: Arc<dyn Place>, keep_alive: bool) -> Result<Self> {
        let no_port = |e| Error::failed(Code::NoPort, format!("the page cannot be served on 127.0.0.1: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let at = listener.local_addr().map_err(no_port)?;
        let chat = Mutex::new(Chat { endpoint: endpoint.clone(), told: false });
        let site = Site { at, token: random()?, once: Mutex::default(), chat, place, keep_alive };
        Ok(Self { listener, site: Arc::new(site) })
    }

    pub fn address(&self) -> String {
        format!("http://{}/{}/", self.site.at, self.site.token)
    }

    /// An address that leads to the page, once.
    pub fn entrance(&self) -> Result<String> {
        let once = random()?;
        let address = format!("http://{}/{once}", self.site.at);
        *self.site.once.lock().unwrap_or_else(PoisonError::into_inner) = Some(once);
        Ok(address)
    }

    pub async fn serve(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let site = self.site.clone();
                    // A browser that goes away in the middle is its own business.
                    tokio::spawn(async move { timeout(REQUEST_TIME, site.converse(stream)).await });
                }
                // Out of files, for one: the next try may do better.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Site {
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let answer = match self.check(&String::from_utf8_lossy(&request)) {
            Ok(Asked::Page) => self.page()?,
            Ok(Asked::Entrance) => self.lead_in(),
            Ok(Asked::Endpoint) => self.where_to_connect().await,
            Err(status) => {
                Answer { status, kind: "text/plain", policy: "default-src 'none'".into(), body: status.into() }
            }
        };
        stream.write_all(answer.bytes().as_bytes()).await?;
        stream.shutdown().await
    }

    /// What `request` asks for, or the status with which it is refused.
    fn check(&self, request: &str) -> Result<Asked, &'static str> {
        let mut lines = request.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
        let header =
            |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        if header("host") != Some(self.at.to_string().as_str()) {
            return Err("421 Misdirected Request");
        }
        // Whoever comes from a file comes from elsewhere.
        if method == "GET" && self.is_let_in(path) {
            return Ok(Asked::Entrance);
        }
        // Pages of other ports of this machine count as the same site, but not as the same origin.
        if !matches!(header("sec-fetch-site"), None | Some("none" | "same-origin")) {
            return Err("403 Forbidden");
        }
        let asked = match path.strip_prefix('/').and_then(|path| path.strip_prefix(self.token.as_str())) {
            Some("/") => Asked::Page,
            Some("/endpoint") => Asked::Endpoint,
            _ => return Err("404 Not Found"),
        };
        if method == "GET" { Ok(asked) } else { Err("405 Method Not Allowed") }
    }

    fn is_let_in(&self, path: &str) -> bool {
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        once.take_if(|once| path.strip_prefix('/') == Some(once.as_str())).is_some()
    }

    /// Not a redirect, with which the browser would still come from elsewhere.
    fn lead_in(&self) -> Answer {
        let body = entrance::leading_to(&format!("/{}/", self.token));
        Answer { status: "200 OK", kind: "text/html; charset=utf-8", policy: "default-src 'none'".into(), body }
    }

    fn page(&self) -> io::Result<Answer> {
        let nonce = random().map_err(io::Error::other)?;
        let chat = self.known().endpoint.url.split(['/', '?']).take(3).collect::<Vec<_>>().join("/");
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
             connect-src 'self' {chat}; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'"
        );
        let body = PAGE.replace("{{policy}}", &policy).replace("{{nonce}}", &nonce);
        // Browsers take this one from the header alone.
        let policy = policy + "; frame-ancestors 'none'";
        Ok(Answer { status: "200 OK", kind: "text/html; charset=utf-8", policy, body })
    }

    fn known(&self) -> MutexGuard<'_, Chat> {
        self.chat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the chat anew once a page has been there: a local AWS that was started again has other ids.
    async fn where_to_connect(&self) -> Answer {
        let told = std::mem::replace(&mut self.known().told, true);
        let found = if told { self.place.find().await } else { None };
        let endpoint = {
            let mut known = self.known();
            known.endpoint = found.unwrap_or_else(|| known.endpoint.clone());
            known.endpoint.clone()
        };
        let (status, body) = match endpoint.address().await {
            Ok(url) => {
                ("200 OK", json!({ "url": url, "protocols": endpoint.protocols(), "keepAlive": self.keep_alive }))
            }
            Err(error) => ("502 Bad Gateway", json!({ "error": error.to_string() })),
        };
        Answer { status, kind: "application/json", policy: "default-src 'none'".into(), body: body.to_string() }
    }
}

enum Asked {
    Entrance,
    Page,
    Endpoint,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    policy: String,
    body: String,
}

impl Answer {
    fn bytes(&self) -> String {
        let Self { status, kind, policy, body } = self;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nContent-Security-Policy: {policy}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
