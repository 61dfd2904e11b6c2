//! Frames that the server sends: RFC 6455 section 5.
//!
//! The server never masks its frames (section 5.1). A frame is encoded once, before it is queued. So a stream can hand
//! many frames to the socket in one call, and clients can share them.

use bytes::{BufMut, Bytes, BytesMut};

use super::close::{CloseStatus, MAX_REASON, code};

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

/// Longer messages are sent in frames with this many bytes of payload. Then a ping or a pong need not wait for the end
/// of a big message (RFC 6455 section 5.4).
pub const FRAGMENT_SIZE: usize = 64 * 1024;

/// The longest header of an unmasked frame; that of every frame of [`FRAGMENT_SIZE`] bytes.
pub const MAX_HEADER: usize = 10;

/// Appends a frame's header: RFC 6455 section 5.2, unmasked, the shortest form of the length.
pub fn put_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, length: usize) {
    out.push(if fin { 0x80 | opcode as u8 } else { opcode as u8 });
    match length {
        0..=125 => out.push(length as u8),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Bytes of the header of an unmasked frame with this many bytes of payload.
pub fn header_length(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => MAX_HEADER,
    }
}

/// One frame.
pub fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Bytes {
    // Exactly what is needed: then `Bytes` takes it over as it is.
    let mut out = Vec::with_capacity(header_length(payload.len()) + payload.len());
    put_header(&mut out, fin, opcode, payload.len());
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// All frames of a message over [`FRAGMENT_SIZE`] bytes, one behind the other.
pub fn fragments(opcode: Opcode, payload: &[u8]) -> Bytes {
    let count = payload.len().div_ceil(FRAGMENT_SIZE);
    let mut out = Vec::with_capacity(payload.len() + count * MAX_HEADER);
    for (index, part) in payload.chunks(FRAGMENT_SIZE).enumerate() {
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        put_header(&mut out, index + 1 == count, opcode, part.len());
        out.extend_from_slice(part);
    }
    Bytes::from(out)
}

/// Gives `sink` each frame of [`fragments`]. Returns their bytes.
pub fn each_frame(fragments: &Bytes, sink: &mut impl FnMut(Bytes)) -> usize {
    const WHOLE: usize = MAX_HEADER + FRAGMENT_SIZE;
    for start in (0..fragments.len()).step_by(WHOLE) {
        sink(fragments.slice(start..fragments.len().min(start + WHOLE)));
    }
    fragments.len()
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

/// The frames of one message: one, or several if the message is long. `true` marks the last.
///
/// `payload` of a text message must be valid UTF-8; the caller has checked that.
pub fn message(opcode: Opcode, payload: &[u8]) -> impl Iterator<Item = (Bytes, bool)> + '_ {
    let count = payload.len().div_ceil(FRAGMENT_SIZE).max(1);
    (0..count).map(move |index| {
        let part = &payload[index * FRAGMENT_SIZE..payload.len().min((index + 1) * FRAGMENT_SIZE)];
        let last = index + 1 == count;
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        (frame(last, opcode, part), last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_fragmented() {
        for length in [FRAGMENT_SIZE + 1, 2 * FRAGMENT_SIZE, 2 * FRAGMENT_SIZE + 1] {
            let payload = vec![7; length];
            let mut frames = Vec::new();
            each_frame(&fragments(Opcode::Binary, &payload), &mut |bytes| frames.push(bytes));
            assert_eq!(frames.len(), length.div_ceil(FRAGMENT_SIZE));
            let opcodes: Vec<u8> = frames.iter().map(|frame| frame[0]).collect();
            assert_eq!(opcodes[0], Opcode::Binary as u8);
            assert_eq!(opcodes.last(), Some(&0x80));
            let content: usize = frames.iter().map(|frame| frame.len() - if frame[1] == 127 { 10 } else { 2 }).sum();
            assert_eq!(content, length);
        }
        assert_eq!(header_length(FRAGMENT_SIZE), MAX_HEADER);
    }

    #[test]
    fn the_frames_of_a_long_message_end_with_the_last() {
        let payload = vec![b'x'; 2 * FRAGMENT_SIZE + 1];
        let frames: Vec<_> = message(Opcode::Text, &payload).collect();
        assert_eq!(frames.iter().map(|(_, last)| *last).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(frames.iter().map(|(bytes, _)| bytes[0]).collect::<Vec<_>>(), [0x01, 0x00, 0x80]);
        assert_eq!(message(Opcode::Binary, &[]).count(), 1);
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(control(Opcode::Ping, &[7; 125])[..2], [0x89, 125]);
        assert_eq!(frame(true, Opcode::Text, &[7; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(true, Opcode::Binary, &[7; 65_536])[..4], [0x82, 127, 0, 0]);
    }
}
