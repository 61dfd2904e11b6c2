//! A client's cursor into the log.
//!
//! A push stream owns its reader. Woken, it reads while its own queue has room:
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
use super::encoding::{Encoding, Shape};
use super::error::Error;
use super::log::Item;
use super::message::{Flags, Message};
use super::notice::Notice;
use super::subscription::{Subscription, Target};
use super::wake::Wake;

/// What a read gives once it has left the lock.
enum Later {
    Message(Arc<Message>, Flags),
    Passed(u64),
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
    /// Attaches a reader that came with the cursor `since`. `id` is what [`super::Draft::except`] knows it by; `wake` is
    /// woken once there is something to read.
    pub fn attach(channels: &Arc<Channels>, id: u64, wake: Arc<dyn Wake>, since: Since) -> Self {
        let number = channels.attach(id, wake, since);
        Reader { channels: Arc::clone(channels), number, id, member: AtomicBool::new(false), ended: None }
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
    /// be sent. It may be called with the log's lock held. `blocked` says that the socket has not taken
    /// all of what was read before: then channels with [`super::Slow::Latest`] skip to their newest.
    ///
    /// Nothing is encoded under the lock. What is encoded already is given to `sink` there; from the first message on
    /// that is not, the rest of the batch follows when the lock is free. Until then the batch counts an estimate of it.
    pub fn read(&self, encoding: Encoding, blocked: bool, mut sink: impl FnMut(Bytes)) -> Batch {
        let (mut later, mut told, mut given) = (Vec::new(), false, 0);
        let mut state = self.channels.lock();
        let mut batch = state.log.read(self.number, self.channels.batch_limit(), blocked, |item| match item {
            Item::Notices(notices) => {
                told = true;
                notices.iter().map(Notice::estimate).sum()
            }
            Item::Message(message, flags) => {
                let cached =
                    if told || !later.is_empty() { None } else { message.emit_cached(encoding, flags, &mut sink) };
                given += cached.unwrap_or(0);
                cached.unwrap_or_else(|| {
                    later.push(Later::Message(Arc::clone(message), flags));
                    message.estimate()
                })
            }
            Item::Passed(_) if encoding.shape == Shape::Raw => 0,
            Item::Passed(seq) => {
                later.push(Later::Passed(seq));
                size_of::<Cursor>()
            }
        });
        if told || !later.is_empty() {
            let encoder = Arc::clone(&state.log.encoder);
            drop(state);
            given += batch.notices.iter().map(|notice| notice.emit(encoding, &encoder, &mut sink)).sum::<usize>();
            given += later
                .iter()
                .map(|item| match item {
                    Later::Message(message, flags) => message.emit(encoding, *flags, &encoder, &mut sink),
                    Later::Passed(seq) => encoder.emit_id(*seq, encoding, &mut sink),
                })
                .sum::<usize>();
        }
        batch.bytes = given;
        batch
    }

    /// Like [`Reader::read`], for readers in this process: `visit` gets the messages themselves, with the log's lock held.
    pub fn read_messages(&self, mut visit: impl FnMut(&Arc<Message>)) -> Batch {
        let mut state = self.channels.lock();
        state.log.read(self.number, self.channels.batch_limit(), false, |item| match item {
            Item::Message(message, ..) => {
                visit(message);
                message.payload().len()
            }
            Item::Passed(_) | Item::Notices(_) => 0,
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
        self.channels.lock().log.is_behind(self.number, cursor)
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
