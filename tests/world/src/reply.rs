//! Answers: what a handler returns, and how each service puts it on the wire.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;

use crate::clock::{self, Moment};
use crate::operation::Operation;
use crate::service::{Model, Protocol};

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    /// What stands inside `<…Result>` of the query protocol.
    Xml(String),
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: Body::Json(body) }
    }

    pub fn xml(body: String) -> Self {
        Self { status: 200, body: Body::Xml(body) }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, body: Body::Empty }
    }
}

/// An error of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    /// Empty where a proxy in front of the service answers, in HTML.
    pub code: Cow<'static, str>,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}

pub(crate) type Answer = Result<Reply, Refusal>;

/// An answer as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub status: u16,
    pub content_type: String,
    /// Beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    pub request_id: String,
    pub date: String,
    pub body: Vec<u8>,
}

/// Puts an answer into its service's wire format.
pub(crate) fn write(operation: &Operation, answer: &Answer, request_id: String, now: Moment) -> Raw {
    let model = operation.service.model();
    let protocol = model.protocol();
    let mut raw = Raw {
        status: 200,
        content_type: match protocol {
            Protocol::RestJson => "application/json".to_owned(),
            Protocol::Json(version) => format!("application/x-amz-json-{version}"),
            Protocol::Cbor => "application/cbor".to_owned(),
            Protocol::Query(_) => "text/xml".to_owned(),
        },
        headers: if protocol == Protocol::Cbor { vec![("smithy-protocol", "rpc-v2-cbor".to_owned())] } else { vec![] },
        request_id,
        date: clock::http_date(now),
        body: Vec::new(),
    };
    match answer {
        Ok(reply) => {
            raw.status = reply.status;
            raw.body = match &reply.body {
                Body::Empty => Vec::new(),
                Body::Json(value) if protocol == Protocol::Cbor => cbor(value),
                Body::Json(value) => value.to_string().into_bytes(),
                Body::Xml(inner) => {
                    let Protocol::Query(space) = protocol else { unreachable!("XML is of the query protocol alone") };
                    result_document(operation.name, space, inner, &raw.request_id).into_bytes()
                }
            };
        }
        Err(refusal) => {
            raw.status = refusal.status;
            write_refusal(model, refusal, &mut raw);
        }
    }
    raw
}

fn result_document(name: &str, space: &str, inner: &str, request_id: &str) -> String {
    format!(
        "<{name}Response xmlns=\"{space}\"><{name}Result>{inner}</{name}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    )
}

fn write_refusal(model: &dyn Model, refusal: &Refusal, raw: &mut Raw) {
    let Refusal { status, code, message } = refusal;
    if code.is_empty() {
        "text/html".clone_into(&mut raw.content_type);
        raw.body = format!("<html><body><h1>{status} {message}</h1></body></html>").into_bytes();
        return;
    }
    raw.body = match model.protocol() {
        Protocol::RestJson => {
            raw.headers.push(("x-amzn-errortype", code.to_string()));
            model.error(refusal).to_string().into_bytes()
        }
        Protocol::Json(_) => model.error(refusal).to_string().into_bytes(),
        Protocol::Cbor => {
            // As it was called in the query protocol, which the service spoke before.
            let whose = if *status < 500 { "Sender" } else { "Receiver" };
            raw.headers.push(("x-amzn-query-error", format!("{code};{whose}")));
            cbor(&model.error(refusal))
        }
        Protocol::Query(_) => {
            let mut text =
                String::from("<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>");
            text += if *status < 500 { "Sender" } else { "Receiver" };
            let _ = write!(
                text,
                "</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                escape(message),
                raw.request_id
            );
            text.into_bytes()
        }
    };
}

fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("world: JSON goes into CBOR");
    bytes
}

/// `<name>text</name>`
pub(crate) fn element(into: &mut String, name: &str, text: &str) {
    let _ = write!(into, "<{name}>{}</{name}>", escape(text));
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"))
}
