//! The wire log: every call that reached the model.

use std::sync::Arc;

use crate::clock::Moment;
use crate::operation::Request;
use crate::service::Service;

/// One HTTP exchange, retries of the SDK each on their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// From 0, since the world began or the log was cleared.
    pub seq: usize,
    pub label: Arc<str>,
    pub service: Service,
    pub operation: &'static str,
    /// Whether the operation is one that changes something.
    pub write: bool,
    pub account: String,
    pub region: String,
    /// The name of what the call is about: an API's id, a function's name …
    pub resource: String,
    /// The SDK's attempt, from 1.
    pub attempt: u32,
    pub start: Moment,
    /// `None` while it runs, and for ever if the caller dropped it.
    pub end: Option<Moment>,
    /// A write that was applied, whatever the caller heard of it.
    pub effect: bool,
    /// `None` while it runs, and where the connection broke.
    pub status: Option<u16>,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// The log, and which part of it is still of interest.
#[derive(Default)]
pub(crate) struct Log {
    calls: Vec<Call>,
    generation: u64,
}

/// A place in the log; stale once the log is cleared.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    generation: u64,
    pub seq: usize,
}

impl Entry {
    /// Deterministic, as everything here.
    pub fn request_id(self) -> String {
        format!("00000000-0000-4000-8000-{:04x}{:08x}", self.generation & 0xffff, self.seq)
    }
}

impl Log {
    pub fn open(&mut self, request: &Request, label: &Arc<str>, start: Moment) -> Entry {
        let seq = self.calls.len();
        self.calls.push(Call {
            seq,
            label: label.clone(),
            service: request.operation.service,
            operation: request.operation.name,
            write: request.operation.write,
            account: request.place.account.clone(),
            region: request.place.region.clone(),
            resource: request.resource.clone(),
            attempt: request.attempt,
            start,
            end: None,
            effect: false,
            status: None,
            code: None,
            message: None,
        });
        Entry { generation: self.generation, seq }
    }

    pub fn at(&mut self, entry: Entry) -> Option<&mut Call> {
        if entry.generation == self.generation { self.calls.get_mut(entry.seq) } else { None }
    }

    pub fn clear(&mut self) {
        self.calls.clear();
        self.generation += 1;
    }

    pub fn calls(&self) -> &[Call] {
        &self.calls
    }
}
