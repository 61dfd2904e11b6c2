//! Readers that need not read by themselves: a delivery takes their messages out of the log and gives them to the readers'
//! outlets.
//!
//! A reader that is woken costs more than its message: its task is queued, runs, takes locks, and looks at everything that may
//! have changed. A reader that has read everything and has nothing else to do gets the same bytes as a thousand others. So one
//! call takes the messages for all of them, as their own reads would. All others are woken: see [`super::Channels::hand_out`].

use std::sync::Arc;

use bytes::Bytes;

use super::batch::BatchLimit;
use super::draft::Kind;
use super::encoding::{Deflations, Encoder, Encoding};
use super::message::{Flags, Message};
use crate::base::timers::Stamp;

/// If more bytes than this are new, readers read by themselves: a socket may take only some of them.
const MAX_BYTES: usize = 64 << 10;

/// Where messages of readers go. An outlet is a number, which a reader has from [`super::Reader::set_outlet`].
pub trait Outlets {
    /// How the outlet takes messages of the reader with this number now. `None`: the reader is woken, and reads by itself.
    /// Called with the log's lock held.
    fn encoding(&mut self, outlet: u32, reader: u32) -> Option<Encoding>;

    /// Gives a batch to the outlet, by its index. From now on, the reader has read these messages. Called with the log's lock
    /// held.
    fn give(&mut self, outlet: u32, batch: usize);
}

/// Messages for all readers that are at the same place of a channel and have the same encoding.
#[derive(Debug)]
pub struct SharedBatch {
    /// The channel's number in the log, and the number of the first message.
    channel: u32,
    next: u64,
    encoding: Encoding,
    frames: Option<Kind>,
    messages: Vec<Arc<Message>>,
    /// The readers that do not get one of them, by [`Message::except`].
    pub(super) except: Vec<u64>,
    /// The seqs of the first and the last message.
    pub(super) first: u64,
    pub(super) last: u64,
    /// It has all new messages of the channel, so it can be given to outlets.
    pub(super) fits: bool,
    /// The messages, encoded: see [`SharedBatch::make`].
    bytes: Vec<Bytes>,
}

impl SharedBatch {
    /// An empty one for readers at the message `next` of a channel.
    pub(super) fn new(channel: u32, next: u64, encoding: Encoding, frames: Option<Kind>) -> Self {
        let (messages, except, bytes) = (Vec::new(), Vec::new(), Vec::new());
        SharedBatch { channel, next, encoding, frames, messages, except, first: u64::MAX, last: 0, fits: false, bytes }
    }

    /// Whether it is for readers at this place and with this encoding.
    pub(super) fn is_for(&self, channel: u32, next: u64, encoding: Encoding, frames: Option<Kind>) -> bool {
        (self.channel, self.next, self.encoding, self.frames) == (channel, next, encoding, frames)
    }

    /// Adds the channel's messages. They do not fit if they are more than a reader gets at once, or if one of them has to be
    /// compressed by another thread.
    pub(super) fn fill<'a>(&mut self, messages: impl Iterator<Item = &'a Arc<Message>>, limit: BatchLimit) {
        let mut bytes = 0;
        for message in messages {
            bytes += message.estimate();
            let waits = self.encoding.deflate.is_some() && message.is_compressed_elsewhere();
            if bytes > MAX_BYTES.min(limit.bytes) || self.messages.len() >= limit.messages || waits {
                self.fits = false;
                return;
            }
            self.fits = true;
            self.except.extend(message.except());
            (self.first, self.last) = (self.first.min(message.seq()), message.seq());
            self.messages.push(Arc::clone(message));
        }
    }

    /// Encodes the messages. The log's lock must not be held, since this takes time. Returns what was compressed for that.
    pub(super) fn make(&mut self, encoder: &Encoder) -> Deflations {
        let SharedBatch { encoding, frames, messages, bytes, .. } = self;
        let (flags, mut deflations) = (Flags { id: true, frames: *frames }, Deflations::default());
        for message in messages {
            message.emit(*encoding, flags, encoder, &mut deflations, &mut |frame| bytes.push(frame));
        }
        deflations
    }

    /// How many messages it has.
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// When the newest message was published.
    pub fn newest(&self) -> Option<Stamp> {
        self.messages.last().map(|message| message.stamp())
    }

    /// Whole frames or blocks, as [`super::Reader::read`] gives them.
    pub fn frames(&self) -> &[Bytes] {
        &self.bytes
    }
}
