//! The HTTP connector under the SDK: one for each process of a test.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::sleep;

use crate::caller::Caller;
use crate::calls::Entry;
use crate::fault::{Fault, Verdict};
use crate::operation::{self, Operation, Request, Wire};
use crate::place::Place;
use crate::reply::{self, Answer, Raw, Refusal};
use crate::service::Service;
use crate::world::World;

/// How long a lost answer stays lost, longer than any attempt timeout.
const NEVER: Duration = Duration::from_secs(3_600);

/// One process: what it calls carries its label, and after its death it hears nothing more.
#[derive(Clone)]
pub(crate) struct Process(Arc<Shared>);

struct Shared {
    world: World,
    label: Arc<str>,
    by: Caller,
    dead: AtomicBool,
}

impl Process {
    pub fn start(world: World, label: &str, by: Caller) -> Self {
        Self(Arc::new(Shared { world, label: label.into(), by, dead: AtomicBool::new(false) }))
    }

    async fn serve(self, http: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let Shared { world, label, by, dead } = &*self.0;
        let request = read(http).await;
        if dead.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let (entry, verdict) = world.arrive(&request, label);
        let (latency, after) = match verdict {
            Verdict::Pass => (world.latency(), After::Answer),
            Verdict::Latency(latency) => (latency, After::Answer),
            Verdict::HangBefore => return self.die().await,
            Verdict::HangAfter => (world.latency(), After::Death),
            Verdict::FailBefore(fault) => {
                sleep(world.latency()).await;
                let lost = Err(Refusal::new(500, "InternalFailure", "the call never reached the service"));
                return self.fail(&fault, fault.refusal(&request), request.operation, lost, entry).await;
            }
            Verdict::FailAfter(fault) => {
                let refusal = fault.refusal(&request);
                (world.latency(), After::Fault(fault, refusal))
            }
        };
        let operation = request.operation;
        let admitted = world.admit(&request, latency, by);
        sleep(latency / 2).await;
        let answer = match admitted {
            Ok(()) => world.execute(request, entry, by),
            Err(refusal) => Err(refusal),
        };
        if let After::Death = after {
            return self.die().await;
        }
        sleep(latency - latency / 2).await;
        match after {
            After::Fault(fault, refusal) => self.fail(&fault, refusal, operation, answer, entry).await,
            After::Answer | After::Death => Ok(self.answer(operation, &answer, entry)),
        }
    }

    async fn die(&self) -> Result<HttpResponse, ConnectorError> {
        self.0.dead.store(true, Ordering::Relaxed);
        self.0.world.note_death(&self.0.label);
        std::future::pending().await
    }

    fn answer(&self, operation: Operation, answer: &Answer, entry: Entry) -> HttpResponse {
        let raw = self.raw(operation, answer, entry);
        response(&raw, SdkBody::from(raw.body.clone()))
    }

    fn raw(&self, operation: Operation, answer: &Answer, entry: Entry) -> Raw {
        let world = &self.0.world;
        let raw = reply::write(&operation, answer, entry.request_id(), world.now());
        world.close(entry, Some(raw.status), answer.as_ref().err());
        raw
    }

    /// Answers with the fault; `answer` is what would have been said.
    async fn fail(
        &self,
        fault: &Fault,
        refusal: Option<Refusal>,
        operation: Operation,
        answer: Answer,
        entry: Entry,
    ) -> Result<HttpResponse, ConnectorError> {
        if let Some(refusal) = refusal {
            return Ok(self.answer(operation, &Err(refusal), entry));
        }
        let world = &self.0.world;
        match fault {
            Fault::HalfBody => {
                let raw = self.raw(operation, &answer, entry);
                let half = Bytes::copy_from_slice(&raw.body[..raw.body.len() / 2]);
                Ok(response(&raw, SdkBody::from_body_1_x(Broken { half: Some(half) })))
            }
            Fault::Timeout => {
                sleep(NEVER).await;
                world.close(entry, None, None);
                Err(ConnectorError::timeout("no answer for an hour".into()))
            }
            _ => {
                world.close(entry, None, None);
                let reset = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer");
                Err(ConnectorError::io(reset.into()))
            }
        }
    }
}

enum After {
    Answer,
    Fault(Fault, Option<Refusal>),
    Death,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.0.label).finish()
    }
}

impl HttpConnector for Process {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().serve(request))
    }
}

impl HttpClient for Process {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Reads the HTTP request; account, region and service stand in its signature.
async fn read(mut http: HttpRequest) -> Request {
    let body = drain(http.take_body()).await;
    let authorization = http.headers().get("authorization").expect("world: the request is not signed");
    let (_, scope) = authorization.split_once("Credential=").expect("world: a SigV4 signature");
    let mut scope = scope.split([',', '/']);
    let (Some(account), Some(_date), Some(region), Some(service)) =
        (scope.next(), scope.next(), scope.next(), scope.next())
    else {
        panic!("world: a credential scope has four parts: {authorization}");
    };
    let service = Service::signed(service);
    let uri: http::Uri = http.uri().parse().expect("world: a URI");
    let wire = Wire {
        method: http.method(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        target: http.headers().get("x-amz-target"),
        body: &body,
    };
    let (operation, fields, resource) = operation::read(service, &wire);
    let attempt = http.headers().get("amz-sdk-request").and_then(attempt).unwrap_or(1);
    Request {
        operation,
        place: Place { account: account.to_owned(), region: region.to_owned() },
        method: wire.method.to_owned(),
        path: wire.path.to_owned(),
        fields,
        resource,
        attempt,
    }
}

/// The body, read as a connection reads it: the SDK watches whether it flows.
async fn drain(mut body: SdkBody) -> Bytes {
    let mut read = Bytes::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.expect("world: the body can be read");
        let Ok(data) = frame.into_data() else { continue };
        read = if read.is_empty() { data } else { [read, data].concat().into() };
    }
    read
}

/// The number in `ttl=…; attempt=2; max=3`.
fn attempt(header: &str) -> Option<u32> {
    header.split("; ").find_map(|part| part.strip_prefix("attempt="))?.parse().ok()
}

fn response(raw: &Raw, body: SdkBody) -> HttpResponse {
    let status = raw.status.try_into().expect("world: an HTTP status");
    let mut response = HttpResponse::new(status, body);
    let headers = response.headers_mut();
    headers.insert("content-type", raw.content_type.clone());
    headers.insert("x-amzn-requestid", raw.request_id.clone());
    headers.insert("date", raw.date.clone());
    for (name, value) in &raw.headers {
        headers.insert(*name, value.clone());
    }
    response
}

/// A body that breaks off.
struct Broken {
    half: Option<Bytes>,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(match self.half.take() {
            Some(half) => Ok(Frame::data(half)),
            None => {
                Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "end of file before message length reached"))
            }
        }))
    }
}
