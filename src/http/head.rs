//! The head of a response, as long as no protocol has written it.

use http::header::AsHeaderName;
use http::{HeaderMap, StatusCode};

use super::headers::has_token;

/// Status and headers of a response. What they look like on the wire is for each protocol to decide.
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
    /// A head after which the connection goes on.
    pub fn new(status: StatusCode, headers: HeaderMap) -> Self {
        ResponseHead { status, headers, close: false }
    }

    /// Whether a list among the headers has `token`.
    pub fn has_token(&self, name: impl AsHeaderName, token: &str) -> bool {
        has_token(&self.headers, name, token)
    }
}
