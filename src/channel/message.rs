//! Published messages. All readers share one copy, which is encoded at most once for each encoding.

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

#[cfg(test)]
mod tests {
    use super::super::cursor::Epoch;
    use super::*;

    fn message(draft: &Draft<'_>) -> Arc<Message> {
        let message = Message::new(draft, &Limits::default(), Instant::now()).unwrap();
        message.number(5);
        message
    }

    fn emitted(message: &Message, shape: Shape) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let flags = Flags { id: true, frames: None };
        message.emit(shape.into(), flags, &encoder(), &mut Deflations::default(), &mut |bytes| frames.push(bytes));
        let mut cached = Vec::new();
        assert!(message.emit_cached(shape.into(), flags, &mut |bytes| cached.push(bytes)).is_some());
        assert_eq!(cached, frames);
        frames
    }

    fn encoder() -> Encoder {
        Encoder::new(Epoch::from(1), None)
    }

    #[test]
    fn every_shape() {
        let text = message(&Draft { event: EventName::Given("said"), ..Draft::text("c", b"hi") });
        assert_eq!(emitted(&text, Shape::Raw), [&b"\x81\x02hi"[..]]);
        assert_eq!(emitted(&text, Shape::EventStream), [&b"id: 1-5\nevent: said\ndata: hi\n\n"[..]]);
        assert_eq!(emitted(&text, Shape::PushV1), [&b"\x81\x1eid: 1-5\nevent: said\ndata: hi\n\n"[..]]);
        let binary = message(&Draft::binary("c", &[1, 2]));
        assert_eq!(emitted(&binary, Shape::Raw), [&b"\x82\x02\x01\x02"[..]]);
        assert_eq!(emitted(&binary, Shape::EventStream), [&b"id: 1-5\nevent: push.binary\ndata: AQI=\n\n"[..]]);
        let either = message(&Draft { kind: Kind::Utf8Bytes, ..Draft::text("c", b"hi") });
        assert_eq!(emitted(&either, Shape::Raw), [&b"\x82\x02hi"[..]]);
        assert_eq!(emitted(&either, Shape::EventStream), [&b"id: 1-5\ndata: hi\n\n"[..]]);
        let server =
            message(&Draft { kind: Kind::Server, event: EventName::Given("push.join"), ..Draft::text("c", b"{}") });
        assert!(emitted(&server, Shape::Raw).is_empty());
        assert_eq!(emitted(&server, Shape::EventStream), [&b"id: 1-5\nevent: push.join\ndata: {}\n\n"[..]]);
        assert_eq!(text.payload(), b"hi");
    }

    #[test]
    fn encoded_once_for_all() {
        for payload in [vec![b'x'; 200], vec![b'x'; 100_000]] {
            let message = message(&Draft::text("c", &payload));
            for shape in [Shape::Raw, Shape::EventStream, Shape::PushV1] {
                let (one, other) = (emitted(&message, shape), emitted(&message, shape));
                assert_eq!(one.len(), if payload.len() > FRAGMENT_SIZE && shape != Shape::EventStream { 2 } else { 1 });
                assert!(one.iter().zip(&other).all(|(one, other)| one.as_ptr() == other.as_ptr()));
            }
        }
    }

    #[test]
    fn costs_no_less_than_it_takes() {
        let lines = "\n".repeat(30_000);
        let long = "x".repeat(200_000);
        let named = Draft { event: EventName::Given(&long), ..Draft::text("c", b"hi") };
        let drafts = [&b""[..], b"hi", &[b'x'; FRAGMENT_SIZE], lines.as_bytes(), long.as_bytes()];
        let drafts = drafts.into_iter().flat_map(|payload| [Draft::text("c", payload), Draft::binary("c", payload)]);
        for draft in drafts.chain([named]) {
            let message = message(&draft);
            let sizes = |shape| emitted(&message, shape).iter().map(Bytes::len).collect::<Vec<_>>();
            let (raw, block, push) = (sizes(Shape::Raw), sizes(Shape::EventStream), sizes(Shape::PushV1));
            let fragments = [raw, push].into_iter().filter(|frames| frames.len() > 1).flatten();
            let name = if let EventName::Given(name) = draft.event { name.len() } else { 0 };
            let taken = name + message.frame.len() + block[0] + fragments.sum::<usize>();
            assert!(message.cost() >= taken, "{taken} of {}", message.cost());
            assert!(message.cost() <= taken + taken / 16 + size_of::<Message>() + 128, "{taken} of {}", message.cost());
        }
    }

    /// What a reader with permessage-deflate gets, and what was compressed for it.
    fn deflated(message: &Message, shape: Shape, frames: Option<Kind>, bits: u8) -> (Vec<u8>, Deflations) {
        let encoding = Encoding { shape, deflate: WindowBits::new(bits) };
        let (mut out, mut cached, mut deflations) = (Vec::new(), Vec::new(), Deflations::default());
        let flags = Flags { id: true, frames };
        let known = message.emit_cached(encoding, flags, &mut |bytes| cached.extend_from_slice(&bytes));
        message.emit(encoding, flags, &encoder(), &mut deflations, &mut |bytes| out.extend_from_slice(&bytes));
        assert!(known.is_none() || (cached == out && deflations == Deflations::default()), "{shape:?}");
        (out, deflations)
    }

    fn compressible(draft: &Draft<'_>) -> Arc<Message> {
        let limits = Limits { deflate_min: Some(512), ..Limits::default() };
        let message = Message::new(draft, &limits, Instant::now()).unwrap();
        message.number(5);
        message
    }

    #[test]
    fn compressed_once_for_each_shape_and_window() {
        let text = b"Hello! ".repeat(300);
        let message = compressible(&Draft::text("c", &text));
        let mut made = 0;
        for (shape, bits, new) in [
            (Shape::Raw, 15, 1),
            (Shape::Raw, 15, 0),
            (Shape::Raw, 12, 0),
            (Shape::Raw, 9, 1),
            (Shape::PushV1, 15, 1),
            (Shape::PushV1, 12, 0),
            (Shape::PushV1, 10, 1),
            (Shape::EventStream, 15, 0),
        ] {
            let (out, deflations) = deflated(&message, shape, None, bits);
            assert_eq!(deflations.messages, new, "{shape:?} {bits}");
            assert_eq!(out[0] == 0xC1, shape != Shape::EventStream, "{shape:?} {bits}");
            made += deflations.after as usize;
        }
        assert!(made < 400);
        // The compressed form is the same in a binary frame.
        let (text, _) = deflated(&message, Shape::Raw, None, 15);
        let (binary, deflations) = deflated(&message, Shape::Raw, Some(Kind::Binary), 15);
        assert_eq!((binary[0], &binary[1..], deflations.messages), (0xC2, &text[1..], 0));
    }

    #[test]
    fn not_compressed() {
        let text = b"Hello! ".repeat(300);
        let without_number = Flags { id: false, frames: None };
        let drafts = [
            Draft::text("c", &text[..511]),
            Draft { compress: false, ..Draft::text("c", &text) },
            Draft { kind: Kind::Server, event: EventName::Given("push.join"), ..Draft::text("c", &text) },
        ];
        for draft in drafts {
            let message = compressible(&draft);
            assert!(message.deflated.is_none());
            for shape in [Shape::Raw, Shape::PushV1] {
                assert_eq!(deflated(&message, shape, None, 15).0, emitted(&message, shape).concat());
            }
        }
        let message = compressible(&Draft::text("c", &text));
        let encoding = Encoding { shape: Shape::PushV1, deflate: Some(WindowBits::MOST) };
        let (mut out, mut deflations) = (Vec::new(), Deflations::default());
        message.emit(encoding, without_number, &encoder(), &mut deflations, &mut |bytes| out.push(bytes));
        assert_eq!((out[0][0], deflations.messages), (0x81, 0));
    }

    #[test]
    fn compressed_forms_are_counted_from_the_beginning() {
        for draft in [Draft::text("c", &b"Hello! ".repeat(20_000)), Draft::binary("c", &[7; 600])] {
            let (message, plain) = (compressible(&draft), message(&draft));
            let cost = message.cost();
            let forms = (9..=15).flat_map(|bits| {
                [Shape::Raw, Shape::PushV1].map(|shape| deflated(&message, shape, None, bits).1.after as usize)
            });
            assert!(plain.cost() + forms.sum::<usize>() <= cost);
            assert_eq!(message.cost(), cost);
        }
    }

    #[test]
    fn refusals() {
        let limits = Limits { log_bytes: 1000, ..Limits::default() };
        let error = |draft: &Draft<'_>| Message::new(draft, &limits, Instant::now()).unwrap_err();
        assert_eq!(error(&Draft::text("", b"")), Error::EmptyName);
        assert_eq!(error(&Draft::text(&"x".repeat(256), b"")), Error::LongName { max: 255, length: 256 });
        for name in ["a\nb", "a\rb", "a\0b"] {
            assert_eq!(error(&Draft { event: EventName::Given(name), ..Draft::text("c", b"") }), Error::BrokenEvent);
        }
        assert!(matches!(error(&Draft::text("c", &[0; 1000])), Error::TooLarge { max: 1000, .. }));
    }
}
