//! RFC 6455: messages in.

#[cfg(test)]
mod tests;

use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::{CloseStatus, code};
use super::deflate::Inflater;
use super::deflate::inflate::InflateError;
use super::message::Message;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A complete message.
    Message(Message),
    /// A ping; the pong must carry its payload.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer closes. 1005 if it gave no code. The server must echo the code.
    Close(CloseStatus),
}

/// Decodes messages from bytes, which may come in any pieces. An idle decoder holds no buffer.
#[derive(Debug)]
pub struct Decoder {
    max_message_size: usize,
    /// The beginning of a frame's header.
    head: Vec<u8>,
    /// The frame whose payload is coming.
    frame: Option<FrameInProgress>,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// The message whose frames are coming.
    message: Option<MessageInProgress>,
    /// For compressed messages, if the client may send them.
    inflating: Option<Box<Inflating>>,
}

/// What inflating needs, and has done.
#[derive(Debug)]
struct Inflating {
    inflater: Inflater,
    /// How much work is left until other tasks should get their turn: see [`WORK`].
    work: usize,
    /// What the messages so far have taken on the wire, and their lengths.
    inflated: Inflated,
}

/// How many bytes of messages have come compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inflated {
    /// Messages.
    pub messages: u64,
    /// Bytes on the wire, without headers.
    pub before: u64,
    /// Bytes of the messages.
    pub after: u64,
}

/// Bytes that are inflated at once before other tasks should get their turn. A few bytes can become many.
const WORK: usize = 1024 * 1024;

/// What a byte on the wire counts for in [`WORK`]: it may take that much time, even if nothing comes out.
const WORK_OF_A_BYTE: usize = 16;

#[derive(Debug)]
struct FrameInProgress {
    opcode: OpCode,
    fin: bool,
    mask: [u8; 4],
    /// Bytes of the payload that have come.
    seen: usize,
    length: usize,
}

#[derive(Debug)]
struct MessageInProgress {
    text: bool,
    payload: BytesMut,
    /// How much of a text is known to be UTF-8.
    valid: usize,
    /// It comes compressed; `payload` has it as it was before.
    compressed: bool,
}

impl Decoder {
    /// A decoder that refuses messages (and frames) over `max_message_size` bytes.
    pub fn new(max_message_size: usize) -> Self {
        Decoder { max_message_size, head: Vec::new(), frame: None, control: Vec::new(), message: None, inflating: None }
    }

    /// Lets messages come compressed, too: permessage-deflate, RFC 7692.
    pub fn inflating(mut self, inflater: Inflater) -> Self {
        self.inflating = Some(Box::new(Inflating { inflater, work: WORK, inflated: Inflated::default() }));
        self
    }

    /// What has come compressed since the last call.
    pub fn take_inflated(&mut self) -> Option<Inflated> {
        let inflated = &mut self.inflating.as_mut()?.inflated;
        Some(std::mem::take(inflated)).filter(|inflated| inflated.messages > 0)
    }

    /// Other tasks had their turn.
    pub fn begin_turn(&mut self) {
        if let Some(inflating) = &mut self.inflating {
            inflating.work = WORK;
        }
    }

    /// Takes bytes from `input` until a message or control frame is complete. `None` if no bytes are left, or if so much was
    /// inflated that other tasks should get their turn, before [`Decoder::begin_turn`].
    ///
    /// The error is the status to close with; the decoder must not be used after it, nor after
    /// [`Incoming::Close`].
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, CloseStatus> {
        if let Some(message) = self.take_short_message(input)? {
            return Ok(Some(Incoming::Message(message)));
        }
        // Most often that was all. A frame of a compressed message may have more to inflate without more bytes.
        if input.is_empty() && self.frame.is_none() {
            return Ok(None);
        }
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.take_header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if self.is_compressed(&frame) {
                self.take_compressed(&mut frame, input)?;
            } else {
                self.take_payload(&mut frame, input)?;
            }
            if frame.seen < frame.length {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(incoming) = self.finish(&frame)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Takes a message that is one short frame and has come whole: nearly all are. Everything else, and whatever
    /// is not as it must be, is for the long way.
    fn take_short_message(&mut self, input: &mut &[u8]) -> Result<Option<Message>, CloseStatus> {
        let [first @ (0x81 | 0x82), length @ 0x80..0xFE, a, b, c, d, rest @ ..] = *input else { return Ok(None) };
        let length = usize::from(length & 0x7F);
        let between = self.head.is_empty() && self.frame.is_none() && self.message.is_none();
        if !between || rest.len() < length || length > self.max_message_size {
            return Ok(None);
        }
        let (masked, rest) = rest.split_at(length);
        let mut payload = masked.to_vec();
        apply_mask(&mut payload, [*a, *b, *c, *d]);
        *input = rest;
        if *first == 0x82 {
            return Ok(Some(Message::Binary(payload.into())));
        }
        match std::str::from_utf8(&payload) {
            Ok(_) => Ok(Some(Message::Text(payload.into()))),
            Err(_) => Err(not_utf8()),
        }
    }

    fn take_header(&mut self, input: &mut &[u8]) -> Result<Option<FrameInProgress>, CloseStatus> {
        let parsed = if self.head.is_empty() {
            parse_header(input)?.inspect(|(_, _, consumed)| *input = &input[*consumed..])
        } else {
            self.take_split_header(input)?
        };
        if let Some((header, length, size)) = parsed {
            self.head = Vec::new();
            if size > shortest(&header, length) {
                return Err(broken("length is not in its shortest form"));
            }
            return self.begin(&header, length).map(Some);
        }
        self.head.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }

    /// A header that came in pieces; it has at most 14 bytes.
    fn take_split_header(&mut self, input: &mut &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, CloseStatus> {
        loop {
            if let Some(parsed) = parse_header(&self.head)? {
                return Ok(Some(parsed));
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            self.head.push(*byte);
            *input = rest;
        }
    }

    /// RFC 6455 section 5.2: what a header may say, and when.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<FrameInProgress, CloseStatus> {
        // RFC 7692 section 6: RSV1 is in the first frame of a message.
        let may_be_compressed =
            self.inflating.is_some() && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv1 && !may_be_compressed || header.rsv2 || header.rsv3 {
            return Err(broken("reserved bits are set"));
        }
        // Section 5.1.
        let mask = header.mask.ok_or_else(|| broken("frame is not masked"))?;
        if length > i64::MAX as u64 {
            return Err(broken("invalid frame length"));
        }
        match header.opcode {
            // Section 5.5.
            OpCode::Control(_) if !header.is_final => return Err(broken("control frame is fragmented")),
            OpCode::Control(_) if length > MAX_CONTROL => return Err(broken("control frame exceeds 125 bytes")),
            OpCode::Control(_) => {}
            OpCode::Data(kind) => self.begin_data(kind, header.rsv1, length)?,
        }
        Ok(FrameInProgress { opcode: header.opcode, fin: header.is_final, mask, seen: 0, length: length as usize })
    }

    /// Section 5.4.
    fn begin_data(&mut self, kind: Data, compressed: bool, length: u64) -> Result<(), CloseStatus> {
        match (kind, &self.message) {
            (Data::Continue, None) => return Err(broken("continuation without a message")),
            (Data::Text | Data::Binary, Some(_)) => return Err(broken("message inside a message")),
            (Data::Reserved(_), _) => return Err(broken("reserved opcode")),
            _ => {}
        }
        let text = kind == Data::Text;
        let begun = || MessageInProgress { text, payload: BytesMut::new(), valid: 0, compressed };
        let message = self.message.get_or_insert_with(begun);
        // How long a compressed message is, is seen while it is inflated.
        if !message.compressed && message.payload.len() as u64 + length > self.max_message_size as u64 {
            return Err(too_big(self.max_message_size));
        }
        Ok(())
    }

    /// Whether it is a frame of a compressed message. The frame of a control message may be between two of these.
    fn is_compressed(&self, frame: &FrameInProgress) -> bool {
        matches!(frame.opcode, OpCode::Data(_)) && self.message.as_ref().is_some_and(|message| message.compressed)
    }

    /// Inflates what has come of a compressed message, unless too much was inflated in this turn.
    #[inline(never)]
    fn take_compressed(&mut self, frame: &mut FrameInProgress, input: &mut &[u8]) -> Result<(), CloseStatus> {
        let (Some(inflating), Some(message)) = (&mut self.inflating, &mut self.message) else { return Ok(()) };
        let most = self.max_message_size;
        while frame.seen < frame.length && !input.is_empty() && inflating.work > 0 {
            let (taken, rest) = input.split_at(input.len().min(frame.length - frame.seen).min(UNMASKED));
            *input = rest;
            let before = message.payload.len();
            let mut inflated = Ok(());
            unmask(taken, frame, |bytes| inflated = inflating.inflater.inflate(bytes, &mut message.payload, most));
            inflated.map_err(|error| not_inflated(error, most))?;
            frame.seen += taken.len();
            inflating.inflated.before += taken.len() as u64;
            let work = message.payload.len() - before + taken.len() * WORK_OF_A_BYTE;
            inflating.work = inflating.work.saturating_sub(work);
            message.check(false)?;
        }
        if frame.fin && frame.seen == frame.length {
            let finished = inflating.inflater.finish(&mut message.payload, most);
            finished.map_err(|error| not_inflated(error, most))?;
            message.check(true)?;
            inflating.inflated.messages += 1;
            inflating.inflated.after += message.payload.len() as u64;
        }
        Ok(())
    }

    fn take_payload(&mut self, frame: &mut FrameInProgress, input: &mut &[u8]) -> Result<(), CloseStatus> {
        let (taken, rest) = input.split_at(input.len().min(frame.length - frame.seen));
        *input = rest;
        match (frame.opcode, &mut self.message) {
            (OpCode::Data(_), Some(message)) => {
                // By what has come, not by the announced length: any client can announce a large one.
                message.payload.reserve(taken.len());
                unmask(taken, frame, |bytes| message.payload.extend_from_slice(bytes));
                frame.seen += taken.len();
                message.check(frame.fin && frame.seen == frame.length)?;
            }
            _ => {
                unmask(taken, frame, |bytes| self.control.extend_from_slice(bytes));
                frame.seen += taken.len();
            }
        }
        Ok(())
    }

    fn finish(&mut self, frame: &FrameInProgress) -> Result<Option<Incoming>, CloseStatus> {
        let OpCode::Control(kind) = frame.opcode else {
            let whole = self.message.take_if(|_| frame.fin);
            return Ok(whole.map(|message| {
                let payload = message.payload.freeze();
                Incoming::Message(if message.text { Message::Text(payload) } else { Message::Binary(payload) })
            }));
        };
        let payload = std::mem::take(&mut self.control);
        match kind {
            Control::Close => close_status(&payload).map(Incoming::Close).map(Some),
            Control::Ping => Ok(Some(Incoming::Ping(payload.into()))),
            Control::Pong => Ok(Some(Incoming::Pong)),
            Control::Reserved(_) => Err(broken("reserved opcode")),
        }
    }
}

impl MessageInProgress {
    /// Checks what has come of a text, and, if that is all, that no character is cut.
    fn check(&mut self, whole: bool) -> Result<(), CloseStatus> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            // The rest of a character may still come.
            Err(error) if error.error_len().is_none() && !whole => self.valid += error.valid_up_to(),
            Err(_) => return Err(not_utf8()),
        }
        Ok(())
    }
}

/// Section 5.5: a control frame's payload.
const MAX_CONTROL: u64 = 125;

/// Bytes that are unmasked at once.
const UNMASKED: usize = 1024;

fn too_big(most: usize) -> CloseStatus {
    CloseStatus::new(code::TOO_BIG, &format!("message exceeds {most} bytes"))
}

fn not_inflated(error: InflateError, most: usize) -> CloseStatus {
    match error {
        InflateError::TooLong => too_big(most),
        InflateError::Broken => CloseStatus::new(code::INVALID_DATA, "compressed data is broken"),
    }
}

fn not_utf8() -> CloseStatus {
    CloseStatus::new(code::INVALID_DATA, "text is not UTF-8")
}

fn broken(reason: &str) -> CloseStatus {
    CloseStatus::new(code::PROTOCOL, reason)
}

/// The header at the start of `bytes` with the payload's length and its own; `None` if it is not whole.
fn parse_header(bytes: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, CloseStatus> {
    let mut cursor = Cursor::new(bytes);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| broken("reserved opcode"))?;
    Ok(parsed.map(|(header, length)| (header, length, cursor.position() as usize)))
}

/// How long the header is if the payload's length is in its shortest form (section 5.2).
fn shortest(header: &FrameHeader, length: u64) -> usize {
    let extended = match length {
        ..126 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    2 + extended + header.mask.map_or(0, |mask| mask.len())
}

/// Section 5.3. Goes through a small buffer, so that the payload is written only once.
fn unmask(masked: &[u8], frame: &FrameInProgress, mut take: impl FnMut(&[u8])) {
    let mut mask = frame.mask;
    mask.rotate_left(frame.seen % 4);
    let mut buffer = [0; UNMASKED];
    for part in masked.chunks(buffer.len()) {
        let plain = &mut buffer[..part.len()];
        plain.copy_from_slice(part);
        apply_mask(plain, mask);
        take(plain);
    }
}

fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The status in a Close frame, section 5.5.1.
fn close_status(payload: &[u8]) -> Result<CloseStatus, CloseStatus> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(CloseStatus::new(code::NO_STATUS, ""))
        } else {
            Err(broken("close frame with one byte"))
        };
    };
    let code = u16::from_be_bytes(*code);
    // Section 7.4, and the registry that it defines.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(broken("invalid close code"));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(CloseStatus::new(code, reason)),
        Err(_) => Err(CloseStatus::new(code::INVALID_DATA, "close reason is not UTF-8")),
    }
}
