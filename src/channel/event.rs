//! The events that an engine sends to the channels, and the commands that the channels send to an engine.

use std::sync::Arc;
use std::time::Instant;

use super::cursor::Epoch;
use super::forgotten::Forgotten;
use super::message::Message;

/// Something that happened in an engine. All processes get the same events in the same order.
#[derive(Debug)]
pub enum Event {
    /// A numbered message. Numbers rise. A number that is missing between two messages belongs to a message that is not for
    /// this process.
    Message(Arc<Message>),
    /// A new log begins: see [`Reset`].
    Reset(Box<Reset>),
    /// This process never gets the messages up to this number that it has not got yet.
    Lost {
        /// The highest number that is lost.
        to: u64,
    },
    /// A client has joined or left as a member of a channel, or a member has left.
    Member(Change),
    /// This process must close the clients of the member.
    Disconnect {
        /// The member's name.
        member: Arc<str>,
    },
}

/// A log that replaces the log before: the engine has lost its own, or this process begins with the log of the other
/// processes.
#[derive(Debug)]
pub struct Reset {
    /// The epoch from now on.
    pub epoch: Epoch,
    /// The newest number; the first message that follows has a higher number.
    pub last: u64,
    /// The floors of all channels that are not in `floors`.
    pub forgotten: Forgotten,
    /// The floors of channels that have kept more messages.
    pub floors: Vec<(Arc<str>, u64)>,
    /// The messages that the channels have kept, in order. Their numbers are above the channels' floors and at most `last`.
    pub history: Vec<Arc<Message>>,
}

/// A change of a channel's members. A process that applies a change twice gets the same result as after one time.
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
    /// A client is the member from now on.
    Join {
        /// The client's id.
        client: u64,
        /// The information about the member that other clients get: JSON.
        info: Arc<str>,
    },
    /// A client is not the member any more.
    Leave {
        /// The client's id.
        client: u64,
        /// When the client left, by the clock of this process.
        at: Instant,
    },
    /// The member has had no client for long enough, and leaves. A member that has a client again stays.
    Expire {
        /// The process that sends the announcement to the channel's readers: see [`super::Engine::process`].
        process: u32,
    },
}

/// A command to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// All processes get the change as [`Event::Member`], this process too.
    Member(Change),
    /// All other processes get this as [`Event::Disconnect`]. This process closes the member's clients itself.
    Disconnect {
        /// The member's name.
        member: Arc<str>,
    },
}
