//! A request, for the log: method and path.

use std::fmt::{Display, Formatter};

use push_core::http::RequestHead;

/// Shows a request's method and path.
#[derive(Clone, Copy)]
pub struct RequestLine<'a>(pub &'a RequestHead);

impl Display for RequestLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.method_name(), self.0.path())
    }
}
