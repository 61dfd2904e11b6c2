//! The client's address and scheme as a trusted proxy tells them: `X-Forwarded-For` and `X-Forwarded-Proto`.
//!
//! What a client could have forged is removed from the head, so that the app, and Rack's own `Rack::Request`, come to the
//! same result. `Forwarded` (RFC 7239) is always removed: most proxies pass on what their client has sent there, and Rack
//! would believe it first.

use std::net::{IpAddr, SocketAddr};

use super::headers::list;
use crate::net::{Peer, TrustedProxies};
use crate::request_head::RequestHead;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
/// Others that say something about the client's request, and that Rack believes.
const OTHERS: [&str; 4] = ["x-forwarded-host", "x-forwarded-port", "x-forwarded-scheme", "x-forwarded-ssl"];

/// The client, and whether it used https, if the scheme is not that of the connection. `peer` is the other end of the connection.
/// Without trusted proxies, `head` is left as it is.
pub(super) fn client(
    head: &mut RequestHead,
    (peer, encrypted): (Peer, bool),
    trusted: &TrustedProxies,
) -> (Peer, Option<bool>) {
    if trusted.is_empty() {
        return (peer, None);
    }
    head.remove("forwarded");
    if !trusted.include(peer) {
        head.remove(FOR);
        head.remove(PROTO);
        OTHERS.iter().for_each(|name| head.remove(name));
        return (peer, None);
    }
    // As Rack: the first one counts.
    let https = list(head, PROTO).next().and_then(is_https).filter(|https| *https != encrypted);
    let Some((from, ip)) = originator(head, trusted) else {
        head.remove(FOR);
        return (peer, https);
    };
    // What stands before the client was sent by the client itself.
    let believed: Vec<_> = list(head, FOR).skip(from).map(str::to_owned).collect();
    head.set(FOR, believed.join(", ").as_bytes());
    (Peer::Forwarded(ip), https)
}

/// `None`: no scheme of the web.
fn is_https(scheme: &str) -> Option<bool> {
    let is_any = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    if is_any(["https", "wss"]) { Some(true) } else { is_any(["http", "ws"]).then_some(false) }
}

/// The newest address in `X-Forwarded-For` that is not that of a trusted proxy, or the oldest of theirs; and its index.
/// Each proxy adds its client at the end. What is no address, and all before it, is not believed.
fn originator(head: &RequestHead, trusted: &TrustedProxies) -> Option<(usize, IpAddr)> {
    let hops: Vec<_> = list(head, FOR).collect();
    let mut found = None;
    for (index, hop) in hops.iter().enumerate().rev() {
        let Some(ip) = address(hop) else { break };
        found = Some((index, ip));
        if !trusted.include_ip(ip) {
            break;
        }
    }
    found
}

/// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, and each with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip: Option<IpAddr> = bare.parse().ok();
    ip.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::head;
    use proptest::prelude::*;

    const TRUSTED: [&str; 2] = ["127.0.0.1", "10.0.0.0/8"];

    /// The client's address and scheme, and the X-Forwarded-For that the app sees.
    fn seen(peer: &str, lines: &[(&str, &str)]) -> (String, Option<bool>, Option<String>) {
        seen_by(peer, false, lines)
    }

    /// The same, also of an encrypted connection.
    fn seen_by(peer: &str, encrypted: bool, lines: &[(&str, &str)]) -> (String, Option<bool>, Option<String>) {
        let mut head = head("GET", "/", lines);
        let peer = Peer::Inet(SocketAddr::new(peer.parse().unwrap(), 1));
        let (client, https) = client(&mut head, (peer, encrypted), &TrustedProxies::parse(TRUSTED).unwrap());
        assert!(!head.contains("forwarded"));
        let kept = head.get(FOR).map(|value| String::from_utf8(value.to_vec()).unwrap());
        (client.ip().to_string(), https, kept)
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        type Row = (&'static [(&'static str, &'static str)], &'static str, Option<&'static str>);
        let rows: [Row; 10] = [
            (&[], "127.0.0.1", None),
            (&[("x-forwarded-for", "203.0.113.9")], "203.0.113.9", Some("203.0.113.9")),
            (
                &[("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.1.1.1")],
                "203.0.113.9",
                Some("203.0.113.9, 10.1.1.1"),
            ),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9", Some("203.0.113.9")),
            (&[("x-forwarded-for", "10.1.1.2, 10.1.1.1")], "10.1.1.2", Some("10.1.1.2, 10.1.1.1")),
            (&[("x-forwarded-for", "unknown, 10.1.1.1")], "10.1.1.1", Some("10.1.1.1")),
            (&[("x-forwarded-for", "203.0.113.9, evil")], "127.0.0.1", None),
            (&[("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1", Some("[2001:db8::1]:4711")),
            (&[("x-forwarded-for", "203.0.113.9:80")], "203.0.113.9", Some("203.0.113.9:80")),
            (
                &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "::ffff:203.0.113.9")],
                "203.0.113.9",
                Some("::ffff:203.0.113.9"),
            ),
        ];
        for (lines, ip, kept) in rows {
            assert_eq!(seen("127.0.0.1", lines), (ip.to_owned(), None, kept.map(str::to_owned)), "{lines:?}");
        }
    }

    #[test]
    fn the_scheme_is_what_the_proxy_says() {
        let rows = [
            ("https", Some(true)),
            ("HTTPS", Some(true)),
            ("wss", Some(true)),
            ("http", Some(false)),
            ("ws", Some(false)),
            ("https, http", Some(true)),
            ("http, https", Some(false)),
            ("", None),
            ("gopher", None),
        ];
        for (value, https) in rows {
            for encrypted in [false, true] {
                let seen = seen_by("127.0.0.1", encrypted, &[("x-forwarded-proto", value)]).1;
                assert_eq!(seen, https.filter(|https| *https != encrypted), "{value}");
            }
        }
    }

    #[test]
    fn others_are_not_believed_and_the_app_does_not_see_what_they_say() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(seen("203.0.113.9", &lines), ("203.0.113.9".to_owned(), None, None));
    }

    #[test]
    fn without_trusted_proxies_nothing_changes() {
        let mut head = head("GET", "/", &[(FOR, "6.6.6.6"), ("forwarded", "for=6.6.6.6")]);
        let before = format!("{head:?}");
        let (peer, https) = client(&mut head, (Peer::Unix, false), &TrustedProxies::default());
        assert_eq!((peer, https, format!("{head:?}")), (Peer::Unix, None, before));
    }

    proptest! {
        /// Whatever a trusted proxy passes on: the client is one of the addresses there, with which what the app sees begins.
        #[test]
        fn any_header_can_come(
            hops in proptest::collection::vec("(10\\.0\\.0\\.1|6\\.6\\.6\\.6|203\\.0\\.113\\.9:80|\\[2001:db8::1\\]|[ -~]{0,9})", 0..5),
            scheme in "(https?|wss?|[ -~]{0,6})",
        ) {
            let mut head = head("GET", "/", &[(FOR, &hops.join(",")), (PROTO, &scheme)]);
            let peer = Peer::Inet(SocketAddr::new([127, 0, 0, 1].into(), 1));
            let (seen, https) = client(&mut head, (peer, false), &TrustedProxies::parse(TRUSTED).unwrap());
            prop_assert!(https != Some(false));
            match head.get(FOR) {
                Some(kept) => {
                    let kept = std::str::from_utf8(kept).unwrap();
                    prop_assert!(!kept.is_empty());
                    prop_assert_eq!(address(kept.split(", ").next().unwrap()), Some(seen.ip()));
                }
                None => prop_assert_eq!(seen.ip(), peer.ip()),
            }
        }
    }
}
