//! RFC 6455 on the wire: frames out, and ([`Decoder`]) messages in.
//!
//! Both directions are ours, on tungstenite's frame header. Frames that go out are encoded once,
//! before they are queued, so that a stream can hand many of them to the socket in one call and
//! clients can share them. What comes in is decoded from the read buffer that all streams of a
//! thread share. tungstenite's own state machine keeps a buffer per connection that grows to the
//! largest message and never shrinks: 200 idle clients held 190 MB after a message of 1 MB each.

mod decoder;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::decoder::{Decoder, Incoming};
use super::close::{CloseStatus, MAX_REASON, code};
use super::outgoing::{Frame, Origin};
use crate::wire::{self, FRAGMENT};

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

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Bytes {
    wire::frame(fin, opcode as u8, payload)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
