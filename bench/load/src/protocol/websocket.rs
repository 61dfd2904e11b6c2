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

/// A request for a WebSocket.
pub fn handshake(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Whether a head accepts our [`handshake`].
pub fn accepts(head: &Head) -> bool {
    head.status == 101 && head.field("sec-websocket-accept") == Some(ACCEPT)
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
    /// The payload.
    pub payload: &'a [u8],
    /// How many bytes the frame has.
    pub length: usize,
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with; `None` if its end has not come.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0xf0 != 0x80 {
            return Err(format!("a frame that is a fragment, or has a reserved bit: it begins with {first:#04x}"));
        }
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
        Ok(bytes.get(head..length).map(|payload| Frame { opcode: first & 0x0f, payload, length }))
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
            assert_eq!(Frame::parse(&more), Ok(Some(Frame { opcode: TEXT, payload, length: frame.len() })));
        }
    }

    #[test]
    fn reads_empty_frames() {
        assert_eq!(Frame::parse(&[0x89, 0]), Ok(Some(Frame { opcode: PING, payload: b"", length: 2 })));
    }

    #[test]
    fn refuses_frames_that_no_server_may_send() {
        assert!(Frame::parse(&[0x81, 0x80, 1, 2, 3, 4]).is_err());
        assert!(Frame::parse(&[0xc1, 0]).is_err());
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
        let accepted = |head: &[u8]| accepts(&Head::parse(head).unwrap().unwrap());
        assert!(accepted(
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        ));
        assert!(!accepted(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other\r\n\r\n"));
        assert!(!accepted(b"HTTP/1.1 200 OK\r\n\r\n"));
    }
}
