//! The access log, as the rest of the server uses it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::entry::LogEntry;
use super::format::Format;
use super::writer::{Sink, Writer};
use crate::base::stats::StatsHandle;
use crate::net::Peer;
use crate::request_head::RequestHead;

/// How requests are logged.
#[derive(Debug, Clone)]
pub struct AccessLogSettings {
    /// What lines look like.
    pub format: Format,
    /// The file they are appended to; `None` is stdout.
    pub file: Option<PathBuf>,
}

/// An open access log. Any thread; never waits for the disk.
#[derive(Debug, Clone)]
pub struct AccessLog {
    format: Format,
    writer: Arc<Writer>,
}

impl AccessLog {
    /// Opens the file, and starts the thread that writes to it. Lines that are lost count in `stats`. An error if the file
    /// cannot be opened or the system has no thread.
    pub fn open(settings: AccessLogSettings, stats: StatsHandle) -> io::Result<Self> {
        let sink = Sink::open(settings.file)?;
        let writer = Arc::new(Writer::start(sink, settings.format, stats)?);
        Ok(AccessLog { format: settings.format, writer })
    }

    /// The line of a request that has arrived; `None` for a head that cannot be understood.
    pub fn begin(&self, peer: Peer, head: Option<&RequestHead>) -> LogEntry {
        LogEntry::new(Arc::clone(&self.writer), self.format, peer, head)
    }

    /// Opens the file anew, since `logrotate` has moved it away. Returns at once. What was logged before still goes to the
    /// old file.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Writes what waits, and no more. Blocks until that is done, or until a pipe has taken nothing for some seconds.
    pub fn close(&self) {
        self.writer.close();
    }
}
