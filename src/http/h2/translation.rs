//! What differs between a head of HTTP/2 and one of HTTP/1, in both directions. The rest of the server sees heads as those
//! of HTTP/1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::base::date;
use crate::base::limits::Limits;
use crate::http::head::ResponseHead;
use crate::http::response_headers::ResponseHeaders;

/// Fields of one connection of HTTP/1 (RFC 9113 section 8.2.2), and the answer to a key that HTTP/2 does not have (RFC 8441
/// section 5).
const NOT_SENT: [&str; 7] =
    ["connection", "transfer-encoding", "upgrade", "te", "sec-websocket-accept", "keep-alive", "proxy-connection"];

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request and its response.
    Request,
    /// A WebSocket (RFC 8441).
    WebSocket,
}

/// Makes `head` one of HTTP/1: its authority becomes the Host, and the request for a WebSocket becomes a handshake. The
/// error is the status of the response to a head that must not reach the app.
pub(super) fn translate(head: &mut Parts, limits: &Limits) -> Result<Purpose, StatusCode> {
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path > limits.max_uri_size {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > limits.max_headers || path + bytes > limits.max_head_size {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    check_fields(&head.headers)?;
    take_authority(head)?;
    let protocol = head.extensions.remove::<h2::ext::Protocol>();
    let Some(protocol) = protocol else {
        // Without a protocol, CONNECT has no path: the service refuses it.
        return if head.method == Method::CONNECT { Err(StatusCode::NOT_IMPLEMENTED) } else { Ok(Purpose::Request) };
    };
    if !protocol.as_str().eq_ignore_ascii_case("websocket") {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    head.method = Method::GET;
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers.insert(SEC_WEBSOCKET_KEY, made_up_key());
    Ok(Purpose::WebSocket)
}

/// What h2 lets through, and the app must not see.
fn check_fields(headers: &HeaderMap) -> Result<(), StatusCode> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // RFC 9113 section 8.2.1. In HTTP/1 such blanks do not belong to the value.
    let is_padded = |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
    // RFC 9110 section 8.6: one number, as in HTTP/1.
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(|length| length.as_bytes());
    let is_number = |length: &[u8]| !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    if headers.values().any(is_padded) || length.is_some_and(|it| !is_number(it)) || lengths.next().is_some() {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

/// RFC 9113 section 8.3.1.
fn take_authority(head: &mut Parts) -> Result<(), StatusCode> {
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    if let Some(path) = &uri.path_and_query
        && !path.as_str().starts_with('/')
        && path.as_str() != "*"
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    if let Some(authority) = uri.authority.take() {
        let mut hosts = head.headers.get_all(HOST).into_iter();
        if hosts.any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| StatusCode::BAD_REQUEST)?;
        head.headers.insert(HOST, host);
    }
    head.uri = uri.path_and_query.take().map_or_else(Uri::default, Uri::from);
    Ok(())
}

/// A key as a client of HTTP/1 would send it. HTTP/2 has none, but apps expect one.
fn made_up_key() -> HeaderValue {
    let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
    HeaderValue::try_from(key).unwrap_or(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="))
}

/// In HTTP/2, any 2xx accepts a WebSocket (RFC 8441 section 5). An app means nothing of the kind by it: it answers an ordinary
/// request. So the status says that the method, CONNECT, is not allowed (RFC 9110 section 15.5.6).
pub(super) fn refuse_websocket(head: &mut ResponseHead) {
    if head.status.is_success() {
        head.status = StatusCode::METHOD_NOT_ALLOWED;
        head.headers.set("allow", "GET");
    }
}

/// Makes the head of a response one of HTTP/2. 101 becomes 200 (RFC 8441 section 5).
pub(super) fn response(head: ResponseHead) -> http::Response<()> {
    let ResponseHead { status, mut headers, .. } = head;
    for name in NOT_SENT {
        headers.remove(name);
    }
    let mut response = http::Response::new(());
    *response.status_mut() = if status == StatusCode::SWITCHING_PROTOCOLS { StatusCode::OK } else { status };
    if !response.status().is_informational() && !headers.contains("date") {
        headers.append("date", date::now());
    }
    *response.headers_mut() = headers.into_map();
    response
}

/// Adds the length of a body that the app has not given itself.
pub(super) fn add_length(headers: &mut ResponseHeaders, length: u64) {
    if !headers.contains("content-length") {
        headers.append("content-length", length.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ALLOW, DATE};
    use proptest::prelude::*;

    fn head(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_authority_becomes_the_host() {
        let mut parts = head("GET", "http://example.com:81/a?b=c", &[]);
        assert_eq!(translate(&mut parts, &Limits::default()), Ok(Purpose::Request));
        assert_eq!(
            (parts.uri.to_string(), &parts.headers[HOST]),
            ("/a?b=c".to_owned(), &HeaderValue::from_static("example.com:81"))
        );
        let rows = [
            (head("GET", "http://a/", &[("host", "A")]), Ok(Purpose::Request)),
            (head("GET", "http://a/", &[("host", "b")]), Err(StatusCode::BAD_REQUEST)),
            (head("CONNECT", "a:1", &[]), Err(StatusCode::NOT_IMPLEMENTED)),
        ];
        for (mut parts, expected) in rows {
            assert_eq!(translate(&mut parts, &Limits::default()), expected, "{parts:?}");
        }
    }

    #[test]
    fn fields_that_http_1_would_not_take() {
        let rows: &[(&[(&'static str, &'static str)], bool)] = &[
            (&[("x", ""), ("y", "a b\tc"), ("content-length", "10")], true),
            (&[("x", " a")], false),
            (&[("x", "a\t")], false),
            (&[("x", " ")], false),
            (&[("content-length", "")], false),
            (&[("content-length", "+1")], false),
            (&[("content-length", "0"), ("content-length", "0")], false),
        ];
        for (fields, taken) in rows {
            let result = translate(&mut head("GET", "http://a/", fields), &Limits::default());
            assert_eq!(result, if *taken { Ok(Purpose::Request) } else { Err(StatusCode::BAD_REQUEST) }, "{fields:?}");
        }
    }

    #[test]
    fn limits_of_heads() {
        let limits = Limits { max_uri_size: 10, max_headers: 2, max_head_size: 8192, ..Limits::default() };
        let long: &'static str = Box::leak("x".repeat(8200).into_boxed_str());
        let rows = [
            (head("GET", "http://a/234567890", &[]), Ok(Purpose::Request)),
            (head("GET", "http://a/2345678901", &[]), Err(StatusCode::URI_TOO_LONG)),
            (head("GET", "http://a/", &[("x", "1"), ("y", "1")]), Ok(Purpose::Request)),
            (
                head("GET", "http://a/", &[("x", "1"), ("x", "1"), ("x", "1")]),
                Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            ),
            (head("GET", "http://a/", &[("x", long)]), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
        ];
        for (mut parts, expected) in rows {
            assert_eq!(translate(&mut parts, &limits), expected);
        }
    }

    #[test]
    fn an_extended_connect_becomes_a_handshake() {
        let connect = |protocol: &'static str| {
            let mut parts = head("CONNECT", "https://a/ws", &[("sec-websocket-version", "13")]);
            parts.extensions.insert(h2::ext::Protocol::from_static(protocol));
            (translate(&mut parts, &Limits::default()), parts)
        };
        let (purpose, parts) = connect("websocket");
        assert_eq!((purpose, &parts.method), (Ok(Purpose::WebSocket), &Method::GET));
        assert_eq!(
            (&parts.headers[UPGRADE], &parts.headers[CONNECTION]),
            (&HeaderValue::from_static("websocket"), &HeaderValue::from_static("Upgrade"))
        );
        assert_eq!(STANDARD.decode(&parts.headers[SEC_WEBSOCKET_KEY]).unwrap().len(), 16);
        assert_ne!(connect("websocket").1.headers[SEC_WEBSOCKET_KEY], parts.headers[SEC_WEBSOCKET_KEY]);
        assert_eq!(connect("connect-udp").0, Err(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn a_websocket_is_accepted_by_101_alone() {
        for (status, sent) in [(101, 200), (200, 405), (204, 405), (299, 405), (302, 302), (403, 403), (500, 500)] {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap(), ResponseHeaders::new());
            refuse_websocket(&mut head);
            let sent_head = response(head);
            assert_eq!(sent_head.status(), sent);
            assert_eq!(sent_head.headers().contains_key(ALLOW), sent == 405);
        }
    }

    #[test]
    fn a_response_has_nothing_of_a_connection_of_http_1() {
        let mut headers = ResponseHeaders::new();
        for name in NOT_SENT {
            headers.append(name, "x");
        }
        headers.append("x", "1");
        let sent = response(ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS, headers));
        assert_eq!((sent.status(), sent.headers().len()), (StatusCode::OK, 2), "{sent:?}");
        assert!(sent.headers().contains_key(DATE));
        let hints = response(ResponseHead::new(StatusCode::EARLY_HINTS, ResponseHeaders::new()));
        assert!(hints.headers().is_empty());
    }

    proptest! {
        /// Any head that h2 can make: one that reaches the app has the Host of its authority, and nothing else than h2 gave.
        #[test]
        fn any_head_can_come(
            method in "(GET|POST|CONNECT|[A-Za-z]{1,9})",
            authority in proptest::option::of("[a-z0-9.:@%\\[\\]-]{1,12}"),
            // h2 refuses an empty one.
            path in "[/*a][ -~]{0,30}",
            protocol in proptest::option::of(prop_oneof![Just("websocket"), Just("WebSocket"), Just("other")]),
            fields in proptest::collection::vec(("(host|cookie|content-length|[a-z_-]{1,8})", "[ -~\t\u{e9}]{0,8}"), 0..6),
        ) {
            let mut uri = Uri::builder();
            if let Some(authority) = &authority {
                uri = uri.scheme("http").authority(authority.as_str());
            }
            let built = uri.path_and_query(path).build().ok().and_then(|uri| {
                let request = http::Request::builder().method(method.as_str()).uri(uri);
                fields.iter().fold(request, |request, (name, value)| request.header(name, value)).body(()).ok()
            });
            let Some(request) = built else { return Ok(()) };
            let (mut parts, ()) = request.into_parts();
            if let Some(protocol) = protocol {
                parts.extensions.insert(h2::ext::Protocol::from_static(protocol));
            }
            let count = parts.headers.len();
            let Ok(purpose) = translate(&mut parts, &Limits::default()) else { return Ok(()) };
            if let Some(authority) = authority {
                prop_assert_eq!(parts.headers.get_all(HOST).iter().collect::<Vec<_>>(), [authority.as_str()]);
            }
            prop_assert!(parts.uri.authority().is_none());
            prop_assert!(parts.uri.path().starts_with('/') || parts.uri.path() == "*", "{}", parts.uri);
            prop_assert!(parts.headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
            // At most the Host, and the three fields of a handshake.
            let added = if purpose == Purpose::WebSocket { 4 } else { 1 };
            prop_assert!(parts.headers.len() <= count + added);
            prop_assert_eq!(purpose == Purpose::WebSocket, protocol.is_some());
        }
    }
}
