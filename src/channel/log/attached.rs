//! A reader, as the log sees it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::cursor::Since;
use super::super::draft::Kind;
use super::super::message::{Flags, Message};
use super::super::notice::Notice;
use super::super::wake::Wake;

/// A reader's next message in one channel: its seq, and which of the reader's subscriptions.
pub(crate) type Head = Reverse<(u64, u32)>;

/// A subscription of a reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The channel's number in the log.
    pub(super) channel: u32,
    /// The number of the reader's place there.
    pub(super) place: u32,
    /// What the channel had before is a replay: only what was stored.
    pub(super) live: u64,
    /// See [`super::super::Subscription::frames`].
    pub(super) frames: Option<Kind>,
}

/// A reader, as the log sees it.
pub(crate) struct Attached {
    pub(super) id: u64,
    pub(super) wake: Arc<dyn Wake>,
    /// The cursor it came with.
    pub(super) since: Since,
    /// That cursor is one of this log, so it is where the reader stands.
    pub(super) placed: bool,
    pub(super) links: Vec<Link>,
    /// Everything is subscribed that belongs to the first replay: it may read.
    pub(super) open: bool,
    /// It knows that there is something to read.
    pub(super) woken: bool,
    /// Ids up to here are behind it: a message that comes later with a lower seq has none, or the
    /// client's cursor would run backwards.
    pub(super) position: u64,
    pub(super) notices: Vec<Notice>,
    /// Messages that it should have got are gone: it must be closed.
    pub(super) given_up: bool,
    /// Until it is open: how its return goes.
    pub(super) recovered: Option<bool>,
    pub(super) gap: Vec<Arc<str>>,
}

impl Attached {
    /// Wakes it, if it does not know yet.
    pub(crate) fn nudge(&mut self) -> bool {
        let asleep = self.open && !self.woken;
        if asleep {
            self.woken = true;
            self.wake.wake();
        }
        asleep
    }

    /// The log's memory is full, and messages that the reader has not got are freed: it must be closed.
    pub(crate) fn give_up(&mut self) {
        if !self.given_up {
            self.given_up = true;
            self.woken = true;
            self.wake.give_up();
        }
    }

    /// The reader skips messages of a channel, and is told how many.
    pub(crate) fn skip(&mut self, channel: &Arc<str>, count: u64) {
        if count > 0 {
            self.notify(Notice::Drop { channel: Arc::clone(channel), count });
        }
    }

    /// Tells the reader something of the server's own.
    pub(super) fn notify(&mut self, notice: Notice) {
        notice.join(&mut self.notices);
        self.nudge();
    }
}

#[cfg(test)]
pub(crate) const SIZE: usize = size_of::<Attached>();

/// What a reader gets.
pub(crate) enum Item<'a> {
    /// What the server itself tells the reader. It comes first, and is not given again: see [`Batch::notices`].
    ///
    /// [`Batch::notices`]: super::super::Batch::notices
    Notices(&'a [Notice]),
    /// A message.
    Message(&'a Arc<Message>, Flags),
    /// A message for all readers but this one, whose cursor it moves. Otherwise the client would get the message when it
    /// returns, because it is another reader then.
    Passed(u64),
}
