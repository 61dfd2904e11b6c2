//! SSE blocks of channel messages, alone and in WebSocket frames.
//!
//! An SSE block is encoded right behind room for a WebSocket header, so that SSE and push.v1
//! share one buffer.

use std::sync::OnceLock;

use bytes::Bytes;

use super::cursor::Epoch;
use super::message::EventName;
use crate::sse::{binary_data_length, data_length, put_binary_data, put_data, put_line};
use crate::websocket::frame::{
    FRAGMENT_SIZE, MAX_HEADER, Opcode, each_frame, fragments, frame, header_length, put_header,
};

/// How a reader's connection wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Blocks of `text/event-stream`, WHATWG HTML section 9.2; also the body of a long poll.
    Sse,
    /// WebSocket messages that hold the payload and nothing else.
    Raw,
    /// WebSocket text messages that hold an SSE block: the subprotocol push.v1.
    Push,
}

/// The data of an SSE block.
pub(super) enum Content<'a> {
    /// Valid UTF-8: a line for each of its lines.
    Text(&'a [u8]),
    /// One line of base64.
    Binary(&'a [u8]),
}

impl Content<'_> {
    /// Bytes that it takes in a block, or some more.
    pub(super) fn length(&self) -> usize {
        match self {
            Content::Text(data) => data_length(data),
            Content::Binary(data) => binary_data_length(data.len()),
        }
    }
}

/// An encoded SSE block.
#[derive(Debug)]
pub(super) struct Block {
    /// The header of its WebSocket frame, if one frame can hold it, and the block.
    bytes: Bytes,
    header: u8,
    /// The length of the line `id:`.
    id: u8,
    fragments: OnceLock<Bytes>,
}

impl Block {
    /// Gives `sink` the block in the given form. Returns its bytes.
    pub(super) fn emit(&self, form: Form, sink: &mut impl FnMut(Bytes)) -> usize {
        if form == Form::Sse {
            let block = self.bytes.slice(usize::from(self.header)..);
            let length = block.len();
            sink(block);
            return length;
        }
        if self.header == 0 {
            return each_frame(self.fragments.get_or_init(|| fragments(Opcode::Text, &self.bytes)), sink);
        }
        sink(self.bytes.clone());
        self.bytes.len()
    }

    /// The same without its id: for what must not move a client's cursor.
    pub(super) fn emit_without_id(&self, form: Form, sink: &mut impl FnMut(Bytes)) -> usize {
        let rest = self.bytes.slice(usize::from(self.header) + usize::from(self.id)..);
        let length = rest.len();
        match form {
            Form::Sse => sink(rest),
            // Replays into an open connection are rare: not worth keeping.
            _ if length > FRAGMENT_SIZE => return each_frame(&fragments(Opcode::Text, &rest), sink),
            _ => sink(frame(true, Opcode::Text, &rest)),
        }
        length
    }
}

/// What all blocks of a log have in common.
#[derive(Debug)]
pub(super) struct Wire {
    /// `id: <epoch>-`
    id: Box<[u8]>,
    /// `event: <name>` and the line's end, or nothing.
    default_event: Box<[u8]>,
}

impl Wire {
    /// `default_event` must be free of CR, LF and NUL; `None` is nameless.
    pub(super) fn new(epoch: Epoch, default_event: Option<&str>) -> Self {
        let default_event = default_event.map(|name| format!("event: {name}\n")).unwrap_or_default();
        Wire { id: format!("id: {epoch}-").into_bytes().into(), default_event: default_event.into_bytes().into() }
    }

    /// Gives `sink` an `id:` alone, which moves a client's cursor and dispatches no event. Returns its bytes; a raw
    /// WebSocket has no cursor.
    pub(super) fn emit_id(&self, seq: u64, form: Form, sink: &mut impl FnMut(Bytes)) -> usize {
        let mut block = Vec::with_capacity(self.id.len() + 24);
        self.put_id(&mut block, seq);
        block.push(b'\n');
        let bytes = match form {
            Form::Sse => Bytes::from(block),
            Form::Push => frame(true, Opcode::Text, &block),
            Form::Raw => return 0,
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
    pub(super) fn block(&self, seq: Option<u64>, event: EventName<&str>, content: &Content<'_>) -> Block {
        let mut out = Vec::with_capacity(MAX_HEADER + self.id.len() + 64 + content.length());
        out.resize(MAX_HEADER, 0);
        if let Some(seq) = seq {
            self.put_id(&mut out, seq);
        }
        let id = out.len() - MAX_HEADER;
        match event {
            EventName::Default => out.extend_from_slice(&self.default_event),
            EventName::Nameless => {}
            EventName::Given(name) => put_line(&mut out, "event", name.as_bytes()),
        }
        match content {
            Content::Text(data) => put_data(&mut out, data),
            Content::Binary(data) => put_binary_data(&mut out, data),
        }
        out.push(b'\n');
        let length = out.len() - MAX_HEADER;
        let header = if length > FRAGMENT_SIZE { 0 } else { header_length(length) };
        if header > 0 {
            let mut start = Vec::with_capacity(MAX_HEADER);
            put_header(&mut start, true, Opcode::Text, length);
            out[MAX_HEADER - header..MAX_HEADER].copy_from_slice(&start);
        }
        let bytes = Bytes::from(out).slice(MAX_HEADER - header..);
        Block { bytes, header: header as u8, id: id as u8, fragments: OnceLock::new() }
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
mod tests {
    use super::*;

    fn pieces(emit: impl FnOnce(&mut Vec<Bytes>) -> usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let bytes = emit(&mut frames);
        assert!(bytes <= frames.iter().map(Bytes::len).sum());
        frames
    }

    fn wire() -> Wire {
        Wire::new(Epoch::from(0xab), Some("tick"))
    }

    #[test]
    fn blocks() {
        let rows: [(Option<u64>, EventName<&str>, Content<'_>, &str); 6] = [
            (Some(7), EventName::Default, Content::Text(b"x"), "id: ab-7\nevent: tick\ndata: x\n\n"),
            (Some(10), EventName::Nameless, Content::Text(b""), "id: ab-10\ndata: \n\n"),
            (
                None,
                EventName::Given("a"),
                Content::Text(b"x\r\ny\rz\n"),
                "event: a\ndata: x\ndata: y\ndata: z\ndata: \n\n",
            ),
            (
                Some(u64::MAX),
                EventName::Nameless,
                Content::Text("ä".as_bytes()),
                "id: ab-18446744073709551615\ndata: ä\n\n",
            ),
            (
                None,
                EventName::Given("push.binary"),
                Content::Binary(&[0, 255, 1, 2]),
                "event: push.binary\ndata: AP8BAg==\n\n",
            ),
            (None, EventName::Nameless, Content::Binary(&[]), "data: \n\n"),
        ];
        for (seq, event, content, expected) in rows {
            let block = wire().block(seq, event, &content);
            let emit = |form| pieces(|out| block.emit(form, &mut |bytes| out.push(bytes))).concat();
            assert_eq!(String::from_utf8(emit(Form::Sse)).unwrap(), expected);
            let mut frame = Vec::new();
            put_header(&mut frame, true, Opcode::Text, expected.len());
            frame.extend_from_slice(expected.as_bytes());
            assert_eq!(emit(Form::Push), frame);
        }
    }

    #[test]
    fn without_the_id() {
        for length in [1, 200, 70_000] {
            let data = vec![b'x'; length];
            let (with, without) = (
                wire().block(Some(7), EventName::Default, &Content::Text(&data)),
                wire().block(None, EventName::Default, &Content::Text(&data)),
            );
            for form in [Form::Sse, Form::Push] {
                let cut = pieces(|out| with.emit_without_id(form, &mut |bytes| out.push(bytes)));
                assert_eq!(cut, pieces(|out| without.emit(form, &mut |bytes| out.push(bytes))));
            }
        }
    }
}
