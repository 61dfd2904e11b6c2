//! A request's line, from its arrival until it is written.

use std::time::{Instant, SystemTime};

use http::StatusCode;
use http::request::Parts;

use super::AccessLog;
use super::format::Template;
use crate::net::Peer;

/// The line of one request. Dropped without having been logged, it says that there was no response.
#[derive(Debug)]
pub struct Entry {
    log: AccessLog,
    template: Template,
    began: Instant,
    logged: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// `None`: no response, or none that the server knows of.
    pub status: Option<StatusCode>,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// There should have been more.
    pub cut: bool,
    /// What the connection has become.
    pub upgrade: Option<&'static str>,
    /// What a stream came to; set at its end.
    pub closed: Option<Traffic>,
}

/// What went over a push stream.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// How a WebSocket was closed.
    pub code: Option<u16>,
    /// Messages received.
    pub messages_in: u64,
    /// Writes of the app that were handed to the socket.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes handed to the socket.
    pub bytes_out: u64,
}

impl Entry {
    pub(super) fn new(log: AccessLog, peer: Peer, head: Option<&Parts>) -> Self {
        let template = Template::new(log.format, SystemTime::now(), peer.ip(), head);
        Entry { log, template, began: Instant::now(), logged: false }
    }

    /// Logs what became of the request so far. Never blocks.
    pub fn log(&mut self, outcome: &Outcome) {
        self.logged = true;
        self.log.writer.push(self.template.line(outcome, self.began.elapsed()));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.logged {
            self.log(&Outcome::default());
        }
    }
}
