//! Refuses requests that hyper accepts and that a server must refuse, as far as a parsed head shows them.
//! [`super::h1::framing`] refuses the others.

use http::uri::Authority;
use http::{StatusCode, Version};

use super::headers::{Field, field, visible};
use super::response::Response;
use crate::request_head::{Method, RequestHead};

/// The response to a request that must not reach the app.
pub fn refusal(head: &RequestHead) -> Option<Response> {
    // CONNECT is for proxies: RFC 9110 section 9.3.6.
    if head.method() == Method::Connect {
        return Some(Response::plain(StatusCode::NOT_IMPLEMENTED).and_close());
    }
    // RFC 9112 section 3.2.4: the asterisk is for OPTIONS.
    if head.path_bytes() == b"*" && head.method() != Method::Options {
        return Some(Response::plain(StatusCode::BAD_REQUEST).and_close());
    }
    // Sections 3.2.2 and 3.2.3: a target with a host also has a scheme, except that of CONNECT.
    if head.authority().is_some_and(|authority| !head.has_scheme() || !valid_host(authority)) {
        return Some(Response::plain(StatusCode::BAD_REQUEST).and_close());
    }
    // RFC 9112 section 3.2: exactly one valid Host on HTTP/1.1.
    let valid = match field(head, "host") {
        Field::Absent => head.version() < Version::HTTP_11,
        Field::Once(host) => is_plain_host(host) || visible(host).is_some_and(valid_host),
        Field::Repeated => false,
    };
    (!valid).then(|| Response::plain(StatusCode::BAD_REQUEST).and_close())
}

/// Whether `text` is a host as nearly all are, which need no parser: a name or an IPv4 address, and perhaps a port.
fn is_plain_host(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let name = text.iter().position(|byte| !plain(byte)).unwrap_or(text.len());
    match text.split_at(name) {
        ([], _) => false,
        (_, [] | [b':']) => true,
        // No port that begins like this is beyond 65,535.
        (_, [b':', port @ ..]) => port.len() <= 4 + usize::from(port[0] < b'6') && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether `text` is a host, and perhaps a port that is a number, without a user (RFC 9110 section 7.2).
fn valid_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    let valid_port = port.is_none_or(|port| port.is_empty() || authority.port_u16().is_some());
    !text.contains('@') && !authority.host().is_empty() && valid_port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Option<u16> {
        let (head, ()) = build(http::Request::builder().uri("/")).body(()).unwrap().into_parts();
        refusal(&RequestHead::from_parts(head)).map(|response| response.head.status.as_u16())
    }

    #[test]
    fn one_valid_host() {
        assert_eq!(status(|r| r.header("host", "example.com:8080")), None);
        assert_eq!(status(|r| r.header("host", "[::1]:8080")), None);
        assert_eq!(status(|r| r), Some(400));
        assert_eq!(status(|r| r.version(Version::HTTP_10)), None);
        assert_eq!(status(|r| r.header("host", "a").header("host", "a")), Some(400));
        assert_eq!(status(|r| r.header("host", "")), Some(400));
        assert_eq!(status(|r| r.header("host", "a b")), Some(400));
        assert_eq!(status(|r| r.header("host", "user@a")), Some(400));
        assert_eq!(status(|r| r.header("host", "a/b")), Some(400));
        assert_eq!(status(|r| r.header("host", "a:b")), Some(400));
        assert_eq!(status(|r| r.header("host", "a:")), None);
        assert_eq!(status(|r| r.header("host", "[::1]")), None);
        assert_eq!(status(|r| r.uri("http://a:1/x").header("host", "b")), None);
        assert_eq!(status(|r| r.uri("http://user@a/x").header("host", "a")), Some(400));
        assert_eq!(status(|r| r.uri("a").header("host", "a")), Some(400));
    }

    proptest::proptest! {
        #[test]
        fn a_plain_host_is_valid_for_the_parser(text in "[a-z0-9.:@/-]{0,12}|[a-z]{1,3}:[0-9]{0,6}") {
            proptest::prop_assert!(!is_plain_host(text.as_bytes()) || valid_host(&text), "{}", text);
        }
    }

    #[test]
    fn connect_is_refused() {
        assert_eq!(status(|r| r.method("CONNECT").uri("a:1").header("host", "a")), Some(501));
    }
}
