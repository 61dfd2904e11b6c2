//! What may be read from a connection, and what the connection waits for.

use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use super::deadline::Waiting;
use super::detached::Detached;
use super::framing::{Next, Place};
use super::state::State;
use crate::base;
use crate::request_head::RequestHead;

/// What hyper gets when it reads the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes that were read from the socket earlier.
    Ready,
    /// Bytes from the socket.
    Socket,
    /// The end of the stream.
    End,
    /// An error: the body of the current request is broken or was given up.
    Broken,
    /// Nothing yet. More bytes from the socket would not change that.
    Nothing,
}

/// What has come in.
pub(super) enum Input {
    /// A simple request, and its body.
    Simple(RequestHead, Bytes),
    /// Something else, which is for hyper.
    ForHyper,
    /// The client has closed its side.
    End,
}

impl State {
    /// Takes the next request from what is held back and `input`, if it is a simple one: see
    /// [`super::framing::Scanner::take_simple`]. `None`: its head is not complete.
    pub(super) fn take_simple(&mut self, input: &[u8], base: &base::Context) -> Option<Input> {
        let before = self.scanner.place();
        match self.scanner.take_simple(input, &base.limits) {
            Next::Simple(head, body) => {
                self.since = base.timers.now();
                self.progress = 0;
                Some(Input::Simple(head, body))
            }
            Next::Partial => {
                if before != self.scanner.place() {
                    self.since = base.timers.now();
                }
                None
            }
            Next::Other => {
                self.give_held(base.timers.now());
                Some(Input::ForHyper)
            }
        }
    }

    /// Makes what the scanner holds back ready for hyper, as far as it passes.
    pub(super) fn give_held(&mut self, now: Instant) {
        if self.scanner.holds() {
            let output = self.scan(&[], now).unwrap_or_default();
            self.ready = if self.ready.is_empty() { output } else { [&self.ready[..], &output].concat().into() };
            self.detect_http2();
        }
    }

    /// Whether something waits that is not for a simple request.
    pub(super) fn wants_hyper(&self) -> bool {
        !self.ready.is_empty() || !matches!(self.scanner.place(), Place::Between | Place::Head)
    }

    /// Whether hyper has nothing to do: all requests that it got are answered, and it holds nothing. Then what comes next need not
    /// be for hyper.
    pub(super) fn is_hyper_at_rest(&self) -> bool {
        self.called == self.ended
            && self.called == self.scanner.heads()
            && !self.half_closed
            && self.detached.is_none()
            && !self.wants_hyper()
    }

    /// What hyper gets if it reads now. `flushed` says that hyper has written all its bytes to the socket.
    pub(super) fn next_read(&self, flushed: bool) -> Read {
        if !self.ready.is_empty() {
            return Read::Ready;
        }
        if self.scanner.place() == Place::Broken && self.is_at_last_request() {
            return Read::Broken;
        }
        if self.half_closed {
            return if self.shows_half_close(flushed) { Read::End } else { Read::Nothing };
        }
        match self.scanner.place() {
            // If the upgrade is accepted, what follows is not HTTP.
            Place::Undecided => Read::Nothing,
            // The connection will be taken from hyper.
            Place::Http2 => Read::Nothing,
            // The refusal closes the connection.
            Place::Refused | Place::Broken => Read::Nothing,
            Place::Between | Place::Head | Place::Body => Read::Socket,
        }
    }

    /// Keeps the waker of the task that wanted to read when there was [`Read::Nothing`].
    pub(super) fn wait_to_read(&mut self, reader: &Waker) {
        self.reader = Some(reader.clone());
    }

    /// Wakes the reader if it would get something now. This is called when that may have changed: when the app has
    /// decided about an upgrade, when a response begins that may last, and when hyper has flushed. A reader that would
    /// get nothing must not be woken: hyper flushes each time that it is polled, so it would be polled for ever.
    pub(super) fn wake_reader(&mut self, flushed: bool) {
        if self.reader.is_some()
            && self.next_read(flushed) != Read::Nothing
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    /// The current request got an ordinary response, so what came after it is HTTP. Does nothing if a later request has
    /// come, because that one may ask for an upgrade itself.
    pub(super) fn decline_upgrade(&mut self, now: Instant) {
        if self.called == self.scanner.heads()
            && let Some(output) = self.scanner.decline_upgrade()
        {
            self.ready = output;
            self.since = now;
            self.progress = 0;
        }
    }

    /// Whether the newest request that came is the current one, and has no response yet.
    fn is_at_last_request(&self) -> bool {
        self.called == self.scanner.heads() && self.called > self.answered
    }

    /// Whether the bytes that come in are the body of the current request. While the app has a request, a part of the
    /// next request's body may have come: it is not read yet, and its deadline has not begun.
    fn reads_body(&self) -> bool {
        self.scanner.place() == Place::Body && self.is_at_last_request()
    }

    /// What the connection waits for, and since when. `None` while it waits for the app.
    pub(super) fn waiting(&self) -> Option<(Waiting, Instant)> {
        if let Some(blocked) = self.blocked {
            return Some((Waiting::Write, blocked));
        }
        let idle = self.called == self.ended;
        match self.scanner.place() {
            Place::Body if self.body_held => None,
            Place::Body if self.reads_body() => Some((Waiting::Body, self.since)),
            Place::Body if idle => Some((Waiting::NextRequest, self.since)),
            Place::Head if idle => Some((Waiting::Head, self.since)),
            Place::Between if idle && self.scanner.heads() == 0 => Some((Waiting::FirstRequest, self.since)),
            Place::Between if idle => Some((Waiting::NextRequest, self.since)),
            _ => None,
        }
    }

    /// Whether hyper may learn that the client has closed its side. hyper would then cut a response that is being sent,
    /// although a client may close its side early and still read (RFC 9112 section 9.6). But while a response may last
    /// for hours, a closed side counts as a disconnect.
    fn shows_half_close(&self, flushed: bool) -> bool {
        let answered = self.called >= self.scanner.heads() && self.called == self.ended && flushed;
        answered || self.may_last || self.reads_body()
    }

    /// HTTP/1 is over if the connection has begun with the preface of HTTP/2.
    pub(super) fn detect_http2(&mut self) {
        if self.scanner.place() == Place::Http2 {
            self.detached = Some(Detached::Http2);
        }
    }

    /// Scans bytes from the socket. Returns what hyper gets instead of them; `None` if it gets exactly these.
    pub(super) fn scan(&mut self, input: &[u8], now: Instant) -> Option<Bytes> {
        let before = (self.scanner.place(), self.scanner.heads());
        let output = self.scanner.scan(input);
        let place = self.scanner.place();
        self.progress += input.len();
        let enough = place == Place::Body && self.progress >= self.body_progress;
        if before != (place, self.scanner.heads()) || enough {
            self.since = now;
            self.progress = 0;
        }
        output
    }
}
