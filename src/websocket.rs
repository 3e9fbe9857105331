//! The WebSocket client behind `verify`, `chat` and `open`: where to connect, how to prove who one is, what comes back.

mod proxy;
mod sign;
mod tls;

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use futures_util::{Sink, SinkExt, StreamExt};
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config, connect_async_tls_with_config};

use crate::error::{Error, Exit};
use crate::host::visible;

/// The largest frame and message that API Gateway takes, and the longest URL of a handshake (H1).
const FRAME_BYTES: usize = 32 * 1024;
pub const MESSAGE_BYTES: usize = 128 * 1024;
const URL_CHARS: usize = 4096;

/// A handshake runs a Lambda function, which may start cold and may take 29 s (G7).
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The service's reply to a client it does not want, where the handshake itself cannot say so (H2).
const POLICY_VIOLATION: u16 = 1008;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A deployed chat as a client sees it.
#[derive(Clone)]
pub struct Endpoint {
    /// `wss://…` or `ws://…`, stage included; one that was given may have a secret in its query.
    pub url: String,
    pub auth: Auth,
}

/// How a client proves who it is to the authorizer of `$connect`.
#[derive(Clone)]
pub enum Auth {
    None,
    /// A URL signed with Signature Version 4 for `execute-api`.
    Iam {
        credentials: SharedCredentialsProvider,
        region: String,
    },
    /// Names and values for a Lambda authorizer; not for browsers, which cannot set headers.
    Headers(Vec<(String, String)>),
    /// Names and values for a Lambda authorizer, added to the URL.
    Query(Vec<(String, String)>),
    /// A token that is offered as a subprotocol, beside a real one: the only place besides the URL that browsers have.
    Protocol(String),
}

/// Where a chat is, also once it has moved.
#[async_trait]
pub trait Place: Send + Sync {
    /// Where it is now; none where that cannot be told.
    async fn find(&self) -> Option<Endpoint>;
}

/// A chat that stays where it is.
#[async_trait]
impl Place for Endpoint {
    async fn find(&self) -> Option<Endpoint> {
        Some(self.clone())
    }
}

impl Endpoint {
    /// The URL for people and logs: without its query.
    pub fn shown(&self) -> String {
        without_query(&self.url)
    }

    /// The URL to connect to, with whatever proves who we are: good for one connection made soon, and secret.
    ///
    /// # Errors
    /// When there are no credentials to sign with, or the URL cannot be used.
    pub async fn address(&self) -> Result<String, ConnectError> {
        let address = match &self.auth {
            Auth::None | Auth::Headers(_) | Auth::Protocol(_) => self.url.clone(),
            Auth::Query(pairs) => with_query(&self.url, pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
            Auth::Iam { credentials, region } => sign::sign(&self.url, credentials, region).await?,
        };
        if address.len() > URL_CHARS {
            let what = format!("the URL has {} characters, API Gateway takes {URL_CHARS}", address.len());
            return Err(ConnectError::Unusable(what));
        }
        Ok(address)
    }

    /// The subprotocols to offer, of which one may be secret.
    pub fn protocols(&self) -> Vec<String> {
        match &self.auth {
            Auth::Protocol(token) => vec!["chatctl".to_owned(), format!("bearer.{token}")],
            _ => vec![],
        }
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When nobody answers, the service refuses, or who answers cannot be trusted.
    pub async fn connect(&self) -> Result<Socket, ConnectError> {
        let request = self.request().await?;
        let is_secure = request.uri().scheme_str() == Some("wss");
        let connector = is_secure.then(tls::connector).transpose()?;
        // Small buffers: thousands of clients live in one process.
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        let connecting = async {
            let tunnel = if is_secure { proxy::tunnel(request.uri()).await? } else { None };
            let (socket, _) = match tunnel {
                Some(stream) => client_async_tls_with_config(request, stream, Some(config), connector).await?,
                None => connect_async_tls_with_config(request, Some(config), true, connector).await?,
            };
            Ok(socket)
        };
        tokio::time::timeout(HANDSHAKE, connecting).await.unwrap_or(Err(ConnectError::Silent))
    }

    async fn request(&self) -> Result<Request, ConnectError> {
        let unusable = |what: &dyn fmt::Display| ConnectError::Unusable(format!("`{}`: {what}", self.shown()));
        let mut request = self.address().await?.into_client_request().map_err(|e| unusable(&e))?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("chatctl/", env!("CARGO_PKG_VERSION"))));
        if let Auth::Headers(pairs) = &self.auth {
            for (name, value) in pairs {
                let name = HeaderName::try_from(name).map_err(|e| unusable(&e))?;
                headers.append(name, HeaderValue::try_from(value).map_err(|e| unusable(&e))?);
            }
        }
        let protocols = self.protocols();
        if !protocols.is_empty() {
            let offered = HeaderValue::try_from(protocols.join(", ")).map_err(|e| unusable(&e))?;
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        Ok(request)
    }
}

/// `url` with `?…` for its query, in which tokens are.
pub fn without_query(url: &str) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(place, _)| format!("{place}?…"))
}

/// `url` with `pairs` added to its query.
fn with_query<'a>(url: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = url.to_owned();
    for (name, value) in pairs {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.extend(utf8_percent_encode(name, QUERY));
        url.push('=');
        url.extend(utf8_percent_encode(value, QUERY));
    }
    url
}

/// Everything but the characters that Signature Version 4 leaves as they are.
const QUERY: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The service answered the handshake with this HTTP status.
    Refused { status: u16, body: String },
    /// The service took the connection and closed it at once: how MiniStack refuses (H2).
    Closed { reason: String },
    /// Nobody there: no such host, no route.
    Unreachable(String),
    /// The host is there, but nobody listens.
    NoListener(String),
    /// Whoever answers cannot be trusted, or speaks no TLS.
    Untrusted { what: String, hint: &'static str },
    /// No answer in time.
    Silent,
    /// The URL, a header or the credentials are of no use: nothing was sent.
    Unusable(String),
}

impl ConnectError {
    /// A close frame that says "you are not wanted", if this is one.
    pub fn refusal(frame: Option<&CloseFrame>) -> Option<Self> {
        let frame = frame.filter(|frame| u16::from(frame.code) == POLICY_VIOLATION)?;
        Some(Self::Closed { reason: frame.reason.to_string() })
    }

    /// Whether another try can end better without anybody doing something, as while permissions spread (H13).
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status != 401,
            Self::Closed { .. } | Self::Unreachable(_) | Self::NoListener(_) | Self::Silent => true,
            Self::Untrusted { .. } | Self::Unusable(_) => false,
        }
    }

    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused { status: 401, .. } => {
                "the authorizer of `$connect` wants proof of who you are, such as `--token @FILE`"
            }
            Self::Refused { status: 403, .. } => {
                "the stage has no deployment, or the authorizer said no, or the URL names another stage"
            }
            Self::Refused { status: 404 | 410, .. } => {
                "the URL belongs to no deployed API; `chatctl status` shows the right one"
            }
            Self::Refused { status: 429, .. } => {
                "throttled: the account allows 500 new connections a second, and a stage may allow less"
            }
            Self::Refused { status: 500, .. } => {
                "the function behind `$connect` or its authorizer fails (see `chatctl logs --function onConnect`), or API Gateway may not call one of them, which `chatctl up` repairs"
            }
            Self::Refused { status: 502 | 504, .. } => {
                "the function behind `$connect` fails or takes too long; `chatctl logs --function onConnect` shows why"
            }
            Self::Closed { .. } => {
                "the function behind `$connect` or its authorizer fails or refuses; see `chatctl logs --function onConnect`"
            }
            Self::Unreachable(_) => "is the network up, and is the region right? `chatctl status` shows the URL",
            Self::NoListener(_) => {
                "does the URL name the right port? `chatctl local status` shows whether a local AWS runs"
            }
            Self::Untrusted { hint, .. } => hint,
            Self::Refused { .. } | Self::Silent | Self::Unusable(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, body } if body.is_empty() => {
                write!(f, "the handshake was refused with HTTP {status}")
            }
            Self::Refused { status, body } => write!(f, "the handshake was refused with HTTP {status}: {body}"),
            Self::Closed { reason } if reason.is_empty() => write!(f, "the connection was refused (closed with 1008)"),
            Self::Closed { reason } => write!(f, "the connection was refused (closed with 1008: {reason})"),
            Self::Unreachable(what) | Self::NoListener(what) => write!(f, "cannot be reached: {what}"),
            Self::Untrusted { what, .. } => write!(f, "the TLS handshake failed: {what}"),
            Self::Silent => write!(f, "the handshake got no answer within {} s", HANDSHAKE.as_secs()),
            Self::Unusable(what) => f.write_str(what),
        }
    }
}

impl Endpoint {
    /// What went wrong, and where, if the URL may be what is wrong.
    pub fn told(&self, error: &ConnectError) -> String {
        match error {
            ConnectError::Unreachable(_) | ConnectError::NoListener(_) => format!("`{}` {error}", self.shown()),
            ConnectError::Untrusted { .. } | ConnectError::Silent => format!("`{}`: {error}", self.shown()),
            ConnectError::Refused { .. } | ConnectError::Closed { .. } | ConnectError::Unusable(_) => error.to_string(),
        }
    }

    pub fn failed(&self, error: &ConnectError) -> Error {
        let code = match error {
            ConnectError::Refused { .. } | ConnectError::Closed { .. } => "Refused",
            ConnectError::Unreachable(_) | ConnectError::NoListener(_) => "Unreachable",
            ConnectError::Untrusted { .. } => "Untrusted",
            ConnectError::Silent => "Silent",
            ConnectError::Unusable(_) => "Unusable",
        };
        Error { hint: error.hint(), ..Error::new(Exit::Failed, code, self.told(error)) }
    }
}

impl From<tungstenite::Error> for ConnectError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => {
                let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                Self::Refused { status: response.status().as_u16(), body: visible(body.trim()) }
            }
            tungstenite::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Self::NoListener(error.to_string())
            }
            tungstenite::Error::Io(error) => tls::distrust(&error).unwrap_or(Self::Unreachable(error.to_string())),
            tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Self::Unusable(
                "the connection was accepted without a subprotocol; the local AWS never names one".to_owned(),
            ),
            tungstenite::Error::Tls(error) => Self::Untrusted { what: error.to_string(), hint: tls::NAME_HINT },
            tungstenite::Error::Url(error) => Self::Unusable(error.to_string()),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

/// The chat protocol's message that sends `data` to everybody (H11).
pub fn send_message(data: &str) -> String {
    serde_json::json!({ "action": "sendmessage", "data": data }).to_string()
}

/// The chat protocol's message that is answered to its sender alone, where there is a route for it.
pub const PING: &str = r#"{"action":"ping"}"#;

/// Sends a text message in frames that API Gateway takes: a bigger one would end the connection with 1009 (H1).
///
/// # Errors
/// When the connection is gone.
pub async fn send<S>(socket: &mut S, text: &str) -> tungstenite::Result<()>
where
    S: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    if text.len() <= FRAME_BYTES {
        return socket.send(Message::text(text)).await;
    }
    let mut opcode = Data::Text;
    let mut chunks = text.as_bytes().chunks(FRAME_BYTES).peekable();
    while let Some(chunk) = chunks.next() {
        let frame = Frame::message(chunk.to_vec(), OpCode::Data(opcode), chunks.peek().is_none());
        socket.feed(Message::Frame(frame)).await?;
        opcode = Data::Continue;
    }
    socket.flush().await
}

/// Says goodbye and waits for the answer, at most for `patience`, so that what was sent before is not lost.
pub async fn close(mut socket: Socket, patience: Duration) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // A connection that is already gone needs no goodbye.
    let _ = tokio::time::timeout(patience, async {
        socket.send(Message::Close(Some(frame))).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<(), tungstenite::Error>(())
    })
    .await;
}

/// What a received text means besides being a message of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The chat's own answer to the sender of a message without data: `{"chatctl":{"error":"…"}}`.
    Error(String),
    /// The answer to a [`PING`].
    Pong,
    /// The service's answer to an action that has no route (H8).
    Forbidden,
    /// The service's answer to one message too many (H20); it does not tell which.
    Throttled,
    /// The service's answer when a route fails (H7), or what MiniStack says instead: the function's error.
    Failed(String),
}

impl Notice {
    pub fn of(text: &str) -> Option<Self> {
        let Some(Value::Object(object)) = text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
        else {
            return None;
        };
        let text = |key| object.get(key).and_then(Value::as_str);
        // The handlers let nobody send a message that looks so.
        let ours = |key| object.get("chatctl").and_then(|ours: &Value| ours.get(key));
        if ours("pong").is_some() {
            Some(Self::Pong)
        } else if let Some(error) = ours("error").and_then(Value::as_str) {
            Some(Self::Error(error.to_owned()))
        } else if let (Some(message), Some(_), Some(_)) = (text("message"), text("connectionId"), text("requestId")) {
            Some(match message {
                "Forbidden" => Self::Forbidden,
                "Too Many Requests" => Self::Throttled,
                other => Self::Failed(other.to_owned()),
            })
        } else if let (Some(message), Some(_)) = (text("errorMessage"), text("errorType")) {
            Some(Self::Failed(message.to_owned()))
        } else {
            None
        }
    }
}

/// A close frame for people: `1001 going away`.
pub fn why_closed(frame: Option<&CloseFrame>) -> String {
    match frame {
        Some(frame) if frame.reason.is_empty() => u16::from(frame.code).to_string(),
        Some(frame) => format!("{} {}", u16::from(frame.code), visible(&frame.reason)),
        None => "without a word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_tokens_are_escaped_and_joined() {
        assert_eq!(with_query("wss://h/prod", [("token", "a b&c"), ("x", "1")]), "wss://h/prod?token=a%20b%26c&x=1");
        assert_eq!(with_query("wss://h/prod?a=1", [("b", "2")]), "wss://h/prod?a=1&b=2");
    }

    /// The function is what people edit, so it is looked at first.
    #[test]
    fn the_likeliest_cause_of_a_refusal_comes_first() {
        let refused = |status| ConnectError::Refused { status, body: String::new() };
        for error in [refused(500), refused(502), refused(504), ConnectError::Closed { reason: String::new() }] {
            let hint = error.hint().unwrap();
            assert!(hint.starts_with("the function behind `$connect` "), "{hint}");
            assert!(hint.contains("`chatctl logs --function onConnect`"), "{hint}");
        }
    }

    #[test]
    fn notices_are_told_from_messages() {
        assert_eq!(Notice::of(r#"{"chatctl":{"error":"no data"}}"#), Some(Notice::Error("no data".into())));
        assert_eq!(
            Notice::of(r#"{"message":"Forbidden","connectionId":"c","requestId":"r"}"#),
            Some(Notice::Forbidden)
        );
        let failed = Some(Notice::Failed("Internal server error".into()));
        assert_eq!(Notice::of(r#"{"message":"Internal server error","connectionId":"c","requestId":"r"}"#), failed);
        let throttled = r#"{"message":"Too Many Requests","connectionId":"c","requestId":"r"}"#;
        assert_eq!(Notice::of(throttled), Some(Notice::Throttled));
        assert_eq!(Notice::of(r#"{"message":"Forbidden"}"#), None);
        assert_eq!(Notice::of(r#"{"chatctl":{"pong":true}}"#), Some(Notice::Pong));
        assert_eq!(Notice::of(r#"{"error":"x"}"#), None);
        assert_eq!(Notice::of("{not json"), None);
        assert_eq!(Notice::of("hello"), None);
    }
}
