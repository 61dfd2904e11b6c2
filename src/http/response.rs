//! Responses. Status and headers of the app are checked: an invalid one is an error of the app, and never splits a
//! response.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use thiserror::Error;

use super::body::{self, Body, BodyWriter};
use super::head::ResponseHead;
use crate::push;
use crate::sse;

/// What is wrong with a status or a header of the app.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// Not a status that ends a request.
    #[error(
        "status {0} is not between 200 and 599; to accept an upgrade set env['rack.upgrade'] and return [200, {{}}, []]"
    )]
    Status(i64),
    /// Not a token, RFC 9110 section 5.1.
    #[error("header name {0:?} is not a token")]
    Name(String),
    /// A control character, RFC 9110 section 5.5.
    #[error("header {name} has a value with a control character: {value:?}")]
    Value {
        /// The header.
        name: String,
        /// Its value, as far as it is text.
        value: String,
    },
}

/// A final response.
#[derive(Debug)]
pub struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
}

/// Adds a header of the app to `headers`.
///
/// Names that start with `rack.` are for the server and never sent. A value with LF is several
/// values, the Rack 2 form.
pub fn add_header(headers: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    if name.starts_with(b"rack.") {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parsed = HeaderName::from_bytes(name).map_err(|_| HeadError::Name(text(name)))?;
    for line in value.split(|byte| *byte == b'\n') {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
        let end = line.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        let line = HeaderValue::from_bytes(&line[start..end])
            .map_err(|_| HeadError::Value { name: text(name), value: text(value) })?;
        headers.append(&parsed, line);
    }
    Ok(())
}

impl Response {
    /// A response of the server, without checks.
    pub(super) fn of(status: StatusCode, headers: HeaderMap, body: Body) -> Self {
        Response { head: ResponseHead::new(status, headers), body }
    }

    /// The answer to a request for another protocol, which the app speaks from then on
    /// (RFC 9110 section 15.2.2).
    pub fn switching(protocol: HeaderValue, mut headers: HeaderMap) -> Self {
        headers.insert(http::header::UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        Response::of(StatusCode::SWITCHING_PROTOCOLS, headers, Body::Empty)
    }

    /// A response of the server: a status, with its reason as the body.
    pub fn plain(status: StatusCode) -> Self {
        let text = format!("{}\n", status.canonical_reason().unwrap_or("Error"));
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Response::of(status, headers, Body::from_bytes(text))
    }

    /// The server has no room for the request now: 503, and the client may try again in a second (RFC 9110 section
    /// 15.6.4).
    pub fn unavailable() -> Self {
        Response::plain(StatusCode::SERVICE_UNAVAILABLE).with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// An event stream that ends at once. It only says that the client should reconnect after `pause` milliseconds.
    pub(super) fn retry(pause: u64) -> Self {
        Response::of(StatusCode::OK, sse::headers(&HeaderMap::new()), Body::from_bytes(sse::retry(pause)))
    }

    /// A response of an app, without a body so far. `status` must be a final one: 200 to 599. Apps may also use their
    /// own, up to 999.
    pub fn new(status: i64, headers: HeaderMap) -> Result<Self, HeadError> {
        let checked = u16::try_from(status).ok().filter(|status| *status >= 200);
        let checked = checked.and_then(|status| StatusCode::from_u16(status).ok());
        let status = checked.ok_or(HeadError::Status(status))?;
        Ok(Response::of(status, headers, Body::Empty))
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.head.headers.insert(name, value);
        self
    }

    /// Closes the connection after the response.
    pub fn and_close(mut self) -> Self {
        self.head.close = true;
        self
    }

    /// Whether a body may follow the head of this response to `method`, RFC 9110 section 6.4.1.
    pub fn sends_body(&self, method: &Method) -> bool {
        *method != Method::HEAD && !matches!(self.head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Whether the body is still being written.
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    /// Whether the head must tell a client of HTTP/1.0 that the connection will be closed: the server or the app wants
    /// to close it, or the end of the connection marks the end of a body of unknown length.
    pub(super) fn closes_for(&self, version: Version) -> bool {
        let unframed = self.is_streaming() && !self.has_length();
        version == Version::HTTP_10 && (unframed || self.head.close || self.head.has_token(CONNECTION, "close"))
    }

    /// Whether the app has set a Content-Length.
    pub fn has_length(&self) -> bool {
        self.head.headers.contains_key(CONTENT_LENGTH)
    }

    /// The Content-Length that the app has set.
    pub fn length(&self) -> Option<u64> {
        self.head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Sets a complete body. The server counts its length, and ignores the app's Content-Length.
    pub fn with_chunks(mut self, chunks: VecDeque<Bytes>) -> Self {
        self.head.headers.remove(CONTENT_LENGTH);
        self.body = Body::Chunks(chunks);
        self
    }

    /// Sets a body of one piece. The server counts its length, and ignores the app's Content-Length.
    pub fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.head.headers.remove(CONTENT_LENGTH);
        self.body = Body::Whole(bytes);
        self
    }

    /// Sets a body that is written while it is sent.
    pub(super) fn with_stream(mut self, push: Arc<push::Context>) -> (BodyWriter, Self) {
        let (writer, reader) = body::stream(push);
        self.body = Body::Stream(reader);
        (writer, self)
    }

    /// Leaves the body out, for the response to a HEAD. A Content-Length stays, if there is one.
    pub fn without_body(mut self) -> Self {
        self.body = Body::Unsent;
        self
    }

    /// The head alone, for a response whose body the app writes to the socket itself. Unless it switches protocols, the
    /// connection ends with it.
    pub(super) fn into_head(self) -> ResponseHead {
        let close = self.head.status != StatusCode::SWITCHING_PROTOCOLS;
        ResponseHead { close, ..self.head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_may_use_statuses_that_end_a_request() {
        for status in [200, 204, 404, 599, 999] {
            assert!(Response::new(status, HeaderMap::new()).is_ok(), "{status}");
        }
        for status in [-1, 0, 99, 100, 101, 199, 1000, 70_000] {
            assert_eq!(Response::new(status, HeaderMap::new()).unwrap_err(), HeadError::Status(status));
        }
    }

    #[test]
    fn header_lines_cannot_be_split() {
        let mut headers = HeaderMap::new();
        add_header(&mut headers, b"Set-Cookie", b"a=1\nb=2").unwrap();
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert!(matches!(add_header(&mut headers, b"x", b"a\rb"), Err(HeadError::Value { .. })));
        assert!(matches!(add_header(&mut headers, b"x", b"a\r\nb: c"), Err(HeadError::Value { .. })));
        assert!(matches!(add_header(&mut headers, b"x", b"a\0"), Err(HeadError::Value { .. })));
        assert!(matches!(add_header(&mut headers, b"x y", b"a"), Err(HeadError::Name(_))));
        add_header(&mut headers, b"rack.hijack", b"secret").unwrap();
        assert_eq!(headers.len(), 2);
    }
}
