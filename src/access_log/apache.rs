//! Lines in Apache's formats common and combined.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::outcome::RequestOutcome;
use super::redaction::{header, without_tokens};
use super::time;
use crate::request_head::RequestHead;

/// Appends what is known of a request when it arrives. Returns where its outcome belongs.
pub(super) fn put_request(
    text: &mut String,
    combined: bool,
    at: SystemTime,
    remote: IpAddr,
    head: Option<&RequestHead>,
) -> usize {
    let _ = write!(text, "{remote} - - [");
    time::put_local(text, at);
    text.push_str("] \"");
    match head {
        Some(head) => {
            put_escaped(text, head.method_name().as_bytes());
            text.push(' ');
            put_escaped(text, &without_tokens(head.target()));
            let _ = write!(text, " {:?}", head.version());
        }
        None => text.push('-'),
    }
    text.push_str("\" ");
    let split = text.len();
    if combined {
        for name in ["referer", "user-agent"] {
            text.push_str(" \"");
            put_escaped(text, &header(head, name).unwrap_or(Cow::Borrowed(b"-")));
            text.push('"');
        }
    }
    split
}

/// Appends what became of the request, and after that the rest of the template.
pub(super) fn put_outcome(line: &mut String, after: &str, outcome: &RequestOutcome, duration: Duration) {
    match outcome.status {
        Some(status) => line.push_str(status.as_str()),
        None => line.push('-'),
    }
    match outcome.bytes {
        0 => line.push_str(" -"),
        bytes => drop(write!(line, " {bytes}")),
    }
    line.push_str(after);
    // What follows is no part of Apache's formats. It comes last, so that programs that know them can still read a line.
    if outcome.cut {
        line.push_str(" cut");
    }
    if let Some(traffic) = &outcome.closed {
        line.push_str(" closed code=");
        match traffic.code {
            Some(code) => drop(write!(line, "{code}")),
            None => line.push('-'),
        }
        let _ = write!(
            line,
            " duration={:.6} messages_in={} messages_out={} bytes_in={} bytes_out={}",
            duration.as_secs_f64(),
            traffic.messages_in,
            traffic.messages_out,
            traffic.bytes_in,
            traffic.bytes_out
        );
    }
}

/// Appends what comes from outside, escaped as by Apache's `ap_escape_logitem`: only printable ASCII, and no quote that is
/// not escaped.
fn put_escaped(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            b'\x08' => text.push_str("\\b"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\x0b' => text.push_str("\\v"),
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_and_control_characters_are_escaped() {
        let mut text = String::new();
        put_escaped(&mut text, b"a\"b\\c\n\r\t\x08\x0b\x00\x1b[m\x7f\xc3\xa9");
        assert_eq!(text, r#"a\"b\\c\n\r\t\b\v\x00\x1b[m\x7f\xc3\xa9"#);
    }

    /// Undoes the escapes, as a reader of the log would.
    fn read_back(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let number = |digits: String| u32::from_str_radix(&digits, 16).unwrap();
            let character = match character {
                '\\' => match rest.next().unwrap() {
                    'x' => {
                        bytes.push(number(rest.by_ref().take(2).collect()) as u8);
                        continue;
                    }
                    'b' => '\x08',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    other => other,
                },
                other => other,
            };
            bytes.extend(character.to_string().bytes());
        }
        bytes
    }

    /// Where a string ends that begins with a quote: at the next one that is not escaped.
    fn closing_quote(text: &str) -> Option<usize> {
        let mut escaped = false;
        text.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_its_quotes(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut text = String::new();
            put_escaped(&mut text, &value);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(closing_quote(&format!("{text}\"")), Some(text.len()));
            prop_assert_eq!(read_back(&text), value);
        }
    }
}
