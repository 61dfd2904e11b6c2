//! The head of a response, before it is written.

use http::header::AsHeaderName;
use http::{HeaderMap, StatusCode};

use super::headers::has_token;

/// Status and headers of a response. Each version of HTTP decides how to write them.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those by which a protocol frames the body.
    pub headers: HeaderMap,
    /// The connection ends after this response (RFC 9112 section 9.6).
    pub close: bool,
}

impl ResponseHead {
    /// A head after which the connection stays open.
    pub fn new(status: StatusCode, headers: HeaderMap) -> Self {
        ResponseHead { status, headers, close: false }
    }

    /// Whether a list among the headers has `token`.
    pub fn has_token(&self, name: impl AsHeaderName, token: &str) -> bool {
        has_token(&self.headers, name, token)
    }
}
