//! A test: heads of simple responses are the same, whether hyper writes them or `head_writer`.

use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;

use super::adapter::tests::head_by_hyper;
use super::framing::{Next, Scanner};
use super::head_writer::{simple_length, write_simple_head};
use crate::base::date;
use crate::base::limits::Limits;
use crate::base::timers::Stamp;
use crate::http::body::{self, Body};
use crate::http::head::ResponseHead;
use crate::http::response::Response;
use crate::http::response_headers::ResponseHeaders;
use crate::http::tests::context;

/// A request: method, version, and its Connection. Not all of them are simple.
const REQUESTS: [(&str, &str, Option<&str>); 11] = [
    ("GET", "1.1", None),
    ("GET", "1.1", Some("close")),
    ("GET", "1.1", Some("keep-alive")),
    ("POST", "1.1", None),
    ("HEAD", "1.1", None),
    ("HEAD", "1.1", Some("keep-alive")),
    ("HEAD", "1.1", Some("close")),
    ("GET", "1.0", None),
    ("GET", "1.0", Some("keep-alive")),
    ("HEAD", "1.0", None),
    ("HEAD", "1.0", Some("keep-alive")),
];

const STATUSES: [u16; 5] = [200, 204, 304, 404, 599];

const HEADERS: &[&[(&str, &str)]] = &[
    &[],
    &[("content-type", "text/html; charset=utf-8")],
    &[("Content-Type", "text/plain"), ("Set-Cookie", "a=1\nb=2"), ("X-Empty", ""), ("x-utf8", "gr\u{fc}n")],
    &[("set-cookie", "a=1"), ("x", "1"), ("set-cookie", "b=2"), ("ETag", "W/\"1\"")],
    &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")],
    &[("Date", "today"), ("date", "tomorrow")],
    &[("connection", "close")],
    &[("connection", "Keep-Alive"), ("keep-alive", "timeout=5")],
    &[("connection", "x"), ("Connection", "y, Close")],
    &[("connection", "x"), ("x", "1")],
    &[("transfer-encoding", "chunked"), ("x", "1")],
    &[("transfer-encoding", "gzip"), ("connection", "x"), ("trailer", "a"), ("x", "1"), ("trailer", "b, c")],
    &[("transfer-encoding", "gzip"), ("trailer", "a"), ("x", "1"), ("trailer", "b, c")],
    &[("trailer", "a"), ("content-length", "5")],
    &[("upgrade", "h2c")],
    &[("content-length", "5")],
    &[("content-length", "5"), ("Content-Length", "5"), ("connection", "close")],
    &[("content-length", "005")],
    &[("content-length", "5"), ("content-length", "6")],
    &[("content-length", "x")],
    &[("content-length", "")],
    &[("content-length", "+5")],
    &[("content-length", "99999999999999999999")],
];

/// Bodies, as apps give them. The last two have no length of their own, so the app may give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    Whole,
    Parts,
    EmptyPart,
    Stream,
    Unsent,
}

const BODIES: [Given; 6] = [Given::Nothing, Given::Whole, Given::Parts, Given::EmptyPart, Given::Stream, Given::Unsent];

/// The response of an app, made in the same way as in the extension.
fn response(status: u16, lines: &[(&str, &str)], body: Given, close: bool) -> Response {
    let mut headers = ResponseHeaders::new();
    for (name, value) in lines {
        headers.add(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let response = Response::new(status.into(), headers).unwrap();
    let mut response = match body {
        Given::Nothing => response.with_bytes(Bytes::new()),
        Given::Whole => response.with_bytes(Bytes::from_static(b"Hello")),
        Given::Parts => response.with_chunks(["Hel", "lo"].map(Bytes::from).into()),
        Given::EmptyPart => response.with_chunks([Bytes::new()].into()),
        Given::Unsent => response.without_body(),
        Given::Stream => {
            let (writer, reader) = body::stream(Arc::clone(&context().push));
            writer.push(Bytes::from_static(b"Hello"));
            writer.finish();
            Response { body: Body::Stream(reader), ..response }
        }
    };
    response.head = ResponseHead { close, ..response.head };
    response
}

/// The status line and the other lines in alphabetical order. A Date of now is left out.
fn sorted(head: &str) -> Vec<String> {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let is_now = |line: &str| {
        let date = line.strip_prefix("date: ").and_then(|date| httpdate::parse_http_date(date).ok());
        date.is_some_and(|date| now.abs_diff(date.duration_since(UNIX_EPOCH).unwrap().as_secs()) < 600)
    };
    let (status, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut dates = 0;
    let mut lines: Vec<_> = lines.split("\r\n").map(str::to_owned).collect();
    lines.retain(|line| {
        dates += usize::from(is_now(line));
        !is_now(line)
    });
    lines.sort();
    lines.insert(0, status.to_owned());
    lines.push(format!("{dates} dates of now"));
    lines
}

/// What is answered without hyper gets the head that hyper would write.
#[test]
fn heads_are_the_same_as_those_of_hyper() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let date = date::at(Stamp::of(Instant::now()));
    let limits = Limits::default();
    let mut compared = 0;
    for (method, version, connection) in REQUESTS {
        let lines = connection.map(|connection| format!("connection: {connection}\r\n")).unwrap_or_default();
        let request = format!("{method} / HTTP/{version}\r\nhost: a\r\n{lines}\r\n");
        let Next::Simple(asked, _) = Scanner::new(&limits, false).take_simple(request.as_bytes(), &limits) else {
            continue;
        };
        for (status, headers, body, close) in cases() {
            let make = || response(status, headers, body, close);
            let Some(length) = simple_length(&make()) else { continue };
            let case = format!("{request:?} {status} {headers:?} {body:?}, close: {close}");
            let mut out = b"before".to_vec();
            write_simple_head(&mut out, &make(), length, asked.method(), &date);
            let head = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
            let head = head.strip_suffix("\r\n\r\n").unwrap();
            let expected = runtime.block_on(head_by_hyper(&request, asked.version(), make));
            let Some((expected, ended)) = expected else { panic!("{case}: hyper writes nothing") };
            assert_eq!(sorted(head), sorted(&expected), "{case}");
            assert!(!ended, "{case}");
            if make().sends_body(asked.method()) {
                let said = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
                assert_eq!(said.map(str::parse), Some(Ok(length)), "{case}");
            }
            compared += 1;
        }
    }
    assert!(compared > 1500, "{compared}");
}

fn cases() -> impl Iterator<Item = (u16, &'static [(&'static str, &'static str)], Given, bool)> {
    let statuses = STATUSES.into_iter();
    let with_headers = statuses.flat_map(|status| HEADERS.iter().map(move |headers| (status, *headers)));
    let with_bodies = with_headers.flat_map(|(status, headers)| BODIES.map(|body| (status, headers, body)));
    let closing = |(status, headers, body)| {
        let closes = if status == 200 { &[false, true][..] } else { &[false] };
        closes.iter().map(move |close| (status, headers, body, *close))
    };
    with_bodies.flat_map(closing)
}
