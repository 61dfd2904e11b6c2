//! Reading header fields: tokens, a field that may come once, lists, q-values.

use crate::request_head::RequestHead;

/// Whether a token may have this byte, RFC 9110 section 5.6.2.
pub const fn is_tchar(byte: u8) -> bool {
    let is_sign = matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    );
    is_sign || byte.is_ascii_alphanumeric()
}

/// How often a field occurs. Most fields may occur only once (RFC 9110 section 5.3).
#[derive(Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// It is not there.
    Absent,
    /// It is there once.
    Once(&'a [u8]),
    /// It is there several times.
    Repeated,
}

/// The field `name`.
pub fn field<'a>(head: &'a RequestHead, name: &str) -> Field<'a> {
    let mut lines = head.get_all(name);
    match (lines.next(), lines.next()) {
        (None, _) => Field::Absent,
        (Some(line), None) => Field::Once(line),
        (Some(_), Some(_)) => Field::Repeated,
    }
}

/// The value of a field that is there exactly once.
pub fn single<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    match field(head, name) {
        Field::Once(value) => Some(value),
        Field::Absent | Field::Repeated => None,
    }
}

/// A value as text, if it is visible ASCII.
pub fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if value.iter().all(is_visible) { std::str::from_utf8(value).ok() } else { None }
}

/// As [`single`], but only if the value is visible ASCII. Without the space around it.
pub fn single_text<'a>(head: &'a RequestHead, name: &str) -> Option<&'a str> {
    single(head, name).and_then(visible).map(str::trim)
}

/// The items of a comma-separated list, over all its lines (RFC 9110 section 5.6.1).
pub fn list<'a>(head: &'a RequestHead, name: &str) -> impl Iterator<Item = &'a str> {
    head.get_all(name).filter_map(visible).flat_map(items)
}

/// The items of one line of a list. Empty items are left out.
pub fn items(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Whether a list has `token`, in upper or lower case.
pub fn has_token(head: &RequestHead, name: &str, token: &str) -> bool {
    list(head, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// An item of Accept or Accept-Encoding: what it names, and its q-value in thousandths. An unreadable q-value counts
/// as 0, so the item does not count.
pub fn weighted(item: &str) -> (&str, u16) {
    let (named, parameters) = item.split_once(';').unwrap_or((item, ""));
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let weight = match parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) {
        Some((_, value)) => thousandths(value.trim()).unwrap_or(0),
        None => 1000,
    };
    (named.trim(), weight)
}

/// A qvalue, RFC 9110 section 12.4.2: 0 to 1 with at most three digits after the point.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let mut thousandths = 0;
    for place in 0..fraction.len().max(3) {
        let digit = match fraction.as_bytes().get(place) {
            Some(digit @ b'0'..=b'9') if place < 3 => digit - b'0',
            Some(_) => return None,
            None => 0,
        };
        thousandths = thousandths * 10 + u16::from(digit);
    }
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::head;

    fn lines(name: &'static str, values: &[&'static str]) -> RequestHead {
        head("GET", "/", &values.iter().map(|value| (name, *value)).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_has_letters_digits_and_some_signs() {
        let not: Vec<u8> = (b'!'..=b'~').filter(|byte| !is_tchar(*byte)).collect();
        assert_eq!(not, b"\"(),/:;<=>?@[\\]{}");
        assert!((0..=b' ').chain(0x7f..=0xff).all(|byte| !is_tchar(byte)));
    }

    #[test]
    fn a_field_once_or_several_times() {
        assert_eq!(field(&lines("accept", &[]), "accept"), Field::Absent);
        assert_eq!(field(&lines("accept", &["a"]), "accept"), Field::Once(b"a"));
        assert_eq!(field(&lines("accept", &["a", "a"]), "accept"), Field::Repeated);
        assert_eq!(single_text(&lines("accept", &["a"]), "accept"), Some("a"));
        assert_eq!(single_text(&lines("accept", &["a", "a"]), "accept"), None);
        assert_eq!(single_text(&lines("accept", &["\u{e4}"]), "accept"), None);
    }

    #[test]
    fn a_list_may_have_several_lines_and_empty_items() {
        let headers = lines("connection", &["keep-alive,, Upgrade ", ",", "\u{e4}, b", "a"]);
        assert_eq!(list(&headers, "connection").collect::<Vec<_>>(), ["keep-alive", "Upgrade", "a"]);
        assert!(has_token(&headers, "connection", "upgrade") && !has_token(&headers, "connection", "up"));
    }

    #[test]
    fn weights() {
        let rows = [
            ("gzip", 1000),
            ("gzip;q=1", 1000),
            ("gzip ; Q = 1.000", 1000),
            ("gzip; a=b; q=0.5", 500),
            ("gzip;q=0.05", 50),
            ("gzip;q=0.", 0),
            ("gzip;q=1.", 1000),
            ("gzip;q=0.000", 0),
        ];
        for (item, weight) in rows {
            assert_eq!(weighted(item), ("gzip", weight), "{item}");
        }
        for unreadable in ["2", "1.1", "1.001", "0.1234", "-1", "+1", "x", "", ".5", "0,5", "1e0", "0.5.5"] {
            assert_eq!(weighted(&format!("gzip;q={unreadable}")), ("gzip", 0), "{unreadable}");
        }
    }
}
