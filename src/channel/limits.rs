//! The bounds of all channels of a process.

use std::time::Duration;

use super::error::Error;
use crate::base::limits;

/// The bounds of all channels of a process: what concerns them of [`crate::base::limits::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of messages in the log, with what encoding them may add; see `eviction` for what goes beyond it.
    pub log_bytes: usize,
    /// Channels that have messages or readers; beyond it an error.
    pub max_channels: usize,
    /// Channels of one reader; beyond it an error.
    pub max_subscriptions: usize,
    /// Bytes of a channel's name; beyond it an error.
    pub max_name: usize,
    /// Messages a reader gets at once, so that one that returns does not starve the rest.
    pub batch_messages: usize,
    /// Bytes of messages a reader gets at once; one message is always given.
    pub batch_bytes: usize,
    /// Bytes a reader may lag by, however long its socket takes nothing.
    pub slow_bytes: usize,
    /// Time after which a member without readers has left.
    pub linger: Duration,
    /// Time for which a publisher waits while the engine takes no messages; then an error.
    pub publish_timeout: Duration,
}

impl From<&limits::Limits> for Limits {
    fn from(table: &limits::Limits) -> Self {
        Limits {
            log_bytes: table.channel_memory,
            max_channels: table.max_channels,
            max_subscriptions: table.max_subscriptions,
            max_name: table.max_channel_name,
            batch_messages: table.batch_messages,
            batch_bytes: table.batch_bytes,
            slow_bytes: table.slow_bytes,
            linger: table.presence_linger,
            publish_timeout: table.publish_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::from(&limits::Limits::default())
    }
}

impl Limits {
    /// Refuses names that no channel can have.
    pub(super) fn check_name(&self, name: &str) -> Result<(), Error> {
        match name.len() {
            0 => Err(Error::EmptyName),
            length if length > self.max_name => Err(Error::LongName { max: self.max_name, length }),
            _ => Ok(()),
        }
    }
}
