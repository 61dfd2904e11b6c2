//! The bounds of all channels of a process.

use std::time::Duration;

use super::error::Error;
use super::subscription::Member;
use crate::base::limits;

/// Bytes of the information about a member. All processes keep it, and each new member gets that of all others.
pub const MAX_INFO: usize = 64 << 10;

/// The bounds of all channels of a process: those of [`crate::base::limits::Limits`] that concern channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of messages in the log, with what encoding them may add; see `retention` for what is freed beyond it.
    pub log_bytes: usize,
    /// Channels that have messages or readers; beyond it an error.
    pub max_channels: usize,
    /// Channels of one reader; beyond it an error.
    pub max_subscriptions: usize,
    /// Bytes of the name of a channel or of a member; beyond it an error.
    pub max_name: usize,
    /// Messages that a reader gets at once, so that a long replay does not delay other readers.
    pub batch_messages: usize,
    /// Bytes of messages that a reader gets at once. It always gets at least one message.
    pub batch_bytes: usize,
    /// Bytes by which a reader may lag, even if its socket takes nothing for long.
    pub slow_bytes: usize,
    /// Time after which a member without readers has left.
    pub linger: Duration,
    /// Time for which a publisher waits while the engine takes no messages; then an error.
    pub publish_timeout: Duration,
    /// Messages of this process that wait for their numbers. Beyond it a publisher waits.
    pub publish_queue: usize,
    /// Bytes of these messages. Beyond it a publisher waits, too. One message may always wait.
    pub publish_queue_bytes: usize,
    /// Messages of at least so many bytes may be compressed. `None`: none of them.
    pub deflate_min: Option<usize>,
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
            publish_queue: table.publish_queue,
            publish_queue_bytes: table.publish_queue_bytes,
            deflate_min: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::from(&limits::Limits::default())
    }
}

impl Limits {
    /// Refuses a name that is empty or too long.
    pub(super) fn check_name(&self, name: &str) -> Result<(), Error> {
        match name.len() {
            0 => Err(Error::EmptyName),
            length if length > self.max_name => Err(Error::LongName { max: self.max_name, length }),
            _ => Ok(()),
        }
    }

    /// Refuses a member whose name or information is too long.
    pub(super) fn check_member(&self, member: Member<'_>) -> Result<(), Error> {
        let (name, info) = (member.name.len(), member.info.len());
        if name > self.max_name {
            return Err(Error::LongMember { max: self.max_name, length: name });
        }
        if info > MAX_INFO {
            return Err(Error::LongInfo { max: MAX_INFO, length: info });
        }
        Ok(())
    }
}
