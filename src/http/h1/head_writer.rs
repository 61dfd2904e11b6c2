//! Writes the heads of responses in HTTP/1 (RFC 9112 sections 4 and 5).

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::base::date::HttpDate;
use crate::http::head::ResponseHead;
use crate::http::response::Response;
use crate::http::response_headers::ResponseHeaders;

/// Enough bytes for most heads.
const USUAL_LENGTH: usize = 512;

/// Enough bytes for a head without its headers: the status line, Content-Length, Connection, Date, and the empty line.
const OWN_LENGTH: usize = 192;

/// What the head of a response needs to know of its request and its connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Asked {
    /// The method is HEAD.
    pub(in crate::http) head: bool,
    /// The client speaks HTTP/1.0.
    pub(in crate::http) http_10: bool,
    /// The client and the connection allow another request after this one (RFC 9112 section 9.3).
    pub(in crate::http) keep_alive: bool,
}

/// What the head that was written promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Written {
    /// What follows the head.
    pub(in crate::http) framing: Framing,
    /// The connection ends after this response.
    pub(in crate::http) closes: bool,
}

/// How the body's end is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Framing {
    /// After so many bytes. 0 also if there can be no body.
    Length(u64),
    /// The body is sent in chunks.
    Chunked,
    /// With the end of the connection.
    UntilClose,
}

/// The app has said how long its streamed body is, in a form that cannot be understood. Nothing was written.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct BadLength;

/// Appends the head of `response`, in the same way as hyper.
///
/// The server frames the body: the app's Transfer-Encoding is dropped, and so is its Content-Length if the length is known.
/// The app's Connection stays, unless the server closes the connection.
pub(in crate::http) fn write_response_head(
    out: &mut Vec<u8>,
    response: &Response,
    asked: Asked,
    date: &HttpDate,
) -> Result<Written, BadLength> {
    let Response { head, body } = response;
    let headers = &head.headers;
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = if bodiless && !asked.head { Some(0) } else { body.length() };
    let said = if length.is_none() { said_length(headers)? } else { None };
    let closing = head.close || response.closes_for(asked.http_10);

    out.reserve(headers.lines().len() + OWN_LENGTH);
    put_status_line(out, head.status, asked.http_10);
    let mut closes = closing || !asked.keep_alive;
    if headers.has_any_of_the_message() {
        put_ordinary_lines(out, headers);
        if !(bodiless || asked.head || asked.http_10) {
            put_list(out, "trailer", headers.get_all("trailer"));
        }
        if !closing {
            let added = added_option(headers, asked);
            put_list(out, "connection", headers.get_all("connection").chain(added.map(str::as_bytes)));
        }
        closes |= headers.has_token("connection", "close");
    } else {
        // Most responses come here.
        out.extend_from_slice(headers.lines());
        if !closing && let Some(option) = option(asked) {
            put_line(out, "connection", option.as_bytes());
        }
    }
    if closing {
        out.extend_from_slice(b"connection: close\r\n");
    }
    let framing = match (length, said) {
        // What a GET would get is not known, unless the app says it.
        (Some(0), _) if asked.head => {
            headers.get_all("content-length").for_each(|said| put_line(out, "content-length", said));
            Framing::Length(0)
        }
        (Some(length), _) => {
            if !bodiless {
                put_length(out, length);
            }
            Framing::Length(length)
        }
        (None, Some((text, length))) => {
            put_line(out, "content-length", text);
            Framing::Length(length)
        }
        (None, None) if asked.head => Framing::Length(0),
        (None, None) if asked.http_10 => Framing::UntilClose,
        (None, None) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    if !headers.has_date() {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(Written { framing: if asked.head { Framing::Length(0) } else { framing }, closes })
}

/// The status line. A reason that is not known is `<none>`, as some clients do not take an empty one.
fn put_status_line(out: &mut Vec<u8>, status: StatusCode, http_10: bool) {
    let start = out.len();
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
    if http_10 {
        out[start + "HTTP/1.".len()] = b'0';
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

/// The app's Content-Length: its text, and the number. It may be there twice, if both say the same.
fn said_length(headers: &ResponseHeaders) -> Result<Option<(&[u8], u64)>, BadLength> {
    let mut said = None;
    for text in headers.get_all("content-length") {
        let digits = Some(text).filter(|text| text.iter().all(u8::is_ascii_digit));
        let digits = digits.and_then(|text| std::str::from_utf8(text).ok());
        let length = digits.and_then(|text| text.parse().ok()).ok_or(BadLength)?;
        match said {
            Some((_, first)) if first != length => return Err(BadLength),
            Some(_) => {}
            None => said = Some((text, length)),
        }
    }
    Ok(said)
}

/// All headers but those that belong to one message or one connection.
#[cold]
fn put_ordinary_lines(out: &mut Vec<u8>, headers: &ResponseHeaders) {
    for (name, value) in headers.iter() {
        if !matches!(name, "content-length" | "transfer-encoding" | "connection" | "trailer") {
            put_line(out, name, value);
        }
    }
}

/// What Connection must say, so that the client knows whether the connection stays open (RFC 9112 section 9.3). `None` if that
/// is what the client expects.
fn option(asked: Asked) -> Option<&'static str> {
    match (asked.http_10, asked.keep_alive) {
        (true, true) => Some("keep-alive"),
        (false, false) => Some("close"),
        (true, false) | (false, true) => None,
    }
}

/// The same, unless the app's Connection says it.
fn added_option(headers: &ResponseHeaders, asked: Asked) -> Option<&'static str> {
    option(asked).filter(|option| !headers.has_token("connection", option))
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
            put_status_line(&mut out, status, false);
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
