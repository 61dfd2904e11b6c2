//! RFC 6455 on the wire: frames out, messages in.
//!
//! Reading is tungstenite's protocol state machine, fed from the stream's shared read buffer
//! instead of a socket: it checks masks, reserved bits, opcodes, lengths, fragmentation and
//! UTF-8. Writing is ours: frames are encoded once, before they are queued, so that a stream can
//! hand many of them to the socket in one call and clients can share them. What tungstenite
//! would answer by itself (pongs, the echo of a Close) goes through the same queue.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::close::{CloseStatus, MAX_REASON, code};
use super::mailbox::Message;
use super::outgoing::{Frame, Origin};

/// Longer messages are sent in frames of this size, so that a ping or pong need not wait for
/// the end of a big one (RFC 6455 section 5.4).
const FRAGMENT: usize = 64 * 1024;

/// What tungstenite keeps allocated for an idle connection.
const READ_BUFFER: usize = 1024;

/// Opcodes, RFC 6455 section 11.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next frame of a fragmented message.
    Continuation = 0x0,
    /// A text message.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// A Close frame.
    Close = 0x8,
    /// A ping.
    Ping = 0x9,
    /// A pong.
    Pong = 0xA,
}

fn put_frame(wire: &mut BytesMut, fin: bool, opcode: Opcode, payload: &[u8]) {
    wire.put_u8(if fin { 0x80 } else { 0 } | opcode as u8);
    // RFC 6455 section 5.2: the shortest form of the length must be used; a server never masks.
    match payload.len() {
        length @ 0..=125 => wire.put_u8(length as u8),
        length @ 126..=0xFFFF => {
            wire.put_u8(126);
            wire.put_u16(length as u16);
        }
        length => {
            wire.put_u8(127);
            wire.put_u64(length as u64);
        }
    }
    wire.put_slice(payload);
}

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut wire = BytesMut::with_capacity(payload.len() + 10);
    put_frame(&mut wire, fin, opcode, payload);
    wire.freeze()
}

/// Encodes a control frame; `payload` has at most 125 bytes.
pub fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    frame(true, opcode, payload)
}

/// Encodes a Close frame, RFC 6455 section 5.5.1. 1005 is an empty one.
pub fn close(status: &CloseStatus) -> Bytes {
    if status.code == code::NO_STATUS {
        return control(Opcode::Close, &[]);
    }
    let mut payload = BytesMut::with_capacity(2 + status.reason.len());
    payload.put_u16(status.code);
    let reason = status.reason.as_bytes();
    payload.put_slice(&reason[..reason.len().min(MAX_REASON)]);
    control(Opcode::Close, &payload)
}

/// Encodes a message as one frame, or as several if it is long.
///
/// `payload` of a text message must be valid UTF-8; the caller has checked it.
pub fn message(opcode: Opcode, payload: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    let count = payload.len().div_ceil(FRAGMENT).max(1);
    (0..count).map(move |index| {
        let part = &payload[index * FRAGMENT..payload.len().min((index + 1) * FRAGMENT)];
        let last = index + 1 == count;
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        Frame { bytes: frame(last, opcode, part), origin: if last { Origin::Write } else { Origin::Fragment } }
    })
}

/// Something that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping; the pong must carry its payload.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer closes; 1005 if it gave no code. To be echoed.
    Close(CloseStatus),
}

/// Makes messages of bytes, however they are cut.
#[derive(Debug)]
pub struct Decoder {
    context: WebSocketContext,
}

/// Feeds tungstenite from a slice; what it wants to send is sent by the stream instead.
struct Feed<'a, 'b>(&'a mut &'b [u8]);

impl Read for Feed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

impl Write for Feed<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// A decoder that refuses messages (and frames) over `max_message_size` bytes.
    pub fn new(max_message_size: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(max_message_size))
            .max_frame_size(Some(max_message_size));
        Decoder { context: WebSocketContext::new(Role::Server, Some(config)) }
    }

    /// Takes from `input` until something has come in whole, or nothing is left (`None`).
    ///
    /// The error is the status to close with; the decoder must not be used after it, nor after
    /// [`Incoming::Close`].
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, CloseStatus> {
        loop {
            let message = match self.context.read(&mut Feed(input)) {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(failure(&error)),
            };
            return Ok(Some(match message {
                tungstenite::Message::Text(text) => Incoming::Message(Message::Text(text.into())),
                tungstenite::Message::Binary(bytes) => Incoming::Message(Message::Binary(bytes)),
                tungstenite::Message::Ping(payload) => Incoming::Ping(payload),
                tungstenite::Message::Pong(_) => Incoming::Pong,
                tungstenite::Message::Close(None) => Incoming::Close(CloseStatus::new(code::NO_STATUS, "")),
                // tungstenite's mark for a code that may not be sent (RFC 6455 section 7.4).
                tungstenite::Message::Close(Some(frame))
                    if frame.code == CloseCode::Protocol && frame.reason.as_str() == "Protocol violation" =>
                {
                    return Err(CloseStatus::new(code::PROTOCOL, "invalid close code"));
                }
                tungstenite::Message::Close(Some(frame)) => {
                    Incoming::Close(CloseStatus::new(frame.code.into(), frame.reason.as_str()))
                }
                tungstenite::Message::Frame(_) => continue,
            }));
        }
    }
}

fn failure(error: &Error) -> CloseStatus {
    match error {
        // RFC 6455 section 5.2: the most significant bit of a length must be 0.
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) if *size > i64::MAX as usize => {
            CloseStatus::new(code::PROTOCOL, "invalid frame length")
        }
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            CloseStatus::new(code::TOO_BIG, &format!("message exceeds {max_size} bytes"))
        }
        Error::Utf8(_) => CloseStatus::new(code::INVALID_DATA, "text is not UTF-8"),
        Error::Protocol(ProtocolError::UnmaskedFrameFromClient) => {
            CloseStatus::new(code::PROTOCOL, "frame is not masked")
        }
        error => {
            let reason: String = error.to_string().chars().filter(char::is_ascii).take(MAX_REASON).collect();
            CloseStatus::new(code::PROTOCOL, &reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut wire = vec![first];
        match payload.len() {
            length @ 0..=125 => wire.push(0x80 | length as u8),
            length => {
                wire.push(0x80 | 126);
                wire.extend((length as u16).to_be_bytes());
            }
        }
        wire.extend(mask);
        wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        wire
    }

    fn all(wire: &[u8]) -> Result<Vec<Incoming>, CloseStatus> {
        pieces(&[wire])
    }

    fn pieces(pieces: &[&[u8]]) -> Result<Vec<Incoming>, CloseStatus> {
        let mut decoder = Decoder::new(1000);
        let mut seen = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(incoming) = decoder.decode(&mut input)? {
                let closed = matches!(incoming, Incoming::Close(_));
                seen.push(incoming);
                if closed {
                    return Ok(seen);
                }
            }
        }
        Ok(seen)
    }

    fn text(text: &str) -> Incoming {
        Incoming::Message(Message::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn messages_fragments_and_control_frames_between_them() {
        let wire = [masked(0x01, b"He"), masked(0x89, b"?"), masked(0x80, b"llo"), masked(0x82, &[0, 255])].concat();
        let binary = Incoming::Message(Message::Binary(Bytes::from_static(&[0, 255])));
        assert_eq!(all(&wire).unwrap(), [Incoming::Ping(Bytes::from_static(b"?")), text("Hello"), binary]);
    }

    #[test]
    fn close_with_and_without_a_code() {
        assert_eq!(all(&masked(0x88, b"")).unwrap(), [Incoming::Close(CloseStatus::new(1005, ""))]);
        let wire = masked(0x88, b"\x0f\xa1bye");
        assert_eq!(all(&wire).unwrap(), [Incoming::Close(CloseStatus::new(4001, "bye"))]);
    }

    /// RFC 6455: the section that refuses each.
    #[test]
    fn refusals() {
        let long = "x".repeat(1001);
        let rows: &[(&str, Vec<u8>, u16)] = &[
            ("5.1 unmasked", vec![0x81, 1, b'a'], 1002),
            ("5.2 RSV1", masked(0xC1, b"a"), 1002),
            ("5.2 reserved data opcode", masked(0x83, b"a"), 1002),
            ("5.2 reserved control opcode", masked(0x8B, b"a"), 1002),
            ("5.5 fragmented control frame", masked(0x09, b"a"), 1002),
            ("5.5 control frame of 126 bytes", masked(0x89, &[b'a'; 126]), 1002),
            ("5.4 continuation without a start", masked(0x80, b"a"), 1002),
            ("5.4 a new message inside another", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
            ("5.5.1 close payload of one byte", masked(0x88, b"a"), 1002),
            ("7.4.1 close code 1005", masked(0x88, &1005u16.to_be_bytes()), 1002),
            ("7.4.1 close code 1004", masked(0x88, &1004u16.to_be_bytes()), 1002),
            ("7.4.2 close code 2999", masked(0x88, &2999u16.to_be_bytes()), 1002),
            ("7.4.2 close code 0", masked(0x88, &0u16.to_be_bytes()), 1002),
            ("8.1 text is not UTF-8", masked(0x81, &[0xff]), 1007),
            ("8.1 UTF-8 cut at the end", masked(0x81, "ä".as_bytes().split_at(1).0), 1007),
            ("8.1 bad UTF-8 over two frames", [masked(0x01, &[0xe2]), masked(0x00, &[0x28])].concat(), 1007),
            ("8.1 close reason is not UTF-8", masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
            ("10.4 message too big", masked(0x81, long.as_bytes()), 1009),
            (
                "10.4 fragments too big together",
                [masked(0x01, &long.as_bytes()[..600]), masked(0x80, &long.as_bytes()[..600])].concat(),
                1009,
            ),
            ("5.2 length of 2^63", [&[0x82, 0xff, 0x80][..], &[0; 11]].concat(), 1002),
            ("10.4 length of 2^63 - 1", [&[0x82, 0xff, 0x7f][..], &[0xff; 11]].concat(), 1009),
        ];
        for (name, wire, code) in rows {
            assert_eq!(all(wire).map_err(|status| status.code), Err(*code), "{name}");
        }
    }

    #[test]
    fn long_messages_are_fragmented_and_only_the_last_frame_counts() {
        let payload = vec![b'x'; 2 * FRAGMENT + 1];
        let frames: Vec<_> = message(Opcode::Text, &payload).collect();
        let origins: Vec<_> = frames.iter().map(|frame| frame.origin).collect();
        assert_eq!(origins, [Origin::Fragment, Origin::Fragment, Origin::Write]);
        assert_eq!(frames.iter().map(|frame| frame.bytes[0]).collect::<Vec<_>>(), [0x01, 0x00, 0x80]);
        assert_eq!(message(Opcode::Binary, &[]).count(), 1);
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(control(Opcode::Ping, &[7; 125])[..2], [0x89, 125]);
        assert_eq!(frame(true, Opcode::Text, &[7; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(true, Opcode::Binary, &[7; 65_536])[..4], [0x82, 127, 0, 0]);
    }

    proptest! {
        /// Whatever comes in, and however it is cut: no panic, and the same result.
        #[test]
        fn the_cut_makes_no_difference(wire in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let (left, right) = wire.split_at(cut.min(wire.len()));
            prop_assert_eq!(all(&wire), pieces(&[left, right]));
        }

        #[test]
        fn valid_messages_survive_any_cut(messages in proptest::collection::vec(".{0,40}", 1..8), cut in 1usize..30) {
            let wire: Vec<u8> = messages.iter().flat_map(|message| masked(0x81, message.as_bytes())).collect();
            let cuts: Vec<&[u8]> = wire.chunks(cut).collect();
            let expected: Vec<Incoming> = messages.iter().map(|message| text(message)).collect();
            prop_assert_eq!(pieces(&cuts).unwrap(), expected);
        }
    }
}
