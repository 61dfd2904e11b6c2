//! Which requests can become push connections, and the response head that accepts one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, Version};
use memchr::memchr;
use tungstenite::handshake::derive_accept_key;

use super::event_stream;
use super::head::ResponseHead;
use super::headers::{has_token, list, single_text, visible, weighted};
use super::origin::Allowed;
use super::response::Response;
use super::response_headers::ResponseHeaders;
use crate::base::date;
use crate::push::{Protocol, SUBPROTOCOL};
use crate::request_head::{Method, RequestHead};
use crate::websocket::deflate::{Agreement, Offer};

/// What a request can be upgraded to.
#[derive(Debug)]
pub enum Detected {
    /// An ordinary request.
    Nothing,
    /// A WebSocket handshake, with the Sec-WebSocket-Accept that answers it.
    WebSocket(String),
    /// A request for an event stream.
    Sse,
    /// A WebSocket handshake that must not reach the app.
    Refused(Box<Response>),
}

/// What the head that accepts a WebSocket says of it.
#[derive(Debug, Default)]
pub struct WebSocketHead<'a> {
    /// The Sec-WebSocket-Accept.
    pub accept: &'a str,
    /// The subprotocol, if there is one.
    pub subprotocol: Option<&'a str>,
    /// How messages are compressed, if they are.
    pub deflate: Option<Agreement>,
}

/// Looks at a request's head.
pub fn detect(head: &RequestHead, origins: &Allowed) -> Detected {
    // RFC 6455 section 4.2.1: a handshake is a GET. RFC 9110 section 7.8: Upgrade has no meaning in HTTP/1.0. In HTTP/2 only
    // the server itself makes one, of an extended CONNECT.
    if head.method() == Method::Get && head.version() >= Version::HTTP_11 && has_token(head, "upgrade", "websocket") {
        return match websocket(head, origins) {
            Ok(accept) => Detected::WebSocket(accept),
            Err(response) => Detected::Refused(response),
        };
    }
    let streams = may_stream(head.method()) && accepts_event_stream(head);
    if streams { Detected::Sse } else { Detected::Nothing }
}

/// Whether the response to this method can be an event stream. A response to HEAD has no body, and methods such as
/// OPTIONS and TRACE ask about the server itself.
fn may_stream(method: Method) -> bool {
    use Method::{Delete, Get, Patch, Post, Put, Query};
    matches!(method, Get | Post | Put | Patch | Delete | Query)
}

/// RFC 6455 section 4.2.
fn websocket(head: &RequestHead, origins: &Allowed) -> Result<String, Box<Response>> {
    let bad_request = || Box::new(Response::plain(StatusCode::BAD_REQUEST).and_close());
    if !has_token(head, "connection", "upgrade") {
        return Err(bad_request());
    }
    // Section 4.4: the response names the version that the server supports.
    let version = single_text(head, "sec-websocket-version");
    if version != Some("13") {
        let response = Response::plain(StatusCode::UPGRADE_REQUIRED)
            .with("sec-websocket-version", "13")
            .with("upgrade", "websocket");
        return Err(Box::new(response.and_close()));
    }
    let key = single_text(head, "sec-websocket-key").ok_or_else(bad_request)?;
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(bad_request());
    }
    if let Some(origin) = head.get("origin") {
        let host = head.get("host").and_then(visible);
        if !visible(origin).is_some_and(|origin| origins.permits(origin, host)) {
            let origin = origin.escape_ascii();
            let host = host.unwrap_or("(none)");
            log::info!(
                "a WebSocket from a page of {origin} was refused, because the host is {host}. To allow it: \
                 --allow-origin {origin}"
            );
            return Err(Box::new(Response::plain(StatusCode::FORBIDDEN).and_close()));
        }
    }
    Ok(derive_accept_key(key.as_bytes()))
}

/// Whether Accept names `text/event-stream` with q > 0 (RFC 9110 section 12.5.1).
fn accepts_event_stream(head: &RequestHead) -> bool {
    // Most requests accept nothing with a dash.
    if !head.get_all("accept").any(|value| memchr(b'-', value).is_some()) {
        return false;
    }
    list(head, "accept").any(|range| {
        let (media, weight) = weighted(range);
        weight > 0 && media.eq_ignore_ascii_case("text/event-stream")
    })
}

/// Headers of the app that an accepted upgrade leaves out. They describe the body, which is not sent, or belong to the
/// handshake.
const NOT_PASSED_ON: [&str; 13] = [
    "connection",
    "upgrade",
    "keep-alive",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
    "trailer",
    "content-encoding",
    "content-range",
    "accept-ranges",
    "etag",
    "last-modified",
];

/// The id of the last event that the client has got. The header `Last-Event-ID` counts before the parameter: an
/// EventSource repeats the URL of its first request, so the parameter may be old.
pub fn last_event_id(head: &RequestHead) -> Option<String> {
    // An unreadable id still proves that the client has connected before.
    let header = head.get("last-event-id").filter(|value| !value.is_empty());
    let header = header.map(|value| String::from_utf8_lossy(value).into_owned());
    header.or_else(|| last_event_id_of(head.query()?))
}

/// The parameter `last_event_id` of a query; `None` if it is empty. On its first visit, a client that builds its URL
/// from a variable sends an empty one.
pub fn last_event_id_of(query: &str) -> Option<String> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("last_event_id="));
    let value = values.next().filter(|value| !value.is_empty())?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The subprotocol of a WebSocket: the one that the app has chosen, or push.v1 if the app has chosen none. `None` if
/// the client has not offered it (RFC 6455 section 4.2.2).
pub fn subprotocol<'a>(protocol: Protocol, request: &RequestHead, app: &'a ResponseHeaders) -> Option<&'a str> {
    if protocol != Protocol::WebSocket {
        return None;
    }
    let chosen = match app.get("sec-websocket-protocol") {
        Some(value) => visible(value).unwrap_or_default(),
        None => SUBPROTOCOL,
    };
    list(request, "sec-websocket-protocol").any(|offered| offered == chosen).then_some(chosen)
}

/// What a client offers of permessage-deflate, if the server can accept it. Of an event stream: nothing.
pub fn deflate_offer(protocol: Protocol, request: &RequestHead) -> Option<Offer> {
    let offered = || Offer::first(request.get_all("sec-websocket-extensions").filter_map(visible));
    if protocol == Protocol::WebSocket { offered() } else { None }
}

/// The head that accepts an upgrade. Its status is 101 or 200, not the one that the app returned. It has the app's
/// headers, except those in [`NOT_PASSED_ON`].
pub fn head(protocol: Protocol, websocket: &WebSocketHead<'_>, app: &ResponseHeaders) -> ResponseHead {
    let mut head = match protocol {
        Protocol::WebSocket => {
            let mut headers = ResponseHeaders::new();
            headers.append("connection", "Upgrade");
            headers.append("upgrade", "websocket");
            headers.append("sec-websocket-accept", websocket.accept);
            if let Some(subprotocol) = websocket.subprotocol {
                headers.append("sec-websocket-protocol", subprotocol);
            }
            if let Some(deflate) = &websocket.deflate {
                headers.append("sec-websocket-extensions", deflate.answer());
            }
            ResponseHead::new(protocol.status(), headers)
        }
        // The stream ends with the connection (RFC 9112 section 6.3). It has no chunks, so the bytes of an event are
        // the same for every reader.
        Protocol::Sse => {
            let headers = event_stream::stream_headers(app);
            ResponseHead { close: true, ..ResponseHead::new(protocol.status(), headers) }
        }
    };
    if !app.contains("date") {
        head.headers.append("date", date::now());
    }
    add_fitting(&mut head.headers, protocol, app);
    head
}

/// Adds the app's headers that fit an accepted upgrade.
pub(super) fn add_fitting(headers: &mut ResponseHeaders, protocol: Protocol, app: &ResponseHeaders) {
    for (name, value) in app.iter() {
        if fits(protocol, name) {
            headers.append(name, value);
        }
    }
}

fn fits(protocol: Protocol, name: &str) -> bool {
    match name {
        // The server has added these already, if at all.
        "sec-websocket-protocol" => false,
        "content-type" => protocol == Protocol::WebSocket,
        name => !NOT_PASSED_ON.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::head as request_head;
    use http::HeaderValue;
    use proptest::prelude::*;

    const HANDSHAKE: [(&str, &str); 5] = [
        ("host", "localhost:9292"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn seen(change: impl FnOnce(&mut http::request::Parts)) -> String {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in HANDSHAKE {
            request = request.header(name, value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        change(&mut head);
        match detect(&RequestHead::from_parts(head), &Allowed::default()) {
            Detected::Nothing => "nil".to_owned(),
            Detected::WebSocket(accept) => accept,
            Detected::Sse => "sse".to_owned(),
            Detected::Refused(response) => response.head.status.as_str().to_owned(),
        }
    }

    fn with(name: &'static str, value: &'static str) -> String {
        seen(|head| {
            head.headers.insert(name, HeaderValue::from_static(value));
        })
    }

    #[test]
    fn handshakes() {
        // The key and accept of RFC 6455 section 1.3.
        assert_eq!(seen(|_| {}), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(with("sec-websocket-version", "8"), "426");
        assert_eq!(seen(|head| drop(head.headers.remove("sec-websocket-version"))), "426");
        assert_eq!(seen(|head| drop(head.headers.remove("sec-websocket-key"))), "400");
        assert_eq!(with("sec-websocket-key", "c2hvcnQ="), "400");
        assert_eq!(with("connection", "keep-alive"), "400");
        assert_eq!(with("upgrade", "h2c"), "nil");
        assert_eq!(with("upgrade", "h2c, websocket"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(with("origin", "http://localhost:9292"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(with("origin", "http://evil.example"), "403");
        assert_eq!(seen(|head| head.method = http::Method::POST), "nil");
        assert_eq!(seen(|head| head.version = Version::HTTP_10), "nil");
    }

    #[test]
    fn event_streams() {
        let accept = |value: &'static str| {
            seen(|head| {
                head.headers.clear();
                head.headers.insert("accept", HeaderValue::from_static(value));
            })
        };
        for yes in [
            "text/event-stream",
            "Text/Event-Stream",
            "text/html, text/event-stream;q=0.5",
            "text/event-stream; charset=utf-8",
            "text/event-stream;Q=1",
        ] {
            assert_eq!(accept(yes), "sse", "{yes}");
        }
        for no in ["*/*", "text/*", "text/event-stream;q=0", "text/event-stream; q=0.000", "text/event-streams", ""] {
            assert_eq!(accept(no), "nil", "{no}");
        }
    }

    #[test]
    fn the_head_keeps_cookies_and_drops_what_describes_a_body() {
        let app = ResponseHeaders::from([
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
            ("cache-control", "private"),
            ("sec-websocket-protocol", "chat"),
        ]);
        let sse = head(Protocol::Sse, &WebSocketHead::default(), &app);
        assert_eq!((sse.status, sse.close), (StatusCode::OK, true));
        assert_eq!(sse.headers.get_all("set-cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(sse.headers.single("content-type").unwrap(), b"text/event-stream; charset=utf-8");
        assert_eq!(sse.headers.single("cache-control").unwrap(), b"private");
        assert!(!sse.headers.contains("content-encoding") && sse.headers.contains("date"));
        let websocket = head(Protocol::WebSocket, &WebSocketHead { accept: "x", ..WebSocketHead::default() }, &app);
        assert_eq!((websocket.status, websocket.close), (StatusCode::SWITCHING_PROTOCOLS, false));
        assert_eq!(websocket.headers.single("sec-websocket-accept").unwrap(), b"x");
        assert!(!websocket.headers.contains("sec-websocket-protocol"), "the client did not ask for it");
        let request = request_head(
            "GET",
            "/",
            &[("sec-websocket-protocol", "soap, chat"), ("sec-websocket-extensions", "foo, permessage-deflate")],
        );
        let chosen = subprotocol(Protocol::WebSocket, &request, &app);
        assert_eq!(chosen, Some("chat"));
        assert!(deflate_offer(Protocol::Sse, &request).is_none());
        let deflate = deflate_offer(Protocol::WebSocket, &request).map(|offer| offer.accept(true));
        let both =
            head(Protocol::WebSocket, &WebSocketHead { accept: "x", subprotocol: chosen, deflate }, &app).headers;
        assert_eq!(both.single("sec-websocket-protocol").unwrap(), b"chat");
        let extensions = both.single("sec-websocket-extensions").unwrap();
        assert_eq!(extensions, b"permessage-deflate; server_no_context_takeover");
    }

    #[test]
    fn subprotocols() {
        let rows = [
            (None, None, None),
            (Some("push.v1"), None, Some("push.v1")),
            (Some("chat, push.v1"), None, Some("push.v1")),
            (Some("chat, push.v1"), Some("chat"), Some("chat")),
            (Some("push.v1"), Some("chat"), None),
            (Some("chat"), None, None),
            (None, Some("push.v1"), None),
        ];
        for (offered, app, chosen) in rows {
            let mut answered = ResponseHeaders::new();
            app.into_iter().for_each(|app| answered.append("sec-websocket-protocol", app));
            let offers: Vec<_> = offered.map(|offered| ("sec-websocket-protocol", offered)).into_iter().collect();
            let request = request_head("GET", "/", &offers);
            assert_eq!(subprotocol(Protocol::WebSocket, &request, &answered), chosen, "{offered:?}");
            assert_eq!(subprotocol(Protocol::Sse, &request, &answered), None);
        }
    }

    #[test]
    fn the_last_event_id_of_a_request() {
        let said = |header: Option<&'static str>, uri: &'static str| {
            let mut request = http::Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header("last-event-id", header);
            }
            last_event_id(&RequestHead::from_parts(request.body(()).unwrap().into_parts().0))
        };
        assert_eq!(said(None, "/"), None);
        assert_eq!(said(None, "/?last_event_id="), None);
        assert_eq!(said(None, "/?last_event_id=&a=1"), None);
        assert_eq!(said(None, "/?a=1&last_event_id=ab-7"), Some("ab-7".to_owned()));
        assert_eq!(said(Some("ab-8"), "/?last_event_id=ab-7"), Some("ab-8".to_owned()));
        assert_eq!(said(Some(""), "/?last_event_id=ab%2D7"), Some("ab-7".to_owned()));
        assert_eq!(said(Some("\u{e4}"), "/?last_event_id=ab-7"), Some("\u{e4}".to_owned()));
    }

    #[test]
    fn methods_that_may_be_answered_with_an_event_stream() {
        let detected = |method: &'static str| {
            seen(|head| {
                head.headers.clear();
                head.headers.insert("accept", HeaderValue::from_static("text/event-stream"));
                head.method = method.parse().unwrap();
            })
        };
        for yes in ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"] {
            assert_eq!(detected(yes), "sse", "{yes}");
        }
        for no in ["HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "post"] {
            assert_eq!(detected(no), "nil", "{no}");
        }
    }

    proptest! {
        #[test]
        fn any_accept_header_can_come(value in "[ -~]{0,60}") {
            let _ = accepts_event_stream(&request_head("GET", "/", &[("accept", &value)]));
        }
    }
}
