//! The access log: a line for each response, written by a thread of its own.
//!
//! | module | subject |
//! |---|---|
//! | [`entry`] | a request's line, from its arrival until it is written |
//! | [`format`] | what lines look like: common, combined, JSON |
//! | `redaction` | keeping tokens out of it |
//! | [`writer`] | the thread that writes them, and the bounded queue in front of it |

pub mod entry;
pub mod format;
mod redaction;
pub mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::request::Parts;

pub use entry::{Entry, Outcome, Traffic};
pub use format::Format;

use crate::base::stats::Stats;
use crate::net::Peer;
use writer::{Sink, Writer};

/// How requests are logged.
#[derive(Debug, Clone)]
pub struct Settings {
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
    /// Opens the file, and starts the thread that writes to it. Lines that are lost count in `stats`.
    pub fn open(settings: Settings, stats: Arc<Stats>) -> io::Result<Self> {
        let sink = Sink::open(settings.file)?;
        let writer = Arc::new(Writer::start(sink, settings.format, stats)?);
        Ok(AccessLog { format: settings.format, writer })
    }

    /// The line of a request that has arrived; `None` for a head that cannot be understood.
    pub fn begin(&self, peer: Peer, head: Option<&Parts>) -> Entry {
        Entry::new(self.clone(), peer, head)
    }

    /// Opens the file anew, for `logrotate` has moved it away. Returns at once; what was logged
    /// before still goes to the old file.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Writes what waits, and no more. Blocks until that is done, but not for ever.
    pub fn close(&self) {
        self.writer.close();
    }
}
