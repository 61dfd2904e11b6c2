//! The access log's entries of one connection, until its socket has taken the responses.

use http::StatusCode;

use crate::access_log::{LogEntry, RequestOutcome};

/// The log entries of a connection's requests. Without an access log there are none.
#[derive(Debug, Default)]
pub(super) struct AccessRecords {
    /// The entry of the newest request, until its response has ended.
    current: Option<Response>,
    /// Responses that have ended, but are perhaps not written yet.
    unflushed: Vec<Response>,
    /// How many bytes the socket has taken so far.
    written: u64,
}

#[derive(Debug)]
struct Response {
    entry: LogEntry,
    status: Option<StatusCode>,
    /// Bytes of the body that were taken to be written.
    bytes: u64,
    /// How many bytes the socket had taken before this response.
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

    /// No more of the body is taken to be written. `bytes` were taken; `whole` says that this was all.
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

    /// Everything is written, so the responses that have ended are sent.
    pub(super) fn flushed(&mut self) {
        for mut sent in self.unflushed.drain(..) {
            sent.entry.log(&RequestOutcome { status: sent.status, bytes: sent.bytes, ..RequestOutcome::default() });
        }
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) {
        let written = self.written;
        self.unflushed.drain(..).for_each(|unsent| unsent.cut(written));
        // An entry that is dropped without an outcome says that the request got no response.
        self.current = None;
    }
}

impl Response {
    fn cut(mut self, written: u64) {
        // Not all that was taken may be written. What the socket has taken includes the response's head.
        let bytes = self.bytes.min(written.saturating_sub(self.written_before));
        self.entry.log(&RequestOutcome { status: self.status, bytes, cut: true, ..RequestOutcome::default() });
    }
}
