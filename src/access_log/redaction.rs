//! Keeps the token of a long poll's session out of the access log: it is worth as much as a session cookie.

use std::borrow::Cow;
use std::io::Write as _;

use crate::request_head::RequestHead;

/// The parameter that may hold the token, for clients that cannot send it in a header.
const PARAMETER: &[u8] = b"last_event_id=";

/// This many hexadecimal digits in a row, or more, are taken for a token.
const TOKEN: usize = 32;

/// Puts `redacted` in the place of each token in the parameter `last_event_id` of a target or Referer. Changes nothing
/// else.
pub(super) fn without_tokens(address: &[u8]) -> Cow<'_, [u8]> {
    let Some(question) = address.iter().position(|byte| *byte == b'?') else { return Cow::Borrowed(address) };
    let (path, query) = address.split_at(question + 1);
    if !query.split(|byte| *byte == b'&').any(|pair| secret(pair).is_some()) {
        return Cow::Borrowed(address);
    }
    let mut out = path.to_vec();
    for (index, pair) in query.split(|byte| *byte == b'&').enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        match secret(pair) {
            Some((name, value)) => {
                out.extend_from_slice(name);
                redact(&mut out, &value);
            }
            None => out.extend_from_slice(pair),
        }
    }
    Cow::Owned(out)
}

/// A header's value, without the tokens in a Referer.
pub(super) fn header<'a>(head: Option<&'a RequestHead>, name: &str) -> Option<Cow<'a, [u8]>> {
    let value = head?.get(name)?;
    Some(if name == "referer" { without_tokens(value) } else { Cow::Borrowed(value) })
}

/// Name and decoded value of a pair that holds a token.
fn secret(pair: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let (name, value) = pair.split_at_checked(PARAMETER.len())?;
    if !name.eq_ignore_ascii_case(PARAMETER) {
        return None;
    }
    let value: Vec<u8> = percent_encoding::percent_decode(value).collect();
    value.chunk_by(both_hexadecimal).any(is_token).then_some((name, value))
}

fn both_hexadecimal(one: &u8, other: &u8) -> bool {
    one.is_ascii_hexdigit() && other.is_ascii_hexdigit()
}

fn is_token(digits: &[u8]) -> bool {
    digits.len() >= TOKEN
}

fn redact(out: &mut Vec<u8>, value: &[u8]) {
    for part in value.chunk_by(both_hexadecimal) {
        if is_token(part) {
            out.extend_from_slice(b"redacted");
            continue;
        }
        for &byte in part {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(byte);
            } else {
                // Writing into a Vec does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "0123456789abcdef0123456789ABCDEF";

    fn redacted(address: &str) -> String {
        String::from_utf8(without_tokens(address.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn tokens_of_sessions_are_redacted() {
        for (address, expected) in [
            (format!("/a?last_event_id=ab-7.{TOKEN}.3"), "/a?last_event_id=ab-7.redacted.3"),
            (format!("/a?x=1&last_event_id=ab-7.{TOKEN}.3&y"), "/a?x=1&last_event_id=ab-7.redacted.3&y"),
            (format!("/a?Last_Event_ID=ab-7%2e{TOKEN}%2E3"), "/a?Last_Event_ID=ab-7.redacted.3"),
            (format!("/a?last_event_id=ab-7.{}%61{}.3", &TOKEN[..9], &TOKEN[10..]), "/a?last_event_id=ab-7.redacted.3"),
            (
                format!("/a?last_event_id={TOKEN}&last_event_id=%0a{TOKEN}"),
                "/a?last_event_id=redacted&last_event_id=%0Aredacted",
            ),
            (format!("http://b/a?last_event_id=ab-7.{TOKEN}.3"), "http://b/a?last_event_id=ab-7.redacted.3"),
        ] {
            assert_eq!(redacted(&address), expected);
        }
    }

    #[test]
    fn everything_else_stays() {
        for address in [
            "*".to_owned(),
            "/a?".to_owned(),
            "/a?last_event_id=ab-7".to_owned(),
            "/a?last_event_id=%61b-7+%zz".to_owned(),
            format!("/{TOKEN}?x={TOKEN}"),
            format!("/a?xlast_event_id={TOKEN}"),
            format!("/a?last_event_id={}", &TOKEN[1..]),
        ] {
            assert_eq!(redacted(&address), address);
        }
    }

    proptest! {
        #[test]
        fn no_target_keeps_its_token(address in ".{0,20}[?](&?last_event_id=[a-f0-9%.]{0,80}){0,3}") {
            prop_assert!(!redacted(&address).contains(TOKEN));
        }
    }
}
