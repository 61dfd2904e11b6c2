//! What a hub is given: its bounds, and how it begins.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::limits;
use crate::channel::Limits;
use crate::channel::forgotten::FLOORS;

/// The bounds of a hub.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of histories.
    pub history: usize,
    /// Bytes of the newest part of the log, from which workers get it. It is kept for workers that were cut off or come back,
    /// and may be larger for a moment.
    pub recent: usize,
    /// Channels that have a history; beyond it messages are refused.
    pub max_channels: usize,
    /// Bytes of a channel's name.
    pub max_name: usize,
    /// Bytes that a worker may publish before the hub gives it more credit.
    pub worker_credit: u32,
    /// The same, of an outsider.
    pub outsider_credit: u32,
    /// A worker that takes less than [`Settings::stuck_bytes`] in this time, while more than that waits, is cut off. A worker
    /// that is silent for so long while the hub recovers counts as lost.
    pub patience: Duration,
    /// See [`Settings::patience`].
    pub stuck_bytes: usize,
    /// For so long the hub and the workers remember the messages of an author that went away before it was answered.
    pub absence: Duration,
    /// The most bytes of newer messages that workers keep meanwhile.
    pub absence_bytes: usize,
    /// A member leaves this long after its last client has gone.
    pub linger: Duration,
    /// How many floors there are for channels that keep nothing; a power of two.
    pub floors: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::from(&limits::Limits::default())
    }
}

impl From<&limits::Limits> for Settings {
    fn from(table: &limits::Limits) -> Self {
        let limits = Limits::from(table);
        Settings {
            history: limits.log_bytes - limits.log_bytes / 4,
            recent: limits.log_bytes / 4,
            max_channels: limits.max_channels,
            max_name: limits.max_name,
            worker_credit: 1 << 20,
            outsider_credit: 128 << 10,
            patience: Duration::from_secs(1),
            stuck_bytes: 256 << 10,
            absence: Duration::from_secs(5),
            absence_bytes: limits.log_bytes / 4,
            linger: limits.linger,
            floors: FLOORS,
        }
    }
}

/// How a hub begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With an empty log.
    First,
    /// With the log of a hub that is gone. These workers were attached to it.
    Recover {
        /// Their process numbers.
        processes: BTreeSet<u32>,
        /// Whether the hub before gives its log: see [`super::Hub::connect_old_hub`].
        handover: bool,
    },
}
