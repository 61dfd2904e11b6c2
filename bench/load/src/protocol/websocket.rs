//! RFC 6455: the handshake, and frames of either direction.

use super::http::Head;

/// The opcode of a text message.
pub const TEXT: u8 = 1;
/// The opcode of a binary message.
pub const BINARY: u8 = 2;
/// The opcode of a Close frame.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;

/// The key of RFC 6455 section 1.3, and the answer to it, which need not be computed then.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A fixed mask is enough, since there is no proxy to protect.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The extension of RFC 7692.
const DEFLATE: &str = "permessage-deflate";

/// A request for a WebSocket, with an offer to compress messages or without.
pub fn handshake(path: &str, deflate: bool) -> Vec<u8> {
    let extensions = if deflate { format!("sec-websocket-extensions: {DEFLATE}\r\n") } else { String::new() };
    format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{extensions}\r\n"
    )
    .into_bytes()
}

/// Whether a head accepts our [`handshake`]. If it offered to compress messages, each message of the server must stand for
/// itself.
pub fn accepts(head: &Head, deflate: bool) -> bool {
    let extensions = head.field("sec-websocket-extensions").map(String::from_utf8_lossy).unwrap_or_default();
    let agreed = extensions.starts_with(DEFLATE) && extensions.contains("server_no_context_takeover");
    head.status == 101 && head.field("sec-websocket-accept") == Some(ACCEPT) && agreed == deflate
}

/// A frame as a client sends it; `payload` has less than 64 KiB.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame as a server sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The opcode: [`TEXT`], [`PING`], and so on.
    pub opcode: u8,
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// The payload.
    pub payload: &'a [u8],
    /// How many bytes the frame has.
    pub length: usize,
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with; `None` if its end has not come.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0xb0 != 0x80 {
            return Err(format!("a frame that is a fragment, or has a reserved bit: it begins with {first:#04x}"));
        }
        let compressed = first & 0x40 != 0;
        let (head, size) = match (second, rest) {
            (0x80.., _) => return Err("a masked frame, from a server".into()),
            (126, &[one, two, ..]) => (4, usize::from(u16::from_be_bytes([one, two]))),
            (127, &[a, b, c, d, e, f, g, h, ..]) => match u64::from_be_bytes([a, b, c, d, e, f, g, h]) {
                size @ ..0x1_0000_0000 => (10, size as usize),
                size => return Err(format!("a frame of {size} bytes")),
            },
            (126 | 127, _) => return Ok(None),
            (size, _) => (2, usize::from(size)),
        };
        let length = head + size;
        Ok(bytes.get(head..length).map(|payload| Frame { opcode: first & 0x0f, compressed, payload, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_frame_only_when_it_is_whole() {
        for (frame, head, size) in [
            ([&[0x81, 3][..], b"abc"].concat(), 2, 3),
            ([&[0x81, 126, 1, 0][..], &[b'x'; 256]].concat(), 4, 256),
            ([&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[b'y'; 65536]].concat(), 10, 65536),
        ] {
            for end in (0..frame.len()).step_by(frame.len().div_ceil(300)) {
                assert_eq!(Frame::parse(&frame[..end]), Ok(None), "{end}");
            }
            let more = [&frame[..], b"\x89\x00"].concat();
            let payload = &frame[head..];
            assert_eq!(payload.len(), size);
            assert_eq!(
                Frame::parse(&more),
                Ok(Some(Frame { opcode: TEXT, compressed: false, payload, length: frame.len() }))
            );
        }
    }

    #[test]
    fn reads_empty_frames() {
        let ping = Frame { opcode: PING, compressed: false, payload: b"", length: 2 };
        assert_eq!(Frame::parse(&[0x89, 0]), Ok(Some(ping)));
    }

    #[test]
    fn reads_compressed_frames() {
        let frame = Frame { opcode: TEXT, compressed: true, payload: b"x", length: 3 };
        assert_eq!(Frame::parse(b"\xc1\x01x"), Ok(Some(frame)));
    }

    #[test]
    fn refuses_frames_that_no_server_may_send() {
        assert!(Frame::parse(&[0x81, 0x80, 1, 2, 3, 4]).is_err());
        assert!(Frame::parse(&[0xa1, 0]).is_err());
        assert!(Frame::parse(&[0x01, 0]).is_err());
        assert!(Frame::parse(&[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn masks_what_it_sends() {
        let unmask = |bytes: &[u8]| -> Vec<u8> {
            let (mask, payload) = bytes.split_at(4);
            payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
        };
        let short = masked(TEXT, b"hello");
        assert_eq!(short[..2], [0x81, 0x85]);
        assert_eq!(unmask(&short[2..]), b"hello");
        let long = masked(PONG, &[b'x'; 300]);
        assert_eq!(long[..4], [0x8a, 0xfe, 1, 44]);
        assert_eq!(unmask(&long[4..]), [b'x'; 300]);
    }

    #[test]
    fn checks_the_answer_to_the_handshake() {
        let accepted =
            |head: &[u8]| [false, true].map(|deflate| accepts(&Head::parse(head).unwrap().unwrap(), deflate));
        let head = |rest: &str| {
            let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            format!("HTTP/1.1 101 Switching Protocols\r\n{accept}\r\n{rest}\r\n").into_bytes()
        };
        assert_eq!(accepted(&head("")), [true, false]);
        let deflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        assert_eq!(accepted(&head(deflate)), [false, true]);
        assert_eq!(accepted(&head("Sec-WebSocket-Extensions: permessage-deflate\r\n")), [true, false]);
        assert_eq!(accepted(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other\r\n\r\n"), [false; 2]);
        assert_eq!(accepted(b"HTTP/1.1 200 OK\r\n\r\n"), [false; 2]);
    }
}
