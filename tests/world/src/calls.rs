//! The wire log: every call that reached the model.

use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Moment;
use crate::fault::CallInfo;
use crate::operation::Request;

/// One HTTP exchange, retries of the SDK each on their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub info: CallInfo,
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

impl Deref for Call {
    type Target = CallInfo;

    fn deref(&self) -> &CallInfo {
        &self.info
    }
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
    pub fn open(&mut self, request: &Request, label: &Arc<str>, start: Moment) -> (Entry, CallInfo) {
        let info = CallInfo {
            seq: self.calls.len(),
            label: label.clone(),
            service: request.operation.service,
            operation: request.operation.name,
            write: request.operation.write,
            account: request.place.account.clone(),
            region: request.place.region.clone(),
            resource: request.resource.clone(),
            attempt: request.attempt,
        };
        let entry = Entry { generation: self.generation, seq: info.seq };
        let call = Call { info, start, end: None, effect: false, status: None, code: None, message: None };
        self.calls.push(call.clone());
        (entry, call.info)
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
