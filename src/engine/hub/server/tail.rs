//! The newest part of the log: the bytes that all workers get.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::super::author::process_of;
#[cfg(test)]
use super::super::protocol::decode;
use super::super::protocol::{Frame, HEADER, OVERHEAD};

/// Bytes that are reserved at once. Entries share them.
const CHUNK: usize = 64 * 1024;

/// What an entry counts beside its bytes.
const ENTRY: usize = size_of::<Entry>() + 64;

/// Messages in a row: one author's, with consecutive counts and numbers.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The first message's number.
    pub(super) first: u64,
    /// How many messages.
    pub(super) run: u32,
    /// Their author.
    pub(super) author: u128,
    /// The first message's count.
    pub(super) count: u64,
    /// The frames: [`Frame::Message`].
    pub(super) bytes: Bytes,
    /// Bytes of all entries before, as [`Tail::bytes`] counts them.
    before: u64,
}

impl Entry {
    /// The last message's number.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.run) - 1
    }

    /// The rest of the entry, without the messages up to the number `after`.
    pub(super) fn after(&self, after: u64) -> Entry {
        let skip = (after + 1).saturating_sub(self.first).min(u64::from(self.run));
        let mut rest = self.clone();
        for _ in 0..skip {
            let length = rest.bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
            rest.bytes.advance((length + HEADER - 1).min(rest.bytes.len()));
        }
        rest.first += skip;
        rest.count += skip;
        rest.run -= skip as u32;
        rest
    }
}

/// The newest part of the log. It has all messages after [`Tail::start`].
#[derive(Debug)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    start: u64,
    bytes: usize,
    /// Bytes of all entries that there have been.
    total: u64,
    /// The entry to which messages are added. Its bytes are the first part of `chunk`.
    open: Option<Entry>,
    chunk: BytesMut,
}

impl Tail {
    /// An empty tail behind the number `start`.
    pub(super) fn new(start: u64) -> Self {
        Tail { entries: VecDeque::new(), start, bytes: 0, total: 0, open: None, chunk: BytesMut::new() }
    }

    /// The tail has all messages with higher numbers.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message. Numbers rise. It can be sent after [`Tail::close`].
    pub(super) fn push(&mut self, seq: u64, author: u128, count: u64, message: &[u8]) {
        let length = OVERHEAD + message.len();
        let room = self.chunk.capacity() - self.chunk.len();
        let follows = |open: &Entry| {
            let run = u64::from(open.run);
            let counts = open.count.checked_add(run) == Some(count) && open.run < u32::MAX;
            (open.author, open.first + run) == (author, seq) && counts
        };
        if room < length || !self.open.as_ref().is_some_and(follows) {
            self.close();
        }
        if room < length {
            self.chunk = BytesMut::with_capacity(length.max(CHUNK));
        }
        let entry = Entry { first: seq, run: 0, author, count, bytes: Bytes::new(), before: self.total };
        let entry = self.open.get_or_insert(entry);
        entry.run += 1;
        Frame::Message { seq, author, count, message }.encode(&mut self.chunk);
    }

    /// Ends the open entry, so that workers can get it.
    pub(super) fn close(&mut self) {
        if let Some(mut entry) = self.open.take() {
            entry.bytes = self.chunk.split().freeze();
            self.bytes += entry.bytes.len() + ENTRY;
            self.total += (entry.bytes.len() + ENTRY) as u64;
            self.entries.push_back(entry);
        }
    }

    /// The entries with messages after the number `after`, which is at least [`Tail::start`]. The first may have earlier ones.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = &Entry> {
        let index = self.entries.partition_point(|entry| entry.last() <= after);
        self.entries.range(index..)
    }

    /// The number of the first message or command of an author after the number `after`.
    pub(super) fn first_of(&self, author: u128, after: u64) -> Option<u64> {
        let own = |entry: &&Entry| process_of(entry.author) == process_of(author);
        self.after(after).find(own).map(|entry| entry.first.max(after + 1))
    }

    /// Bytes of the entries with messages after the number `after`.
    pub(super) fn bytes_after(&self, after: u64) -> usize {
        self.after(after).next().map_or(0, |entry| (self.total - entry.before) as usize)
    }

    /// Frees the oldest entries, those that end at the number `up_to` or before, while the tail takes more than `bytes`.
    pub(super) fn trim(&mut self, bytes: usize, up_to: u64) {
        while self.bytes > bytes
            && let Some(entry) = self.entries.front().filter(|entry| entry.last() <= up_to)
        {
            self.bytes -= entry.bytes.len() + ENTRY;
            self.start = entry.last();
            self.entries.pop_front();
        }
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// The messages of an entry: number, count, and the message.
    #[cfg(test)]
    pub(super) fn messages(entry: &Entry) -> Vec<(u64, u64, Vec<u8>)> {
        let (mut bytes, mut all) = (&entry.bytes[..], Vec::new());
        while let Ok(Some((Frame::Message { seq, count, message, .. }, length))) = decode(bytes, usize::MAX) {
            all.push((seq, count, message.to_vec()));
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tail: &Tail, after: u64) -> Vec<u64> {
        let entries = tail.after(after).map(|entry| entry.after(after));
        entries.flat_map(|entry| Tail::messages(&entry)).map(|(seq, ..)| seq).collect()
    }

    #[test]
    fn an_entry_is_a_run_of_one_author() {
        let mut tail = Tail::new(5);
        for (seq, author, count) in [(6, 1, 1), (7, 1, 2), (8, 1, 4), (9, 2, 5), (12, 2, 6)] {
            tail.push(seq, author, count, b"x");
        }
        assert_eq!(tail.after(5).count(), 3);
        tail.close();
        tail.push(13, 2, 7, b"x");
        tail.close();
        let runs: Vec<_> = tail.after(5).map(|entry| (entry.first, entry.run, entry.count)).collect();
        assert_eq!(runs, [(6, 2, 1), (8, 1, 4), (9, 1, 5), (12, 1, 6), (13, 1, 7)]);
        assert_eq!(numbers(&tail, 5), [6, 7, 8, 9, 12, 13]);
        assert_eq!(numbers(&tail, 6), [7, 8, 9, 12, 13]);
        assert_eq!(numbers(&tail, 10), [12, 13]);
        assert_eq!(numbers(&tail, 13), []);
    }

    #[test]
    fn long_messages_have_bytes_of_their_own() {
        let mut tail = Tail::new(0);
        let long = vec![b'x'; 3 * CHUNK];
        for seq in 1..=200 {
            tail.push(seq, 1, seq, if seq % 50 == 0 { &long } else { b"short" });
        }
        tail.close();
        let messages: Vec<_> = tail.after(0).flat_map(Tail::messages).collect();
        assert_eq!(messages.len(), 200);
        assert!(messages.iter().all(|(seq, count, message)| seq == count && (message.len() > 5) == (seq % 50 == 0)));
    }

    #[test]
    fn keeps_what_is_needed_and_what_has_room() {
        let mut tail = Tail::new(0);
        for seq in 1..=10 {
            tail.push(seq, 1, seq, &[0; 1000]);
            tail.close();
        }
        tail.trim(usize::MAX, 10);
        assert_eq!(tail.start(), 0);
        tail.trim(0, 4);
        assert_eq!((tail.start(), numbers(&tail, 4)), (4, vec![5, 6, 7, 8, 9, 10]));
        assert_eq!(tail.bytes_after(4), tail.bytes());
        assert_eq!((tail.bytes_after(10), tail.bytes_after(9)), (0, tail.bytes() / 6));
        tail.trim(2500, 10);
        assert_eq!(tail.start(), 8);
        tail.trim(0, 10);
        assert_eq!((tail.start(), tail.bytes()), (10, 0));
    }
}
