//! Bytes on the wire that more than one module makes: WebSocket frames and the lines of an event stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use memchr::{memchr2, memchr2_iter};

/// Longer WebSocket messages are sent in frames of this size, so that a ping or pong need not
/// wait for the end of a big one (RFC 6455 section 5.4).
pub(crate) const FRAGMENT: usize = 64 * 1024;

/// The longest header of an unmasked frame; that of every frame of [`FRAGMENT`] bytes.
pub(crate) const HEADER: usize = 10;

/// Opcodes of messages, RFC 6455 section 11.8.
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;

/// The event that carries bytes where only text can go: its data is base64.
pub(crate) const BINARY_EVENT: &str = "push.binary";

/// Appends a frame's header: RFC 6455 section 5.2, unmasked, the shortest form of the length.
pub(crate) fn put_header(out: &mut Vec<u8>, fin: bool, opcode: u8, length: usize) {
    out.push(if fin { 0x80 | opcode } else { opcode });
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

pub(crate) fn header_length(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => HEADER,
    }
}

/// One frame.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Bytes {
    // Exactly what is needed: then `Bytes` takes it over as it is.
    let mut out = Vec::with_capacity(header_length(payload.len()) + payload.len());
    put_header(&mut out, fin, opcode, payload.len());
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// All frames of a message over [`FRAGMENT`] bytes, one behind the other.
pub(crate) fn fragments(opcode: u8, payload: &[u8]) -> Bytes {
    let count = payload.len().div_ceil(FRAGMENT);
    let mut out = Vec::with_capacity(payload.len() + count * HEADER);
    for (index, part) in payload.chunks(FRAGMENT).enumerate() {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        put_header(&mut out, index + 1 == count, opcode, part.len());
        out.extend_from_slice(part);
    }
    Bytes::from(out)
}

/// Gives `sink` each frame of [`fragments`]. Returns their bytes.
pub(crate) fn each_frame(fragments: &Bytes, sink: &mut impl FnMut(Bytes)) -> usize {
    const WHOLE: usize = HEADER + FRAGMENT;
    for start in (0..fragments.len()).step_by(WHOLE) {
        sink(fragments.slice(start..fragments.len().min(start + WHOLE)));
    }
    fragments.len()
}

/// Appends a field of an event.
pub(crate) fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an event's data: a field for each line of a text.
pub(crate) fn put_data(out: &mut Vec<u8>, text: &[u8]) {
    lines(text).for_each(|line| put_line(out, "data", line));
}

/// Bytes that [`put_data`] appends; more if CRLF ends lines.
pub(crate) fn data_length(text: &[u8]) -> usize {
    let ends = memchr2_iter(b'\r', b'\n', text).count();
    text.len() + ends * "data: ".len() + "data: \n".len()
}

/// Bytes that [`put_binary_data`] appends.
pub(crate) fn binary_data_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4 + "data: \n".len()
}

/// Appends an event's data: bytes, as one line of base64.
pub(crate) fn put_binary_data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact: it cannot fail.
    let _ = BASE64.encode_slice(bytes, &mut out[start..]);
    out.push(b'\n');
}

/// CRLF, CR and LF all end a line, and every end starts a new one: `"a\n"` has two, `""` has one.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let Some(end) = memchr2(b'\r', b'\n', data) else {
            return rest.take();
        };
        let width = if data[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&data[end + width..]);
        Some(&data[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_fragmented() {
        for length in [FRAGMENT + 1, 2 * FRAGMENT, 2 * FRAGMENT + 1] {
            let payload = vec![7; length];
            let mut frames = Vec::new();
            each_frame(&fragments(BINARY, &payload), &mut |bytes| frames.push(bytes));
            assert_eq!(frames.len(), length.div_ceil(FRAGMENT));
            let opcodes: Vec<u8> = frames.iter().map(|frame| frame[0]).collect();
            assert_eq!(opcodes[0], BINARY);
            assert_eq!(opcodes.last(), Some(&0x80));
            let content: usize = frames.iter().map(|frame| frame.len() - if frame[1] == 127 { 10 } else { 2 }).sum();
            assert_eq!(content, length);
        }
        assert_eq!(header_length(FRAGMENT), HEADER);
    }
}
