//! Which requests for an event stream are long polls, and how they are answered.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::StatusCode;

use super::body::Body;
use super::event_stream;
use super::headers::{list, visible};
use super::response::Response;
use super::response_headers::ResponseHeaders;
use super::upgrade;
use crate::push::poll::{self, Answer, Start};
use crate::push::{self, Protocol};
use crate::request_head::{Method, RequestHead};
use crate::sse;

/// How long a poll waits if it does not give a valid time.
const USUAL_WAIT: Duration = Duration::from_secs(25);

/// RFC 7240 section 4.3.
const PREFER: &str = "prefer";

/// The long poll, if a request that can be upgraded to `protocol` is one. `parameter` is the name of the query
/// parameter that makes it one. Only a GET can be a long poll: a client repeats polls, and a repeated request must not
/// do anything twice (RFC 9110 section 9.2.2).
pub(super) fn detect(
    protocol: Protocol,
    head: &RequestHead,
    push: &push::Context,
    parameter: Option<&str>,
) -> Option<poll::Poll> {
    if protocol != Protocol::Sse || head.method() != Method::Get {
        return None;
    }
    let parameter = parameter?;
    let wait = wait(head, parameter)?;
    let id = upgrade::last_event_id(head);
    Some(poll::Poll::new(push, wait, id.as_deref(), place(head, parameter)))
}

/// How long a request asks to wait: by the parameter in its query, or by `Prefer: wait=25`.
fn wait(head: &RequestHead, parameter: &str) -> Option<Duration> {
    let query = head.query().unwrap_or_default();
    let asked = query.split('&').find_map(|pair| value_of(pair, parameter)).or_else(|| {
        let preferences = list(head, PREFER).flat_map(|item| item.split(';'));
        preferences.map(str::trim).find_map(|preference| value_of(preference, "wait"))
    })?;
    let seconds = asked.trim_matches('"').parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
    Some(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(USUAL_WAIT))
}

fn value_of<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    pair.split_once('=').filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The host, path and query of a poll, without what differs from poll to poll. All polls of a session must have the
/// same, because the app may accept a client at one place and refuse it at another.
fn place(head: &RequestHead, parameter: &str) -> String {
    let host = head.authority().or_else(|| visible(head.get("host")?)).unwrap_or_default();
    let mut place = format!("{host}{}?", head.path());
    let own = |pair: &&str| value_of(pair, parameter).is_none() && value_of(pair, "last_event_id").is_none();
    for pair in head.query().unwrap_or_default().split('&').filter(own) {
        place.push('&');
        place.push_str(pair);
    }
    place
}

/// The headers of an answer: the server's, and those of the app that an accepted upgrade may have.
fn headers(app: &ResponseHeaders) -> ResponseHeaders {
    let mut headers = event_stream::headers(app);
    upgrade::add_fitting(&mut headers, Protocol::Sse, app);
    headers
}

/// A long poll that the app has accepted, until it has its answer.
#[derive(Debug)]
pub(super) struct PendingPoll {
    headers: ResponseHeaders,
    answer: Answer,
    /// Set if this is the first poll of its session.
    start: Option<Start>,
}

impl PendingPoll {
    /// `app` has the headers of the app's response.
    pub(super) fn new(app: &ResponseHeaders, answer: Answer, start: Option<Start>) -> Self {
        PendingPoll { headers: headers(app), answer, start }
    }

    /// The connection has the poll. If it is the first one, its session begins.
    pub(super) fn begin(&mut self) {
        if let Some(start) = self.start.take() {
            start.spawn();
        }
    }
}

impl Future for PendingPoll {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Response> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        let headers = std::mem::take(&mut self.headers);
        // The session's host has ended without an answer. The client may try again.
        let body = answer.unwrap_or_else(|_| sse::retry(1000));
        Poll::Ready(Response::of(StatusCode::OK, headers, Body::from_bytes(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, prefer: Option<&'static str>) -> RequestHead {
        let request = http::Request::builder().uri(uri).header("host", "example.com");
        let request = prefer.into_iter().fold(request, |request, value| request.header("prefer", value));
        RequestHead::from_parts(request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn how_long_it_waits() {
        let rows = [
            ("/", None, None),
            ("/?push_wait=25", None, Some(25_000)),
            ("/?a=b&push_wait=0.5", None, Some(500)),
            ("/?push_wait=0", None, Some(0)),
            ("/?push_wait=-1", None, Some(25_000)),
            ("/?push_wait=", None, Some(25_000)),
            ("/?push_wait=NaN", None, Some(25_000)),
            ("/?push_wait=1e300", None, Some(25_000)),
            ("/?xpush_wait=1", None, None),
            ("/", Some("wait=10"), Some(10_000)),
            ("/", Some("respond-async, Wait=10; foo"), Some(10_000)),
            ("/", Some("return=minimal"), None),
            ("/?push_wait=1", Some("wait=10"), Some(1000)),
        ];
        for (uri, prefer, expected) in rows {
            let waited = wait(&head(uri, prefer), "push_wait").map(|wait| wait.as_millis());
            assert_eq!(waited, expected, "{uri} {prefer:?}");
        }
    }

    #[test]
    fn polls_of_one_session_ask_for_the_same_place() {
        let place = |uri| place(&head(uri, None), "push_wait");
        assert_eq!(place("/a?push_wait=1&room=2"), place("/a?room=2&push_wait=9&last_event_id=x"));
        assert_ne!(place("/a?room=2"), place("/a?room=3"));
        assert_ne!(place("/a?push_wait=1"), place("/b?push_wait=1"));
        assert_ne!(place("/a"), place("http://other/a"));
        assert_ne!(place("/a?b"), place("/a&b"), "a path may have an ampersand");
    }

    #[test]
    fn the_answer_keeps_cookies_and_drops_headers_that_describe_another_body() {
        let app = ResponseHeaders::from([
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "0"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
        ]);
        let headers = headers(&app);
        assert_eq!(headers.get_all("set-cookie").count(), 2);
        assert_eq!(headers.single("content-type").unwrap(), b"text/event-stream; charset=utf-8");
        assert_eq!(headers.iter().count(), 4);
    }
}
