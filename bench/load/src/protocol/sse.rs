//! Event streams, as the HTML standard defines them.

use super::http::Head;

/// A request for an event stream.
pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n").into_bytes()
}

/// Whether a head begins an event stream.
pub fn accepts(head: &Head) -> bool {
    head.status == 200 && head.field("content-type").is_some_and(|value| value.starts_with(b"text/event-stream"))
}

/// The data of the event that `bytes` have first, and the number of bytes up to its end; nothing if that is not yet
/// there.
///
/// What is not data is passed over: other fields, comments, and, on a server that sends streams in chunks, the lines
/// around a chunk. So a chunk's end may not be in the middle of a line. Data of several lines counts as its last. So are events of
/// push_server itself, which say how a subscription begins.
pub fn next(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut data = None;
    let mut notice = false;
    let mut start = 0;
    loop {
        let end = start + position(b'\n', &bytes[start..])?;
        let line = bytes[start..end].strip_suffix(b"\r").unwrap_or(&bytes[start..end]);
        start = end + 1;
        if let Some(value) = line.strip_prefix(b"data:") {
            data = Some(value.strip_prefix(b" ").unwrap_or(value));
        } else if line.starts_with(b"event: push.") {
            notice = true;
        } else if let (true, Some(came)) = (line.is_empty(), data) {
            if !std::mem::take(&mut notice) {
                return Some((came, start));
            }
            data = None;
        }
    }
}

/// Where `byte` is first.
fn position(byte: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: pointer and length are those of a slice.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found as usize - bytes.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_data_behind_other_fields() {
        let stream = b"retry: 1000\n: quiet\nevent: msg\ndata: one\n\ndata:two\r\n\r\n";
        let (data, length) = next(stream).unwrap();
        assert_eq!(data, b"one");
        let (data, length_of_second) = next(&stream[length..]).unwrap();
        assert_eq!(data, b"two");
        assert_eq!(next(&stream[length + length_of_second..]), None);
    }

    #[test]
    fn passes_over_notices() {
        let stream = b"event: push.open\ndata: {}\n\nid: 1\ndata: one\n\n";
        assert_eq!(next(stream), Some((&b"one"[..], stream.len())));
        assert_eq!(next(&stream[..20]), None);
    }

    #[test]
    fn waits_for_the_end_of_an_event() {
        assert_eq!(next(b""), None);
        assert_eq!(next(b"event: msg\ndata: one"), None);
        assert_eq!(next(b"event: msg\ndata: one\n"), None);
    }
}
