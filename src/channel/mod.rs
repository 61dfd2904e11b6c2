//! Channels: one log, many readers.
//!
//! A message is appended once to a log; a subscriber is a cursor into that log, not a queue of
//! copies. A live tail, a replay after a reconnect and a slow client are then one code path: read
//! what comes after the cursor.
//!
//! ```text
//! any thread                             state lock                        reactor
//! publish ─▶ Engine (number, queue) ─▶ Log: channel rings, floors ─▶ deliver: wake readers once
//!            lock held for a push         ▲ subscribe, history         └▶ Reader::read: Bytes
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`channels`] | the front door: publish, attach, deliver, sweep; any thread |
//! | [`engine`] | where messages get their order; the seam for engines beyond this process |
//! | [`reader`] | a client's cursor: subscribe, read the next batch, lag |
//! | [`message`] | what was published, encoded at most once per form |
//! | [`cursor`] | `"<epoch>-<seq>"`, and where a subscription starts |
//! | [`policy`] | history, ttl and what happens to slow readers, by glob |
//! | [`pattern`] | globs in the manner of Redis |
//! | [`presence`] | who is there |
//! | [`notice`] | what the server itself tells a reader: gaps, drops, who is here |
//! | `log` | all channels under one lock: append, open, forget |
//! | `eviction` | which messages are freed when the memory is full, and as time passes |
//! | `memory` | how much memory channels take, and which of them take most |
//! | `names` | channels by name |
//! | `globs` | the patterns that match a name, found among many |
//! | `work` | how much one hold of the lock looks at |
//! | `subscription` | the readers' side of the log: where each starts, what it gets next |
//! | `ring` | one channel: its messages, its floor, its readers' places |
//! | `block` | SSE blocks, alone and in WebSocket frames |
//! | `slab` | things that are found by a small number |
//!
//! Words: a channel's *floor* is the seq of its newest stored message that is gone. A reader is
//! *attached* while its connection lasts. What an attached reader has not got yet is *pinned*:
//! kept, whatever the channel's history, until the log's memory is full or the reader is given up.

mod block;
#[cfg(test)]
mod bounds;
pub mod channels;
pub mod cursor;
pub mod engine;
mod eviction;
mod globs;
mod log;
mod memory;
pub mod message;
#[cfg(test)]
mod model;
mod names;
pub mod notice;
pub mod pattern;
pub mod policy;
pub mod presence;
pub mod reader;
mod ring;
mod slab;
mod subscription;
#[cfg(test)]
mod threads;
mod work;

use std::time::Duration;

use thiserror::Error;

use crate::base::limits;

pub use block::Form;
pub use channels::{Channels, Figures, History};
pub use cursor::{Cursor, Epoch, Since};
pub use engine::{Engine, EngineError, Local, Published};
pub use message::{Draft, EventName, Kind, Message};
pub use notice::Notice;
pub use pattern::Pattern;
pub use policy::{Policy, Slow};
pub use presence::Member;
pub use reader::{Batch, Lag, Reader, Subscription, Target};

/// Somebody who sleeps until there is something to do.
pub trait Wake: Send + Sync {
    /// Makes it look soon. Any thread, possibly with the log's lock held: must neither block nor
    /// call anything of this module.
    fn wake(&self);

    /// The log's memory was full, and messages that the reader has not got are gone. Its connection should be closed at
    /// once; if it reads instead, the read says so. The same rules hold as for [`Wake::wake`]. Called once, even if
    /// [`Wake::wake`] was called before.
    fn give_up(&self) {
        self.wake();
    }
}

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
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::from(&limits::Limits::default())
    }
}

/// Why something could not be published or subscribed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A channel needs a name.
    #[error("a channel's name must not be empty")]
    EmptyName,
    /// The name is over [`Limits::max_name`].
    #[error("a channel's name has at most {max} bytes, not {length}")]
    LongName {
        /// What is allowed, in bytes.
        max: usize,
        /// What was given, in bytes.
        length: usize,
    },
    /// The event's name would break out of its line.
    #[error("event: must not contain CR, LF or NUL")]
    BrokenEvent,
    /// The message is larger than the whole log may be.
    #[error("the message takes {size} bytes with all that encoding it may add, and channel_memory is {max}")]
    TooLarge {
        /// What the log may hold, in bytes.
        max: usize,
        /// What the message would take there, in bytes.
        size: usize,
    },
    /// [`Limits::max_channels`] is reached.
    #[error("there are {0} channels already")]
    TooManyChannels(usize),
    /// [`Limits::max_subscriptions`] is reached.
    #[error("a client subscribes to at most {0} channels")]
    TooManySubscriptions(usize),
    /// The engine did not take the message.
    #[error(transparent)]
    Engine(#[from] EngineError),
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
