//! A chat server that speaks the contract's protocol over real sockets, and fails in the ways one asks for; beside it
//! as much of DynamoDB and CloudWatch Logs as the client side reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong; by default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next so many handshakes are refused …
    pub refusals: usize,
    /// … in this way.
    pub refuse_with: Refusal,
    /// … and after those, no handshake gets an answer.
    pub mute: bool,
    /// Takes connections without naming any of the subprotocols that are offered.
    pub names_no_protocol: bool,
    /// Every `n`th connection receives no broadcast.
    pub deaf: Option<usize>,
    /// Broadcasts are kept back, and told by [`ChatServer::let_go`].
    pub held: bool,
    /// Every `n`th connection receives each broadcast twice.
    pub echoing: Option<usize>,
    /// MiniStack's way: nothing comes back for an action without a route.
    pub silent_unknown_action: bool,
    /// `sendmessage` has no route.
    pub no_route: bool,
    /// What the service says instead of broadcasting.
    pub broken_route: Option<Value>,
    /// What the route `join` answers its sender; without, there is none.
    pub joined: Option<Value>,
    /// There is a route `ping`.
    pub keep_alive: bool,
    /// The next so many messages are one too many for the route's throttle.
    pub throttled: usize,
    /// Who is told that `data` is missing.
    pub error_goes_to: ErrorGoesTo,
    /// Who leaves stays in the table.
    pub rows_stay: bool,
    /// Who comes does not get into the table.
    pub no_rows: bool,
    /// DynamoDB and CloudWatch Logs refuse to answer.
    pub access_denied: bool,
    /// How many seconds the clock of AWS is behind that of this machine.
    pub behind: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum Refusal {
    /// As API Gateway does it.
    #[default]
    Forbidden,
    Status(u16),
    /// As MiniStack does it: accept, then close with 1008.
    Close,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorGoesTo {
    #[default]
    Sender,
    Everybody,
    Nobody,
}

#[derive(Clone)]
pub struct ChatServer {
    pub url: String,
    aws_url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: Mutex<Faults>,
    connections: Mutex<BTreeMap<usize, mpsc::UnboundedSender<Message>>>,
    /// How many have come so far, and how many are there now.
    counts: watch::Sender<(usize, usize)>,
    rows: Mutex<BTreeSet<String>>,
    kept: Mutex<Vec<String>>,
    /// The path and query of each handshake, and its `x-token` header.
    handshakes: Mutex<Vec<(String, Option<String>)>>,
    /// The payload of every frame received.
    received: watch::Sender<Vec<String>>,
    /// Log group → events.
    logs: Mutex<BTreeMap<String, Vec<Value>>>,
    /// How often a log was read for the date of the answer alone.
    clock_reads: AtomicUsize,
}

impl ChatServer {
    pub async fn start() -> Self {
        Self::start_with(Faults::default()).await
    }

    pub async fn start_with(faults: Faults) -> Self {
        Self::start_behind(None, faults).await
    }

    /// Speaks TLS as `localhost` and as `chat.test`; also gives the certificate, which nobody trusts yet, in PEM.
    pub async fn start_with_tls() -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost", "chat.test"].map(str::to_owned)).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let server = Self::start_behind(Some(TlsAcceptor::from(Arc::new(config))), Faults::default()).await;
        (server, made.cert.pem())
    }

    async fn start_behind(tls: Option<TlsAcceptor>, faults: Faults) -> Self {
        let chat = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let aws = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (scheme, name) = if tls.is_some() { ("wss", "localhost") } else { ("ws", "127.0.0.1") };
        let server = Self {
            url: format!("{scheme}://{name}:{}/prod", chat.local_addr().unwrap().port()),
            aws_url: format!("http://{}", aws.local_addr().unwrap()),
            state: Arc::new(State { faults: Mutex::new(faults), ..State::default() }),
        };
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = chat.accept().await {
                let _ = stream.set_nodelay(true);
                let (state, tls) = (state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => state.serve(stream).await,
                        // A client that trusts nobody goes away in the middle.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                state.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = aws.accept().await {
                tokio::spawn(state.clone().serve_aws(stream));
            }
        });
        server
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.faults.lock().unwrap());
    }

    /// An AWS configuration whose DynamoDB and CloudWatch Logs are this server's.
    pub fn aws(&self) -> SdkConfig {
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .http_client(http.build_https())
            .endpoint_url(&self.aws_url)
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .build()
    }

    pub fn log(&self, function: &str, id: &str, at: i64, message: &str) {
        let event = json!({ "eventId": id, "timestamp": at, "message": message, "logStreamName": "s" });
        let mut logs = self.state.logs.lock().unwrap();
        logs.entry(format!("/aws/lambda/{function}")).or_default().push(event);
    }

    pub fn clock_reads(&self) -> usize {
        self.state.clock_reads.load(Ordering::Relaxed)
    }

    /// Puts a row into the table that belongs to nobody here.
    pub fn add_row(&self, id: &str) {
        self.state.rows.lock().unwrap().insert(id.to_owned());
    }

    pub fn broadcast(&self, text: &str) {
        self.state.broadcast(text);
    }

    /// Ends the holding back of broadcasts, and tells those that were kept.
    pub fn let_go(&self) {
        self.set(|faults| faults.held = false);
        let kept = std::mem::take(&mut *self.state.kept.lock().unwrap());
        for text in &kept {
            self.broadcast(text);
        }
    }

    /// Ends every connection as API Gateway does when it has been idle or there for long enough.
    pub fn go_away(&self) {
        let frame = CloseFrame { code: CloseCode::Away, reason: "Going away".into() };
        let close = Message::Close(Some(frame));
        for outbox in std::mem::take(&mut *self.state.connections.lock().unwrap()).into_values() {
            let _ = outbox.send(close.clone());
        }
    }

    /// Cuts every connection without a word.
    pub fn drop_connections(&self) {
        self.state.connections.lock().unwrap().clear();
    }

    /// Waits until so many connections have come since the start.
    pub async fn arrivals(&self, wanted: usize) {
        self.counted(|(come, _)| come >= wanted).await;
    }

    /// Waits until so many connections are there.
    pub async fn present(&self, wanted: usize) {
        self.counted(|(_, present)| present == wanted).await;
    }

    async fn counted(&self, enough: impl Fn((usize, usize)) -> bool) {
        let mut counts = self.state.counts.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, counts.wait_for(|counts| enough(*counts))).await;
        assert!(waiting.is_ok(), "come and present: {:?}", *self.state.counts.borrow());
    }

    /// Waits until a frame with `text` in it has been received.
    pub async fn received(&self, text: &str) {
        self.until(|frames| frames.iter().any(|frame| frame.contains(text))).await;
    }

    /// Waits until so far `enough` frames have been received.
    #[track_caller]
    pub fn until(&self, enough: impl Fn(&[String]) -> bool) -> impl Future<Output = ()> {
        let mut received = self.state.received.subscribe();
        async move {
            let waiting = tokio::time::timeout(PATIENCE, received.wait_for(|frames| enough(frames))).await;
            assert!(waiting.is_ok(), "waited in vain; received: {:?}", *self.state.received.borrow());
        }
    }

    pub fn frames(&self) -> Vec<String> {
        self.state.received.borrow().clone()
    }

    pub fn handshakes(&self) -> Vec<(String, Option<String>)> {
        self.state.handshakes.lock().unwrap().clone()
    }
}

impl State {
    fn faults(&self) -> Faults {
        self.faults.lock().unwrap().clone()
    }

    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let refusal = {
            let mut faults = self.faults.lock().unwrap();
            faults.refusals.checked_sub(1).map(|left| {
                faults.refusals = left;
                faults.refuse_with
            })
        };
        if refusal.is_none() && self.faults.lock().unwrap().mute {
            return std::future::pending().await;
        }
        #[allow(clippy::result_large_err, reason = "the callback's type is given")]
        let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let offered = header("sec-websocket-protocol");
            let named =
                offered.iter().flat_map(|offers| offers.split(", ")).find(|offer| !offer.starts_with("bearer."));
            if let Some(named) = named.filter(|_| !self.faults().names_no_protocol) {
                response.headers_mut().insert("sec-websocket-protocol", named.parse().unwrap());
            }
            self.handshakes.lock().unwrap().push((request.uri().to_string(), header("x-token").or(offered)));
            let status = match refusal {
                Some(Refusal::Forbidden) => 403,
                Some(Refusal::Status(status)) => status,
                Some(Refusal::Close) | None => return Ok(response),
            };
            let body = Some(r#"{"message":"Forbidden"}"#.to_owned());
            Err(http::Response::builder().status(status).body(body).unwrap())
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
        if refusal.is_some() {
            let frame = CloseFrame { code: CloseCode::Policy, reason: "Connection rejected".into() };
            let _ = socket.close(Some(frame)).await;
            while let Some(Ok(_)) = socket.next().await {}
            return;
        }
        let (outbox, mut mail) = mpsc::unbounded_channel();
        let me = self.arrive(outbox);
        loop {
            tokio::select! {
                letter = mail.recv() => match letter {
                    Some(letter) => if socket.feed(letter).await.and(socket.flush().await).is_err() { break },
                    None => break,
                },
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.handle(me, &text),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        self.leave(me);
    }

    /// Gives the new connection its number.
    fn arrive(&self, outbox: mpsc::UnboundedSender<Message>) -> usize {
        // The lock is held until it is counted, so that no two get the same number.
        let mut connections = self.connections.lock().unwrap();
        let me = self.counts.borrow().0 + 1;
        connections.insert(me, outbox);
        if !self.faults().no_rows {
            self.rows.lock().unwrap().insert(format!("connection-{me}"));
        }
        self.counts.send_modify(|(come, present)| (*come, *present) = (*come + 1, *present + 1));
        me
    }

    fn leave(&self, me: usize) {
        self.connections.lock().unwrap().remove(&me);
        if !self.faults().rows_stay {
            self.rows.lock().unwrap().remove(&format!("connection-{me}"));
        }
        self.counts.send_modify(|(_, present)| *present -= 1);
    }

    fn handle(&self, me: usize, text: &str) {
        self.received.send_modify(|received| received.push(text.to_owned()));
        let faults = self.faults();
        let service = |message: &str| json!({ "message": message, "connectionId": "c", "requestId": "r" }).to_string();
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        if frame["action"] == "ping" && faults.keep_alive {
            self.tell(me, json!({ "chatctl": { "pong": true } }).to_string());
        } else if let ("join", Some(answer)) = (frame["action"].as_str().unwrap_or_default(), &faults.joined) {
            self.tell(me, answer.to_string());
        } else if frame["action"] != "sendmessage" || faults.no_route {
            if !faults.silent_unknown_action {
                self.tell(me, service("Forbidden"));
            }
        } else if self.is_too_many() {
            self.tell(me, service("Too Many Requests"));
        } else if let Some(broken) = faults.broken_route {
            self.tell(me, broken.to_string());
        } else if let Some(data) = frame.get("data") {
            self.broadcast(&data.as_str().map_or_else(|| data.to_string(), str::to_owned));
        } else {
            let error = json!({ "chatctl": { "error": "`data` is missing" } }).to_string();
            match faults.error_goes_to {
                ErrorGoesTo::Sender => self.tell(me, error),
                ErrorGoesTo::Everybody => self.broadcast(&error),
                ErrorGoesTo::Nobody => {}
            }
        }
    }

    fn is_too_many(&self) -> bool {
        let mut faults = self.faults.lock().unwrap();
        let left = faults.throttled.checked_sub(1);
        faults.throttled = left.unwrap_or_default();
        left.is_some()
    }

    fn tell(&self, me: usize, text: String) {
        if let Some(outbox) = self.connections.lock().unwrap().get(&me) {
            let _ = outbox.send(Message::text(text));
        }
    }

    fn broadcast(&self, text: &str) {
        let faults = self.faults();
        if faults.held {
            return self.kept.lock().unwrap().push(text.to_owned());
        }
        let message = Message::text(text);
        for (me, outbox) in self.connections.lock().unwrap().iter() {
            let hit = |nth: Option<usize>| nth.is_some_and(|nth| me % nth == 0);
            for _ in 0..if hit(faults.deaf) { 0 } else { 1 + usize::from(hit(faults.echoing)) } {
                let _ = outbox.send(message.clone());
            }
        }
    }

    async fn serve_aws(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        let (head, length) = loop {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            if let Some(end) = text.find("\r\n\r\n") {
                let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                break (text[..end].to_owned(), end + 4 + length.unwrap_or(0));
            }
        };
        while request.len() < length {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Value = serde_json::from_slice(&request[head.len() + 4..]).unwrap_or_default();
        let (status, answer) = self.answer_aws(&head, &body);
        let answer = answer.to_string();
        let now = time::UtcDateTime::now() - Duration::from_secs(self.faults().behind);
        let date = now.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
        let response = format!(
            "HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        );
        let _ = stream.write_all(response.as_bytes()).await;
    }

    /// Pages are small, so that reading only the first of them shows.
    fn answer_aws(&self, head: &str, body: &Value) -> (u16, Value) {
        let error = |code: &str, message: &str| (400, json!({ "__type": code, "message": message }));
        if self.faults().access_denied {
            return error("AccessDeniedException", "User: u is not authorized to perform this action");
        }
        if head.contains("dynamodb_20120810.scan") {
            let rows = self.rows.lock().unwrap();
            let after = body["ExclusiveStartKey"]["connectionId"]["S"].as_str().unwrap_or_default();
            let page = if rows.len() > 100 { 1000 } else { 3 };
            let ids: Vec<_> = rows.iter().filter(|id| id.as_str() > after).take(page).cloned().collect();
            let items: Vec<_> = ids.iter().map(|id| json!({ "connectionId": { "S": id } })).collect();
            let mut answer = json!({ "Count": items.len(), "Items": items });
            if let Some(last) = ids.last().filter(|_| ids.len() == page) {
                answer["LastEvaluatedKey"] = json!({ "connectionId": { "S": last } });
            }
            return (200, answer);
        }
        assert!(head.contains("filterlogevents"), "{head}");
        if body["limit"] == 1 {
            self.clock_reads.fetch_add(1, Ordering::Relaxed);
        }
        let logs = self.logs.lock().unwrap();
        let Some(events) = logs.get(body["logGroupName"].as_str().unwrap()) else {
            return error("ResourceNotFoundException", "The specified log group does not exist.");
        };
        let from = body["startTime"].as_i64().unwrap_or_default();
        let skip: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let matching: Vec<_> = events.iter().filter(|event| event["timestamp"].as_i64().unwrap() >= from).collect();
        let mut answer = json!({ "events": matching.iter().skip(skip).take(2).collect::<Vec<_>>() });
        if matching.len() > skip + 2 {
            answer["nextToken"] = json!((skip + 2).to_string());
        }
        (200, answer)
    }
}
