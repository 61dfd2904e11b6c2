//! The head of a response, before it is written.

use http::StatusCode;

use super::response_headers::ResponseHeaders;

/// Status and headers of a response. Each version of HTTP decides how to write them.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those by which a protocol frames the body.
    pub headers: ResponseHeaders,
    /// The connection ends after this response (RFC 9112 section 9.6).
    pub close: bool,
}

impl ResponseHead {
    /// A head after which the connection stays open.
    pub fn new(status: StatusCode, headers: ResponseHeaders) -> Self {
        ResponseHead { status, headers, close: false }
    }
}
