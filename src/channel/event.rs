//! The events that an engine sends to the channels, and the commands that the channels send to an engine.

use super::cursor::Epoch;
use super::forgotten::Forgotten;
use super::message::Message;
use std::sync::Arc;

/// Something that happened in an engine. All processes get the same events in the same order.
#[derive(Debug)]
pub enum Event {
    /// A numbered message. Numbers rise. A number that is missing between two events belongs to something that is not for
    /// this process.
    Message(Arc<Message>),
    /// A command of some process, also of this one.
    Command {
        /// Its number: commands and messages are numbered together.
        seq: u64,
        /// The command.
        command: Command,
    },
    /// A new log begins: see [`Reset`].
    Reset(Box<Reset>),
    /// This process never gets the messages up to this number that it has not got yet.
    Lost {
        /// The highest number that is lost.
        to: u64,
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
    /// The members of all channels.
    pub members: Vec<PresentMember>,
}

/// A member of a channel, with its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentMember {
    /// The channel's name.
    pub channel: Arc<str>,
    /// The member's name.
    pub member: Arc<str>,
    /// The information about the member that other clients get: JSON.
    pub info: Arc<str>,
    /// The ids of its clients, sorted. There are none while it is unknown whether the member comes back.
    pub clients: Vec<u64>,
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
    },
    /// The member has had no client for long enough, and leaves. A member that has a client again stays.
    Expire,
}

/// Something that all processes do, at the same place of the engine's order. All do the same, so nothing about it may
/// depend on a clock or on the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The members of a channel change.
    Member(Change),
    /// All processes but one close the clients of a member. That one has done so already.
    Disconnect {
        /// The member's name.
        member: Arc<str>,
        /// The number of the process that has closed its own clients; `None` if there is none.
        done: Option<u32>,
    },
}
