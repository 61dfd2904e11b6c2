//! The frames between the hub and its peers: workers, and outsiders, which only publish.
//!
//! ```text
//! u32  length of what follows
//! u8   kind
//!      body
//! ```
//!
//! Numbers are big-endian. Texts are UTF-8. A *message* in a body is one entry of [`crate::channel::codec`], a message or a
//! command, and the rest of the body; this file does not look into it. A peer that gets a kind that it does not know, a body
//! that is too short or too long, or a frame longer than it accepts, closes the connection.
//!
//! # A connection
//!
//! The peer sends [`Frame::Hello`] first. A worker sends [`Frame::Rules`] next, once its app is loaded, and again when
//! rules change. The hub answers with [`Frame::Welcome`], but only when it can number messages: a hub that starts anew
//! first asks the workers for reports. The peer publishes nothing before the welcome.
//!
//! ```text
//! worker                                   hub
//! Hello, Rules            ─────────────▶
//!                         ◀─────────────   AskReport                        only while the hub recovers
//! Report, Message…, Floors…, Forgotten,
//! Kept…, Members…,
//! Authors…, End           ─────────────▶
//!                         ◀─────────────   Welcome
//!                         ◀─────────────   Continue, or: Reset, Floors…, Forgotten, Kept…, Members…, Authors…, End
//!                         ◀─────────────   Message…, Own…, Stable…          in the order of the log
//! Command…, Publish…      ─────────────▶
//!                         ◀─────────────   Credit, Refused, Position        at any time between two frames
//! ```
//!
//! An outsider gets [`Frame::Numbered`] instead of the log.
//!
//! **Authors.** A process has a random number, its author number. It counts its messages from 1 on, and publishes them in
//! the order of their counts, over one connection at a time. The hub numbers the messages of an author in that order,
//! and each count once: it skips counts that it knows already. [`Frame::Welcome`] says up to which count the hub knows
//! the messages of the author. The author sends those above it again, and no others.
//!
//! **Commands** are entries of the log as messages are. Those of a worker have counts of their own, under a second author
//! number, so that they need not wait behind messages: [`Frame::Command`] needs no credit. They come back as
//! [`Frame::Message`], also to their author. An outsider publishes a command as a message; it may only disconnect members.
//! The hub adds commands of its own: members without clients expire, and the clients of a process that has ended leave.
//! Their author is 0. Every process applies all commands in the order of the log, so all have the same members.
//!
//! **Answers.** A message is answered when its author has the frame with its number: a worker gets [`Frame::Own`] or,
//! inside of a [`Frame::Reset`], learns the number by `Welcome`; an outsider gets [`Frame::Numbered`]. The hub answers an
//! outsider when each attached worker has the message in its socket, except workers whose sockets are full, but at
//! least one; or when no worker is attached. Workers that did not write the message get it before its author does, as
//! long as their sockets take it.
//!
//! **Credit** counts the bytes of whole [`Frame::Publish`] frames, with length and kind. `Welcome` gives the first
//! credit of a connection, and [`Frame::Credit`] adds to it. A peer may begin a frame while its credit is above zero, so
//! one frame may overdraw it. The other frames need no credit.
//!
//! **Lagging.** While a worker's socket takes nothing, the hub keeps the worker's place in the log. A worker whose socket
//! takes nothing for a second while much waits is *cut off*: it is attached no longer, but its connection stays. When
//! its socket takes bytes again, the hub finishes the frame that was half written and goes on with the log, or with a
//! [`Frame::Reset`] of the same epoch if the log does not reach back so far.
//!
//! **Parcels.** A worker sends a parcel to another worker in a [`Frame::Relay`] with that one's process number. The hub puts the
//! sender's number in its place, and hands the parcel on; it knows nothing else of it. Parcels need no credit. When too much
//! waits for a worker, or it is not there, the sender gets [`Frame::Unreachable`].
//!
//! **The end.** A worker whose connection ends reads all that the socket still has, and drops a frame that is not
//! complete. Only then it says `Hello` to the hub again, or to a new one.

mod error;
mod kind;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

use crate::base::peers::Unreachable;
pub use crate::channel::Refusal;
use crate::channel::{Policy, PresentMember};
pub use error::ProtocolError;
pub use read::decode;
pub use write::{kept, message, publish};

/// The version of the protocol that this code speaks.
pub const VERSION: u16 = 2;

/// Bytes of a frame before its body: length and kind.
pub const HEADER: usize = 5;

/// Bytes of a [`Frame::Message`] before the message, the header included. No other frame has more before its message.
pub const OVERHEAD: usize = HEADER + 8 + 16 + 8;

/// Bytes of the longest frame: a message is shorter than 2 GiB.
pub const LONGEST: usize = (1 << 31) + OVERHEAD;

/// A list ([`Frame::Floors`], [`Frame::Members`], [`Frame::Authors`], [`Frame::Rules`]) is sent in pieces. A piece ends when it
/// has this many bytes.
pub const PIECE: usize = 64 * 1024;

/// Bytes of frames that are not complete, of all outsiders together, besides one frame of the longest kind.
pub const INCOMPLETE: usize = 16 << 20;

/// How many outsiders may be connected, if enough files may be open. Others wait in the backlog.
pub const OUTSIDERS: usize = 1000;

/// How long an outsider may take for its first frame, and for the rest of a frame that has begun.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It gets the log, and it may publish.
    Worker,
    /// It only publishes.
    Outsider,
}

/// A position in the hub's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch, as a number.
    pub epoch: u64,
    /// The newest number that was taken.
    pub last: u64,
}

/// The number of a message of an author that the sender of the frame knows: the highest count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The author's number.
    pub author: u128,
    /// The message's count.
    pub count: u64,
    /// The message's number in the log.
    pub seq: u64,
}

/// The rules of the channels that match a glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The glob.
    pub glob: &'a str,
    /// How many messages are kept.
    pub history: u32,
    /// How long they are kept, in microseconds; 0: until newer messages replace them.
    pub ttl: u64,
}

impl<'a> Rule<'a> {
    /// What other processes need to know of a policy.
    pub fn new(glob: &'a str, policy: &Policy) -> Self {
        let micros = |ttl: Duration| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX).max(1);
        Rule { glob, history: u32::try_from(policy.history).unwrap_or(u32::MAX), ttl: policy.ttl.map_or(0, micros) }
    }

    /// The policy of a process that does not deliver to clients.
    pub fn policy(&self) -> Policy {
        let ttl = (self.ttl > 0).then(|| Duration::from_micros(self.ttl));
        Policy { history: self.history as usize, ttl, ..Policy::default() }
    }
}

/// The hub can number messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the protocol that the hub speaks.
    pub version: u16,
    /// Where the hub's log ends.
    pub position: Position,
    /// The highest count of the author that the hub knows; 0: none.
    pub count: u64,
    /// The number of the message with that count; 0: none. If it was refused, [`Frame::Refused`] follows.
    pub seq: u64,
    /// The highest count of the worker's commands that the hub knows; 0: none.
    pub commands: u64,
    /// Bytes that the peer may publish: see "Credit".
    pub credit: u32,
    /// Bytes that one message may have in the form of the codec.
    pub longest: u32,
}

/// A frame. Frames that are read borrow from the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    // ---- from a peer to the hub ------------------------------------------------------------
    /// The first frame of a peer.
    Hello {
        /// The version of the protocol that the peer speaks. This field has its place in each version.
        version: u16,
        /// What the peer is.
        role: Role,
        /// The author's number.
        author: u128,
        /// The count up to which the author knows the numbers of its messages, or has given them up.
        settled: u64,
        /// The same of a worker's commands.
        commands: u64,
        /// What a worker has taken of a log; `None` if nothing.
        position: Option<Position>,
    },
    /// The rules of channels, of a process that has loaded the app. Those of the newest generation hold; within one
    /// generation, a rule for the same glob replaces the one before. The later rule of two that match a channel holds.
    Rules {
        /// The generation of the app's code.
        generation: u32,
        /// The rules, in the order in which they were set.
        rules: Vec<Rule<'a>>,
    },
    /// A message to be numbered.
    Publish {
        /// Its count: one more than that of the author's message before, or of [`Welcome::count`].
        count: u64,
        /// The message.
        message: &'a [u8],
    },
    /// A worker's command, to be numbered.
    Command {
        /// Its count: one more than that of the worker's command before, or of [`Welcome::commands`].
        count: u64,
        /// The command.
        command: &'a [u8],
    },
    /// Asks for the hub's position.
    AskPosition {
        /// Comes back in the answer.
        token: u64,
    },
    /// The first frame of a report. What follows has the order that "A connection" shows.
    Report {
        /// What the worker has taken; `None` if nothing, then only [`Frame::End`] follows.
        position: Option<Position>,
        /// The worker has all messages with higher numbers, up to its position: they follow, each as [`Frame::Message`]. It is
        /// at most the number of the last [`Frame::Stable`], or of the last [`Frame::Reset`].
        after: u64,
    },

    // ---- from the hub to a peer ------------------------------------------------------------
    /// The hub can number messages.
    Welcome(Welcome),
    /// Asks for a report.
    AskReport,
    /// The log goes on behind the worker's own position. This is its number.
    Continue {
        /// The number; the messages that follow have higher ones.
        after: u64,
    },
    /// A message. In a report: from a worker to the hub.
    Message {
        /// Its number.
        seq: u64,
        /// Its author.
        author: u128,
        /// Its count.
        count: u64,
        /// The message.
        message: &'a [u8],
    },
    /// Messages that the worker itself has published, in a row: `run` messages, the first of which has these numbers. All
    /// have been numbered by this connection or by one before, so the worker still has them.
    Own {
        /// The count of the first message.
        count: u64,
        /// Its number.
        seq: u64,
        /// How many messages. Counts and numbers of the others are one higher each.
        run: u32,
    },
    /// An outsider's messages have numbers. The fields are those of [`Frame::Own`].
    Numbered {
        /// The count of the first message.
        count: u64,
        /// Its number.
        seq: u64,
        /// How many messages. Counts and numbers of the others are one higher each.
        run: u32,
    },
    /// All attached workers have the messages up to this number in their sockets, and their authors are answered. So
    /// no hub will ask the worker for them. It may be lower than before, when the hub is another one; then it says nothing new.
    /// In a report: from a hub to the one that takes its place.
    Stable {
        /// The number.
        seq: u64,
    },
    /// More credit.
    Credit {
        /// Bytes.
        bytes: u32,
    },
    /// The answer to [`Frame::AskPosition`].
    Position {
        /// The token of the question.
        token: u64,
        /// Where the hub's log ends.
        position: Position,
    },
    /// The message gets no number. Its count counts as known.
    Refused {
        /// Its count.
        count: u64,
        /// Why.
        reason: Refusal,
    },

    // ---- between workers -------------------------------------------------------------------
    /// A parcel, in both directions.
    Relay {
        /// The process number of the receiver, or, from the hub, of the sender.
        process: u32,
        /// The sender's number for it.
        id: u64,
        /// What it holds.
        payload: &'a [u8],
    },
    /// The hub: a parcel has not arrived.
    Unreachable {
        /// The process number of the receiver.
        process: u32,
        /// The sender's number for it.
        id: u64,
        /// Bytes of its payload.
        length: u32,
        /// Why not.
        why: Unreachable,
    },
    /// The hub: a worker's connection has ended. Its last parcels have come before; the rest that was underway from or to it
    /// is lost.
    Parted {
        /// Its process number.
        process: u32,
    },

    // ---- a log as a whole: in a report, and behind a reset ---------------------------------
    /// A log begins: what the worker has missed, as far as channels have kept it. [`Frame::End`] is the end of it.
    Reset {
        /// Where this log ends. The messages after [`Frame::End`] have higher numbers.
        position: Position,
        /// 0: the worker forgets all that it has. Else it is the worker's own position in the same epoch, and only what is
        /// newer follows: a channel has a gap if its floor is higher than this.
        since: u64,
    },
    /// The floors of channels that have kept messages: see [`crate::channel::Reset`].
    Floors(Vec<(u64, &'a str)>),
    /// The floors of all other channels, by the hash of the name with this key. Their number is a power of two.
    Forgotten {
        /// The key of the hash. It is the same in all processes of one epoch.
        key: u128,
        /// The floors. One floor holds for all channels.
        floors: Vec<u64>,
    },
    /// A message that a channel has kept. Their numbers rise.
    Kept {
        /// Its number.
        seq: u64,
        /// The message.
        message: &'a [u8],
    },
    /// The members of channels at the end of this log.
    Members(Vec<PresentMember>),
    /// The highest known counts of authors. Behind a reset: of those authors whose messages are not stable. The worker
    /// reports them again, until [`Frame::Stable`] has passed their numbers.
    Authors(Vec<Known>),
    /// The end of a report, or of what follows a reset.
    End,
}

/// The next piece of a list of members, as a frame. `None` if nothing is left.
pub fn next_members(rest: &mut impl Iterator<Item = PresentMember>) -> Option<Frame<'static>> {
    let mut size = 0;
    let piece = std::iter::from_fn(|| {
        let next = if size < PIECE { rest.next() } else { None }?;
        size += next.channel.len() + next.member.len() + next.info.len() + 8 * next.clients.len() + 16;
        Some(next)
    });
    let piece: Vec<_> = piece.collect();
    (!piece.is_empty()).then_some(Frame::Members(piece))
}
