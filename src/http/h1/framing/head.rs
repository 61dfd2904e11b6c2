//! What a head says about its body, and whether the head is valid.

use http::StatusCode;
use memchr::memchr;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// How the body behind `head` is framed (RFC 9112 section 6.3), and whether an upgrade is asked for.
/// hyper looks for other mistakes in a head.
pub(super) fn framing(head: &[u8]) -> Result<(Framing, bool), StatusCode> {
    let mut lines = lines(head);
    let request_line = lines.next().unwrap_or_default();
    let version = request_line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let mut length: Option<u64> = None;
    let mut encoding: Option<&[u8]> = None;
    let mut upgrade = false;
    for line in lines {
        // By far the most lines are about something else.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T' | b'u' | b'U')) {
            continue;
        }
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

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// RFC 9112 section 2.3.
pub(super) fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// RFC 9110 section 8.6: digits, nothing else.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
