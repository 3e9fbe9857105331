//! What an interceptor may do to a call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::access;
use crate::operation::Request;
use crate::reply::Refusal;
use crate::service::{Refusals, Service};

/// A call that has just arrived, as the interceptor sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallInfo {
    /// From 0, since the world began or [`World::clear_calls`](crate::World::clear_calls).
    pub seq: usize,
    /// The process, as named in [`World::sdk_config_for`](crate::World::sdk_config_for).
    pub label: Arc<str>,
    pub service: Service,
    pub operation: &'static str,
    pub write: bool,
    pub account: String,
    pub region: String,
    /// The name of what the call is about: an API's id, a function's name …
    pub resource: String,
    /// The SDK's attempt, from 1.
    pub attempt: u32,
}

#[derive(Clone, Debug)]
pub enum Verdict {
    Pass,
    /// Passes, and takes so long.
    Latency(Duration),
    /// No effect; the answer is the fault.
    FailBefore(Fault),
    /// The effect happens; the fault comes instead of the answer.
    FailAfter(Fault),
    /// The process dies before the call had an effect: no answer ever, to this and all later calls of the process.
    HangBefore,
    /// The process dies after the effect.
    HangAfter,
}

#[derive(Clone, Debug)]
pub enum Fault {
    Status {
        http: u16,
        code: Cow<'static, str>,
        message: Cow<'static, str>,
    },
    /// The service's own throttle code.
    Throttle,
    /// 500 and 503 as the service words them; 502 and 504 as HTML of a proxy.
    ServerError(u16),
    /// The connection breaks: an I/O error of the connector.
    Reset,
    /// No answer within any attempt timeout; after an hour the connector gives up.
    Timeout,
    /// The connection breaks in the middle of the body of a successful answer; after a fault before the effect, of
    /// a server error's.
    HalfBody,
    ExpiredToken,
    /// Names the action, as AWS does.
    AccessDenied,
    /// The signature is too old or too new for the service.
    ClockSkew,
}

impl Fault {
    pub fn status(http: u16, code: &'static str, message: &'static str) -> Self {
        Self::Status { http, code: code.into(), message: message.into() }
    }

    /// The error that the service would answer, unless the fault is one of the connection.
    pub(crate) fn refusal(&self, request: &Request) -> Option<Refusal> {
        let service = request.operation.service;
        Some(match self {
            Self::Reset | Self::Timeout | Self::HalfBody => return None,
            Self::Status { http, code, message } => Refusal::new(*http, code.clone(), message.clone()),
            Self::Throttle => throttled(service),
            Self::ServerError(status) => server_error(service, *status),
            Self::ExpiredToken => expired_token(service),
            Self::AccessDenied => {
                let action = access::actions(request, None).swap_remove(0);
                access::denied(request, &action, None)
            }
            Self::ClockSkew => clock_skew(service),
        })
    }
}

/// Each service has its own words for "too many requests".
pub(crate) fn throttled(service: Service) -> Refusal {
    let (status, code, message) = service.model().refusals().throttled;
    Refusal::new(status, code, message)
}

fn server_error(service: Service, status: u16) -> Refusal {
    let Refusals { broken, unavailable, .. } = service.model().refusals();
    let (code, message) = match status {
        502 => ("", "Bad Gateway"),
        503 => (unavailable, "Service Unavailable"),
        504 => ("", "Gateway Time-out"),
        _ => (broken, "Internal server error"),
    };
    Refusal::new(status, code, message)
}

fn expired_token(service: Service) -> Refusal {
    let (status, code) = service.model().refusals().expired;
    Refusal::new(status, code, "The security token included in the request is expired")
}

fn clock_skew(service: Service) -> Refusal {
    let (status, code) = service.model().refusals().skewed;
    let message =
        "Signature expired: 20261124T120000Z is now earlier than 20261124T130000Z (20261124T130500Z - 5 min.)";
    Refusal::new(status, code, message)
}
