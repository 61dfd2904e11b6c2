//! Globs as in Redis' PSUBSCRIBE, compiled once and matched in O(pattern × name).
//!
//! `*` is any run of bytes, `?` one byte, `[ab-z]` one of these bytes, `[^…]` one of the other bytes, `\x` the byte x.
//! As in Redis, a glob matches bytes and not characters, and a class without a `]` ends with the pattern.

/// A compiled glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    tokens: Box<[Token]>,
}

/// A part of a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This byte.
    Byte(u8),
    /// One byte.
    One,
    /// Any run of bytes. There are never two of these in a row.
    Any,
    /// A byte that is in these ranges, or one that is not.
    Class {
        /// Whether it must not be in them.
        negated: bool,
        /// The first and the last byte of each.
        ranges: Box<[(u8, u8)]>,
    },
}

impl Token {
    /// Whether `byte` matches. For [`Token::Any`]: whether it may be part of a run that matches.
    pub(super) fn matches(&self, byte: u8) -> bool {
        match self {
            Token::Byte(own) => *own == byte,
            Token::One | Token::Any => true,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
        }
    }
}

impl Pattern {
    /// Compiles `text`. Every text is a pattern.
    pub fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let token = match byte {
                b'*' if tokens.last() == Some(&Token::Any) => continue,
                b'*' => Token::Any,
                b'?' => Token::One,
                b'[' => class(&mut bytes),
                b'\\' => Token::Byte(bytes.next().unwrap_or(b'\\')),
                byte => Token::Byte(byte),
            };
            tokens.push(token);
        }
        Pattern { text: text.into(), tokens: tokens.into() }
    }

    /// The text of the glob.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The glob's parts.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether all of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let (mut at, mut token) = (0, 0);
        // Where to continue if the part after the last `*` does not match. Only the last `*` ever has to take more
        // bytes, so the time does not grow exponentially.
        let mut retry = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::Any) => {
                    token += 1;
                    retry = Some((at, token));
                }
                Some(own) if own.matches(name[at]) => {
                    at += 1;
                    token += 1;
                }
                _ => {
                    let Some((from, after)) = retry else { return false };
                    retry = Some((from + 1, after));
                    (at, token) = (from + 1, after);
                }
            }
        }
        self.tokens[token..].iter().all(|rest| *rest == Token::Any)
    }
}

/// Parses what follows a `[`.
fn class(bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Token {
    let negated = bytes.next_if_eq(&b'^').is_some();
    let mut ranges = Vec::new();
    while let Some(byte) = bytes.next() {
        let low = match byte {
            b']' => break,
            b'\\' => bytes.next().unwrap_or(b'\\'),
            byte => byte,
        };
        let range = bytes.clone().next() == Some(b'-') && bytes.clone().nth(1).is_some_and(|end| end != b']');
        let high = if range { bytes.nth(1).unwrap_or(low) } else { low };
        ranges.push((low.min(high), low.max(high)));
    }
    Token::Class { negated, ranges: ranges.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_like_redis() {
        let rows = [
            ("chat:*", "chat:42", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chat", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("news.*.eu", "news.sport.football.eu", true),
            ("news.*.eu", "news.eu", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-]llo", "h-llo", true),
            ("h[\\]]llo", "h]llo", true),
            ("h[ab", "hb", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\", "a\\", true),
            ("**a**", "bab", true),
            ("*a", "aab", false),
            ("*ab*ab", "abxabab", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!Pattern::new(&"*a".repeat(60)).matches(&"b".repeat(255)));
    }

    /// The definition of a match, which is simple and slow.
    fn plainly(tokens: &[Token], name: &[u8]) -> bool {
        match tokens.split_first() {
            None => name.is_empty(),
            Some((Token::Any, rest)) => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
            Some((token, rest)) => {
                name.split_first().is_some_and(|(byte, after)| token.matches(*byte) && plainly(rest, after))
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", name in "[ab]{0,8}") {
            let pattern = Pattern::new(&pattern);
            prop_assert_eq!(pattern.matches(&name), plainly(&pattern.tokens, name.as_bytes()));
        }
    }
}
