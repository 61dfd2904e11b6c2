//! Requests that need nothing of hyper: they came whole, and ask nothing of the connection.
//!
//! Their heads are parsed here, once. No request is refused here: if anything about a request is unusual, it is left to
//! [`Scanner::scan`] and to hyper, which have the rules.

use bytes::Bytes;
use http::Version;

use super::head::content_length;
use super::{Scanner, State};
use crate::base::limits::Limits;
use crate::http::headers::{Field, field};
use crate::request_head::{Method, RequestHead};

/// The next request.
#[derive(Debug)]
pub enum Next {
    /// A simple one, with its body.
    Simple(RequestHead, Bytes),
    /// Its head is not complete.
    Partial,
    /// Something else, for [`Scanner::scan`].
    Other,
}

impl Scanner {
    /// Takes the next request from what is held back and `input`, if it is a simple one: valid, HTTP/1.1, for a path, all of
    /// its body there and short enough for memory, without Upgrade, Expect and Transfer-Encoding, and with no Connection
    /// other than keep-alive.
    ///
    /// What is not taken is held back.
    pub fn take_simple(&mut self, input: &[u8], limits: &Limits) -> Next {
        if self.held.is_empty() {
            let (next, taken) = self.simple(input, limits);
            self.hold(&input[taken..]);
            return next;
        }
        self.hold(input);
        let mut all = self.held.split();
        let (next, taken) = self.simple(&all, limits);
        self.hold_behind(&mut all, taken);
        next
    }

    /// Holds bytes back that came behind a request.
    pub fn hold(&mut self, input: &[u8]) {
        if !input.is_empty() {
            self.held.extend_from_slice(input);
        }
    }

    /// The next request, and how many bytes of `data` it takes.
    fn simple(&mut self, data: &[u8], limits: &Limits) -> (Next, usize) {
        if !matches!(self.state, State::Head) {
            return (Next::Other, 0);
        }
        let (start, end) = match self.find_head(data) {
            Ok(Some(found)) => found,
            Ok(None) => return (Next::Partial, 0),
            Err(_) => return (Next::Other, 0),
        };
        let (raw, rest) = (&data[start..end], &data[end..]);
        if raw.len() > self.max_head {
            return (Next::Other, 0);
        }
        let Ok(head) = RequestHead::parse(raw, limits.max_headers) else { return (Next::Other, 0) };
        let longest = limits.max_body_size.min(limits.body_memory).min(rest.len());
        let body = match self.body_length(&head, raw).map(usize::try_from) {
            Some(Ok(length)) if length <= longest => Bytes::copy_from_slice(&rest[..length]),
            _ => return (Next::Other, 0),
        };
        self.heads += 1;
        self.searched = 0;
        let taken = end + body.len();
        (Next::Simple(head, body), taken)
    }

    /// The length of the body behind a simple head. `None`: the head is not simple.
    fn body_length(&self, head: &RequestHead, raw: &[u8]) -> Option<u64> {
        let target = head.target();
        // A target with a fragment has another length here, and more blanks would have another one, too.
        let line = head.method_name().len() + 1 + target.len() + " HTTP/1.1\r\n".len();
        let usual = target.starts_with(b"/") && target.len() <= self.max_uri && raw.get(line - 1) == Some(&b'\n');
        if !usual || head.version() != Version::HTTP_11 || head.method() == Method::Connect {
            return None;
        }
        let asks = ["expect", "transfer-encoding", "upgrade"].iter().any(|name| head.contains(name));
        let stays_open = head.get_all("connection").all(|value| value.eq_ignore_ascii_case(b"keep-alive"));
        if asks || !stays_open {
            return None;
        }
        match field(head, "content-length") {
            Field::Absent => Some(0),
            Field::Once(length) => content_length(length),
            Field::Repeated => None,
        }
    }
}
