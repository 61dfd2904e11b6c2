//! The body of a response that an app writes itself, in the form of HTTP/1 (RFC 9112 section 6.3), to a connection that has
//! another form for it.

use std::io;

use http::StatusCode;

use super::head::ResponseHead;
use super::headers::visible;
use crate::request_head::Method;

/// How the body ends, and how much of it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HijackedBody {
    /// With the app's socket.
    UntilClose,
    /// After so many more bytes.
    Length(u64),
    /// With the last chunk (RFC 9112 section 7.1).
    Chunked(Chunk),
}

/// What comes next of a chunked body. CR is left out everywhere: LF ends a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// The next digit of a size. `None`: the first one.
    Size(Option<u64>),
    /// The rest of a line behind such a size.
    Extension(u64),
    /// So many bytes of data.
    Data(u64),
    /// The end of the line behind the data.
    DataEnd,
    /// A trailer. `true`: its line has only begun.
    Trailer(bool),
    /// Nothing.
    End,
}

impl HijackedBody {
    /// The body behind `head`, which answers a request with `method`.
    pub(super) fn of(head: &ResponseHead, method: Method) -> io::Result<Self> {
        let mut codings = head.headers.get_all("transfer-encoding");
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            Ok(HijackedBody::UntilClose)
        } else if method == Method::Head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            Ok(HijackedBody::Length(0))
        } else if let Some(coding) = codings.next() {
            if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
                Ok(HijackedBody::Chunked(Chunk::Size(None)))
            } else {
                Err(invalid("Transfer-Encoding"))
            }
        } else if let Some(length) = head.headers.get("content-length") {
            let length = visible(length).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
            length.and_then(|it| it.parse().ok()).map(HijackedBody::Length).ok_or_else(|| invalid("Content-Length"))
        } else {
            Ok(HijackedBody::UntilClose)
        }
    }

    /// Takes the next bytes that the app has written, and moves those of the body to their beginning. Returns how many
    /// these are. What follows the body is left out.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            HijackedBody::UntilClose => Ok(bytes.len()),
            HijackedBody::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                Ok(taken)
            }
            HijackedBody::Chunked(chunk) => chunk.decode(bytes),
        }
    }

    /// Whether all of the body has come, although the app may not have closed its socket.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, HijackedBody::Length(0) | HijackedBody::Chunked(Chunk::End))
    }

    /// The app has closed its socket. Fails if the body is not complete.
    pub(super) fn end(&self) -> io::Result<()> {
        let complete = *self == HijackedBody::UntilClose || self.is_complete();
        if complete { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Chunk {
    fn decode(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if let Chunk::Data(left) = self {
                let taken = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                bytes.copy_within(at..at + taken, kept);
                (at, kept) = (at + taken, kept + taken);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Chunk::DataEnd;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte != b'\r' {
                *self = self.after(byte).ok_or_else(|| invalid("chunks"))?;
            }
        }
        Ok(kept)
    }

    /// What comes after this byte of a line. `None`: it may not be there.
    fn after(&self, byte: u8) -> Option<Chunk> {
        let begin = |size| if size == 0 { Chunk::Trailer(true) } else { Chunk::Data(size) };
        match (self, byte) {
            (Chunk::Size(Some(size)) | Chunk::Extension(size), b'\n') => Some(begin(*size)),
            (Chunk::Size(Some(size)), b';' | b' ' | b'\t') | (Chunk::Extension(size), _) => {
                Some(Chunk::Extension(*size))
            }
            (Chunk::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16)?;
                let size = size.unwrap_or(0).checked_mul(16)?.checked_add(digit.into())?;
                Some(Chunk::Size(Some(size)))
            }
            (Chunk::DataEnd, b'\n') => Some(Chunk::Size(None)),
            (Chunk::Trailer(true), b'\n') | (Chunk::End, _) => Some(Chunk::End),
            (Chunk::Trailer(_), byte) => Some(Chunk::Trailer(byte == b'\n')),
            (Chunk::DataEnd | Chunk::Data(_), _) => None,
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the app's {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response_headers::ResponseHeaders;
    use proptest::prelude::*;

    fn of(method: Method, status: u16, headers: &[(&str, &str)]) -> io::Result<HijackedBody> {
        let mut map = ResponseHeaders::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        HijackedBody::of(&ResponseHead::new(StatusCode::from_u16(status).unwrap(), map), method)
    }

    /// What is left of the pieces, and whether all has come.
    fn decoded(mut body: HijackedBody, pieces: &[&[u8]]) -> io::Result<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            let kept = body.decode(&mut piece)?;
            all.extend_from_slice(&piece[..kept]);
        }
        assert_eq!(body.end().is_ok(), body.is_complete() || body == HijackedBody::UntilClose);
        Ok((all, body.is_complete()))
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        let (get, chunked) = (Method::Get, ("transfer-encoding", "Chunked"));
        assert_eq!(of(get, 200, &[]).unwrap(), HijackedBody::UntilClose);
        assert_eq!(of(get, 101, &[("content-length", "3")]).unwrap(), HijackedBody::UntilClose);
        assert_eq!(of(get, 200, &[("content-length", "3")]).unwrap(), HijackedBody::Length(3));
        assert_eq!(of(Method::Head, 200, &[("content-length", "3")]).unwrap(), HijackedBody::Length(0));
        assert_eq!(of(get, 204, &[]).unwrap(), HijackedBody::Length(0));
        assert_eq!(of(get, 304, &[chunked]).unwrap(), HijackedBody::Length(0));
        assert_eq!(
            of(get, 200, &[("content-length", "3"), chunked]).unwrap(),
            HijackedBody::Chunked(Chunk::Size(None))
        );
        for wrong in [
            ("content-length", ""),
            ("content-length", "+1"),
            ("content-length", "1, 1"),
            ("transfer-encoding", "gzip, chunked"),
        ] {
            assert!(of(get, 200, &[wrong]).is_err());
        }
    }

    #[test]
    fn what_follows_the_body_is_left_out() {
        assert_eq!(decoded(HijackedBody::Length(3), &[b"ab", b"cd"]).unwrap(), (b"abc".to_vec(), true));
        assert_eq!(decoded(HijackedBody::Length(3), &[b"ab"]).unwrap(), (b"ab".to_vec(), false));
        let chunks = || HijackedBody::Chunked(Chunk::Size(None));
        let whole = b"3;name=value\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx: 1\r\n\r\nbehind";
        assert_eq!(decoded(chunks(), &[whole]).unwrap(), (b"abc0123456789".to_vec(), true));
        for wrong in [&b"\r\n"[..], b"g", b"-1", b"3\r\nabcd", b"11111111111111111\r\n", b"3\r\nabc3"] {
            assert!(decoded(chunks(), &[wrong]).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn chunks_are_the_same_however_they_come(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut written = Vec::new();
            for chunk in &chunks {
                written.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                written.extend_from_slice(chunk);
                written.extend_from_slice(b"\r\n");
            }
            written.extend_from_slice(b"0\r\n\r\n");
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(written.len())).collect();
            cuts.extend([0, written.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &written[pair[0]..pair[1]]).collect();
            let decoded = decoded(HijackedBody::Chunked(Chunk::Size(None)), &pieces).unwrap();
            prop_assert_eq!(decoded, (chunks.concat(), true));
        }

        #[test]
        fn an_app_may_write_anything(pieces: Vec<Vec<u8>>) {
            let pieces: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
            let length: usize = pieces.iter().map(|piece| piece.len()).sum();
            if let Ok((kept, _)) = decoded(HijackedBody::Chunked(Chunk::Size(None)), &pieces) {
                prop_assert!(kept.len() <= length);
            }
        }
    }
}
