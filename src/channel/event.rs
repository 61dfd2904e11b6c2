//! What an engine tells the channels, and what the channels tell an engine beside messages.

use std::sync::Arc;
use std::time::Instant;

use super::cursor::Epoch;
use super::message::Message;

/// Something that happened in an engine. All processes get the same events in the same order.
#[derive(Debug)]
pub enum Event {
    /// A numbered message. Numbers rise; a message that is missing between two is none of this process.
    Message(Arc<Message>),
    /// A new log begins: see [`Reset`].
    Reset(Box<Reset>),
    /// Messages up to this number, which this process has not got, are gone for it.
    Lost {
        /// The highest number that is gone.
        to: u64,
    },
    /// A member of a channel has come or gone.
    Member(Change),
    /// The clients of this member are to be closed.
    Disconnect {
        /// The member's name.
        member: Arc<str>,
    },
}

/// A log that takes the place of the one before: after the engine has lost its own, or when a process begins with what
/// others have.
#[derive(Debug)]
pub struct Reset {
    /// The epoch from now on.
    pub epoch: Epoch,
    /// The newest number; the first message that follows has a higher one.
    pub last: u64,
    /// The floor of all channels that are not in `floors`.
    pub floor: u64,
    /// The floors of channels that have kept more.
    pub floors: Vec<(Arc<str>, u64)>,
    /// What the channels have kept, in order. The numbers are above the channels' floors and at most `last`.
    pub history: Vec<Arc<Message>>,
}

/// A change of a channel's members. To apply one twice is the same as to apply it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The channel's name.
    pub channel: Arc<str>,
    /// The member's name.
    pub member: Arc<str>,
    /// What has changed.
    pub kind: ChangeKind,
}

/// What has changed about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A client is there as the member.
    Join {
        /// The client's id.
        client: u64,
        /// What others are told of the member: JSON.
        info: Arc<str>,
    },
    /// A client is not there any more.
    Leave {
        /// The client's id.
        client: u64,
        /// When it went, by the clock of this process.
        at: Instant,
    },
    /// The member has had no client for long enough: it has left. It stays if it has one again.
    Expire {
        /// The process that tells the channel's readers: see [`super::Engine::process`].
        process: u32,
    },
}

/// What the channels tell an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// It comes back to all processes, this one too, as [`Event::Member`].
    Member(Change),
    /// It comes to all other processes as [`Event::Disconnect`]: this one has done it already.
    Disconnect {
        /// The member's name.
        member: Arc<str>,
    },
}
