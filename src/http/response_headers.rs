//! The headers of a response, in the form in which HTTP/1 sends them.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use memchr::memchr;
use thiserror::Error;

use super::headers::{is_tchar, items, visible};

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

/// The headers of a response, in the order in which they were added.
///
/// This is one buffer of lines `name: value\r\n`: so a head of HTTP/1 is written by copying it, and the headers of a usual
/// response cost one allocation. Names are in lower case. No line has a control character besides tabs and its own end.
///
/// Names are given in lower case to all methods but [`ResponseHeaders::add`] and [`ResponseHeaders::try_append`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    lines: Vec<u8>,
    /// Which of the headers in [`noted`] are there.
    noted: u8,
}

/// Room for the headers of most responses.
const USUAL_LENGTH: usize = 512;

/// Longer names are refused, as by the crate `http`.
const MAX_NAME: usize = u16::MAX as usize;

/// Headers that the server asks for in each response. A bit says whether one is there.
mod noted {
    pub(super) const CONTENT_LENGTH: u8 = 1;
    pub(super) const TRANSFER_ENCODING: u8 = 2;
    pub(super) const CONNECTION: u8 = 4;
    pub(super) const TRAILER: u8 = 8;
    pub(super) const DATE: u8 = 16;
    /// Headers that belong to one connection or message of HTTP/1.
    pub(super) const OF_THE_MESSAGE: u8 = CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION | TRAILER;
}

/// Looks for a name in lower case among those that responses usually have. It returns the header's bit in [`noted`], or 0. A
/// name that is found needs no check of its bytes.
fn usual(name: &[u8]) -> Option<u8> {
    macro_rules! one_of {
        ($($known:literal $(= $bit:ident)?),+) => {{
            $( if name == $known { return Some(0 $(+ noted::$bit)?); } )+
            None
        }};
    }
    match name.len() {
        4 => one_of!(b"date" = DATE, b"etag", b"vary", b"link"),
        5 => one_of!(b"allow"),
        6 => one_of!(b"server"),
        7 => one_of!(b"expires", b"trailer" = TRAILER, b"upgrade"),
        8 => one_of!(b"location"),
        9 => one_of!(b"x-runtime"),
        10 => one_of!(b"set-cookie", b"connection" = CONNECTION),
        11 => one_of!(b"retry-after"),
        12 => one_of!(b"content-type", b"x-request-id"),
        13 => one_of!(b"cache-control", b"last-modified", b"server-timing", b"accept-ranges", b"content-range"),
        14 => one_of!(b"content-length" = CONTENT_LENGTH),
        15 => one_of!(b"x-frame-options", b"referrer-policy"),
        16 => one_of!(b"content-encoding", b"x-xss-protection", b"www-authenticate"),
        17 => one_of!(b"transfer-encoding" = TRANSFER_ENCODING, b"x-accel-buffering"),
        18 => one_of!(b"x-download-options"),
        19 => one_of!(b"content-disposition"),
        20 => one_of!(b"sec-websocket-accept"),
        22 => one_of!(b"x-content-type-options"),
        23 => one_of!(b"content-security-policy"),
        25 => one_of!(b"strict-transport-security"),
        27 => one_of!(b"access-control-allow-origin"),
        _ => None,
    }
}

/// The bytes of a token in lower case. Those that no token may have are 0.
static TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_tchar(byte as u8) {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Whether a value has a control character. Some values with tabs may be sent, so they need another look.
fn has_control(value: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // Eight bytes at once. The highest bit of a byte is set if the byte is below 0x20 or is 0x7f. If there is such a byte,
    // bytes above it may be marked without a reason.
    let marks = |bytes: &[u8; 8]| {
        let word = u64::from_le_bytes(*bytes);
        let flipped = word ^ (ONES * 0x7f);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = flipped.wrapping_sub(ONES) & !flipped;
        (below | delete) & (ONES * 0x80)
    };
    let (words, rest) = value.as_chunks::<8>();
    let seen = words.iter().fold(0, |seen, word| seen | marks(word));
    match value.last_chunk::<8>() {
        Some(last) => seen | marks(last) != 0,
        None => rest.iter().any(u8::is_ascii_control),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the blanks around it.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_blank(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_blank(*last)
    {
        value = rest;
    }
    value
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl ResponseHeaders {
    /// No headers.
    pub const fn new() -> Self {
        ResponseHeaders { lines: Vec::new(), noted: 0 }
    }

    /// Adds a header of the app.
    ///
    /// Names that start with `rack.` are for the server and never sent. A value with LF is several values, the Rack 2 form.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if name.starts_with(b"rack.") {
            return Ok(());
        }
        if has_control(value) {
            return self.add_lines(name, value);
        }
        self.put(name, trimmed(value))
    }

    #[cold]
    fn add_lines(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        for line in value.split(|byte| *byte == b'\n') {
            if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
                // The name is looked at first.
                self.put(name, b"")?;
                return Err(HeadError::Value { name: text(name), value: text(value) });
            }
            self.put(name, trimmed(line))?;
        }
        Ok(())
    }

    /// Adds a header with any name, and a value of one line, both as they are.
    pub fn try_append(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        match has_control(value) && value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            true => Err(HeadError::Value { name: text(name), value: text(value) }),
            false => self.put(name, value),
        }
    }

    /// Adds a line. The value has no control characters but tabs.
    #[inline]
    fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let length = name.len() + value.len() + ": \r\n".len();
        if self.lines.capacity() == 0 {
            self.lines = Vec::with_capacity(length.max(USUAL_LENGTH));
        }
        self.lines.reserve(length);
        match usual(name) {
            Some(noted) => {
                self.lines.extend_from_slice(name);
                self.noted |= noted;
            }
            None => self.put_name(name)?,
        }
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Adds a name that is not one of the usual ones, or not in lower case.
    #[inline(never)]
    fn put_name(&mut self, name: &[u8]) -> Result<(), HeadError> {
        let start = self.lines.len();
        self.lines.extend(name.iter().map(|byte| TOKEN[usize::from(*byte)]));
        let lowered = &self.lines[start..];
        if name.is_empty() || name.len() > MAX_NAME || memchr(0, lowered).is_some() {
            self.lines.truncate(start);
            return Err(HeadError::Name(text(name)));
        }
        self.noted |= usual(lowered).unwrap_or(0);
        Ok(())
    }

    /// Adds a header of the server. One that HTTP cannot send is left out.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let added = self.try_append(name.as_bytes(), value.as_ref());
        debug_assert_eq!(added, Ok(()));
    }

    /// Adds a header of the server in place of all others with its name.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes all headers with this name.
    pub fn remove(&mut self, name: &str) {
        if self.is_surely_absent(name) {
            return;
        }
        let (mut at, mut kept) = (0, 0);
        while let Some((line, length)) = Line::first(&self.lines[at..]) {
            if line.name != name.as_bytes() {
                self.lines.copy_within(at..at + length, kept);
                kept += length;
            }
            at += length;
        }
        self.lines.truncate(kept);
        self.noted &= !usual(name.as_bytes()).unwrap_or(0);
    }

    /// Whether there is no header with this name, as far as that can be said without a walk.
    fn is_surely_absent(&self, name: &str) -> bool {
        let noted = usual(name.as_bytes()).unwrap_or(0);
        self.lines.is_empty() || (noted != 0 && self.noted & noted == 0)
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All headers: names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.walk().map(|line| (std::str::from_utf8(line.name).unwrap_or_default(), line.value))
    }

    fn walk(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = &self.lines[..];
        std::iter::from_fn(move || {
            let (line, length) = Line::first(rest)?;
            rest = &rest[length..];
            Some(line)
        })
    }

    /// The values of all headers with this name.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = if self.is_surely_absent(name) { None } else { Some(self.walk()) };
        lines.into_iter().flatten().filter(move |line| line.name == name.as_bytes()).map(|line| line.value)
    }

    /// The value of the first header with this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of a header that is there exactly once.
    pub fn single(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.get_all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether there is a header with this name.
    pub fn contains(&self, name: &str) -> bool {
        match usual(name.as_bytes()) {
            Some(noted) if noted != 0 => self.noted & noted != 0,
            _ => self.get(name).is_some(),
        }
    }

    /// Whether the list with this name has `token`, in upper or lower case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).filter_map(visible).flat_map(items).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Whether there are headers that belong to one connection or message of HTTP/1: Content-Length, Transfer-Encoding,
    /// Connection or Trailer.
    pub(super) fn has_any_of_the_message(&self) -> bool {
        self.noted & noted::OF_THE_MESSAGE != 0
    }

    /// Whether there is a Content-Length.
    pub(super) fn has_length(&self) -> bool {
        self.noted & noted::CONTENT_LENGTH != 0
    }

    /// Whether there is a Date.
    pub(super) fn has_date(&self) -> bool {
        self.noted & noted::DATE != 0
    }

    /// All headers as lines of HTTP/1.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The same headers in the form that the crate `http` has.
    pub(super) fn into_map(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        let lines = Bytes::from(self.lines);
        let mut at = 0;
        while let Some((line, length)) = Line::first(&lines[at..]) {
            let value = HeaderValue::from_maybe_shared(lines.slice_ref(line.value));
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(line.name), value) {
                // It has no room for tens of thousands of headers.
                let _ = map.try_append(name, value);
            }
            at += length;
        }
        map
    }
}

/// One header.
struct Line<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Line<'a> {
    /// The first line of several, and its length. No name has a colon, and no value has LF.
    fn first(lines: &'a [u8]) -> Option<(Line<'a>, usize)> {
        let name = memchr(b':', lines)?;
        let end = name + memchr(b'\n', &lines[name..])?;
        Some((Line { name: &lines[..name], value: &lines[name + 2..end - 1] }, end + 1))
    }
}

impl std::fmt::Debug for ResponseHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string()))).finish()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for ResponseHeaders {
    fn from(lines: [(&str, &str); N]) -> Self {
        let mut headers = ResponseHeaders::new();
        lines.iter().for_each(|(name, value)| headers.append(name, value));
        headers
    }
}
