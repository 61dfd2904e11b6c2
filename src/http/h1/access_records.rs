//! The access log's entries of one connection, until its socket has taken the responses.

use http::StatusCode;

use crate::access_log::{LogEntry, RequestOutcome};

/// The entries of a connection's requests. Without an access log it stays empty.
#[derive(Debug, Default)]
pub(super) struct AccessRecords {
    /// Of the request that hyper has handed over last, until its response has ended.
    current: Option<Response>,
    /// Responses that hyper has whole, but may not have handed to the socket.
    unflushed: Vec<Response>,
    /// Bytes the socket has taken so far.
    written: u64,
}

#[derive(Debug)]
struct Response {
    entry: LogEntry,
    status: Option<StatusCode>,
    /// Bytes of the body that hyper has taken.
    bytes: u64,
    /// What the socket had taken before.
    written_before: u64,
}

impl AccessRecords {
    /// A request has arrived.
    pub(super) fn begin(&mut self, entry: LogEntry) {
        self.current = Some(Response { entry, status: None, bytes: 0, written_before: 0 });
    }

    /// Its response begins.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(current) = &mut self.current {
            current.status = Some(status);
            current.written_before = self.written;
        }
    }

    /// hyper has all it wants of the body: `bytes`, and `whole` if there was no more.
    pub(super) fn ended(&mut self, bytes: u64, whole: bool) {
        let Some(mut current) = self.current.take() else { return };
        current.bytes = bytes;
        if whole {
            self.unflushed.push(current);
        } else {
            current.cut(self.written);
        }
    }

    /// The entry of a request that takes the connection over.
    pub(super) fn take(&mut self) -> Option<LogEntry> {
        self.current.take().map(|current| current.entry)
    }

    /// The socket has taken `bytes`.
    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// hyper holds nothing back: what has ended is sent.
    pub(super) fn flushed(&mut self) {
        for mut sent in self.unflushed.drain(..) {
            sent.entry.log(&RequestOutcome { status: sent.status, bytes: sent.bytes, ..RequestOutcome::default() });
        }
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) {
        let written = self.written;
        self.unflushed.drain(..).for_each(|unsent| unsent.cut(written));
        // Of a request that was not answered, its entry says so.
        self.current = None;
    }
}

impl Response {
    fn cut(mut self, written: u64) {
        // What hyper has taken it may never have written. The response's head is among what was.
        let bytes = self.bytes.min(written.saturating_sub(self.written_before));
        self.entry.log(&RequestOutcome { status: self.status, bytes, cut: true, ..RequestOutcome::default() });
    }
}
