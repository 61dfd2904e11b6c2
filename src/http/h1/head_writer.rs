//! Writes the heads that hyper does not write: those of upgrades, hijacks and informational responses.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONNECTION;

use crate::http::head::ResponseHead;

/// Enough bytes for most heads.
const USUAL_LENGTH: usize = 512;

/// The bytes of a head in HTTP/1.1 (RFC 9112 sections 4 and 5). A client of HTTP/1.0 understands it, too (RFC 9110
/// section 2.5).
pub(in crate::http) fn write_head(head: &ResponseHead) -> Bytes {
    let mut wire = BytesMut::with_capacity(USUAL_LENGTH);
    wire.put_slice(b"HTTP/1.1 ");
    wire.put_slice(head.status.as_str().as_bytes());
    wire.put_u8(b' ');
    wire.put_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    wire.put_slice(b"\r\n");
    for (name, value) in &head.headers {
        // The server decides itself whether the connection is closed.
        if head.close && name == CONNECTION {
            continue;
        }
        put_line(&mut wire, name.as_str().as_bytes(), value.as_bytes());
    }
    if head.close {
        put_line(&mut wire, b"connection", b"close");
    }
    wire.put_slice(b"\r\n");
    wire.freeze()
}

fn put_line(wire: &mut BytesMut, name: &[u8], value: &[u8]) {
    wire.put_slice(name);
    wire.put_slice(b": ");
    wire.put_slice(value);
    wire.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn written(status: u16, lines: &[(&'static str, &'static str)], close: bool) -> Bytes {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        write_head(&ResponseHead { close, ..ResponseHead::new(StatusCode::from_u16(status).unwrap(), headers) })
    }

    #[test]
    fn a_status_line_and_the_headers_in_their_order() {
        let head = written(103, &[("link", "</a>"), ("x", "1"), ("link", "</b>")], false);
        assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\nx: 1\r\n\r\n");
        assert_eq!(written(599, &[], false), "HTTP/1.1 599 \r\n\r\n", "a status without a reason keeps its space");
    }

    #[test]
    fn a_head_that_closes_says_so_once() {
        let head = written(200, &[("connection", "keep-alive"), ("x", "1")], true);
        assert_eq!(head, "HTTP/1.1 200 OK\r\nx: 1\r\nconnection: close\r\n\r\n");
    }
}
