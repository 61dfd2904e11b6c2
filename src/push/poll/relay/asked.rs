//! A poll of this process whose session is in another one.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::UnboundedReceiver;

use super::heard::Heard;
use super::router::Router;
use super::wire::Said;
use crate::base::peers::Unreachable;
use crate::base::timers::Alarm;
use crate::push::Context;
use crate::push::poll::newcomer::Newcomer;
use crate::push::poll::session::AcceptedPoll;
use crate::push::poll::session_task::{PAUSE, answer_empty};
use crate::push::poll::ticket::Ticket;

/// How much longer than the poll itself this process waits for the answer.
const GRACE: Duration = Duration::from_secs(1);

/// A task that waits for the answer to a poll. Spawn it on the reactor.
pub(super) struct Asked {
    context: Arc<Context>,
    router: Arc<Router>,
    /// The process of the session, and the number of the poll.
    process: u32,
    id: u64,
    ticket: Ticket,
    state: State,
    heard: UnboundedReceiver<Heard>,
    until: Instant,
    alarm: Alarm,
}

/// What is known of the session.
enum State {
    /// Nothing. If there is none, this one begins.
    Asking(Newcomer),
    /// It goes on. This is what has come of the answer.
    Accepted(AcceptedPoll, BytesMut),
    /// The poll is answered, or nobody waits for the answer.
    Over,
}

/// How a poll ends.
enum End {
    /// With the session's answer.
    Answer(Bytes),
    /// A new session begins, whose client may have lost what was written to it.
    Begin { lost_writes: bool },
    /// With nothing: the client polls again, with the same ticket. `cancel`: the session need not answer any more.
    Empty { cancel: bool },
    /// The client is gone.
    Gone,
}

impl Asked {
    /// The poll of a newcomer, about which the process of its ticket was asked. It hears of the session by `heard`.
    pub(super) fn new(
        context: &Arc<Context>,
        router: Arc<Router>,
        (process, id): (u32, u64),
        (ticket, newcomer): (Ticket, Newcomer),
        heard: UnboundedReceiver<Heard>,
    ) -> Self {
        let until = context.base.timers.now() + newcomer.poll.wait + GRACE;
        let (context, alarm) = (Arc::clone(context), context.base.timers.alarm());
        Asked { context, router, process, id, ticket, state: State::Asking(newcomer), heard, until, alarm }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Option<End> {
        while let Poll::Ready(Some(heard)) = self.heard.poll_recv(cx) {
            let end = self.hear(heard);
            if end.is_some() {
                return end;
            }
        }
        let answer = match &mut self.state {
            State::Asking(newcomer) => &mut newcomer.poll.answer,
            State::Accepted(poll, _) => &mut poll.answer,
            State::Over => return Some(End::Gone),
        };
        if answer.poll_closed(cx).is_ready() {
            return Some(End::Gone);
        }
        if self.until <= self.context.base.timers.now() {
            return Some(End::Empty { cancel: true });
        }
        self.alarm.set(self.until, cx.waker());
        None
    }

    fn hear(&mut self, heard: Heard) -> Option<End> {
        match heard {
            Heard::Accepted => self.accepted(),
            Heard::NoSession => return Some(End::Begin { lost_writes: false }),
            Heard::Unreachable(Unreachable::Ended) => return Some(End::Begin { lost_writes: false }),
            Heard::Unreachable(Unreachable::Died) => return Some(End::Begin { lost_writes: true }),
            Heard::Unreachable(Unreachable::Away | Unreachable::Full) | Heard::Parted => {
                return Some(End::Empty { cancel: false });
            }
            Heard::Leaving => return Some(End::Empty { cancel: true }),
            Heard::Piece(piece) => {
                self.accepted();
                let State::Accepted(_, body) = &mut self.state else { return None };
                if piece.offset != body.len() as u64 {
                    return Some(End::Empty { cancel: true });
                }
                if piece.last && body.is_empty() {
                    return Some(End::Answer(piece.bytes));
                }
                body.extend_from_slice(&piece.bytes);
                return piece.last.then(|| End::Answer(mem::take(body).freeze()));
            }
        }
        None
    }

    /// The client goes on with its session: the newcomer is not needed.
    fn accepted(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Over) {
            State::Asking(newcomer) => State::Accepted(newcomer.poll, BytesMut::new()),
            other => other,
        };
    }

    fn end(&mut self, end: End) {
        let state = mem::replace(&mut self.state, State::Over);
        let poll = match (state, &end) {
            (State::Asking(newcomer), End::Begin { lost_writes }) => {
                return newcomer.begin(&self.context, *lost_writes);
            }
            (State::Asking(newcomer), _) => newcomer.poll,
            (State::Accepted(poll, _), _) => poll,
            (State::Over, _) => return,
        };
        match end {
            // Nobody listens if the connection is gone. Then the session keeps the answer.
            End::Answer(body) => _ = poll.answer.send(body),
            End::Gone => self.cancel(),
            End::Begin { .. } | End::Empty { .. } => {
                if matches!(end, End::Empty { cancel: true }) {
                    self.cancel();
                }
                let leaving = self.context.base.lifecycle.restarts();
                let pause = if leaving { self.context.reconnect_delay.pause() } else { fastrand::u64(PAUSE) };
                answer_empty(poll, Some(self.ticket), pause);
            }
        }
    }

    fn cancel(&self) {
        self.router.send(self.process, self.id, &Said::Cancel);
    }
}

impl Future for Asked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self.step(cx) {
            None => Poll::Pending,
            Some(end) => {
                self.end(end);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.context.base.owner.forked() {
            self.router.forget(self.id);
        }
    }
}
