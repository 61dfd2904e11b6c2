//! What clients offer in `Sec-WebSocket-Extensions`, and what the server answers: RFC 6455 section 9.1, RFC 7692
//! section 7.1.

use std::borrow::Cow;

use super::WindowBits;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// An offer that the server can accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The client promises to keep no window from one message to the next.
    client_no_context_takeover: bool,
    /// The largest window that the client can read.
    server_max_window_bits: Option<WindowBits>,
    /// The largest window that the client uses, as it says itself.
    client_max_window_bits: Option<u8>,
}

/// What a client and the server have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    offer: Offer,
    /// The client may refer to messages before, so that the server keeps a window for it.
    pub client_keeps_window: bool,
}

impl Offer {
    /// The first of a client's offers that the server can accept. `headers` has the values of the header, in order.
    pub fn first<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        headers.flat_map(|header| split(header, ',')).find_map(Offer::parse)
    }

    /// `None` if it is another extension, or an offer that the server must decline: section 7.1.
    fn parse(extension: &str) -> Option<Self> {
        let mut parts = split(extension, ';');
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut offer =
            Offer { client_no_context_takeover: false, server_max_window_bits: None, client_max_window_bits: None };
        let mut seen = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii())?)),
                None => (part, None),
            };
            let name = name.to_ascii_lowercase();
            match (name.as_str(), value.as_deref()) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {}
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => offer.client_no_context_takeover = true,
                // zlib has no window of 8 bits.
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    offer.server_max_window_bits = Some(WindowBits::new(bits(value)?)?);
                }
                (CLIENT_MAX_WINDOW_BITS, None) => {}
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => offer.client_max_window_bits = Some(bits(value)?),
                _ => return None,
            }
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
        }
        Some(offer)
    }

    /// Whether the server would have to keep a window for the client.
    pub fn wants_window(self) -> bool {
        !self.client_no_context_takeover
    }

    /// Accepts it. Unless `keeps_window`, the client must keep no window from one message to the next.
    pub fn accept(self, keeps_window: bool) -> Agreement {
        Agreement { offer: self, client_keeps_window: keeps_window && self.wants_window() }
    }
}

impl Agreement {
    /// The window of messages to the client.
    pub fn window(&self) -> WindowBits {
        self.offer.server_max_window_bits.unwrap_or(WindowBits::MOST)
    }

    /// The value of the header that accepts the offer.
    pub fn answer(&self) -> String {
        let mut answer = format!("{NAME}; {SERVER_NO_CONTEXT_TAKEOVER}");
        if !self.client_keeps_window {
            answer += &format!("; {CLIENT_NO_CONTEXT_TAKEOVER}");
        }
        if let Some(window) = self.offer.server_max_window_bits {
            answer += &format!("; {SERVER_MAX_WINDOW_BITS}={}", window.bits());
        }
        // Section 7.1.2.2: only if the client has offered it.
        if let Some(bits) = self.offer.client_max_window_bits {
            answer += &format!("; {CLIENT_MAX_WINDOW_BITS}={bits}");
        }
        answer
    }
}

/// The parts between separators that are not in a quoted string. Empty parts are left out, as in lists of HTTP.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.find(|it: char| {
            let ends = it == separator && !quoted;
            match it {
                _ if escaped => escaped = false,
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => {}
            }
            ends
        });
        rest = end.map(|end| &text[end + separator.len_utf8()..]);
        Some(text[..end.unwrap_or(text.len())].trim_ascii())
    })
    .filter(|part| !part.is_empty())
}

/// A value without its quotes. `None` if the quotes are broken.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)) };
    let inner = inner.strip_suffix('"')?;
    let mut out = String::new();
    let mut characters = inner.chars();
    while let Some(it) = characters.next() {
        match it {
            '"' => return None,
            '\\' => out.push(characters.next()?),
            it => out.push(it),
        }
    }
    Some(Cow::Owned(out))
}

/// Sections 7.1.2.1 and 7.1.2.2: a decimal number from 8 to 15, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (bits.to_string() == value).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(header: &str) -> Option<String> {
        Offer::first([header].into_iter()).map(|offer| offer.accept(true).answer())
    }

    const USUAL: &str = "permessage-deflate; server_no_context_takeover";

    #[test]
    fn answers() {
        let rows: &[(&str, &str)] = &[
            ("permessage-deflate", ""),
            ("Permessage-Deflate", ""),
            ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate;server_no_context_takeover", ""),
            ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("permessage-deflate; server_max_window_bits=\"10\"", "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=\"1\\0\"", "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits = 10", "; server_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits=8", "; client_max_window_bits=8"),
            (
                "permessage-deflate; client_max_window_bits=12; server_max_window_bits=11; client_no_context_takeover",
                "; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=12",
            ),
            // The first one that can be accepted.
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ""),
            ("x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"),
            (
                "foo; a=\",permessage-deflate;\", , permessage-deflate; server_max_window_bits=9",
                "; server_max_window_bits=9",
            ),
            (
                "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=14",
                "; server_max_window_bits=14",
            ),
        ];
        for (offers, parameters) in rows {
            assert_eq!(answer(offers), Some(format!("{USUAL}{parameters}")), "{offers}");
        }
    }

    /// Section 7.1: offers that must be declined.
    #[test]
    fn declined() {
        for offers in [
            "",
            "permessage-bzip2",
            "permessage-deflate-2",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+10",
            "permessage-deflate; server_max_window_bits=10.0",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=\"10\\",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=x",
        ] {
            assert_eq!(answer(offers), None, "{offers}");
        }
    }

    #[test]
    fn offers_in_several_headers() {
        let headers = ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=9"];
        let offer = Offer::first(headers.into_iter()).unwrap();
        assert_eq!(offer.accept(true).window().bits(), 9);
    }

    #[test]
    fn without_room_the_client_keeps_no_window() {
        let offer = Offer::first(["permessage-deflate"].into_iter()).unwrap();
        assert_eq!(offer.accept(false).answer(), format!("{USUAL}; client_no_context_takeover"));
        assert!(offer.wants_window() && offer.accept(true).client_keeps_window);
        let offer = Offer::first(["permessage-deflate; client_no_context_takeover"].into_iter()).unwrap();
        assert!(!offer.wants_window() && !offer.accept(true).client_keeps_window);
    }

    proptest! {
        /// Any header: no panic, and an answer has only what was offered.
        #[test]
        fn any_header_can_come(header in "\\PC{0,80}", parts in proptest::collection::vec(0usize..9, 0..6)) {
            let _ = answer(&header);
            let parameters = [
                "", ";", ",", "=", "\"", "; server_max_window_bits=9", "; client_max_window_bits", "; client_max_window_bits=9",
                "; client_no_context_takeover",
            ];
            let offers = parts.iter().fold(NAME.to_owned(), |offers, part| offers + parameters[*part]);
            if let Some(answer) = answer(&offers) {
                for part in answer.split("; ").skip(2) {
                    prop_assert!(offers.contains(part), "{} to {}", answer, offers);
                }
            }
        }
    }
}
