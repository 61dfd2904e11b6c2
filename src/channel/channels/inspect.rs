//! What the channels hold: history, names and figures.

use std::sync::Arc;
use std::time::Instant;

use super::super::cursor::{Epoch, Since};
use super::super::event::Reset;
use super::super::message::Message;
use super::state::Channels;

/// A part of a channel's history.
#[derive(Debug)]
pub struct History {
    /// The epoch of the messages' numbers.
    pub epoch: Epoch,
    /// The stored messages, in order.
    pub messages: Vec<Arc<Message>>,
    /// False if messages between the cursor and the first message are missing.
    pub complete: bool,
}

/// Numbers about all channels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Messages published, including the server's own messages.
    pub published: u64,
    /// Bytes of the messages in the log.
    pub bytes: u64,
    /// Channels and patterns that have messages or readers.
    pub channels: u64,
    /// Readers that are attached.
    pub readers: u64,
}

impl Channels {
    /// Stored messages of a channel: the first `limit` after a cursor. Without a cursor, or if it is too old: the
    /// newest `limit`.
    pub fn history(&self, channel: &str, since: Since, limit: usize, now: Instant) -> History {
        let mut state = self.lock_current();
        let (messages, complete) = state.log.history(channel, since, limit, now);
        History { epoch: state.log.epoch, messages, complete }
    }

    /// The names of all channels that have messages or readers, in no order. If a channel is opened or forgotten
    /// meanwhile, the result may or may not have its name.
    pub fn names(&self) -> Vec<Arc<str>> {
        let (mut names, mut from, mut pieces) = (Vec::new(), 0, 0);
        while let Some(next) = self.lock_current().log.names_from(from, &mut names) {
            from = next;
            pieces += 1;
        }
        // Meanwhile a channel may have been forgotten and opened again with another number.
        if pieces > 0 {
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    /// What another process needs to begin with this log: the floors, the messages after `since`, in order, and all members.
    /// Looks at all channels and members under the lock.
    pub fn image(&self, since: u64) -> Reset {
        let state = self.lock_current();
        Reset { members: state.presence.all(), ..state.log.image(since) }
    }

    /// Bytes of the messages in the log.
    pub fn bytes(&self) -> usize {
        self.lock_current().log.memory.bytes()
    }

    /// Numbers for `PushServer.stats`.
    pub fn figures(&self) -> Figures {
        let state = self.lock_current();
        let log = &state.log;
        Figures {
            published: self.stats.published.get(),
            bytes: log.memory.bytes() as u64,
            channels: log.channels.len() as u64,
            readers: log.readers.len() as u64,
        }
    }
}
