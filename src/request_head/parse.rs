//! Making a head, of bytes or of what a library has parsed.

use std::mem::MaybeUninit;

use http::request::Parts;
use http::{StatusCode, Uri, Version};
use httparse::{Error, Header, Request, Status};

use super::fields::{self, SPAN, Span};
use super::head::RequestHead;
use super::method::Method;
use super::target::Target;

/// So many headers are parsed without allocating a table for them. This is the default of the limit, too.
const USUAL_HEADERS: usize = 100;

/// Longest target in bytes, and longest name of a field: what the crate http allows.
const LONGEST_TARGET: usize = 65_534;
const LONGEST_NAME: usize = 65_535;

/// Fewer fields than this are compared with each other, each with each. With more, that would take too long.
const FEW: usize = 64;

impl RequestHead {
    /// The head of HTTP/1 that is in `raw`, to the last byte. `max_headers` is the limit. The error is the status of the
    /// response to a head that is refused: the same ones as hyper refuses. What hyper is too lenient with, the scanner in front
    /// of it has refused before: line ends, what is between the parts of the request line, versions, framing.
    pub fn parse(raw: &[u8], max_headers: usize) -> Result<Self, StatusCode> {
        let mut few = [const { MaybeUninit::<Header<'_>>::uninit() }; USUAL_HEADERS];
        let mut many = Vec::new();
        let slots = match few.get_mut(..max_headers) {
            Some(slots) => slots,
            None => {
                many.resize_with(max_headers, MaybeUninit::uninit);
                &mut many[..]
            }
        };
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(raw, slots) {
            Ok(Status::Complete(length)) if length == raw.len() => {}
            Err(Error::TooManyHeaders) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => return Err(StatusCode::BAD_REQUEST),
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        if target.len() > LONGEST_TARGET {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let place = |part: &[u8]| part.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
        let (method_at, target_at) = (place(method.as_bytes()), place(target.as_bytes()));
        // Behind the target: a space, the version, the end of the line.
        let block_at = target_at + target.len() + " HTTP/1.1\r\n".len() - method_at;
        let block_end = (raw.len() - method_at).saturating_sub("\r\n".len());
        // The target in another form than it came, if that must be: mostly it need not.
        let mut uri = None;
        let plain = Target::plain(target.as_bytes(), (target_at - method_at) as u32);
        if plain.is_none() {
            uri = Some(Uri::try_from(target).map_err(|_| StatusCode::BAD_REQUEST)?);
        }
        let more = if uri.is_some() { target.len() + 1 } else { 0 };
        let mut bytes = Vec::with_capacity(raw.len() + more + request.headers.len() * SPAN);
        bytes.extend_from_slice(&raw[method_at..]);
        let target = uri.map(|uri| Target::put(&uri, &mut bytes)).or(plain).unwrap_or_default();
        let spans = bytes.len();
        let (mut names, mut repeats) = (0, false);
        for (count, Header { name, value }) in request.headers.iter().enumerate() {
            if name.len() > LONGEST_NAME {
                return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
            let at = place(name.as_bytes()) - method_at;
            let lower = &mut bytes[at..at + name.len()];
            lower.make_ascii_lowercase();
            let bit = fields::bit(lower);
            if names & bit != 0 && !repeats {
                let lower = &bytes[at..at + name.len()];
                repeats = count > FEW || fields::spans(&bytes, spans as u32).any(|span| span.is(lower, &bytes));
            }
            names |= bit;
            let value_at = place(value) - method_at;
            fields::put(&mut bytes, &[Span::new((at, name.len()), (value_at, value.len()))]);
        }
        if repeats {
            fields::group(&mut bytes, spans as u32);
        }
        let (method_length, method) = (method.len() as u32, Method::named(method.as_bytes()));
        let block = Some((block_at as u32, block_end as u32));
        Ok(RequestHead { bytes, spans: spans as u32, names, method_length, target, block, method, version })
    }

    /// The same of what hyper or h2 has parsed.
    pub fn from_parts(parts: Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        let name = method.as_str().as_bytes();
        let longest_target = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3)
            + uri.authority().map_or(0, |authority| authority.as_str().len())
            + uri.path_and_query().map_or(0, |path| path.as_str().len() + 1);
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + SPAN).sum();
        let mut bytes = Vec::with_capacity(name.len() + longest_target + fields);
        bytes.extend_from_slice(name);
        let target = Target::put(&uri, &mut bytes);
        let mut at = bytes.len();
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        let spans = bytes.len() as u32;
        let mut names = 0;
        for (name, value) in &headers {
            names |= fields::bit(name.as_str().as_bytes());
            let span = Span::new((at, name.as_str().len()), (at + name.as_str().len(), value.len()));
            at += name.as_str().len() + value.len();
            fields::put(&mut bytes, &[span]);
        }
        let (method_length, method) = (name.len() as u32, Method::named(name));
        RequestHead { bytes, spans, names, method_length, target, block: None, method, version }
    }
}
