//! `text/event-stream`, WHATWG HTML section 9.2: events that cannot be broken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use memchr::{memchr2, memchr2_iter};
use thiserror::Error;

/// The event that carries bytes where only text can go: its data is base64.
pub(crate) const BINARY_EVENT: &str = "push.binary";

/// The fields of an event beside its data. Check them with [`Fields::check`] when they come
/// from an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The event's name; `None` makes it a plain `message`.
    pub event: Option<&'a str>,
    /// Sets the browser's last event id.
    pub id: Option<&'a str>,
    /// Milliseconds before a browser reconnects.
    pub retry: Option<u64>,
}

/// A field that would break out of its line.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: must not contain CR, LF or NUL")]
pub struct BrokenField {
    /// `event` or `id`.
    pub field: &'static str,
}

impl Fields<'_> {
    /// Refuses what the stream's format cannot carry.
    pub fn check(&self) -> Result<(), BrokenField> {
        for (field, value) in [("event", self.event), ("id", self.id)] {
            if value.is_some_and(|value| value.contains(['\r', '\n', '\0'])) {
                return Err(BrokenField { field });
            }
        }
        Ok(())
    }
}

/// Encodes one event. `data` must be valid UTF-8; the caller has checked it.
///
/// Each line of `data` becomes a `data:` line; CRLF, CR and LF all end a line, and every line
/// end starts a new one, so `"a\n"` has two and `""` has one.
pub fn event(fields: Fields<'_>, data: &[u8]) -> Bytes {
    encode(fields, data.len(), |out| put_data(out, data))
}

/// Encodes bytes as an event, where there is no other way for them: base64, under a name of its own.
pub fn binary_event(fields: Fields<'_>, data: &[u8]) -> Bytes {
    let fields = Fields { event: Some(BINARY_EVENT), ..fields };
    encode(fields, data.len() / 3 * 4, |out| put_binary_data(out, data))
}

fn encode(fields: Fields<'_>, length: usize, put_data: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(length + 64);
    if let Some(id) = fields.id {
        put_line(&mut out, "id", id.as_bytes());
    }
    if let Some(event) = fields.event {
        put_line(&mut out, "event", event.as_bytes());
    }
    if let Some(retry) = fields.retry {
        put_line(&mut out, "retry", retry.to_string().as_bytes());
    }
    put_data(&mut out);
    out.push(b'\n');
    Bytes::from(out)
}

// The next two are lines that belong to no event, so no empty line ends them: many clients dispatch an event at each empty
// line, and that event would be empty.

/// The `retry:` that opens or ends a stream. It counts from the end of its line (WHATWG HTML section 9.2.6).
pub fn retry(milliseconds: u64) -> Bytes {
    Bytes::from(format!("retry: {milliseconds}\n"))
}

/// A comment: keeps proxies and load balancers from closing a quiet stream.
pub fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n")
}

/// Appends a field of an event.
pub(crate) fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an event's data: a field for each line of a text.
pub(crate) fn put_data(out: &mut Vec<u8>, text: &[u8]) {
    lines(text).for_each(|line| put_line(out, "data", line));
}

/// Bytes that [`put_data`] appends; more if CRLF ends lines.
pub(crate) fn data_length(text: &[u8]) -> usize {
    let ends = memchr2_iter(b'\r', b'\n', text).count();
    text.len() + ends * "data: ".len() + "data: \n".len()
}

/// Bytes that [`put_binary_data`] appends.
pub(crate) fn binary_data_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4 + "data: \n".len()
}

/// Appends an event's data: bytes, as one line of base64.
pub(crate) fn put_binary_data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact: it cannot fail.
    let _ = BASE64.encode_slice(bytes, &mut out[start..]);
    out.push(b'\n');
}

/// CRLF, CR and LF all end a line, and every end starts a new one: `"a\n"` has two, `""` has one.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let Some(end) = memchr2(b'\r', b'\n', data) else {
            return rest.take();
        };
        let width = if data[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&data[end + width..]);
        Some(&data[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(data: &str) -> String {
        String::from_utf8(event(Fields::default(), data.as_bytes()).to_vec()).unwrap()
    }

    #[test]
    fn every_line_end_starts_a_line() {
        assert_eq!(plain(""), "data: \n\n");
        assert_eq!(plain("a"), "data: a\n\n");
        assert_eq!(plain("a\nb"), "data: a\ndata: b\n\n");
        assert_eq!(plain("a\n"), "data: a\ndata: \n\n");
        assert_eq!(plain("a\r\nb\rc\n\nd"), "data: a\ndata: b\ndata: c\ndata: \ndata: d\n\n");
        assert_eq!(plain(" a"), "data:  a\n\n");
    }

    #[test]
    fn fields_come_before_the_data() {
        let fields = Fields { event: Some("tick"), id: Some("7"), retry: Some(500) };
        assert_eq!(event(fields, b"x")[..], b"id: 7\nevent: tick\nretry: 500\ndata: x\n\n"[..]);
        assert_eq!(fields.check(), Ok(()));
    }

    #[test]
    fn fields_cannot_break_out() {
        for bad in ["a\nb", "a\rb", "a\0b"] {
            let event = Fields { event: Some(bad), ..Fields::default() };
            assert_eq!(event.check(), Err(BrokenField { field: "event" }));
            let id = Fields { id: Some(bad), ..Fields::default() };
            assert_eq!(id.check(), Err(BrokenField { field: "id" }));
        }
    }

    #[test]
    fn lines_that_belong_to_no_event_have_no_empty_line_behind_them() {
        assert_eq!(retry(1500)[..], b"retry: 1500\n"[..]);
        assert_eq!(heartbeat()[..], b":\n"[..]);
    }

    proptest! {
        /// What a browser would make of it is the data, its line ends turned into LF.
        #[test]
        fn a_browser_reads_the_data_back(data in "[a-z:\r\n ]{0,60}") {
            let wire = plain(&data);
            let body = wire.strip_suffix("\n\n").unwrap();
            let read: Vec<&str> = body.split('\n').map(|line| line.strip_prefix("data: ").unwrap()).collect();
            prop_assert_eq!(read.join("\n"), data.replace("\r\n", "\n").replace('\r', "\n"));
        }
    }
}
