//! Responses. The status of the app is checked here, and its headers when they are added: an invalid one is an error of
//! the app, and never splits a response.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::body::{self, Body, BodyWriter};
use super::event_stream;
use super::head::ResponseHead;
use super::headers::visible;
use super::response_headers::{HeadError, ResponseHeaders};
use crate::push;
use crate::request_head::Method;
use crate::sse;

/// A final response.
#[derive(Debug)]
pub struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
}

impl Response {
    /// A response of the server, without checks.
    pub(super) fn of(status: StatusCode, headers: ResponseHeaders, body: Body) -> Self {
        Response { head: ResponseHead::new(status, headers), body }
    }

    /// The answer to a request for another protocol, which the app speaks from then on
    /// (RFC 9110 section 15.2.2).
    pub fn switching(protocol: &str, mut headers: ResponseHeaders) -> Self {
        headers.set("upgrade", protocol);
        headers.set("connection", "Upgrade");
        Response::of(StatusCode::SWITCHING_PROTOCOLS, headers, Body::Empty)
    }

    /// A response of the server: a status, with its reason as the body.
    pub fn plain(status: StatusCode) -> Self {
        let text = format!("{}\n", status.canonical_reason().unwrap_or("Error"));
        let mut headers = ResponseHeaders::new();
        headers.append("content-type", "text/plain; charset=utf-8");
        Response::of(status, headers, Body::from_bytes(text))
    }

    /// The server has no room for the request now: 503, and the client may try again in a second (RFC 9110 section
    /// 15.6.4).
    pub fn unavailable() -> Self {
        Response::plain(StatusCode::SERVICE_UNAVAILABLE).with("retry-after", "1")
    }

    /// An event stream that ends at once. It only says that the client should reconnect after `pause` milliseconds.
    pub(super) fn retry(pause: u64) -> Self {
        Response::of(
            StatusCode::OK,
            event_stream::headers(&ResponseHeaders::new()),
            Body::from_bytes(sse::retry(pause)),
        )
    }

    /// A response of an app, without a body so far. `status` must be a final one: 200 to 599. Apps may also use their
    /// own, up to 999.
    pub fn new(status: i64, headers: ResponseHeaders) -> Result<Self, HeadError> {
        let checked = u16::try_from(status).ok().filter(|status| *status >= 200);
        let checked = checked.and_then(|status| StatusCode::from_u16(status).ok());
        let status = checked.ok_or(HeadError::Status(status))?;
        Ok(Response::of(status, headers, Body::Empty))
    }

    /// Sets a header of the server. `name` is in lower case.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.headers.set(name, value);
        self
    }

    /// Closes the connection after the response.
    pub fn and_close(mut self) -> Self {
        self.head.close = true;
        self
    }

    /// Whether a body may follow the head of this response to `method`, RFC 9110 section 6.4.1.
    pub fn sends_body(&self, method: Method) -> bool {
        method != Method::Head && !matches!(self.head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Whether the body is still being written.
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    /// Whether the head must tell a client of HTTP/1.0 that the connection will be closed: the server or the app wants
    /// to close it, or the end of the connection marks the end of a body of unknown length.
    pub(super) fn closes_for(&self, http_10: bool) -> bool {
        let unframed = || self.is_streaming() && !self.has_length();
        http_10 && (self.head.close || unframed() || self.head.headers.has_token("connection", "close"))
    }

    /// Whether the app has set a Content-Length.
    pub fn has_length(&self) -> bool {
        self.head.headers.has_length()
    }

    /// The Content-Length that the app has set.
    pub fn length(&self) -> Option<u64> {
        visible(self.head.headers.get("content-length")?)?.parse().ok()
    }

    /// Sets a complete body. The server counts its length, and ignores the app's Content-Length. HTTP/1 does not copy the
    /// pieces, so they should be long.
    pub fn with_chunks(mut self, chunks: VecDeque<Bytes>) -> Self {
        if self.has_length() {
            self.head.headers.remove("content-length");
        }
        self.body = Body::Chunks(chunks);
        self
    }

    /// Sets a body of one piece. The server counts its length, and ignores the app's Content-Length.
    pub fn with_bytes(mut self, bytes: Bytes) -> Self {
        if self.has_length() {
            self.head.headers.remove("content-length");
        }
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
            assert!(Response::new(status, ResponseHeaders::new()).is_ok(), "{status}");
        }
        for status in [-1, 0, 99, 100, 101, 199, 1000, 70_000] {
            assert_eq!(Response::new(status, ResponseHeaders::new()).unwrap_err(), HeadError::Status(status));
        }
    }
}
