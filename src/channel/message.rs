//! Published messages. All readers share one copy, which is encoded at most once for each encoding.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::draft::{Draft, EventName, Kind};
use super::encoding::{
    Awaited, Block, DeflatedCache, Deflations, EncodedCache, Encoder, Encoding, Form, Lookup, Payload, Shape,
    emit_without_id,
};
use super::error::Error;
use super::limits::Limits;
use super::wake::Wake;
use crate::base::timers::Stamp;
use crate::sse;
use crate::websocket::Opcode;
use crate::websocket::deflate::compress::with_opcode;
use crate::websocket::deflate::{self, WindowBits};
use crate::websocket::frame::{self, FRAGMENT_SIZE, each_frame};

/// A published message. The log, its readers and other users share it.
#[derive(Debug)]
pub struct Message {
    /// The engine writes this once, before other threads get the message. So relaxed memory ordering is enough.
    seq: AtomicU64,
    channel: Arc<str>,
    event: EventName<Box<str>>,
    kind: Kind,
    stored: bool,
    except: Option<u64>,
    compress: bool,
    published: Instant,
    /// The same, for each time that it is delivered.
    stamp: Stamp,
    cost: usize,
    /// The payload. If one WebSocket frame can hold it, the frame's header is before it: the payload is copied anyway,
    /// so a raw WebSocket needs no second copy.
    frame: Bytes,
    header: u8,
    encoded: EncodedCache,
    /// Its compressed forms. `None` if it is never compressed.
    deflated: Option<Box<DeflatedCache>>,
}

/// How one reader gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    /// Whether the message moves the client's cursor.
    pub(super) id: bool,
    /// See [`super::Subscription::frames`].
    pub(super) frames: Option<Kind>,
}

impl Message {
    /// Copies a draft into a message without a number. Its ttl begins at `now`.
    pub fn new(draft: &Draft<'_>, limits: &Limits, now: Instant) -> Result<Arc<Self>, Error> {
        limits.check_name(draft.channel)?;
        let event = match draft.event {
            EventName::Given(name) if name.contains(['\r', '\n', '\0']) => return Err(Error::BrokenEvent),
            EventName::Given(name) => EventName::Given(name.into()),
            EventName::Nameless => EventName::Nameless,
            EventName::Default => EventName::Default,
        };
        let length = draft.payload.len();
        let mut frame = Vec::with_capacity(length + 10);
        if length <= FRAGMENT_SIZE {
            frame::put_header(&mut frame, true, opcode(draft.kind), length);
        }
        let header = frame.len() as u8;
        frame.extend_from_slice(draft.payload);
        let compresses =
            draft.compress && draft.kind != Kind::Server && limits.deflate_min.is_some_and(|min| length >= min);
        let message = Message {
            seq: AtomicU64::new(0),
            channel: draft.channel.into(),
            event,
            kind: draft.kind,
            stored: draft.store,
            except: draft.except,
            compress: draft.compress,
            published: now,
            stamp: Stamp::of(now),
            cost: cost(draft, compresses),
            frame: Bytes::from(frame),
            header,
            encoded: EncodedCache::default(),
            deflated: compresses.then(Box::default),
        };
        match message.cost() {
            size if size > limits.log_bytes => Err(Error::TooLarge { max: limits.log_bytes, size }),
            _ => Ok(Arc::new(message)),
        }
    }

    /// Sets the message's number. Engines call this once, before other threads get the message.
    pub fn number(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// Its number in the log. 0 while it has none.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// The channel's name.
    pub fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    /// The event's name.
    pub fn event(&self) -> EventName<&str> {
        match &self.event {
            EventName::Default => EventName::Default,
            EventName::Nameless => EventName::Nameless,
            EventName::Given(name) => EventName::Given(name),
        }
    }

    /// What the payload is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it belongs to the channel's history.
    pub fn stored(&self) -> bool {
        self.stored
    }

    /// The id of the reader that does not get the message.
    pub fn except(&self) -> Option<u64> {
        self.except
    }

    /// Whether its author lets it be compressed.
    pub fn compress(&self) -> bool {
        self.compress
    }

    /// When it was published.
    pub fn published(&self) -> Instant {
        self.published
    }

    /// See [`Message::published`].
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header)..]
    }

    /// The bytes that it takes in the log's memory when it is encoded in every encoding. All encodings count from the
    /// beginning, because the log does not notice when one is made.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// What it takes in the log's memory is fixed when it is made; this is what a reader's batch counts until its bytes
    /// are made.
    pub(super) fn estimate(&self) -> usize {
        let payload = self.frame.len();
        if self.kind == Kind::Binary { payload / 3 * 4 } else { payload }
    }

    /// Gives `sink` the message in the given encoding, whole frames or blocks, if that takes no more than a look into
    /// its cache. Returns their bytes; `None`, and nothing is given, if it must be encoded first.
    pub(super) fn emit_cached(&self, encoding: Encoding, flags: Flags, sink: &mut impl FnMut(Bytes)) -> Option<usize> {
        if let Some(window) = encoding.deflate {
            match self.cached_deflated(encoding.shape, window, flags) {
                Lookup::Unknown => return None,
                Lookup::Frames(frames) => return Some(each_frame(frames, sink)),
                Lookup::AsItIs => {}
            }
        }
        match encoding.shape {
            Shape::Raw if self.kind == Kind::Server => Some(0),
            Shape::Raw if self.may_convert(flags) => None,
            Shape::Raw if self.header == 0 => Some(each_frame(self.encoded.get(encoding.shape)?, sink)),
            Shape::Raw => Some(emit_whole(&self.frame, sink)),
            Shape::EventStream | Shape::PushV1 if !flags.id => {
                emit_without_id(self.encoded.get(Shape::EventStream)?, encoding, false, sink)
            }
            Shape::EventStream => Some(emit_whole(self.encoded.get(encoding.shape)?, sink)),
            Shape::PushV1 => Some(each_frame(self.encoded.get(encoding.shape)?, sink)),
        }
    }

    /// Gives `sink` the message in the given encoding, whole frames or blocks. Returns their bytes. The encoding is
    /// made, if it is not there yet: that takes time, so the log's lock must not be held.
    pub(super) fn emit(
        &self,
        encoding: Encoding,
        flags: Flags,
        encoder: &Encoder,
        deflations: &mut Deflations,
        sink: &mut impl FnMut(Bytes),
    ) -> usize {
        if let Some(frames) = self.deflated(encoding, flags, encoder, deflations) {
            return each_frame(&frames, sink);
        }
        match encoding.shape {
            Shape::Raw => {
                let kind = flags.frames.filter(|kind| self.may_convert(flags) && self.can_be(*kind));
                match (kind, self.payload()) {
                    _ if self.kind == Kind::Server => 0,
                    // Few readers need it, so it is not kept.
                    (Some(kind), payload) if payload.len() > FRAGMENT_SIZE => {
                        each_frame(&frame::fragments(opcode(kind), payload), sink)
                    }
                    (Some(kind), payload) => emit_whole(&frame::frame(true, opcode(kind), payload), sink),
                    (None, payload) if self.header == 0 => {
                        each_frame(self.encoded.raw(|| frame::fragments(opcode(self.kind), payload)), sink)
                    }
                    (None, _) => emit_whole(&self.frame, sink),
                }
            }
            Shape::EventStream | Shape::PushV1 if !flags.id => {
                let block = self.encoded.block(Shape::EventStream, || self.encode(encoder));
                emit_without_id(block, encoding, true, sink).unwrap_or(0)
            }
            Shape::EventStream => emit_whole(self.encoded.block(encoding.shape, || self.encode(encoder)), sink),
            Shape::PushV1 => each_frame(self.encoded.block(encoding.shape, || self.encode(encoder)), sink),
        }
    }

    /// Whether a reader can have the message without waiting for a thread that compresses it. If it cannot, `wake` is woken when
    /// it can. `reader` is the reader's number.
    pub(super) fn await_form(&self, form: Form, flags: Flags, reader: u32, wake: &Arc<dyn Wake>) -> Awaited {
        let payload = self.payload().len();
        let compressed = form.shape == Shape::Raw || (form.shape == Shape::PushV1 && flags.id);
        let Some(cache) = self.deflated.as_ref().filter(|_| compressed && payload > deflate::LONG) else {
            return Awaited::Ready(Deflations::default());
        };
        let length = || match form.shape {
            Shape::Raw => Some(payload),
            Shape::PushV1 | Shape::EventStream => self.encoded.get(Shape::EventStream).map(Bytes::len),
        };
        cache.wait(form, length, reader, wake)
    }

    /// Whether it is so long that another thread compresses it: see [`Message::await_form`].
    pub(super) fn is_compressed_elsewhere(&self) -> bool {
        self.deflated.is_some() && self.payload().len() > deflate::LONG
    }

    /// Makes a form. Takes time. The readers that wait are woken by [`Message::finish_form`].
    pub(super) fn make_form(&self, form: Form, encoder: &Encoder) -> Deflations {
        let mut deflations = Deflations::default();
        let encoding = Encoding { shape: form.shape, deflate: Some(form.window) };
        self.deflated(encoding, Flags { id: true, frames: None }, encoder, &mut deflations);
        deflations
    }

    /// See [`DeflatedCache::finish`].
    pub(super) fn finish_form(&self, form: Form, made: Option<Deflations>) {
        self.deflated.iter().for_each(|cache| cache.finish(form, made));
    }

    /// What is known of its form for a reader with permessage-deflate.
    #[inline(never)]
    fn cached_deflated(&self, shape: Shape, window: WindowBits, flags: Flags) -> Lookup<'_> {
        let Some(cache) = &self.deflated else { return Lookup::AsItIs };
        match shape {
            Shape::Raw if self.may_convert(flags) => Lookup::Unknown,
            Shape::Raw => cache.get(Shape::Raw, window, self.payload().len()),
            Shape::PushV1 if flags.id => match self.encoded.get(Shape::EventStream) {
                Some(block) => cache.get(Shape::PushV1, window, block.len()),
                None => Lookup::Unknown,
            },
            Shape::PushV1 | Shape::EventStream => Lookup::AsItIs,
        }
    }

    /// Its frames for a reader with permessage-deflate; made, if they were not. `None`: it is sent as it is.
    fn deflated(
        &self,
        encoding: Encoding,
        flags: Flags,
        encoder: &Encoder,
        deflations: &mut Deflations,
    ) -> Option<Bytes> {
        let (window, cache) = (encoding.deflate?, self.deflated.as_ref()?);
        match encoding.shape {
            Shape::Raw => {
                let own = opcode(self.kind);
                let frames = cache.make(Shape::Raw, window, own, self.payload(), deflations)?;
                let other = flags.frames.filter(|kind| self.can_be(*kind)).map(opcode).filter(|other| *other != own);
                Some(other.map_or_else(|| frames.clone(), |other| with_opcode(frames, other)))
            }
            Shape::PushV1 if flags.id => {
                let block = self.encoded.block(Shape::EventStream, || self.encode(encoder));
                cache.make(Shape::PushV1, window, Opcode::Text, block, deflations).cloned()
            }
            // Few readers get a message without its id.
            Shape::PushV1 | Shape::EventStream => None,
        }
    }

    /// Whether a raw WebSocket wants it in frames of another kind than it was published.
    fn may_convert(&self, flags: Flags) -> bool {
        flags.frames.is_some_and(|kind| opcode(kind) != opcode(self.kind))
    }

    /// Whether it can be sent in frames of another kind.
    fn can_be(&self, kind: Kind) -> bool {
        kind == Kind::Binary || std::str::from_utf8(self.payload()).is_ok()
    }

    fn encode(&self, encoder: &Encoder) -> Block {
        let event = if self.kind == Kind::Binary { EventName::Given(sse::BINARY_EVENT) } else { self.event() };
        encoder.block(Some(self.seq()), event, &payload(self.kind, self.payload()))
    }
}

fn emit_whole(bytes: &Bytes, sink: &mut impl FnMut(Bytes)) -> usize {
    sink(bytes.clone());
    bytes.len()
}

fn payload(kind: Kind, bytes: &[u8]) -> Payload<'_> {
    if kind == Kind::Binary { Payload::Binary(bytes) } else { Payload::Text(bytes) }
}

/// See [`Message::cost`]. Each line of a text grows by a field's name.
fn cost(draft: &Draft<'_>, compresses: bool) -> usize {
    // A long payload is kept both whole and in fragments.
    let kept = |length: usize| if length > FRAGMENT_SIZE { 2 * length } else { length };
    let event = if let EventName::Given(name) = draft.event { name.len() } else { 0 };
    let block = 128 + event + payload(draft.kind, draft.payload).length();
    let deflated = if compresses { size_of::<DeflatedCache>() + draft.payload.len() + block } else { 0 };
    size_of::<Message>() + draft.channel.len() + event + kept(draft.payload.len()) + kept(block) + deflated
}

fn opcode(kind: Kind) -> Opcode {
    if matches!(kind, Kind::Binary | Kind::Utf8Bytes) { Opcode::Binary } else { Opcode::Text }
}
