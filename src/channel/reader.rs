//! A client's reader, which has the client's cursor into the log.
//!
//! A push stream owns its reader. When it is woken, it reads while its own queue has room:
//!
//! ```text
//! subscribe … subscribe, open      any thread
//! Wake::wake                       once, then not again until a read has left nothing
//! read(encoding, blocked, sink)    again while Batch::more, whenever there is room
//! stalled()                        when the socket has taken nothing for the stall time
//! drop                             all subscriptions end
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::batch::{Batch, Lag};
use super::channels::Channels;
use super::cursor::{Cursor, Since};
use super::encoding::{Awaited, Deflations, Encoder, Encoding, Form, Shape};
use super::error::Error;
use super::log::Item;
use super::message::{Flags, Message};
use super::notice::Notice;
use super::subscription::{Subscription, Target};
use super::wake::Wake;
use crate::websocket::deflate::WindowBits;

/// What a read gives to its sink after the lock is released, behind the batch's notices.
#[derive(Default)]
struct Deferred(Vec<DeferredItem>);

enum DeferredItem {
    Message(Arc<Message>, Flags),
    Passed(u64),
}

impl Deferred {
    /// Adds an item. Returns an estimate of its bytes. Most reads defer nothing.
    #[cold]
    fn add(deferred: &mut Option<Deferred>, item: Item<'_>, encoding: Encoding) -> usize {
        match item {
            Item::Passed(_) if encoding.shape == Shape::Raw => 0,
            Item::Passed(seq) => {
                deferred.get_or_insert_default().0.push(DeferredItem::Passed(seq));
                size_of::<Cursor>()
            }
            Item::Notices(notices) => {
                deferred.get_or_insert_default();
                notices.iter().map(Notice::estimate).sum()
            }
            Item::Message(message, flags, _) => {
                let item = DeferredItem::Message(Arc::clone(message), flags);
                deferred.get_or_insert_default().0.push(item);
                message.estimate()
            }
        }
    }

    /// Gives `sink` the notices and what was deferred. Returns the bytes, and what was compressed.
    #[cold]
    fn emit(
        self,
        notices: &[Notice],
        encoding: Encoding,
        encoder: &Encoder,
        sink: &mut impl FnMut(Bytes),
    ) -> (usize, Deflations) {
        let (mut bytes, mut deflations) = (0, Deflations::default());
        for notice in notices {
            bytes += notice.emit(encoding, encoder, sink);
        }
        for item in self.0 {
            bytes += match item {
                DeferredItem::Message(message, flags) => message.emit(encoding, flags, encoder, &mut deflations, sink),
                DeferredItem::Passed(seq) => encoder.emit_id(seq, encoding, sink),
            };
        }
        (bytes, deflations)
    }
}

/// An attached reader; dropping it ends its subscriptions. All methods may be called from any
/// thread, and wait for the log's lock only.
pub struct Reader {
    channels: Arc<Channels>,
    number: u32,
    id: u64,
    /// It is a member of a channel. Another reader with the same id need not be.
    member: AtomicBool,
}

impl Reader {
    /// Attaches a reader whose client has sent the cursor `since`. `id` names it in [`super::Draft::except`]. `wake` is
    /// woken once there is something to read.
    pub fn attach(channels: &Arc<Channels>, id: u64, wake: Arc<dyn Wake>, since: Since) -> Self {
        let number = channels.attach(id, wake, since);
        Reader { channels: Arc::clone(channels), number, id, member: AtomicBool::new(false) }
    }

    /// Its id in presence, if it is a member of a channel.
    fn member(&self) -> Option<u64> {
        self.member.load(Ordering::Relaxed).then_some(self.id)
    }

    /// The id that names it in [`super::Draft::except`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its number among the attached readers.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// From now on, [`super::Channels::hand_out`] may give its messages to this outlet.
    pub fn set_outlet(&self, outlet: u32) {
        self.channels.set_outlet(self.number, outlet);
    }

    /// Subscribes. The start is fixed at once: the reader gets everything that is published from now on. Between that
    /// and a replay, no message is lost or repeated.
    ///
    /// Returns true if the reader gets all messages that it has missed. Returns false if some of them are gone: this is
    /// a gap, and the reader gets none of them. Returns `None` if the reader has asked for no old messages or has the
    /// subscription already. A subscription after [`Reader::open`] with an older start gives old messages without ids,
    /// so that the client's cursor never goes back.
    pub fn subscribe(&self, subscription: Subscription<'_>, now: Instant) -> Result<Option<bool>, Error> {
        if subscription.member.is_some() {
            self.member.store(true, Ordering::Relaxed);
        }
        self.channels.subscribe(self.number, self.id, subscription, now)
    }

    /// The first subscriptions are complete. Starts one replay of all of them, in the log's order. Nothing can be read
    /// before. Returns what [`Reader::subscribe`] returns, for all of them together.
    pub fn open(&self) -> Option<bool> {
        self.channels.lock().log.open(self.number, false)
    }

    /// As [`Reader::open`], for a client that has lost what was written to it before: see [`super::Notice::Open`].
    pub fn open_after_loss(&self) -> Option<bool> {
        self.channels.lock().log.open(self.number, true)
    }

    /// Ends a subscription. Messages that were not read yet are not read any more. Returns false if there is none.
    pub fn unsubscribe(&self, target: Target<'_>) -> bool {
        self.channels.unsubscribe(self.number, self.member(), target)
    }

    /// Reads the next messages, all channels merged in the log's order, at most
    /// [`super::Limits::batch_messages`] and about [`super::Limits::batch_bytes`].
    ///
    /// `sink` gets whole blocks or frames, which are shared with other readers. Other frames may be sent between any
    /// two of them. `sink` may be called with the log's lock held. `blocked` says that the socket has not taken
    /// everything that was read before. Then channels with [`super::Slow::Latest`] skip to their newest message.
    ///
    /// Nothing is encoded under the lock. `sink` gets messages that are encoded already under the lock, until the first
    /// message that is not. From there on, the rest of the batch is encoded after the lock is released. Until then the
    /// batch counts an estimate of its bytes.
    ///
    /// If `encoding` compresses, the batch ends before a long message that nobody has compressed in this way: see
    /// [`Batch::waits`].
    pub fn read(&self, encoding: Encoding, blocked: bool, mut sink: impl FnMut(Bytes)) -> Batch {
        if let Some(window) = encoding.deflate {
            return self.read_compressed(encoding, window, blocked, sink);
        }
        let (mut deferred, mut given) = (None, 0);
        let mut state = self.channels.lock();
        let mut batch = state.log.read(self.number, self.channels.batch_limit(), blocked, |item| {
            if deferred.is_none()
                && let Item::Message(message, flags, _) = &item
                && let Some(bytes) = message.emit_cached(encoding, *flags, &mut sink)
            {
                given += bytes;
                return Some(bytes);
            }
            Some(Deferred::add(&mut deferred, item, encoding))
        });
        if let Some(deferred) = deferred {
            let encoder = Arc::clone(&state.log.encoder);
            drop(state);
            given += deferred.emit(&batch.notices, encoding, &encoder, &mut sink).0;
        }
        batch.bytes = given;
        batch
    }

    /// [`Reader::read`] for a reader that compresses.
    #[inline(never)]
    fn read_compressed(
        &self,
        encoding: Encoding,
        window: WindowBits,
        blocked: bool,
        mut sink: impl FnMut(Bytes),
    ) -> Batch {
        let form = Form { shape: encoding.shape, window };
        let (mut deferred, mut given) = (None, 0);
        let (mut begun, mut deflations) = (None, Deflations::default());
        let mut state = self.channels.lock();
        let mut batch = state.log.read(self.number, self.channels.batch_limit(), blocked, |item| {
            if let Item::Message(message, flags, wake) = &item {
                match message.await_form(form, *flags, self.number, wake) {
                    Awaited::Ready(made) => deflations.join(made),
                    Awaited::Later => return None,
                    Awaited::Begins => {
                        begun = Some(Arc::clone(message));
                        return None;
                    }
                }
                if deferred.is_none()
                    && let Some(bytes) = message.emit_cached(encoding, *flags, &mut sink)
                {
                    given += bytes;
                    return Some(bytes);
                }
            }
            Some(Deferred::add(&mut deferred, item, encoding))
        });
        let encoder = Arc::clone(&state.log.encoder);
        drop(state);
        if let Some(message) = begun {
            self.channels.compressor.make(message, form, Arc::clone(&encoder));
        }
        if let Some(deferred) = deferred {
            let (bytes, compressed) = deferred.emit(&batch.notices, encoding, &encoder, &mut sink);
            given += bytes;
            deflations.join(compressed);
        }
        batch.deflations = (deflations != Deflations::default()).then(|| Box::new(deflations));
        batch.bytes = given;
        batch
    }

    /// Like [`Reader::read`], for readers in this process: `visit` gets the messages themselves, with the log's lock
    /// held.
    pub fn read_messages(&self, mut visit: impl FnMut(&Arc<Message>)) -> Batch {
        let mut state = self.channels.lock();
        state.log.read(self.number, self.channels.batch_limit(), false, |item| match item {
            Item::Message(message, ..) => {
                visit(message);
                Some(message.payload().len())
            }
            Item::Passed(_) | Item::Notices(_) => Some(0),
        })
    }

    /// The cursor from which the client may resume: it has got everything up to here. For the end of an answer to a
    /// long poll. The id of the last message would do too, but it does not advance while only other channels get
    /// messages.
    pub fn cursor(&self) -> Cursor {
        self.channels.lock().log.cursor(self.number)
    }

    /// How far the reader is behind.
    pub fn lag(&self) -> Lag {
        self.channels.lock().log.lag(self.number)
    }

    /// Whether the reader has not read everything that was published up to `cursor`.
    pub fn is_behind(&self, cursor: Cursor) -> bool {
        self.channels.lock().log.is_behind(self.number, cursor)
    }

    /// The reader's socket has taken nothing for `slow_timeout`. If the reader lags by more than
    /// [`super::Limits::slow_bytes`], this does what the channels' rules say. Returns false if it must be closed.
    pub fn stalled(&self) -> bool {
        self.channels.lock().log.stalled(self.number)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channels.detach(self.number, self.member());
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("id", &self.id).finish_non_exhaustive()
    }
}
