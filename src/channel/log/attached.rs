//! A reader, as the log sees it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::cursor::Since;
use super::super::draft::Kind;
use super::super::message::{Flags, Message};
use super::super::notice::Notice;
use super::super::wake::Wake;

/// A reader's next message in one channel: its seq, and the index of the subscription.
pub(crate) type Head = Reverse<(u64, u32)>;

/// A subscription of a reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The channel's number in the log.
    pub(super) channel: u32,
    /// The index of the reader's place in the channel.
    pub(super) place: u32,
    /// The number of the channel's first live message. Earlier messages are a replay, of stored messages only.
    pub(super) live: u64,
    /// The seq of the newest list of members that the reader has got or gets next. It is told of members by later messages only:
    /// earlier ones that it has not read are in the list, and could contradict it.
    pub(super) here: u64,
    /// See [`super::super::Subscription::frames`].
    pub(super) frames: Option<Kind>,
}

/// The [`Attached::outlet`] of a reader that has none.
pub(crate) const NO_OUTLET: u32 = u32::MAX;

/// A reader, as the log sees it. What [`super::store::Log::hand_out`] looks at comes first: for each message, that is one or
/// two lines of the cache.
#[repr(C)]
pub(crate) struct Attached {
    pub(super) id: u64,
    /// The seq up to which the client's cursor has advanced. A later message with a lower seq gets no id, or the cursor
    /// would go back.
    pub(super) position: u64,
    pub(super) links: Vec<Link>,
    /// The number of its outlet: see [`super::super::Outlets`].
    pub(super) outlet: u32,
    /// The first subscriptions are complete, so the reader may read.
    pub(super) open: bool,
    /// The reader was woken, and has not read everything since.
    pub(super) woken: bool,
    /// Messages that the reader has not got are gone: it must be closed.
    pub(super) given_up: bool,
    /// The cursor that its client has sent belongs to this log, so it is the reader's position.
    pub(super) placed: bool,
    pub(super) notices: Vec<Notice>,
    pub(super) wake: Arc<dyn Wake>,
    /// Where the reader starts, by the cursor that its client has sent.
    pub(super) since: Since,
    /// Until the reader is open: whether it gets everything that it has missed.
    pub(super) recovered: Option<bool>,
    pub(super) gap: Vec<Arc<str>>,
}

impl Attached {
    /// Wakes the reader, if it was not woken already.
    pub(crate) fn wake_once(&mut self) -> bool {
        let asleep = self.open && !self.woken;
        if asleep {
            self.woken = true;
            self.wake.wake();
        }
        asleep
    }

    /// The log's memory is full, and messages that the reader has not got are freed. The reader must be closed.
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

    /// Adds a notice of the server for the reader.
    pub(super) fn notify(&mut self, notice: Notice) {
        notice.join(&mut self.notices);
        self.wake_once();
    }
}

#[cfg(test)]
pub(crate) const SIZE: usize = size_of::<Attached>();

/// What a reader gets.
pub(crate) enum Item<'a> {
    /// What the server itself tells the reader. Notices come first, and only once: see [`Batch::notices`].
    ///
    /// [`Batch::notices`]: super::super::Batch::notices
    Notices(&'a [Notice]),
    /// A message, and what wakes the reader.
    Message(&'a Arc<Message>, Flags, &'a Arc<dyn Wake>),
    /// The seq of a message for all readers except this one. It moves the reader's cursor. Otherwise the client would
    /// get the message when it reconnects, because it is another reader then.
    Passed(u64),
}
