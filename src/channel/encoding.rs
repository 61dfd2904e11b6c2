//! How a message becomes bytes, and the cache that keeps them.
//!
//! What a reader's connection wants is an [`Encoding`]. A message is encoded once for all readers with the same
//! encoding: each encoding has a slot in the message's [`EncodedCache`]. `deflated` has the slots of compressed forms.

mod deflated;

use std::sync::OnceLock;

use bytes::Bytes;

pub use deflated::Deflations;
pub(super) use deflated::{Awaited, DeflatedCache, Form, Lookup};

use super::cursor::Epoch;
use super::draft::EventName;
use crate::sse::{binary_data_length, data_length, put_binary_data, put_data, put_line};
use crate::websocket::Opcode;
use crate::websocket::deflate::WindowBits;
use crate::websocket::frame::{FRAGMENT_SIZE, MAX_HEADER, each_frame, fragments, frame, header_length, put_header};

/// What a connection's messages look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Blocks of `text/event-stream`, WHATWG HTML section 9.2; also the body of a long poll.
    EventStream,
    /// WebSocket messages that hold the payload and nothing else.
    Raw,
    /// WebSocket text messages that hold an SSE block: the subprotocol push.v1.
    PushV1,
}

/// How a connection wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What they look like.
    pub shape: Shape,
    /// The window with which messages may be compressed, for a WebSocket with permessage-deflate. The server's own frames,
    /// and what few clients get, are sent as they are.
    pub deflate: Option<WindowBits>,
}

impl From<Shape> for Encoding {
    fn from(shape: Shape) -> Self {
        Encoding { shape, deflate: None }
    }
}

impl Shape {
    /// How many slots an [`EncodedCache`] has.
    const SLOTS: usize = 3;
}

/// A message's bytes, in the encodings that were asked for. The first reader that wants an encoding makes its bytes.
///
/// A slot holds a block, one WebSocket frame, or all frames of a long message, one behind the other.
#[derive(Debug, Default)]
pub(super) struct EncodedCache {
    slots: [OnceLock<Bytes>; Shape::SLOTS],
}

impl EncodedCache {
    /// The bytes; `None` if they were not made yet.
    pub(super) fn get(&self, shape: Shape) -> Option<&Bytes> {
        self.slots[shape as usize].get()
    }

    /// The bytes of a message that is sent as it is, not as a block. `make` makes them.
    pub(super) fn raw(&self, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.slots[Shape::Raw as usize].get_or_init(make)
    }

    /// The bytes of a message's block: bare, or (push.v1) in WebSocket frames. `make` makes the block.
    pub(super) fn block(&self, shape: Shape, make: impl FnOnce() -> Block) -> &Bytes {
        let [bare, framed] = [Shape::EventStream, Shape::PushV1].map(|shape| &self.slots[shape as usize]);
        let bare = bare.get_or_init(|| {
            let block = make();
            // The frame of a short block shares its memory.
            if let Some(frame) = block.frame() {
                let _ = framed.set(frame);
            }
            block.bare()
        });
        if shape == Shape::EventStream { bare } else { framed.get_or_init(|| fragments(Opcode::Text, bare)) }
    }
}

/// The data of an SSE block.
pub(super) enum Payload<'a> {
    /// Valid UTF-8: a line for each of its lines.
    Text(&'a [u8]),
    /// One line of base64.
    Binary(&'a [u8]),
}

impl Payload<'_> {
    /// How many bytes it takes in a block. The estimate is never too small.
    pub(super) fn length(&self) -> usize {
        match self {
            Payload::Text(data) => data_length(data),
            Payload::Binary(data) => binary_data_length(data.len()),
        }
    }
}

/// An encoded SSE block. It is encoded right behind space for a WebSocket header, so that an event stream and push.v1
/// share one buffer.
#[derive(Debug)]
pub(super) struct Block {
    /// The header of its WebSocket frame, if one frame can hold it, and the block.
    bytes: Bytes,
    header: usize,
}

impl Block {
    /// The block alone.
    fn bare(&self) -> Bytes {
        self.bytes.slice(self.header..)
    }

    /// Its WebSocket frame; `None` if one frame cannot hold it.
    fn frame(&self) -> Option<Bytes> {
        (self.header > 0).then(|| self.bytes.clone())
    }

    /// Gives `sink` a block that no cache keeps. Returns its bytes. A raw WebSocket gets no blocks.
    pub(super) fn emit(&self, encoding: Encoding, sink: &mut impl FnMut(Bytes)) -> usize {
        let bytes = match encoding.shape {
            Shape::Raw => return 0,
            Shape::EventStream => self.bare(),
            Shape::PushV1 => match self.frame() {
                Some(frame) => frame,
                None => return each_frame(&fragments(Opcode::Text, &self.bytes), sink),
            },
        };
        let length = bytes.len();
        sink(bytes);
        length
    }
}

/// Gives `sink` a bare block without its first line, the `id:`: for what must not move a client's cursor. Returns its
/// bytes. `None`, and nothing is given, if that takes a copy and `copy` is false.
pub(super) fn emit_without_id(
    block: &Bytes,
    encoding: Encoding,
    copy: bool,
    sink: &mut impl FnMut(Bytes),
) -> Option<usize> {
    let id = memchr::memchr(b'\n', block).map_or(0, |end| end + 1);
    let rest = block.slice(id..);
    let bytes = match encoding.shape {
        Shape::EventStream => rest,
        _ if !copy => return None,
        // Replays into an open connection are rare, so these bytes are not kept.
        _ if rest.len() > FRAGMENT_SIZE => return Some(each_frame(&fragments(Opcode::Text, &rest), sink)),
        _ => frame(true, Opcode::Text, &rest),
    };
    let length = bytes.len();
    sink(bytes);
    Some(length)
}

/// What all blocks of a log have in common.
#[derive(Debug)]
pub(super) struct Encoder {
    /// `id: <epoch>-`
    id: Box<[u8]>,
    /// `event: <name>` and the line's end, or nothing.
    default_event: Box<[u8]>,
}

impl Encoder {
    /// `default_event` must have no CR, LF or NUL. `None` means no name.
    pub(super) fn new(epoch: Epoch, default_event: Option<&str>) -> Self {
        let default_event = default_event.map(|name| format!("event: {name}\n")).unwrap_or_default();
        Encoder::with(epoch, default_event.into_bytes().into())
    }

    fn with(epoch: Epoch, default_event: Box<[u8]>) -> Self {
        Encoder { id: format!("id: {epoch}-").into_bytes().into(), default_event }
    }

    /// The same for another epoch.
    pub(super) fn with_epoch(&self, epoch: Epoch) -> Self {
        Encoder::with(epoch, self.default_event.clone())
    }

    /// Gives `sink` an `id:` alone, which moves a client's cursor and dispatches no event. Returns its bytes; a raw
    /// WebSocket has no cursor.
    pub(super) fn emit_id(&self, seq: u64, encoding: Encoding, sink: &mut impl FnMut(Bytes)) -> usize {
        let mut block = Vec::with_capacity(self.id.len() + 24);
        self.put_id(&mut block, seq);
        block.push(b'\n');
        let bytes = match encoding.shape {
            Shape::EventStream => Bytes::from(block),
            Shape::PushV1 => frame(true, Opcode::Text, &block),
            Shape::Raw => return 0,
        };
        let length = bytes.len();
        sink(bytes);
        length
    }

    fn put_id(&self, out: &mut Vec<u8>, seq: u64) {
        out.extend_from_slice(&self.id);
        put_decimal(out, seq);
        out.push(b'\n');
    }

    /// Encodes a block; with an `id:` if it has a seq.
    pub(super) fn block(&self, seq: Option<u64>, event: EventName<&str>, payload: &Payload<'_>) -> Block {
        #[cfg(test)]
        hook::call();
        let mut out = Vec::with_capacity(MAX_HEADER + self.id.len() + 64 + payload.length());
        out.resize(MAX_HEADER, 0);
        if let Some(seq) = seq {
            self.put_id(&mut out, seq);
        }
        match event {
            EventName::Default => out.extend_from_slice(&self.default_event),
            EventName::Nameless => {}
            EventName::Given(name) => put_line(&mut out, "event", name.as_bytes()),
        }
        match payload {
            Payload::Text(data) => put_data(&mut out, data),
            Payload::Binary(data) => put_binary_data(&mut out, data),
        }
        out.push(b'\n');
        let length = out.len() - MAX_HEADER;
        let header = if length > FRAGMENT_SIZE { 0 } else { header_length(length) };
        if header > 0 {
            let mut start = Vec::with_capacity(MAX_HEADER);
            put_header(&mut start, true, Opcode::Text, length);
            out[MAX_HEADER - header..MAX_HEADER].copy_from_slice(&start);
        }
        Block { bytes: Bytes::from(out).slice(MAX_HEADER - header..), header }
    }
}

fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
pub(super) use hook::set as encode_hook;

/// Lets a test stop its thread where a block is encoded.
#[cfg(test)]
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn Fn()>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    pub(in crate::channel) fn set(hook: impl Fn() + 'static) {
        HOOK.set(Some(Box::new(hook)));
    }

    pub(super) fn call() {
        let hook = HOOK.take();
        hook.inspect(|hook| hook());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(emit: impl FnOnce(&mut Vec<Bytes>) -> usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let bytes = emit(&mut frames);
        assert_eq!(bytes, frames.iter().map(Bytes::len).sum());
        frames
    }

    fn encoder() -> Encoder {
        Encoder::new(Epoch::from(0xab), Some("tick"))
    }

    #[test]
    fn blocks() {
        let rows: [(Option<u64>, EventName<&str>, Payload<'_>, &str); 6] = [
            (Some(7), EventName::Default, Payload::Text(b"x"), "id: ab-7\nevent: tick\ndata: x\n\n"),
            (Some(10), EventName::Nameless, Payload::Text(b""), "id: ab-10\ndata: \n\n"),
            (
                None,
                EventName::Given("a"),
                Payload::Text(b"x\r\ny\rz\n"),
                "event: a\ndata: x\ndata: y\ndata: z\ndata: \n\n",
            ),
            (
                Some(u64::MAX),
                EventName::Nameless,
                Payload::Text("ä".as_bytes()),
                "id: ab-18446744073709551615\ndata: ä\n\n",
            ),
            (
                None,
                EventName::Given("push.binary"),
                Payload::Binary(&[0, 255, 1, 2]),
                "event: push.binary\ndata: AP8BAg==\n\n",
            ),
            (None, EventName::Nameless, Payload::Binary(&[]), "data: \n\n"),
        ];
        for (seq, event, payload, expected) in rows {
            let block = encoder().block(seq, event, &payload);
            let emit = |shape: Shape| pieces(|out| block.emit(shape.into(), &mut |bytes| out.push(bytes))).concat();
            assert_eq!(String::from_utf8(emit(Shape::EventStream)).unwrap(), expected);
            let mut frame = Vec::new();
            put_header(&mut frame, true, Opcode::Text, expected.len());
            frame.extend_from_slice(expected.as_bytes());
            assert_eq!(emit(Shape::PushV1), frame);
            assert!(emit(Shape::Raw).is_empty());
        }
    }

    #[test]
    fn a_block_without_its_id_is_the_block_of_a_message_without_a_number() {
        for length in [1, 200, 70_000] {
            let data = vec![b'x'; length];
            let [with, without] =
                [Some(7), None].map(|seq| encoder().block(seq, EventName::Default, &Payload::Text(&data)));
            for encoding in [Shape::EventStream, Shape::PushV1].map(Encoding::from) {
                let cut =
                    pieces(|out| emit_without_id(&with.bare(), encoding, true, &mut |bytes| out.push(bytes)).unwrap());
                assert_eq!(cut, pieces(|out| without.emit(encoding, &mut |bytes| out.push(bytes))));
            }
        }
    }
}
