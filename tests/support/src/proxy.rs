//! A proxy that counts and delays: what went over the wire, when, and how a long wire would feel.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request that passed.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    /// The service that the request is signed for.
    pub service: Option<String>,
    /// `X-Amz-Target`, the operation in DynamoDB's and CloudWatch Logs' protocol.
    pub target: Option<String>,
    /// `Action` in the body, the operation in IAM's and STS's protocol.
    pub action: Option<String>,
    pub began: Instant,
    id: u64,
    /// None while it has no answer.
    pub ended: Option<Instant>,
    pub status: Option<u16>,
}

impl Call {
    /// The operation, or method and path where the protocol names none.
    pub fn name(&self) -> String {
        let target = self.target.as_deref().and_then(|target| target.rsplit('.').next());
        match target.or(self.action.as_deref()) {
            Some(operation) => operation.to_owned(),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// Whether it could change something.
    pub fn is_write(&self) -> bool {
        const READS: [&str; 8] = ["Describe", "Filter", "Get", "GET ", "HEAD ", "List", "Query", "Scan"];
        let name = self.name();
        !READS.iter().any(|read| name.starts_with(read))
    }
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Forwards to `upstream` (`http://HOST:PORT`), each request after `delay`. WebSockets pass, their frames undelayed.
    pub async fn start(upstream: &str, delay: Duration) -> Self {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
        let upstream: SocketAddr = upstream.parse().expect("the upstream is an address with a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                // A peer that breaks off is a thing that tests do.
                tokio::spawn(async move {
                    let _ = forward(client, upstream, delay, &seen).await;
                });
            }
        });
        Self { url, calls, accepting }
    }

    /// All calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no holder panics").clone()
    }

    /// All calls so far; from now on counts anew.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("no holder panics"))
    }
}

/// A request or response: its head, split into lines, and its body as it was on the wire.
struct Message {
    head: Vec<u8>,
    lines: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    /// None at the end of the stream. `bodiless` is for answers to `HEAD`.
    async fn read(from: &mut (impl AsyncRead + Unpin), bodiless: bool) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match from.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let text = String::from_utf8_lossy(&head);
        let mut message = Self { lines: text.lines().map(str::to_owned).collect(), body: Vec::new(), head };
        let has_none = bodiless || message.status().is_some_and(|status| status < 200 || matches!(status, 204 | 304));
        if has_none {
        } else if let Some(length) = message.header("content-length").and_then(|length| length.parse().ok()) {
            message.body.resize(length, 0);
            from.read_exact(&mut message.body).await?;
        } else if message.header("transfer-encoding").is_some() {
            // The last chunk is empty; AWS's clients and MiniStack send no trailers.
            while !message.body.ends_with(b"\r\n0\r\n\r\n") && message.body != b"0\r\n\r\n" {
                message.body.push(from.read_u8().await?);
            }
        } else if message.status().is_some() {
            from.read_to_end(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    fn status(&self) -> Option<u16> {
        self.lines.first()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        headers.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    fn call(&self) -> Call {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut words = self.lines.first().into_iter().flat_map(|line| line.split(' ')).map(str::to_owned);
        let body = String::from_utf8_lossy(&self.body);
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let scope = self.header("authorization").and_then(|signature| signature.split("/aws4_request").next());
        Call {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            service: scope.and_then(|scope| scope.rsplit('/').next()).map(str::to_owned),
            target: self.header("x-amz-target").map(str::to_owned),
            action: action.map(str::to_owned),
            began: Instant::now(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            ended: None,
            status: None,
        }
    }

    async fn write(&self, to: &mut TcpStream) -> io::Result<()> {
        to.write_all(&[self.head.as_slice(), &self.body].concat()).await
    }
}

async fn forward(client: TcpStream, upstream: SocketAddr, delay: Duration, calls: &Mutex<Vec<Call>>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    while let Some(request) = Message::read(&mut client, false).await? {
        let call = request.call();
        let (is_head, id) = (call.method == "HEAD", call.id);
        calls.lock().expect("no holder panics").push(call);
        tokio::time::sleep(delay).await;
        request.write(server.get_mut()).await?;
        let Some(response) = Message::read(&mut server, is_head).await? else { break };
        response.write(client.get_mut()).await?;
        {
            let mut calls = calls.lock().expect("no holder panics");
            if let Some(call) = calls.iter_mut().find(|call| call.id == id) {
                (call.ended, call.status) = (Some(Instant::now()), response.status());
            }
        }
        if response.status() == Some(101) {
            copy_bidirectional(&mut client, &mut server).await?;
        }
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}
