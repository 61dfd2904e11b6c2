//! The task of a session. It answers the session's polls, as a [`crate::push::stream`] writes to its socket.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backlog::Backlog;
use super::session::{AcceptedPoll, Session};
use super::ticket::Ticket;
use crate::base::timers::Alarm;
use crate::channel::{Cursor, Since};
use crate::push::outbox::{StreamBounds, StreamOrder};
use crate::push::queue::{Origin, Queue, Sent};
use crate::push::reader::{ClientReader, LastMessages};
use crate::push::{Client, CloseStatus, pressure};
use crate::sse;

/// An answer gets no further message once it has this many bytes. The rest goes into the next answer.
const ANSWER: usize = 1 << 20;

/// Milliseconds until the next poll. The pause is random, so that many clients do not poll at the same time. It is long
/// enough that a busy channel does not cause a request for each message.
pub(super) const PAUSE: std::ops::RangeInclusive<u64> = 200..=500;

/// The task. Spawn it on the reactor. It ends with the session.
pub(super) struct SessionTask {
    client: Arc<Client>,
    session: Arc<Session>,
    /// What was written, and is not yet part of an answer.
    queue: Queue,
    client_reader: Option<Arc<ClientReader>>,
    backlog: Backlog,
    waiting: Option<Waiting>,
    /// The number of the last answer.
    answered: u64,
    /// The app's first callback has returned, and the replay of its subscriptions has begun.
    opened: bool,
    /// The last answer could not hold everything.
    lagged: bool,
    /// Something was written, and no poll waits to take it.
    stalled: bool,
    absence: Option<Absence>,
    closing: Option<Closing>,
    alarm: Alarm,
}

/// The poll that is to be answered next.
struct Waiting {
    poll: AcceptedPoll,
    until: Instant,
}

/// Since when no poll waits, and what follows from that.
struct Absence {
    since: Instant,
    /// When the rules of the client's channels apply, if the client is too far behind.
    stall_at: Instant,
    /// The number that [`super::Sessions::leave`] has returned.
    number: u64,
}

/// The app has closed the client.
struct Closing {
    /// What was published before. `None` if the client reads no channels.
    last: Option<LastMessages>,
    /// When the session ends, even if the client has not fetched everything.
    deadline: Instant,
}

/// The session is over. All reasons have the same effect for the app.
struct Ended;

impl SessionTask {
    /// Begins the session. `on_open` is posted at once, because there is no handshake that could fail.
    pub(super) fn new(client: Arc<Client>, session: Arc<Session>) -> Self {
        let context = client.context();
        context.sessions.insert(&session, context.base.limits.max_connections);
        let alarm = context.base.timers.alarm();
        client.start();
        SessionTask {
            client,
            session,
            queue: Queue::default(),
            client_reader: None,
            backlog: Backlog::default(),
            waiting: None,
            answered: 0,
            opened: false,
            lagged: false,
            stalled: false,
            absence: None,
            closing: None,
            alarm,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let now = self.client.context().base.timers.now();
        let changes = self.session.take_changes(cx.waker());
        if changes.ended {
            return Err(Ended);
        }
        let got = self.backlog.confirm(changes.confirmed);
        if got > 0 {
            self.client.confirmed(got);
        }
        for poll in changes.accepted {
            self.add_poll(poll, now);
        }
        if self.waiting.as_mut().is_some_and(|waiting| waiting.poll.answer.poll_closed(cx).is_ready()) {
            self.waiting = None;
        }
        self.check_absence(changes.resuming, now)?;
        if self
            .client_reader
            .as_ref()
            .is_some_and(|client_reader| client_reader.poll_given_up(&self.client, cx.waker()))
        {
            return Err(self.cut_slow());
        }
        let (order, mut bounds) = self.client.collect(&mut self.queue, &mut self.client_reader, cx.waker());
        match order {
            StreamOrder::Serve { opened } => self.opened = opened,
            StreamOrder::CutSlow => return Err(self.cut_slow()),
            StreamOrder::Close(_) if self.closing.is_none() => {
                let last = self.client_reader.as_ref().map(|client_reader| client_reader.last_messages(&self.client));
                self.closing = Some(Closing { last, deadline: now + self.client.context().base.limits.close_timeout });
            }
            StreamOrder::Close(_) => {}
        }
        if self.closing.is_some() {
            return self.close(changes.resuming, cx, now);
        }
        self.serve(cx, now)?;
        // While a poll waits, the client takes what is written, so it is not stalled.
        let stalled = self.absence.is_some() && !(self.queue.is_empty() && self.backlog.is_empty());
        if std::mem::replace(&mut self.stalled, stalled) || stalled {
            bounds = self.client.set_stalled(stalled.then_some(now));
        }
        if bounds.slow_at.is_some_and(|at| at <= now) {
            return Err(self.cut_slow());
        }
        self.set_alarm(&bounds, cx);
        Ok(())
    }

    /// Adds a poll. An older poll that waits gets an empty answer, because its client has usually gone.
    fn add_poll(&mut self, poll: AcceptedPoll, now: Instant) {
        let until = now + poll.wait;
        if let Some(older) = self.waiting.replace(Waiting { poll, until }) {
            let ticket = older.poll.ticket;
            answer_empty(older.poll, ticket, fastrand::u64(PAUSE));
        }
    }

    /// Ends a session that had no poll for too long, or whose client is too far behind.
    fn check_absence(&mut self, resuming: bool, now: Instant) -> Result<(), Ended> {
        let context = self.client.context();
        if self.waiting.is_some() || resuming {
            if let Some(absence) = self.absence.take() {
                context.sessions.return_to(absence.number);
            }
            return Ok(());
        }
        let stall_at = now + context.base.limits.slow_timeout;
        let absence = self.absence.get_or_insert_with(|| {
            let number = context.sessions.leave(&self.session);
            Absence { since: now, stall_at, number }
        });
        if absence.since + context.base.limits.poll_linger <= now {
            return Err(Ended);
        }
        if absence.stall_at <= now {
            absence.stall_at = stall_at;
            if self.client_reader.as_ref().is_some_and(|client_reader| !client_reader.stalled()) {
                return Err(self.cut_slow());
            }
        }
        Ok(())
    }

    fn cut_slow(&self) -> Ended {
        log::debug!("{} is slow: closing it", self.client);
        self.client.context().base.stats.slow_clients.add();
        Ended
    }

    // ---- answers -------------------------------------------------------------------------

    /// Answers the poll that waits, if there is a message or its time is over.
    fn serve(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let Some(until) = self.waiting.as_ref().map(|waiting| waiting.until) else { return Ok(()) };
        // The first answer has both what on_open writes and what it subscribes.
        let more = if self.opened { self.fill(cx)? } else { false };
        if more {
            // Other tasks get their turn first.
            cx.waker().wake_by_ref();
        } else if !self.backlog.is_empty() || until <= now {
            self.answer_so_far();
            // Now the session has no poll.
            self.check_absence(false, now)?;
        }
        Ok(())
    }

    /// Takes messages for the client, as many as fit into an answer. Returns whether there are more that fit.
    fn fill(&mut self, cx: &Context<'_>) -> Result<bool, Ended> {
        let number = self.answered + 1;
        let mut sent = Sent::default();
        while self.backlog.bytes() < ANSWER
            && let Some(frame) = self.queue.pop()
        {
            sent.writes += usize::from(frame.origin == Origin::Write);
            sent.bytes += frame.bytes.len();
            let cost = pressure::cost(usize::from(frame.origin == Origin::Write), frame.bytes.len());
            self.backlog.push(number, frame.bytes, cost);
        }
        if sent != Sent::default() {
            self.client.answered(&sent);
        }
        let Some(client_reader) = &self.client_reader else { return Ok(false) };
        if !client_reader.poll_ready(cx.waker()) {
            self.lagged = false;
            return Ok(false);
        }
        if self.backlog.bytes() >= ANSWER {
            self.lagged = true;
            return Ok(false);
        }
        let backlog = &mut self.backlog;
        let taken = client_reader.read(&self.client, self.lagged, |bytes| backlog.push(number, bytes, 0));
        if taken.overrun {
            return Err(self.cut_slow());
        }
        self.lagged &= taken.more;
        Ok(taken.more)
    }

    /// Answers with what was collected. The session goes on.
    fn answer_so_far(&mut self) {
        let ticket = self.session.token.map(|token| Ticket { cursor: self.cursor(), token, number: self.answered + 1 });
        match ticket {
            Some(ticket) => self.answer(ticket, fastrand::u64(PAUSE)),
            None => self.answer(self.cursor(), fastrand::u64(PAUSE)),
        }
    }

    /// Answers the poll that waits with everything that its client has not confirmed, and with `id`.
    fn answer(&mut self, id: impl Display, pause: u64) {
        let Some(waiting) = self.waiting.take() else { return };
        let mut body = Vec::with_capacity(self.backlog.bytes() + 128);
        body.extend_from_slice(&sse::retry(pause));
        if self.backlog.is_empty() {
            body.extend_from_slice(&sse::heartbeat());
        }
        self.backlog.parts().for_each(|part| body.extend_from_slice(part));
        body.extend_from_slice(format!("id: {id}\n\n").as_bytes());
        self.answered += 1;
        self.session.set_answered(self.answered);
        // An error means that the connection is gone. Then the next poll gets the same again.
        let _ = waiting.poll.answer.send(Bytes::from(body));
    }

    /// The client's cursor after it has got the backlog.
    fn cursor(&self) -> Cursor {
        match (&self.client_reader, self.client.since()) {
            (Some(client_reader), _) => client_reader.reader().cursor(),
            // The client may still subscribe.
            (None, Since::After(cursor)) => cursor,
            (None, Since::Now | Since::Unreadable) => self.client.context().pubsub.channels().cursor(),
        }
    }

    // ---- the end -------------------------------------------------------------------------

    /// The app has closed the client. What was written and published before goes to the poll that waits, or to polls
    /// that come in time.
    fn close(&mut self, resuming: bool, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let context = Arc::clone(self.client.context());
        // A server that is stopping gets no further polls, except from other workers while it is replaced.
        let lifecycle = &context.base.lifecycle;
        let more_polls = lifecycle.serving() || (context.relay.is_some() && lifecycle.restarts());
        self.check_last(cx, now);
        let deadline = self.closing.as_ref().map_or(now, |closing| closing.deadline);
        let numbered = self.closing.as_ref().and_then(|closing| closing.last).is_none_or(|last| last.are_numbered());
        if self.waiting.is_some() {
            while self.fill(cx)? {}
            if !numbered && lifecycle.serving() {
                // The poll waits for the engine, too.
                self.alarm.set(deadline, cx.waker());
                return Ok(());
            }
            if !self.has_more() || !more_polls {
                let (number, goodbye) = (self.answered + 1, self.client.take_goodbye());
                goodbye.into_iter().for_each(|frame| self.backlog.push(number, frame.bytes, 0));
                let cursor = self.cursor();
                self.answer(cursor, context.reconnect_delay.pause());
                return Err(Ended);
            }
            // An answer cannot hold everything.
            self.answer_so_far();
            if let Some(closing) = &mut self.closing {
                closing.deadline = now + context.base.limits.close_timeout;
            }
        }
        let deadline = self.closing.as_ref().map_or(now, |closing| closing.deadline);
        let owes = self.has_more() || self.client.owes_goodbye(false);
        if (!owes && !resuming) || !more_polls || deadline <= now {
            return Err(Ended);
        }
        self.alarm.set(deadline, cx.waker());
        Ok(())
    }

    /// Looks whether the engine has numbered what was published before the close. Beyond the deadline it is not waited
    /// for any more.
    fn check_last(&mut self, cx: &Context<'_>, now: Instant) {
        let Some(Closing { last: Some(last), deadline }) = &mut self.closing else { return };
        if let Some(client_reader) = &self.client_reader
            && !last.are_numbered()
            && client_reader.is_behind(&self.client, last, cx.waker())
            && !last.are_numbered()
            && *deadline <= now
        {
            last.stop_waiting(&self.client);
            *deadline = now + self.client.context().base.limits.close_timeout;
        }
    }

    /// Whether something is left that was written or published before the app has closed the client.
    fn has_more(&self) -> bool {
        let Some(closing) = &self.closing else { return false };
        let published = self.client_reader.as_ref().zip(closing.last);
        !self.queue.is_empty() || published.is_some_and(|(client_reader, last)| client_reader.has_not_read(&last))
    }

    fn set_alarm(&mut self, bounds: &StreamBounds, cx: &Context<'_>) {
        let linger: Duration = self.client.context().base.limits.poll_linger;
        let absence = self.absence.as_ref();
        let deadlines = [
            self.waiting.as_ref().map(|waiting| waiting.until),
            absence.map(|absence| absence.since + linger),
            absence.filter(|_| self.client_reader.is_some()).map(|absence| absence.stall_at),
            bounds.slow_at,
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            self.alarm.set(deadline, cx.waker());
        }
    }
}

/// Answers a poll with no message. Its client may poll again with `id`.
pub(super) fn answer_empty(poll: AcceptedPoll, id: Option<impl Display>, pause: u64) {
    let id = id.map(|id| format!("id: {id}\n\n")).unwrap_or_default();
    let mut body = sse::retry(pause).to_vec();
    body.extend_from_slice(&sse::heartbeat());
    body.extend_from_slice(id.as_bytes());
    let _ = poll.answer.send(Bytes::from(body));
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.step(cx) {
            Ok(()) => Poll::Pending,
            Err(Ended) => Poll::Ready(()),
        }
    }
}

impl Drop for SessionTask {
    /// However the session ends, even by a panic or with the runtime, the client gets its `on_close`, and no poll waits
    /// for ever.
    fn drop(&mut self) {
        if self.client.forked() {
            return;
        }
        let context = Arc::clone(self.client.context());
        context.sessions.remove(&self.session);
        if let Some(absence) = self.absence.take() {
            context.sessions.return_to(absence.number);
        }
        let waiting = self.waiting.take().map(|waiting| waiting.poll);
        for poll in waiting.into_iter().chain(self.session.close()) {
            // The client does not get the backlog, so its cursor is still the one that the poll has sent.
            let cursor = poll.ticket.map(|ticket| ticket.cursor);
            answer_empty(poll, cursor, context.reconnect_delay.pause());
        }
        self.client.finish(Some(CloseStatus::abnormal()));
    }
}
