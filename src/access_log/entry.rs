//! A request's line, from its arrival until it is written.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::format::{Format, LineTemplate};
use super::outcome::RequestOutcome;
use super::writer::Writer;
use crate::net::Peer;
use crate::request_head::RequestHead;

/// The line of one request. If it is dropped without having been logged, the line says that there was no response.
#[derive(Debug)]
pub struct LogEntry {
    writer: Arc<Writer>,
    template: LineTemplate,
    began: Instant,
    logged: bool,
}

impl LogEntry {
    pub(super) fn new(writer: Arc<Writer>, format: Format, peer: Peer, head: Option<&RequestHead>) -> Self {
        let template = LineTemplate::new(format, SystemTime::now(), peer.ip(), head);
        LogEntry { writer, template, began: Instant::now(), logged: false }
    }

    /// Logs what became of the request so far. Never blocks.
    pub fn log(&mut self, outcome: &RequestOutcome) {
        self.logged = true;
        self.writer.push(self.template.line(outcome, self.began.elapsed()));
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        if !self.logged {
            self.log(&RequestOutcome::default());
        }
    }
}
