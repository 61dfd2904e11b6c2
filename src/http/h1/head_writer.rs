//! Writes the heads of responses in HTTP/1 (RFC 9112 sections 4 and 5).

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::base::date::HttpDate;
use crate::http::head::ResponseHead;
use crate::http::response::Response;
use crate::http::response_headers::ResponseHeaders;
use crate::request_head::Method;

/// Enough bytes for most heads.
const USUAL_LENGTH: usize = 512;

/// Enough bytes for a head without its headers: the status line, Content-Length, Date, and the empty line.
const OWN_LENGTH: usize = 128;

/// The length of the body of a simple response: one that is complete or a file, and says nothing of the connection. `None`: it is
/// not simple, so hyper writes it.
pub(super) fn simple_length(response: &Response) -> Option<u64> {
    let Response { head, body } = response;
    body.length().filter(|_| !head.close && !head.headers.contains("connection"))
}

/// Appends the head of a simple response to a request of HTTP/1.1, in the same way as hyper. `length` is [`simple_length`]. The
/// connection stays open after the response.
///
/// The server frames the body, so the app's Transfer-Encoding and Content-Length are dropped.
pub(super) fn write_simple_head(out: &mut Vec<u8>, response: &Response, length: u64, method: Method, date: &HttpDate) {
    let ResponseHead { status, headers, .. } = &response.head;
    out.reserve(headers.lines().len() + OWN_LENGTH);
    put_status_line(out, *status);
    if headers.has_any_of_the_message() {
        put_ordinary_lines(out, headers);
        if response.sends_body(method) {
            put_list(out, "trailer", headers.get_all("trailer"));
        }
    } else {
        // Most responses come here.
        out.extend_from_slice(headers.lines());
    }
    if method == Method::Head && length == 0 {
        // What a GET would get is not known, unless the app says it.
        headers.get_all("content-length").for_each(|said| put_line(out, "content-length", said));
    } else if !matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        put_length(out, length);
    }
    if !headers.has_date() {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The status line. A reason that is not known is `<none>`, as some clients do not take an empty one.
fn put_status_line(out: &mut Vec<u8>, status: StatusCode) {
    match ready_status_line(status) {
        Some(line) => out.extend_from_slice(line),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The line of a status that many responses have.
fn ready_status_line(status: StatusCode) -> Option<&'static [u8]> {
    Some(match status.as_u16() {
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        303 => b"HTTP/1.1 303 See Other\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        422 => b"HTTP/1.1 422 Unprocessable Entity\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        _ => return None,
    })
}

/// All headers but those that belong to one message.
#[cold]
fn put_ordinary_lines(out: &mut Vec<u8>, headers: &ResponseHeaders) {
    for (name, value) in headers.iter() {
        if !matches!(name, "content-length" | "transfer-encoding" | "trailer") {
            put_line(out, name, value);
        }
    }
}

/// A list in one line, if it has items.
fn put_list<'a>(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = &'a [u8]>) {
    let start = out.len();
    for value in values {
        if out.len() == start {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
        } else {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    }
    if out.len() > start {
        out.extend_from_slice(b"\r\n");
    }
}

fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_length(out: &mut Vec<u8>, mut length: u64) {
    // 20 digits and the end of the line.
    let mut text = *b"00000000000000000000\r\n";
    let mut start = text.len() - 2;
    loop {
        start -= 1;
        text[start] = b'0' + (length % 10) as u8;
        length /= 10;
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(&text[start..]);
}

/// The bytes of a head whose body the server does not frame: those of upgrades, hijacks and informational responses. A client
/// of HTTP/1.0 understands it, too (RFC 9110 section 2.5).
pub(in crate::http) fn write_head(head: &ResponseHead) -> Bytes {
    let mut wire = BytesMut::with_capacity(USUAL_LENGTH);
    wire.extend_from_slice(b"HTTP/1.1 ");
    wire.extend_from_slice(head.status.as_str().as_bytes());
    wire.extend_from_slice(b" ");
    wire.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    wire.extend_from_slice(b"\r\n");
    // The server decides itself whether the connection is closed.
    if head.close && head.headers.contains("connection") {
        let mut headers = head.headers.clone();
        headers.remove("connection");
        wire.extend_from_slice(headers.lines());
    } else {
        wire.extend_from_slice(head.headers.lines());
    }
    if head.close {
        wire.extend_from_slice(b"connection: close\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    wire.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<const N: usize>(status: u16, lines: [(&str, &str); N], close: bool) -> Bytes {
        let headers = ResponseHeaders::from(lines);
        write_head(&ResponseHead { close, ..ResponseHead::new(StatusCode::from_u16(status).unwrap(), headers) })
    }

    #[test]
    fn a_status_line_and_the_headers_in_their_order() {
        let head = written(103, [("link", "</a>"), ("x", "1"), ("link", "</b>")], false);
        assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx: 1\r\nlink: </b>\r\n\r\n");
        assert_eq!(written(599, [], false), "HTTP/1.1 599 \r\n\r\n", "a status without a reason keeps its space");
    }

    #[test]
    fn a_head_that_closes_says_so_once() {
        let head = written(200, [("connection", "keep-alive"), ("x", "1")], true);
        assert_eq!(head, "HTTP/1.1 200 OK\r\nx: 1\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn a_ready_status_line_is_that_of_its_status() {
        for status in (100..1000).map(|status| StatusCode::from_u16(status).unwrap()) {
            let reason = status.canonical_reason().unwrap_or("<none>");
            let mut out = Vec::new();
            put_status_line(&mut out, status);
            assert_eq!(out, format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes());
        }
    }

    #[test]
    fn lengths_are_written_as_numbers() {
        for length in [0, 1, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(out, format!("content-length: {length}\r\n").into_bytes());
        }
    }
}
