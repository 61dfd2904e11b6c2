//! A client's cursor into the log.
//!
//! A push stream owns its reader. Woken, it reads while its own queue has room:
//!
//! ```text
//! subscribe … subscribe, open      any thread
//! Wake::wake                       once, then not again until a read has left nothing
//! read(form, blocked, sink)        again while Batch::more, whenever there is room
//! stalled()                        when the socket has taken nothing for the stall time
//! drop                             all subscriptions end
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::channels::Channels;
use super::message::{Kind, Message};
use super::subscription::{Item, Room};
use super::{Cursor, Error, Form, Member, Notice, Since};

/// What is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The channel of this name.
    Channel(&'a str),
    /// All channels whose names match, now and later. Nothing is kept for those who come back,
    /// so resuming one is a gap unless nothing at all was published.
    Pattern(&'a str),
}

impl<'a> Target<'a> {
    pub(super) fn name(self) -> &'a str {
        let (Target::Channel(name) | Target::Pattern(name)) = self;
        name
    }
}

/// How something is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// What.
    pub target: Target<'a>,
    /// From where on; `None` is the cursor that the client came with.
    pub since: Option<Since>,
    /// As whom, in channels with presence.
    pub member: Option<Member<'a>>,
    /// Which frames a raw WebSocket gets, whatever was published: text or binary. `None` is as it
    /// was published; so are bytes that are no text.
    pub frames: Option<Kind>,
}

impl<'a> Subscription<'a> {
    /// To one channel, from the client's cursor on, as nobody.
    pub fn to(channel: &'a str) -> Self {
        Subscription { target: Target::Channel(channel), since: None, member: None, frames: None }
    }
}

/// What one read gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many messages.
    pub messages: usize,
    /// Bytes of messages and notices.
    pub bytes: usize,
    /// There was no room for all: read again. Nobody wakes a reader that knows.
    pub more: bool,
    /// The log's memory was full, and messages are gone that the reader had not got: close its
    /// connection. Nothing was read.
    pub overrun: bool,
    /// What the reader was told beside messages. It is in the bytes already, where the form has a
    /// way to say it.
    pub notices: Vec<Notice>,
}

impl Batch {
    pub(super) fn is_full(&self, room: Room) -> bool {
        self.messages >= room.messages || self.bytes >= room.bytes
    }
}

/// How far a reader is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages in its channels.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// An attached reader; dropping it ends its subscriptions. All methods may be called from any
/// thread, and wait for the log's lock only.
pub struct Reader {
    channels: Arc<Channels>,
    number: u32,
    id: u64,
    /// It is there as a member somewhere. Readers with the same id may be there as nobody.
    member: AtomicBool,
    ended: Option<Instant>,
}

impl Reader {
    pub(super) fn new(channels: Arc<Channels>, number: u32, id: u64) -> Self {
        Reader { channels, number, id, member: AtomicBool::new(false), ended: None }
    }

    /// As what presence knows it, if it does.
    fn member(&self) -> Option<u64> {
        self.member.load(Ordering::Relaxed).then_some(self.id)
    }

    /// What [`super::Draft::except`] knows it by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Subscribes. Where it starts is fixed at once: what is published from now on comes, and
    /// between that and a replay there is neither hole nor duplicate.
    ///
    /// Returns true if the reader gets all that it missed, false if some of that is gone (a gap:
    /// then it gets nothing of it), `None` if it asked for nothing old or has the subscription.
    /// A subscription after [`Reader::open`] with an older start brings old messages without ids,
    /// so that the client's cursor never runs backwards.
    pub fn subscribe(&self, subscription: Subscription<'_>, now: Instant) -> Result<Option<bool>, Error> {
        if subscription.member.is_some() {
            self.member.store(true, Ordering::Relaxed);
        }
        self.channels.subscribe(self.number, self.id, subscription, now)
    }

    /// The first subscriptions are complete: starts one replay of all of them, in the log's order.
    /// Nothing can be read before. Returns what [`Reader::subscribe`] does, for all together.
    pub fn open(&self) -> Option<bool> {
        self.channels.lock().log.open(self.number)
    }

    /// Ends a subscription; what was not read of it is not read any more. False if there is none.
    pub fn unsubscribe(&self, target: Target<'_>, now: Instant) -> bool {
        self.channels.unsubscribe(self.number, self.member(), target, now)
    }

    /// Reads the next messages, all channels merged in the log's order, at most
    /// [`super::Limits::batch_messages`] and about [`super::Limits::batch_bytes`].
    ///
    /// `sink` gets whole blocks or frames, shared with other readers: between any two, others may
    /// be sent. It is called with the log's lock held. `blocked` says that the socket has not taken
    /// all of what was read before: then channels with [`super::Slow::Latest`] skip to their newest.
    pub fn read(&self, form: Form, blocked: bool, mut sink: impl FnMut(Bytes)) -> Batch {
        let mut state = self.channels.lock();
        state.log.read(self.number, self.channels.room(), blocked, |item, wire| match item {
            Item::Message(message, id, frames) => message.emit(form, id, frames, wire, &mut sink),
            Item::Passed(seq) => wire.emit_id(seq, form, &mut sink),
            Item::Notice(notice) => notice.emit(form, wire, &mut sink),
        })
    }

    /// Like [`Reader::read`], for readers in this process: `visit` gets the messages themselves.
    pub fn read_messages(&self, mut visit: impl FnMut(&Arc<Message>)) -> Batch {
        let mut state = self.channels.lock();
        state.log.read(self.number, self.channels.room(), false, |item, _| match item {
            Item::Message(message, ..) => {
                visit(message);
                message.payload().len()
            }
            Item::Passed(_) | Item::Notice(_) => 0,
        })
    }

    /// Where the client may resume: it has been given everything up to here. For the end of a long
    /// poll; ids of messages say the same, but stand still while others' channels move on.
    pub fn cursor(&self) -> Cursor {
        self.channels.lock().log.cursor(self.number)
    }

    /// How far it is behind what it could have read.
    pub fn lag(&self) -> Lag {
        self.channels.lock().log.lag(self.number)
    }

    /// Whether it has not read all that was published up to `cursor`.
    pub fn is_behind(&self, cursor: Cursor) -> bool {
        self.channels.lock().log.is_behind(self.number, cursor.seq)
    }

    /// Its socket has taken nothing for the stall time: does what the channels' rules say of a
    /// reader that lags by more than [`super::Limits::slow_bytes`]. False if it must be closed.
    pub fn stalled(&self) -> bool {
        self.channels.lock().log.stalled(self.number)
    }

    /// Ends it; `now` is when its member began to be away.
    pub fn detach(mut self, now: Instant) {
        self.ended = Some(now);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channels.detach(self.number, self.member(), self.ended.unwrap_or_else(Instant::now));
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("id", &self.id).finish_non_exhaustive()
    }
}
