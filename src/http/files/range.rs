//! Range, RFC 9110 section 14.2: one part of a file. A request for several parts gets the whole,
//! which the section allows: hardly a client asks, and multipart bodies have been used to make
//! servers send a file many times over.

use std::ops::Range;

use crate::http::headers::{items, single, visible};
use crate::request_head::RequestHead;

/// What of a file is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requested {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// What the Range header asks of a file of this length.
pub(super) fn requested(head: &RequestHead, length: u64) -> Requested {
    let Some(line) = single(head, "range") else { return Requested::Whole };
    // What cannot be understood may be ignored, section 14.2.
    match visible(line).and_then(Spec::parse) {
        Some(spec) => spec.within(length),
        None => Requested::Whole,
    }
}

/// The value of Content-Range for a part of a file of this length, RFC 9110 section 14.4.
pub(super) fn content_range(bytes: &Range<u64>, length: u64) -> Option<String> {
    Some(format!("bytes {}-{}/{length}", bytes.start, bytes.end.checked_sub(1)?))
}

/// The same for a range that no part of the file is in.
pub(super) fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}

/// A range as it was asked for. Numbers that are too large for u64 are larger than any file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    Between(u64, Option<u64>),
    Last(u64),
}

impl Spec {
    /// `None` unless it is one valid range of bytes, section 14.1.1.
    fn parse(value: &str) -> Option<Self> {
        let (unit, set) = value.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = items(set);
        let (Some(spec), None) = (specs.next(), specs.next()) else { return None };
        match spec.split_once('-')? {
            ("", length) => Some(Spec::Last(number(length)?)),
            (first, "") => Some(Spec::Between(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Spec::Between(first, Some(last)))
            }
        }
    }

    /// Section 14.1.2.
    fn within(self, length: u64) -> Requested {
        // Content-Range cannot speak of no bytes, and a 416 would be an error for a client that
        // only wants no more than so much.
        if length == 0 {
            return Requested::Whole;
        }
        match self {
            Spec::Between(first, _) if first >= length => Requested::Unsatisfiable,
            Spec::Between(first, last) => {
                Requested::Part(first..last.map_or(length, |last| length.min(last.saturating_add(1))))
            }
            Spec::Last(0) => Requested::Unsatisfiable,
            Spec::Last(wanted) => Requested::Part(length.saturating_sub(wanted)..length),
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::{head, head_with};
    use proptest::prelude::*;

    fn of(value: &str, length: u64) -> Requested {
        requested(&head("GET", "/", &[("range", value)]), length)
    }

    #[test]
    fn one_part() {
        for (value, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-10", 0..10),
            ("bytes=-99", 0..10),
            ("bytes=9-99", 9..10),
            ("bytes=0-18446744073709551615", 0..10),
            ("bytes=0-99999999999999999999999", 0..10),
            ("bytes=-99999999999999999999999", 0..10),
            ("BYTES=2-5", 2..6),
            ("bytes=,\t2-5 ,", 2..6),
        ] {
            assert_eq!(of(value, 10), Requested::Part(part), "{value}");
        }
    }

    #[test]
    fn beyond_the_end() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(value, 10), Requested::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=+1-2",
            "bytes= =1-2",
            "bytes =1-2",
            "items=0-1",
            "bytes=0 -1",
            "bytes=0x1-",
            "bytes:0-1",
            "bytes=\u{b2}-",
            "bytes=,",
        ] {
            assert_eq!(of(value, 10), Requested::Whole, "{value}");
        }
        let line = ("range", "bytes=0-1");
        assert_eq!(requested(&head("GET", "/", &[line, line]), 10), Requested::Whole);
    }

    #[test]
    fn several_parts_are_the_whole() {
        for value in ["bytes=0-1,3-4", "bytes=0-0,-1", "bytes=20-,30-"] {
            assert_eq!(of(value, 10), Requested::Whole, "{value}");
        }
    }

    #[test]
    fn an_empty_file_is_always_whole() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"] {
            assert_eq!(of(value, 0), Requested::Whole, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond(value in "bytes=[-0-9, ]{0,30}", length in any::<u64>()) {
            if let Requested::Part(part) = of(&value, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn a_part_is_what_was_asked_for(first in 0u64..100, more in 0u64..100, length in 1u64..100) {
            let last = first + more;
            let expected = if first < length {
                Requested::Part(first..length.min(last + 1))
            } else {
                Requested::Unsatisfiable
            };
            prop_assert_eq!(of(&format!("bytes={first}-{last}"), length), expected);
        }

        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..60), length in any::<u64>()) {
            if let Some(head) = head_with([("range", &line[..])]) {
                requested(&head, length);
            }
        }
    }
}
