//! The terms of a round: how large it is, and where and how it can break.

use std::fmt;
use std::time::Duration;

use super::VerifyOptions;
use crate::error::{Error, Result};
use crate::websocket::ConnectError;

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
    Latency,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the network",
            Self::Connect => "`$connect`",
            Self::SendMessage => "`sendmessage`",
            Self::Disconnect => "`$disconnect`",
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
    /// Whether another round can end better.
    pub may_pass: bool,
}

impl Broken {
    pub fn at(at: At, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), hint: None, may_pass: true }
    }

    pub fn refused(client: usize, error: &ConnectError) -> Self {
        let at = match error {
            ConnectError::Refused { .. } | ConnectError::Closed { .. } => At::Connect,
            _ => At::Network,
        };
        let what = format!("client {}: {error}", client + 1);
        Self { hint: error.hint(), may_pass: error.may_pass(), ..Self::at(at, what) }
    }
}
