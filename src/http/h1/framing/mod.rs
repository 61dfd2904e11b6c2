//! The scanner, which sees the raw head of each request.
//!
//! It takes simple requests ([`simple`]). The bytes of all others pass through it to hyper.
//!
//! Request smuggling needs two parsers that disagree about where a request ends. hyper is lenient, and does not show
//! its service where: it drops a Content-Length beside a Transfer-Encoding, and accepts a bare LF as a line end. So
//! these bytes pass through a [`Scanner`] first. It follows the framing, request by request, and holds back a
//! head until it is complete. If it refuses a head, hyper gets a harmless request instead ([`PLACEHOLDER`]), which the
//! service answers with the refusal. So the refusal is sent after the responses to earlier requests.

mod chunked;
mod head;
mod simple;
#[cfg(test)]
mod simple_tests;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use memchr::memchr;

use self::chunked::Chunked;
use self::head::{Framing, framing, is_version};
pub use self::simple::Next;
use crate::base::limits::Limits;
use crate::http::headers::is_tchar;
use crate::request_head::Method;

/// What hyper gets in place of a head that is refused, or of a request that it has not read.
const PLACEHOLDER: &[u8] = b"GET / HTTP/1.1\r\nhost: placeholder\r\n\r\n";

/// The same for a response without a body.
const HEAD_PLACEHOLDER: &[u8] = b"HEAD / HTTP/1.1\r\nhost: placeholder\r\n\r\n";

/// To which part of a request the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Between two requests: nothing of the next one has come.
    Between,
    /// In a request's head.
    Head,
    /// In a request's body.
    Body,
    /// After a request that asks for an upgrade: what follows may not be HTTP.
    Undecided,
    /// At the preface of HTTP/2: nothing is HTTP/1.
    Http2,
    /// After a refused head: nothing more is read.
    Refused,
    /// In a body that is broken or was given up: nothing more is read.
    Broken,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    Undecided,
    Http2,
    Refused,
    Broken,
}

/// Follows the framing of one connection's requests.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// A head that is not complete yet, or that was refused.
    held: BytesMut,
    /// How many bytes of `held` were searched for the end of the head.
    searched: usize,
    /// How many heads were passed on: to hyper, or as simple requests.
    heads: u64,
    refusal: Option<(u64, StatusCode)>,
    /// The number of the request whose body is broken, and the status of the response.
    breach: Option<(u64, StatusCode)>,
    max_body: u64,
    max_head: usize,
    max_uri: usize,
    /// The connection may turn out to be one of HTTP/2.
    http2: bool,
}

impl Scanner {
    /// A scanner at the start of a connection.
    pub fn new(limits: &Limits, http2: bool) -> Self {
        Scanner {
            state: State::Head,
            held: BytesMut::new(),
            searched: 0,
            heads: 0,
            refusal: None,
            breach: None,
            max_body: limits.max_body_size as u64,
            max_head: limits.max_head_size,
            max_uri: limits.max_uri_size,
            http2,
        }
    }

    /// To which part of a request the next byte belongs.
    pub fn place(&self) -> Place {
        match self.state {
            State::Head if self.held.is_empty() => Place::Between,
            State::Head => Place::Head,
            State::Length(_) | State::Chunked(_) => Place::Body,
            State::Undecided => Place::Undecided,
            State::Http2 => Place::Http2,
            State::Refused => Place::Refused,
            State::Broken => Place::Broken,
        }
    }

    /// The status of the refusal, if request number `index` was refused. The first request is number 0.
    pub fn refusal_of(&self, index: u64) -> Option<StatusCode> {
        self.refusal.filter(|(refused, _)| *refused == index).map(|(_, status)| status)
    }

    /// Refuses the request whose head is coming in. Returns the bytes for hyper.
    pub fn refuse(&mut self, status: StatusCode) -> Bytes {
        self.refusal = Some((self.heads, status));
        self.state = State::Refused;
        Bytes::from_static(PLACEHOLDER)
    }

    /// The status of the response to request number `index`, if its body is broken or was given up.
    pub fn breach_of(&self, index: u64) -> Option<StatusCode> {
        self.breach.filter(|(broken, _)| *broken == index).map(|(_, status)| status)
    }

    /// What hyper gets in place of a request of `method` that it has not read.
    pub fn placeholder(method: Method) -> Bytes {
        Bytes::from_static(if method == Method::Head { HEAD_PLACEHOLDER } else { PLACEHOLDER })
    }

    /// Gives up the body that is being read. The response to its request will have `status`.
    pub fn break_body(&mut self, status: StatusCode) {
        self.breach = Some((self.heads.saturating_sub(1), status));
        self.state = State::Broken;
    }

    /// Removes the [`PLACEHOLDER`] from bytes that hyper has got but not used, because they turned out not to be HTTP.
    pub fn without_placeholder(&self, given: Bytes) -> Bytes {
        let length = given.len().saturating_sub(PLACEHOLDER.len());
        if self.refusal.is_some() && given.ends_with(PLACEHOLDER) { given.slice(..length) } else { given }
    }

    /// How many heads were passed on: to hyper, or as simple requests.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The request that asked for an upgrade got an ordinary response, so HTTP goes on. Returns the bytes for hyper, of
    /// those that came after the request.
    pub fn decline_upgrade(&mut self) -> Option<Bytes> {
        if !matches!(self.state, State::Undecided) {
            return None;
        }
        self.state = State::Head;
        if self.held.is_empty() { None } else { self.scan(&[]) }
    }

    /// Whether bytes are held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the bytes that came after a request whose upgrade was accepted.
    pub fn take_held(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Scans bytes that came in. Returns the bytes for hyper; `None` if these are exactly `input`.
    pub fn scan(&mut self, input: &[u8]) -> Option<Bytes> {
        if self.held.is_empty() {
            let passed = self.pass(input);
            if passed.refused.is_none() && passed.length == input.len() {
                return None;
            }
            let mut output = BytesMut::from(&input[..passed.length]);
            self.held.extend_from_slice(&input[passed.length..]);
            if let Some(status) = passed.refused {
                output.extend_from_slice(&self.refuse(status));
            }
            return Some(output.freeze());
        }
        self.held.extend_from_slice(input);
        let mut output = self.held.split();
        let passed = self.pass(&output);
        self.hold_behind(&mut output, passed.length);
        if let Some(status) = passed.refused {
            output.extend_from_slice(&self.refuse(status));
        }
        Some(output.freeze())
    }

    /// Holds back what is behind `taken` bytes. If that is nothing, not even their memory is kept: the connection may be idle from
    /// now on.
    fn hold_behind(&mut self, all: &mut BytesMut, taken: usize) {
        self.held = if taken == all.len() { BytesMut::new() } else { all.split_off(taken) };
    }

    /// How many bytes of `data` hyper may get. A head is held back if it is incomplete or refused. Bytes that break a
    /// body are held back, too.
    fn pass(&mut self, data: &[u8]) -> Passed {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            match &mut self.state {
                State::Head => {
                    if rest.is_empty() {
                        return Passed { length: at, refused: None };
                    }
                    match self.head(rest) {
                        Head::Partial => return Passed { length: at, refused: None },
                        Head::Refused(status) => {
                            return Passed { length: at, refused: self.refusal_or_http2(status, rest) };
                        }
                        Head::Whole { length, body, upgrade } => {
                            self.heads += 1;
                            self.searched = 0;
                            at += length;
                            self.state = match body {
                                Framing::None | Framing::Length(0) if upgrade => State::Undecided,
                                Framing::None | Framing::Length(0) => State::Head,
                                Framing::Length(length) => State::Length(length),
                                Framing::Chunked => State::Chunked(Chunked::new(self.max_body)),
                            };
                        }
                    }
                }
                State::Length(left) => {
                    let taken = (*left).min(rest.len() as u64);
                    *left -= taken;
                    at += taken as usize;
                    if *left > 0 {
                        return Passed { length: at, refused: None };
                    }
                    self.state = State::Head;
                }
                State::Chunked(body) => {
                    let (taken, end) = body.follow(rest);
                    at += taken;
                    match end {
                        Ok(true) => self.state = State::Head,
                        Ok(false) => return Passed { length: at, refused: None },
                        Err(status) => self.break_body(status),
                    }
                }
                State::Undecided => return Passed { length: at, refused: None },
                // Nothing after a refused head or in a broken body is scanned.
                State::Http2 | State::Refused | State::Broken => return Passed { length: at, refused: None },
            }
        }
    }

    /// `None` instead of a refusal if the connection begins with the preface of HTTP/2, of which the first line is enough:
    /// RFC 9113 section 3.4 chose one that is no request.
    #[cold]
    fn refusal_or_http2(&mut self, refusal: StatusCode, data: &[u8]) -> Option<StatusCode> {
        if self.http2 && self.heads == 0 && data.starts_with(b"PRI * HTTP/2.0\r") {
            self.state = State::Http2;
            return None;
        }
        Some(refusal)
    }

    fn head(&mut self, data: &[u8]) -> Head {
        match self.find_head(data) {
            Ok(Some((start, end))) => self.whole_head(&data[start..end], end),
            Ok(None) => Head::Partial,
            Err(status) => Head::Refused(status),
        }
    }

    /// From where to where the head is with which `data` begins. `None`: it is not complete.
    fn find_head(&mut self, data: &[u8]) -> Result<Option<(usize, usize)>, StatusCode> {
        // RFC 9112 section 2.2: empty lines before a request are ignored.
        let mut start = 0;
        while data[start..].starts_with(b"\r\n") {
            start += 2;
        }
        if start > self.max_head {
            return Err(StatusCode::BAD_REQUEST);
        }
        let from = self.searched.max(start).min(data.len());
        let mut at = from;
        while let Some(found) = memchr(b'\n', &data[at..]) {
            let lf = at + found;
            // RFC 9112 section 2.2 allows a server to accept a bare LF, but not every proxy in front of it does.
            if lf == 0 || data[lf - 1] != b'\r' {
                return Err(StatusCode::BAD_REQUEST);
            }
            at = lf + 1;
            if lf >= start + 3 && data[lf - 3..lf].ends_with(b"\r\n\r") {
                return Ok(Some((start, at)));
            }
        }
        self.searched = at;
        let length = data.len() - start;
        let head = &data[start..];
        match self.too_long(head, length).or_else(|| Self::implausible(head)) {
            Some(status) => Err(status),
            None => Ok(None),
        }
    }

    fn implausible(head: &[u8]) -> Option<StatusCode> {
        let end = memchr(b'\r', head);
        let line = &head[..end.unwrap_or(head.len())];
        let mut parts = line.split(|byte| *byte == b' ');
        // Without this check, the server would wait for the line end of a TLS hello, which may never come.
        let method = parts.next().unwrap_or_default();
        if !method.iter().all(|byte| is_tchar(*byte)) {
            return Some(StatusCode::BAD_REQUEST);
        }
        end?;
        // RFC 9112 section 3: three parts, single spaces.
        match (method.is_empty(), parts.next(), parts.next(), parts.next()) {
            // Section 3.2: no target has a fragment; hyper would drop it.
            (false, Some(target), Some(version), None) if !target.is_empty() && memchr(b'#', target).is_none() => {
                let known = matches!(version, b"HTTP/1.0" | b"HTTP/1.1");
                let status =
                    if is_version(version) { StatusCode::HTTP_VERSION_NOT_SUPPORTED } else { StatusCode::BAD_REQUEST };
                (!known).then_some(status)
            }
            _ => Some(StatusCode::BAD_REQUEST),
        }
    }

    fn too_long(&self, head: &[u8], length: usize) -> Option<StatusCode> {
        // The target has no end yet, or is too long: RFC 9112 section 3.
        let line = memchr(b'\r', head).unwrap_or(head.len());
        let target = head[..line].split(|byte| *byte == b' ').nth(1).map_or(0, <[u8]>::len);
        if target > self.max_uri {
            return Some(StatusCode::URI_TOO_LONG);
        }
        (length > self.max_head).then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    }

    fn whole_head(&self, head: &[u8], length: usize) -> Head {
        if let Some(status) = self.too_long(head, head.len()).or_else(|| Self::implausible(head)) {
            return Head::Refused(status);
        }
        match framing(head) {
            Ok((body, upgrade)) => Head::Whole { length, body, upgrade },
            Err(status) => Head::Refused(status),
        }
    }
}

struct Passed {
    length: usize,
    refused: Option<StatusCode>,
}

enum Head {
    Partial,
    Refused(StatusCode),
    Whole { length: usize, body: Framing, upgrade: bool },
}
