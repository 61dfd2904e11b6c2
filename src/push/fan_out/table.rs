//! The parked streams, and how something is sent to one of them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;

use rustix::net::{SendFlags, send};

use crate::base::timers::Stamp;
use crate::channel::{Encoding, SharedBatch};
use crate::push::Client;
use crate::push::queue::Frame;

/// How many messages are sent after one reading of the clock and one hold of the log's lock.
pub(super) const PIECE: usize = 32;

/// How many such pieces a task sends in one poll. Then other tasks run, and the reactor looks for events: tokio does that after 61
/// polls by default (`event_interval`), and a poll usually sends once.
pub(super) const PIECES: usize = 2;

/// A socket that is broken is an error and no signal, which Ruby ignores anyway.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::DONTWAIT;

/// The [`Entry::reader`] of a stream that has no reader of channels.
const NO_READER: u32 = u32::MAX;

/// The number of a stream in the table. It is stored from 1 on, so that an `Option` takes no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::push) struct Outlet(NonZeroU32);

impl Outlet {
    /// The number for the log, which counts from 0.
    pub(in crate::push) fn number(self) -> u32 {
        self.0.get() - 1
    }

    pub(in crate::push) fn of(number: u32) -> Self {
        Outlet(NonZeroU32::MIN.saturating_add(number))
    }
}

/// What was sent for a stream while it was parked.
#[derive(Debug, Default)]
pub(in crate::push) struct Parked {
    /// How many bytes its socket has taken.
    pub(in crate::push) bytes: u64,
    /// How many writes of the app have ended in them.
    pub(in crate::push) writes: usize,
    /// When it took the last ones. `None`: it took none.
    pub(in crate::push) sent_at: Option<Stamp>,
    /// What the stream must send itself.
    pub(in crate::push) rest: Option<Rest>,
}

/// What a socket has not taken.
#[derive(Debug)]
pub(in crate::push) struct Rest {
    /// All that there was to send.
    pub(in crate::push) frames: Vec<Frame>,
    /// How many bytes of that the socket has taken. What the client is told of them is up to the stream.
    pub(in crate::push) taken: usize,
    /// When the newest message of channels was published.
    pub(in crate::push) newest: Option<Stamp>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Option<Entry>>,
    /// Free places in `entries`. Those beyond its end do not exist any more.
    vacant: Vec<u32>,
    /// What sockets have not taken, by outlet. There is seldom something.
    pub(super) rests: HashMap<u32, Rest>,
    /// Buffers of `messages` (these two) and of `writes` (the next two). They are empty between two calls; their memory is kept.
    pub(super) given: Vec<(u32, u32)>,
    pub(super) batches: Vec<SharedBatch>,
    pub(super) frames: Vec<Frame>,
    pub(super) joined: Vec<u8>,
}

/// A stream. All that a message needs is in one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) client: Arc<Client>,
    task: Waker,
    /// The number of its reader in the log, or [`NO_READER`].
    pub(super) reader: u32,
    /// The descriptor of its socket while it is parked, else -1. The stream unparks itself before it closes the socket.
    descriptor: RawFd,
    pub(super) encoding: Encoding,
    /// The next deadline of the stream.
    due: Option<Stamp>,
    /// What [`Parked`] says.
    bytes: u64,
    pub(super) writes: u32,
    sent_at: Option<Stamp>,
}

const _: () = assert!(size_of::<Option<Entry>>() == 64);

impl Table {
    pub(super) fn insert(&mut self, client: &Arc<Client>, task: &Waker) -> Outlet {
        let entry = Some(Entry {
            client: Arc::clone(client),
            task: task.clone(),
            reader: NO_READER,
            descriptor: -1,
            encoding: client.negotiated().encoding,
            due: None,
            bytes: 0,
            writes: 0,
            sent_at: None,
        });
        while let Some(place) = self.vacant.pop() {
            if let Some(vacant @ None) = self.entries.get_mut(place as usize) {
                *vacant = entry;
                return Outlet::of(place);
            }
        }
        self.entries.push(entry);
        Outlet::of((self.entries.len() - 1) as u32)
    }

    pub(super) fn remove(&mut self, outlet: Outlet) -> Option<Entry> {
        let removed = self.entries.get_mut(outlet.number() as usize)?.take()?;
        self.vacant.push(outlet.number());
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        // What a crowd needed is given back when it has left.
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
            let end = self.entries.len() as u32;
            self.vacant.retain(|place| *place < end);
            self.vacant.shrink_to_fit();
        }
        Some(removed)
    }

    pub(super) fn entry(&mut self, outlet: u32) -> Option<&mut Entry> {
        self.entries.get_mut(outlet as usize)?.as_mut()
    }

    pub(super) fn set_reader(&mut self, outlet: Outlet, reader: u32) {
        self.entry(outlet.number()).into_iter().for_each(|entry| entry.reader = reader);
    }

    pub(super) fn park(&mut self, outlet: Outlet, descriptor: RawFd, due: Option<Stamp>) {
        self.entry(outlet.number()).into_iter().for_each(|entry| (entry.descriptor, entry.due) = (descriptor, due));
    }

    /// The stream is not parked any more. Returns what was sent for it.
    pub(super) fn take(&mut self, outlet: Outlet) -> Option<Parked> {
        let entry = self.entry(outlet.number())?;
        entry.descriptor = -1;
        let (bytes, writes) = (std::mem::take(&mut entry.bytes), std::mem::take(&mut entry.writes) as usize);
        let sent_at = entry.sent_at.take();
        let rest = if self.rests.is_empty() { None } else { self.rests.remove(&outlet.number()) };
        Some(Parked { bytes, writes, sent_at, rest })
    }
}

impl Entry {
    /// Whether something may be sent: the stream is parked, and its deadline has not passed.
    pub(super) fn is_parked(&self, now: Stamp) -> bool {
        self.descriptor >= 0 && self.due.is_none_or(|due| due > now)
    }

    /// Sends to a parked stream. Returns how many bytes the socket has taken.
    pub(super) fn send(&mut self, bytes: &[u8], now: Stamp) -> usize {
        if self.descriptor < 0 || bytes.is_empty() {
            return 0;
        }
        // SAFETY: the stream that owns the socket is parked, so it has not closed the socket, and the descriptor is that socket's.
        let socket = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        // The caller wakes the stream if not all was taken, and then the stream gets the error itself.
        let taken = send(socket, bytes, FLAGS).unwrap_or(0);
        if taken > 0 {
            self.bytes += taken as u64;
            self.sent_at = Some(now);
        }
        taken
    }

    /// Wakes the stream, which must send the rest itself.
    #[cold]
    pub(super) fn give_back(&mut self) {
        self.descriptor = -1;
        self.task.wake_by_ref();
    }
}
