//! Sending the response of a stream.

use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use http::StatusCode;

use super::request_state::RequestState;
use super::translation;
use crate::access_log::{LogEntry, RequestOutcome};
use crate::base::timers::Alarm;
use crate::http::body::{Body, BodyError};
use crate::http::response::Response;
use crate::net::h2_stream::{FrameBatch, H2Stream};
use crate::request_head::Method;

/// A response whose head was sent, until the connection has taken its body.
pub(super) struct Sending {
    /// `None` if the head was all.
    stream: Option<H2Stream>,
    body: Body,
    /// What the body has given and the connection has no room for.
    chunk: Bytes,
    /// The app's Content-Length: no more bytes are sent than this.
    length: Option<u64>,
    sent: u64,
    status: StatusCode,
    /// The body cannot be sent to its end. What was sent of it is still on its way.
    failed: bool,
    /// Since when the connection or the client takes nothing.
    blocked: Option<Instant>,
    alarm: Option<Alarm>,
    entry: Option<LogEntry>,
}

/// The stream is to be reset.
struct Broken;

impl Sending {
    /// Sends the head of `response` to `method`. Fails if the client has gone.
    pub(super) fn begin(
        respond: &mut SendResponse<FrameBatch>,
        response: Response,
        request: &RequestState,
        method: Method,
        entry: Option<LogEntry>,
    ) -> Result<Self, h2::Error> {
        let sends_body = response.sends_body(method);
        let length = response.length();
        let Response { mut head, mut body } = response;
        if sends_body || method == Method::Head {
            if let Some(exact) = body.size_hint().exact() {
                translation::add_length(&mut head.headers, exact);
            }
        } else {
            head.headers.remove("content-length");
        }
        if !sends_body {
            body = Body::Empty;
        }
        let status = head.status;
        let ends = body.is_end_stream() && length.unwrap_or(0) == 0 || !sends_body;
        let stream = respond.send_response(translation::response(head), ends)?;
        let stream = (!ends).then(|| H2Stream::new(stream, None, request.connection()));
        let (chunk, alarm) = (Bytes::new(), None);
        Ok(Sending { stream, body, chunk, length, sent: 0, status, failed: false, blocked: None, alarm, entry })
    }

    /// Ready when the response is sent, or cannot be sent to its end. Then the stream has ended.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>, request: &RequestState) -> Poll<()> {
        let sent = ready!(self.poll_sent(cx, request));
        if let Some(mut stream) = self.stream.take() {
            match sent {
                Ok(()) => stream.leave(),
                Err(Broken) => stream.reset_broken(),
            }
        }
        request.count_time(self.status);
        self.log(sent.is_err());
        Poll::Ready(())
    }

    fn poll_sent(&mut self, cx: &mut TaskContext<'_>, request: &RequestState) -> Poll<Result<(), Broken>> {
        loop {
            if self.failed {
                // What the client has got by then is what the app has written.
                let taken = self.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| stream.poll_taken(cx));
                return if taken.is_pending() { self.wait(cx, request) } else { Poll::Ready(Err(Broken)) };
            }
            if self.chunk.is_empty() {
                match ready!(self.poll_chunk(cx, request)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(self.finish()),
                    Err(Broken) => return Poll::Ready(Err(Broken)),
                }
                continue;
            }
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
            let room = match stream.poll_capacity(cx, self.chunk.len()) {
                Poll::Ready(Ok(room)) => room,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                Poll::Pending => return self.wait(cx, request),
            };
            self.blocked = None;
            let part = self.chunk.split_to(room);
            self.sent += room as u64;
            let ends = match self.length {
                Some(length) => self.sent >= length,
                None => self.chunk.is_empty() && self.body.is_end_stream(),
            };
            let given = if ends { stream.finish_with(part.into()) } else { stream.send(part.into()) };
            if ends || given.is_err() {
                return Poll::Ready(given.map_err(|_| Broken));
            }
        }
    }

    /// Takes more of the body. False at its end.
    fn poll_chunk(&mut self, cx: &mut TaskContext<'_>, request: &RequestState) -> Poll<Result<bool, Broken>> {
        let left = self.length.map_or(u64::MAX, |length| length - self.sent);
        match self.body.poll_chunk(cx, &request.context().base.disk) {
            _ if left == 0 => return Poll::Ready(Ok(false)),
            Poll::Ready(Some(Ok(chunk))) => {
                self.chunk = chunk;
                self.chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            Poll::Ready(Some(Err(error))) => self.fail(&error),
            Poll::Ready(None) if self.length.is_some() => {
                let (sent, length) = (self.sent, self.sent + left);
                log::warn!("a response ended after {sent} of the {length} bytes that its Content-Length promised");
                self.fail(&BodyError::Short);
            }
            Poll::Ready(None) => return Poll::Ready(Ok(false)),
            // Meanwhile the client may go.
            Poll::Pending => {
                let Some(stream) = &mut self.stream else { return Poll::Pending };
                return stream.poll_gone(cx).map(|()| Err(Broken));
            }
        }
        Poll::Ready(Ok(true))
    }

    fn fail(&mut self, error: &BodyError) {
        log::debug!("a response is cut: {error}");
        self.failed = true;
    }

    fn finish(&mut self) -> Result<(), Broken> {
        self.stream.as_mut().map_or(Ok(()), H2Stream::finish).map_err(|_| Broken)
    }

    /// The connection or the client takes nothing now.
    fn wait(&mut self, cx: &mut TaskContext<'_>, request: &RequestState) -> Poll<Result<(), Broken>> {
        let base = &request.context().base;
        let now = base.timers.now();
        let deadline = *self.blocked.get_or_insert(now) + base.limits.write_timeout;
        if now >= deadline {
            if request.is_about_to_move(cx) {
                return Poll::Pending;
            }
            base.stats.write_timeouts.add();
            log::debug!("a stream is reset: its client takes nothing of the response (write_timeout)");
            return Poll::Ready(Err(Broken));
        }
        self.alarm.get_or_insert_with(|| base.timers.alarm()).set(deadline, cx.waker());
        Poll::Pending
    }

    fn log(&mut self, cut: bool) {
        if let Some(mut entry) = self.entry.take() {
            let status = Some(self.status);
            entry.log(&RequestOutcome { status, bytes: self.sent, cut, ..RequestOutcome::default() });
        }
    }
}

impl Drop for Sending {
    /// The connection has ended.
    fn drop(&mut self) {
        self.log(true);
    }
}
