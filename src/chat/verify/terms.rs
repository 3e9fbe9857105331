//! The terms of a round: how large it is, and where and how it can break.

use std::fmt;
use std::time::Duration;

use super::VerifyOptions;
use crate::error::{Error, Result};
use crate::websocket::{ConnectError, Endpoint};

/// How large a round is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub clients: usize,
    pub senders: usize,
    pub messages: usize,
}

impl Scale {
    pub fn of(options: &VerifyOptions) -> Result<Self> {
        let senders = options.senders.unwrap_or(options.clients);
        if options.clients == 0 || senders == 0 || options.messages == 0 {
            return Err(Error::usage("`--clients`, `--senders` and `--messages` begin at 1"));
        }
        if senders > options.clients {
            return Err(Error::usage(format!("{senders} senders among {} clients is too many", options.clients)));
        }
        Ok(Self { clients: options.clients, senders, messages: options.messages })
    }

    /// Different messages.
    pub fn total(self) -> usize {
        self.senders * self.messages
    }

    pub fn deliveries(self) -> u64 {
        self.total() as u64 * self.clients as u64
    }

    pub fn sender_of(self, message: usize) -> usize {
        message % self.senders
    }

    pub fn messages_of(self, client: usize) -> impl Iterator<Item = usize> + use<> {
        let count = if client < self.senders { self.messages } else { 0 };
        (0..count).map(move |nth| nth * self.senders + client)
    }

    /// What a round of this size takes longer than a small one, at rates that API Gateway allows (H1).
    pub fn allowance(self) -> Duration {
        Duration::from_secs(self.clients as u64 / 100 + self.deliveries() / 5_000)
    }
}

/// Where a round broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Network,
    Connect,
    SendMessage,
    Disconnect,
    Route,
    Latency,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the network",
            Self::Connect => "`$connect`",
            Self::SendMessage => "`sendmessage`",
            Self::Disconnect => "`$disconnect`",
            Self::Route => "the route",
            Self::Latency => "the latency",
        })
    }
}

/// What broke in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub at: At,
    pub what: String,
    pub hint: Option<String>,
    /// How many rounds can make sense.
    pub rounds: u32,
    /// The time was up before the round could come to a verdict.
    pub cut_short: bool,
    /// It was said no to who wants in, or may have been.
    pub said_no: bool,
}

/// Whoever refuses connections is not there, or begins again: three rounds take some seconds.
const NO_LISTENER: u32 = 3;

impl Broken {
    pub fn at(at: At, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), hint: None, rounds: u32::MAX, cut_short: false, said_no: false }
    }

    pub fn refused(client: usize, endpoint: &Endpoint, error: &ConnectError) -> Self {
        let at = match error {
            ConnectError::Refused { .. } | ConnectError::Closed { .. } => At::Connect,
            _ => At::Network,
        };
        let what = format!("client {}: {}", client + 1, endpoint.told(error));
        let rounds = match error {
            ConnectError::NoListener(_) => NO_LISTENER,
            other if other.may_pass() => u32::MAX,
            _ => 1,
        };
        let said_no = matches!(error, ConnectError::Refused { status: 401 | 403, .. } | ConnectError::Closed { .. });
        Self { hint: error.hint(), rounds, said_no, ..Self::at(at, what) }
    }
}
