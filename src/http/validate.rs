//! Refuses requests that hyper accepts and that a server must refuse, as far as a parsed head shows them.
//! [`super::h1::framing`] refuses the others.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};

use super::headers::{Field, field};
use super::response::Response;

/// The response to a request that must not reach the app.
pub fn refusal(head: &Parts) -> Option<Response> {
    // CONNECT is for proxies: RFC 9110 section 9.3.6.
    if head.method == Method::CONNECT {
        return Some(Response::plain(StatusCode::NOT_IMPLEMENTED).and_close());
    }
    // RFC 9112 section 3.2.4: the asterisk is for OPTIONS.
    if head.uri.path() == "*" && head.method != Method::OPTIONS {
        return Some(Response::plain(StatusCode::BAD_REQUEST).and_close());
    }
    // Sections 3.2.2 and 3.2.3: a target with a host also has a scheme, except that of CONNECT.
    if head.uri.authority().is_some_and(|authority| head.uri.scheme().is_none() || !valid_host(authority.as_str())) {
        return Some(Response::plain(StatusCode::BAD_REQUEST).and_close());
    }
    // RFC 9112 section 3.2: exactly one valid Host on HTTP/1.1.
    let valid = match field(&head.headers, HOST) {
        Field::Absent => head.version < Version::HTTP_11,
        Field::Once(host) => host.to_str().is_ok_and(valid_host),
        Field::Repeated => false,
    };
    (!valid).then(|| Response::plain(StatusCode::BAD_REQUEST).and_close())
}

/// Whether `text` is a host, and perhaps a port that is a number, without a user (RFC 9110 section 7.2).
fn valid_host(text: &str) -> bool {
    // Nearly all hosts are plain names or IPv4 addresses, which need no parser.
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !name.is_empty() && name.bytes().all(plain) && port.len() <= 4 && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return true;
    }
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
        refusal(&head).map(|response| response.head.status.as_u16())
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

    #[test]
    fn connect_is_refused() {
        assert_eq!(status(|r| r.method("CONNECT").uri("a:1").header("host", "a")), Some(501));
    }
}
