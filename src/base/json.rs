//! JSON strings.

use std::fmt::Write as _;

/// Appends `text` as a JSON string with its quotes (RFC 8259 section 7).
///
/// The RFC asks for an escape of quotes, backslashes and the control characters below U+0020. This escapes all control
/// characters, because a terminal that shows a log file acts on them, and the line separators U+2028 and U+2029.
pub(crate) fn put_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let quoted = matches!(character, '"' | '\\');
        if quoted || character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            out.push_str(&text[plain..at]);
            plain = at + character.len_utf8();
            if quoted {
                out.extend(['\\', character]);
            } else {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> String {
        let mut out = String::new();
        put_string(&mut out, text);
        out
    }

    #[test]
    fn quotes_control_characters_and_line_separators_are_escaped() {
        assert_eq!(string(""), r#""""#);
        assert_eq!(string("a\"\\\n\u{1f}ä"), r#""a\"\\\u000a\u001fä""#);
        assert_eq!(string("\0\u{7f}\u{9b}\u{2028}\u{2029}é"), r#""\u0000\u007f\u009b\u2028\u2029é""#);
    }

    /// The text of a JSON string in which only the escapes of [`put_string`] occur.
    fn parsed(string: &str) -> String {
        let inner = string.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut rest = inner.chars();
        let mut text = String::new();
        while let Some(character) = rest.next() {
            assert_ne!(character, '"', "a quote that is not escaped");
            text.push(match (character, character == '\\') {
                (_, true) => match rest.next().unwrap() {
                    'u' => {
                        let digits: String = rest.by_ref().take(4).collect();
                        char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                    }
                    escaped => escaped,
                },
                (plain, false) => plain,
            });
        }
        text
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed_back(text in "\\PC*|[\\x00-\\x9f]*|[\"\\\\a\\n]*") {
            let string = string(&text);
            prop_assert!(!string.contains(char::is_control));
            prop_assert_eq!(parsed(&string), text);
        }
    }
}
