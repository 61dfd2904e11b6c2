//! A thin reader in front of hyper: it sees the raw head.
//!
//! Request smuggling lives on two parsers that disagree where a request ends, and hyper does not
//! show its service what it was lenient about: it drops a Content-Length beside a
//! Transfer-Encoding, and accepts bare LF as a line end. So the bytes of a connection pass
//! through a [`Scanner`] first. It follows the framing, message by message, and holds back a head
//! until it is whole. What it refuses hyper never sees: in its place it gets a harmless request,
//! which the service answers with the refusal, in its turn behind the requests before it.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::limits::Limits;

/// What hyper gets in place of a head that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";

/// The most a chunk's size line, or all trailers of a message, may take.
const MAX_CHUNK_LINE: usize = 4096;

/// Where in a message the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before a request: nothing of it has come.
    Between,
    /// In a request's head.
    Head,
    /// In a request's body.
    Body,
    /// Behind a request that asks for an upgrade: what follows may not be HTTP.
    Undecided,
    /// Behind a refused head: nothing more is read.
    Refused,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunk),
    Undecided,
    Refused,
}

/// RFC 9112 section 7.1, strictly: lenient chunk parsers are how requests are smuggled.
#[derive(Debug)]
enum Chunk {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u32,
    },
    /// In an extension behind the size, which is ignored.
    Extension {
        size: u64,
        length: usize,
    },
    /// The LF behind a size line's CR.
    SizeLf {
        size: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// In the trailers: how many bytes so far, in a line or at its start.
    Trailer {
        length: usize,
        line: TrailerLine,
    },
}

#[derive(Debug, Clone, Copy)]
enum TrailerLine {
    Start,
    Inside,
    Lf,
    LastLf,
}

/// The framing of a body is broken: nothing behind it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenBody;

/// Follows the framing of one connection's requests.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// A head that is not whole yet, or is refused.
    held: BytesMut,
    /// How far the end of the head has been looked for in `held`.
    searched: usize,
    /// `held` came behind a request for an upgrade that was declined.
    backlog: bool,
    /// Heads let through.
    heads: u64,
    refusal: Option<(u64, StatusCode)>,
    max_head: usize,
    max_uri: usize,
}

impl Scanner {
    /// A scanner at the start of a connection.
    pub fn new(limits: &Limits) -> Self {
        Scanner {
            state: State::Head,
            held: BytesMut::new(),
            searched: 0,
            backlog: false,
            heads: 0,
            refusal: None,
            max_head: limits.max_head_size,
            max_uri: limits.max_uri_size,
        }
    }

    /// Where the next byte belongs.
    pub fn place(&self) -> Place {
        match self.state {
            State::Head if self.held.is_empty() => Place::Between,
            State::Head => Place::Head,
            State::Length(_) | State::Chunked(_) => Place::Body,
            State::Undecided => Place::Undecided,
            State::Refused => Place::Refused,
        }
    }

    /// The refusal of request number `index` (the first is 0), if that is the refused one.
    pub fn refusal_of(&self, index: u64) -> Option<StatusCode> {
        self.refusal.filter(|(refused, _)| *refused == index).map(|(_, status)| status)
    }

    /// Refuses the request whose head is coming; returns what to hand to hyper.
    pub fn refuse(&mut self, status: StatusCode) -> Bytes {
        self.refusal = Some((self.heads, status));
        self.state = State::Refused;
        Bytes::from_static(STAND_IN)
    }

    /// Undoes a refusal for bytes that turn out not to be HTTP: gives back what they were, given
    /// all that hyper has got and not understood.
    pub fn without_stand_in(&self, handed: Bytes) -> Bytes {
        let length = handed.len().saturating_sub(STAND_IN.len());
        if self.refusal.is_some() && handed.ends_with(STAND_IN) { handed.slice(..length) } else { handed }
    }

    /// How many heads were let through.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The request that asked for an upgrade got an ordinary response: HTTP goes on.
    pub fn decline_upgrade(&mut self) {
        if matches!(self.state, State::Undecided) {
            self.state = State::Head;
            self.backlog = !self.held.is_empty();
        }
    }

    /// Whether bytes wait that came behind a request for an upgrade that was declined, and have
    /// not been looked at.
    pub fn has_backlog(&self) -> bool {
        self.backlog
    }

    /// Gives back what came behind a request for an upgrade that was accepted.
    pub fn take_held(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Looks at bytes that came in; returns what to hand to hyper, or `None` for exactly `input`.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<Bytes>, BrokenBody> {
        if self.held.is_empty() {
            let passed = self.pass(input)?;
            if passed.refused.is_none() && passed.length == input.len() {
                return Ok(None);
            }
            let mut output = BytesMut::from(&input[..passed.length]);
            self.held.extend_from_slice(&input[passed.length..]);
            if let Some(status) = passed.refused {
                output.extend_from_slice(&self.refuse(status));
            }
            return Ok(Some(output.freeze()));
        }
        self.backlog = false;
        self.held.extend_from_slice(input);
        let all = self.held.split();
        let passed = self.pass(&all)?;
        let mut output = all;
        self.held = output.split_off(passed.length);
        if let Some(status) = passed.refused {
            output.extend_from_slice(&self.refuse(status));
        }
        Ok(Some(output.freeze()))
    }

    /// How much of `data` may pass: all but a head that is not whole, or not acceptable.
    fn pass(&mut self, data: &[u8]) -> Result<Passed, BrokenBody> {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            match &mut self.state {
                State::Head => {
                    if rest.is_empty() {
                        return Ok(Passed { length: at, refused: None });
                    }
                    match self.head(rest) {
                        Head::Partial => return Ok(Passed { length: at, refused: None }),
                        Head::Refused(status) => return Ok(Passed { length: at, refused: Some(status) }),
                        Head::Whole { length, body, upgrade } => {
                            self.heads += 1;
                            self.searched = 0;
                            at += length;
                            self.state = match body {
                                Framing::None | Framing::Length(0) if upgrade => State::Undecided,
                                Framing::None | Framing::Length(0) => State::Head,
                                Framing::Length(length) => State::Length(length),
                                Framing::Chunked => State::Chunked(Chunk::Size { size: 0, digits: 0 }),
                            };
                        }
                    }
                }
                State::Length(left) => {
                    let taken = (*left).min(rest.len() as u64);
                    *left -= taken;
                    at += taken as usize;
                    if *left > 0 {
                        return Ok(Passed { length: at, refused: None });
                    }
                    self.state = State::Head;
                }
                State::Chunked(chunk) => {
                    let (taken, end) = chunked(chunk, rest)?;
                    at += taken;
                    if !end {
                        return Ok(Passed { length: at, refused: None });
                    }
                    self.state = State::Head;
                }
                State::Undecided => return Ok(Passed { length: at, refused: None }),
                // Nothing behind a refused head is looked at.
                State::Refused => return Ok(Passed { length: 0, refused: None }),
            }
        }
    }

    fn head(&mut self, data: &[u8]) -> Head {
        // RFC 9112 section 2.2: empty lines before a request are ignored.
        let mut start = 0;
        while data[start..].starts_with(b"\r\n") {
            start += 2;
        }
        if start > self.max_head {
            return Head::Refused(StatusCode::BAD_REQUEST);
        }
        let from = self.searched.max(start).min(data.len());
        let mut at = from;
        while let Some(found) = data[at..].iter().position(|byte| *byte == b'\n') {
            let lf = at + found;
            // RFC 9112 section 2.2 allows to accept a bare LF; not everybody in front of us does.
            if lf == 0 || data[lf - 1] != b'\r' {
                return Head::Refused(StatusCode::BAD_REQUEST);
            }
            at = lf + 1;
            if lf >= start + 3 && data[lf - 3..lf].ends_with(b"\r\n\r") {
                return self.whole_head(&data[start..at], at);
            }
        }
        self.searched = at;
        let length = data.len() - start;
        let head = &data[start..];
        if let Some(refused) = self.too_long(head, length).or_else(|| Self::implausible(head)) {
            return Head::Refused(refused);
        }
        Head::Partial
    }

    fn implausible(head: &[u8]) -> Option<StatusCode> {
        let end = head.iter().position(|byte| *byte == b'\r');
        let line = &head[..end.unwrap_or(head.len())];
        let mut parts = line.split(|byte| *byte == b' ');
        // A TLS hello, or whatever else somebody says to the wrong port, may never send a line end.
        let method = parts.next().unwrap_or_default();
        if !method.iter().all(|byte| is_tchar(*byte)) {
            return Some(StatusCode::BAD_REQUEST);
        }
        end?;
        // RFC 9112 section 3: three parts, single spaces.
        match (method.is_empty(), parts.next(), parts.next(), parts.next()) {
            (false, Some(target), Some(version), None) if !target.is_empty() => {
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
        let line = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
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

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// How the body behind `head` is framed (RFC 9112 section 6.3), and whether an upgrade is asked for.
/// What else may be wrong with a head is for hyper to say.
fn framing(head: &[u8]) -> Result<(Framing, bool), StatusCode> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.next().unwrap_or_default();
    let version = request_line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let mut length: Option<u64> = None;
    let mut encoding: Option<&[u8]> = None;
    let mut upgrade = false;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = content_length(value).ok_or(StatusCode::BAD_REQUEST)?;
            // No body is that long; hyper would call the head too large.
            if value > i64::MAX as u64 {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            // Section 6.3: differing lengths are an error; equal ones gain nothing.
            if length.replace(value).is_some() {
                return Err(StatusCode::BAD_REQUEST);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if encoding.replace(value).is_some() {
                return Err(StatusCode::BAD_REQUEST);
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    let body = match (encoding, length) {
        (None, None) => Ok(Framing::None),
        (None, Some(length)) => Ok(Framing::Length(length)),
        // Section 6.1: both together is an attempt at smuggling, and 1.0 has no encodings.
        (Some(_), Some(_)) => Err(StatusCode::BAD_REQUEST),
        (Some(_), None) if version == b"HTTP/1.0" => Err(StatusCode::BAD_REQUEST),
        (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        // Section 6.1: an encoding that is not understood is 501. One that is not chunked at its
        // end has no end at all.
        (Some(_), None) => Err(StatusCode::NOT_IMPLEMENTED),
    };
    Ok((body?, upgrade))
}

/// RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9112 section 2.3.
fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// RFC 9110 section 8.6: digits, nothing else.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Follows a chunked body through `data`; returns how far it goes, and whether it ends there.
fn chunked(chunk: &mut Chunk, data: &[u8]) -> Result<(usize, bool), BrokenBody> {
    let mut at = 0;
    while let Some(byte) = data.get(at).copied() {
        if let Chunk::Data(left) = chunk {
            let taken = (*left).min((data.len() - at) as u64);
            *left -= taken;
            at += taken as usize;
            if *left == 0 {
                *chunk = Chunk::DataCr;
            }
            continue;
        }
        at += 1;
        *chunk = match (&*chunk, byte) {
            (Chunk::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && *digits < 16 => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Chunk::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Chunk::Size { size, digits: 1.. }, b'\r') => Chunk::SizeLf { size: *size },
            (Chunk::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Chunk::Extension { size: *size, length: 0 },
            (Chunk::Extension { size, .. }, b'\r') => Chunk::SizeLf { size: *size },
            (Chunk::Extension { size, length }, byte) if byte != b'\n' && *length < MAX_CHUNK_LINE => {
                Chunk::Extension { size: *size, length: length + 1 }
            }
            (Chunk::SizeLf { size: 0 }, b'\n') => Chunk::Trailer { length: 0, line: TrailerLine::Start },
            (Chunk::SizeLf { size }, b'\n') => Chunk::Data(*size),
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Size { size: 0, digits: 0 },
            (Chunk::Trailer { length, line }, byte) => match trailer(*line, byte)? {
                None => return Ok((at, true)),
                Some(_) if *length >= MAX_CHUNK_LINE => return Err(BrokenBody),
                Some(line) => Chunk::Trailer { length: length + 1, line },
            },
            _ => return Err(BrokenBody),
        };
    }
    Ok((at, false))
}

/// The next state in the trailers; `None` at their end.
fn trailer(line: TrailerLine, byte: u8) -> Result<Option<TrailerLine>, BrokenBody> {
    match (line, byte) {
        (TrailerLine::Start, b'\r') => Ok(Some(TrailerLine::LastLf)),
        (TrailerLine::LastLf, b'\n') => Ok(None),
        (TrailerLine::Inside, b'\r') => Ok(Some(TrailerLine::Lf)),
        (TrailerLine::Lf, b'\n') => Ok(Some(TrailerLine::Start)),
        (TrailerLine::Start | TrailerLine::Inside, byte) if byte != b'\n' => Ok(Some(TrailerLine::Inside)),
        _ => Err(BrokenBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What hyper gets, the refusal, and whether a body was broken.
    fn through(pieces: &[&[u8]]) -> (Vec<u8>, Option<(u64, u16)>, bool) {
        let mut scanner = Scanner::new(&Limits::default());
        let mut output = Vec::new();
        for piece in pieces {
            match scanner.scan(piece) {
                Ok(None) => output.extend_from_slice(piece),
                Ok(Some(bytes)) => output.extend_from_slice(&bytes),
                Err(BrokenBody) => return (output, None, true),
            }
        }
        (output, scanner.refusal.map(|(index, status)| (index, status.as_u16())), false)
    }

    fn refused(head: &str) -> Option<u16> {
        through(&[head.as_bytes()]).1.map(|(_, status)| status)
    }

    #[test]
    fn whole_requests_pass_untouched() {
        let wire =
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 4\r\n\r\na\nb\nPOST / HTTP/1.1\r\n\
            transfer-encoding: Chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nt: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        assert_eq!(through(&[wire]), (wire.to_vec(), None, false));
    }

    /// The RFC 9112 section that refuses each.
    #[test]
    fn heads_that_must_not_pass() {
        let rows = [
            ("2.2 bare LF", "GET / HTTP/1.1\nhost: a\n\n", 400),
            ("2.2 one bare LF", "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400),
            ("6.1 CL and TE", "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("6.1 TE and CL", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", 400),
            ("6.1 two TE", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("6.1 chunked twice", "POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 501),
            ("6.1 gzip", "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
            ("6.1 identity", "POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", 501),
            ("6.1 xchunked", "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n", 501),
            ("6.1 TE on 1.0", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("6.3 CL +1", "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", 400),
            ("6.3 CL -1", "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
            ("6.3 CL 0x1", "POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n", 400),
            ("6.3 CL 1,1", "POST / HTTP/1.1\r\ncontent-length: 1,1\r\n\r\n", 400),
            ("6.3 CL empty", "POST / HTTP/1.1\r\ncontent-length:\r\n\r\n", 400),
            ("6.3 CL 2^64", "POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n", 400),
            ("RFC 9110 15.5.14 CL 2^64 - 1", "POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n", 413),
            ("6.3 two CL", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
            ("3 double space", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
            ("3 HTTP/0.9", "GET /\r\n", 400),
            ("3 an SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", 400),
            ("3 a TLS hello", "\u{16}\u{3}\u{1}\u{2}", 400),
            ("2.3 HTTP/1.2", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
            ("2.3 HTTP/2.0 preface", "PRI * HTTP/2.0\r\n\r\n", 505),
        ];
        for (name, head, status) in rows {
            assert_eq!(refused(head), Some(status), "{name}");
        }
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(17_000))), Some(414));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(66_000))), Some(431));
    }

    #[test]
    fn bodies_whose_framing_is_broken() {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let long = format!("1;{}\r\n", "x".repeat(MAX_CHUNK_LINE + 1));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(1000));
        for body in [
            "-1\r\n",
            "0x5\r\n",
            "5g\r\n",
            "11112222333344445\r\n",
            "1\na",
            "1\r\na\n",
            "1\r\nab",
            "\r\n",
            ";\r\n",
            "0\r\n\n",
            &long,
            &trailers,
        ] {
            assert!(through(&[format!("{head}{body}").as_bytes()]).2, "{}", &body[..body.len().min(20)]);
        }
    }

    #[test]
    fn a_refusal_takes_its_turn() {
        let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let wire = format!("{good}{good}GET / HTTP/1.1\nhost: b\n\n{good}");
        let (output, refusal, _) = through(&[wire.as_bytes()]);
        assert_eq!(String::from_utf8(output).unwrap(), format!("{good}{good}GET / HTTP/1.1\r\nhost: refused\r\n\r\n"));
        assert_eq!(refusal, Some((2, 400)));
    }

    #[test]
    fn what_follows_a_request_for_an_upgrade_waits_for_the_answer() {
        let head = b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
        let behind = b"GET /\n HTTP";
        let mut scanner = Scanner::new(&Limits::default());
        assert_eq!(scanner.scan(&[&head[..], behind].concat()).unwrap().unwrap(), head[..]);
        assert_eq!(scanner.place(), Place::Undecided);
        assert_eq!(scanner.take_held(), behind[..]);
        scanner.scan(behind).unwrap();
        scanner.decline_upgrade();
        assert!(scanner.has_backlog());
        assert_eq!(scanner.scan(b"").unwrap().unwrap(), STAND_IN);
        assert_eq!(scanner.refusal_of(1), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn an_incomplete_head_is_held_back() {
        let mut scanner = Scanner::new(&Limits::default());
        assert_eq!(scanner.place(), Place::Between);
        assert_eq!(scanner.scan(b"GET / HT"), Ok(Some(Bytes::new())));
        assert_eq!(scanner.place(), Place::Head);
        let whole = scanner.scan(b"TP/1.1\r\nhost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!(whole, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(scanner.place(), Place::Between);
    }

    fn message() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
            "[a-z\r\n]{0,40}"
                .prop_map(|body| format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())),
            proptest::collection::vec("[a-z\r\n]{1,40}", 0..4).prop_map(|chunks| {
                let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
                format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
            }),
        ]
    }

    proptest! {
        #[test]
        fn valid_requests_pass_however_they_are_cut(messages in proptest::collection::vec(message(), 1..6), cut in 1usize..50) {
            let wire = messages.concat();
            let pieces: Vec<&[u8]> = wire.as_bytes().chunks(cut).collect();
            prop_assert_eq!(through(&pieces), (wire.into_bytes(), None, false));
        }

        #[test]
        fn the_cut_makes_no_difference(wire in "(GET|POST|[a-z]) /[a-z]* HTTP/1.[01]\r?\n((content-length|transfer-encoding|a): ?(chunked|[0-9]{1,2}|,)\r?\n){0,3}\r?\n[0-9a-f\r\n]{0,30}", cut in 1usize..40) {
            let pieces: Vec<&[u8]> = wire.as_bytes().chunks(cut).collect();
            let whole = through(&[wire.as_bytes()]);
            let cut = through(&pieces);
            // A broken body ends the connection; how much of it has passed by then depends on the cut.
            prop_assert_eq!((&whole.1, whole.2), (&cut.1, cut.2));
            prop_assert!(whole.2 || whole.0 == cut.0);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (output, _, _) = through(&[&bytes]);
            prop_assert!(output.len() <= bytes.len() + STAND_IN.len());
        }
    }
}
