//! The task that answers a session's polls: what [`crate::push::stream`] is to a socket.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backlog::Backlog;
use super::session::{Arrival, Session};
use super::ticket::Ticket;
use crate::base::timers::Alarm;
use crate::channel::{Cursor, Since};
use crate::push::outbox::{StreamBounds, StreamOrder};
use crate::push::queue::{Origin, Queue, Sent};
use crate::push::reader::ClientReader;
use crate::push::{Client, CloseStatus, pressure};
use crate::sse;

/// Bytes of an answer, but for its last message; then there is another poll.
const ANSWER: usize = 1 << 20;

/// Milliseconds until the next poll: enough that many clients do not come together, and that one
/// message a poll does not become a storm of requests.
const PAUSE: std::ops::RangeInclusive<u64> = 200..=500;

/// Spawn it on the reactor; it ends with the session.
pub(super) struct Host {
    client: Arc<Client>,
    session: Arc<Session>,
    /// Written, and not yet part of an answer.
    queue: Queue,
    client_reader: Option<Arc<ClientReader>>,
    backlog: Backlog,
    waiting: Option<Waiting>,
    /// The number of the last answer.
    answered: u64,
    /// The app's first callback has returned, and the replay of its subscriptions has begun.
    opened: bool,
    /// The last answer could not hold all there was.
    lagged: bool,
    /// Something was written, and no poll waits for it.
    stalled: bool,
    left: Option<Left>,
    closing: Option<Closing>,
    alarm: Alarm,
}

/// The poll that is to be answered next.
struct Waiting {
    poll: Arrival,
    until: Instant,
}

/// Nobody waits.
struct Left {
    since: Instant,
    /// When the client's channels do something about how far it is behind.
    stall_at: Instant,
    /// Its number among the sessions that were left.
    number: u64,
}

/// The app wants it closed.
struct Closing {
    /// Where that ends which was published before it; `None` if the client reads no channels.
    until: Option<Cursor>,
    /// When the client has waited for long enough with fetching it.
    deadline: Instant,
}

/// The session is over. What it means for the app is the same, whatever the reason.
struct Ended;

impl Host {
    /// The app hears of the client at once: there is no handshake that could fail.
    pub(super) fn new(client: Arc<Client>, session: Arc<Session>) -> Self {
        let context = client.context();
        context.sessions.insert(&session, context.base.limits.max_connections);
        let alarm = context.base.timers.alarm();
        client.start();
        Host {
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
            left: None,
            closing: None,
            alarm,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let now = self.client.context().base.timers.now();
        let news = self.session.news(cx.waker());
        if news.dismissed {
            return Err(Ended);
        }
        let got = self.backlog.confirm(news.confirmed);
        if got > 0 {
            self.client.got(got);
        }
        for arrival in news.arrivals {
            self.admit(arrival, now);
        }
        if self.waiting.as_mut().is_some_and(|waiting| waiting.poll.answer.poll_closed(cx).is_ready()) {
            self.waiting = None;
        }
        self.keep_watch(news.visited, now)?;
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
                let until = self.client_reader.as_ref().map(|client_reader| client_reader.last_message(&self.client));
                self.closing = Some(Closing { until, deadline: now + self.client.context().base.limits.close_timeout });
            }
            StreamOrder::Close(_) => {}
        }
        if self.closing.is_some() {
            return self.close(news.visited, cx, now);
        }
        self.serve(cx, now)?;
        // While a poll waits, the client takes what is written.
        let stalled = self.left.is_some() && !(self.queue.is_empty() && self.backlog.is_empty());
        if std::mem::replace(&mut self.stalled, stalled) || stalled {
            bounds = self.client.set_stalled(stalled.then_some(now));
        }
        if bounds.slow_at.is_some_and(|at| at <= now) {
            return Err(self.cut_slow());
        }
        self.set_alarm(&bounds, cx);
        Ok(())
    }

    /// Of two polls the newer counts: the older one's client is not there any more, as a rule.
    fn admit(&mut self, poll: Arrival, now: Instant) {
        let until = now + poll.wait;
        if let Some(older) = self.waiting.replace(Waiting { poll, until }) {
            let ticket = older.poll.ticket;
            dismiss(older.poll, ticket, fastrand::u64(PAUSE));
        }
    }

    /// Ends what was left for too long, or lags by too much.
    fn keep_watch(&mut self, visited: bool, now: Instant) -> Result<(), Ended> {
        let context = self.client.context();
        if self.waiting.is_some() || visited {
            if let Some(left) = self.left.take() {
                context.sessions.return_to(left.number);
            }
            return Ok(());
        }
        let stall_at = now + context.base.limits.slow_timeout;
        let left = self.left.get_or_insert_with(|| {
            let number = context.sessions.leave(&self.session);
            Left { since: now, stall_at, number }
        });
        if left.since + context.base.limits.poll_linger <= now {
            return Err(Ended);
        }
        if left.stall_at <= now {
            left.stall_at = stall_at;
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

    /// Answers the poll that waits, if there is something to say or its time is over.
    fn serve(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let Some(until) = self.waiting.as_ref().map(|waiting| waiting.until) else { return Ok(()) };
        // What on_open writes and subscribes belongs together.
        let more = if self.opened { self.fill(cx)? } else { false };
        if more {
            // Others first.
            cx.waker().wake_by_ref();
        } else if !self.backlog.is_empty() || until <= now {
            self.answer_so_far();
            // It has been left.
            self.keep_watch(false, now)?;
        }
        Ok(())
    }

    /// Takes what there is for the client, up to what fits into an answer. Whether there is more that
    /// does fit.
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
            self.client.handed(&sent);
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

    /// Answers with what there is; another poll is to follow.
    fn answer_so_far(&mut self) {
        let ticket = self.session.token.map(|token| Ticket { cursor: self.cursor(), token, number: self.answered + 1 });
        match ticket {
            Some(ticket) => self.answer(ticket, fastrand::u64(PAUSE)),
            None => self.answer(self.cursor(), fastrand::u64(PAUSE)),
        }
    }

    /// Gives the poll that waits all that its client has not shown to have got, and `id`.
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
        // An error: the connection is gone. Then the next poll gets it.
        let _ = waiting.poll.answer.send(Bytes::from(body));
    }

    /// Where the client is, once it has got the backlog.
    fn cursor(&self) -> Cursor {
        match (&self.client_reader, self.client.since()) {
            (Some(client_reader), _) => client_reader.reader().cursor(),
            // It may still subscribe.
            (None, Since::After(cursor)) => cursor,
            (None, Since::Now | Since::Unreadable) => self.client.context().pubsub.channels().cursor(),
        }
    }

    // ---- the end -------------------------------------------------------------------------

    /// The app wants it closed: what was written and published before goes out, to the poll that
    /// waits, or to those that come in time.
    fn close(&mut self, visited: bool, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let context = Arc::clone(self.client.context());
        if self.waiting.is_some() {
            while self.fill(cx)? {}
            if !self.has_more() || !context.base.lifecycle.serving() {
                let cursor = self.cursor();
                self.answer(cursor, context.reconnect_delay.pause());
                return Err(Ended);
            }
            // More than an answer holds.
            self.answer_so_far();
            if let Some(closing) = &mut self.closing {
                closing.deadline = now + context.base.limits.close_timeout;
            }
        }
        let deadline = self.closing.as_ref().map_or(now, |closing| closing.deadline);
        // A server that stops lets no new poll in.
        if (!self.has_more() && !visited) || !context.base.lifecycle.serving() || deadline <= now {
            return Err(Ended);
        }
        self.alarm.set(deadline, cx.waker());
        Ok(())
    }

    /// Whether something is left that was written or published before the app wanted it closed.
    fn has_more(&self) -> bool {
        let Some(closing) = &self.closing else { return false };
        let published = self.client_reader.as_ref().zip(closing.until);
        !self.queue.is_empty()
            || published.is_some_and(|(client_reader, until)| client_reader.reader().is_behind(until))
    }

    fn set_alarm(&mut self, bounds: &StreamBounds, cx: &Context<'_>) {
        let linger: Duration = self.client.context().base.limits.poll_linger;
        let left = self.left.as_ref();
        let deadlines = [
            self.waiting.as_ref().map(|waiting| waiting.until),
            left.map(|left| left.since + linger),
            left.filter(|_| self.client_reader.is_some()).map(|left| left.stall_at),
            bounds.slow_at,
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            self.alarm.set(deadline, cx.waker());
        }
    }
}

/// Answers a poll with nothing: its client may ask again, as what it was.
fn dismiss(poll: Arrival, id: Option<impl Display>, pause: u64) {
    let id = id.map(|id| format!("id: {id}\n\n")).unwrap_or_default();
    let mut body = sse::retry(pause).to_vec();
    body.extend_from_slice(&sse::heartbeat());
    body.extend_from_slice(id.as_bytes());
    let _ = poll.answer.send(Bytes::from(body));
}

impl Future for Host {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.step(cx) {
            Ok(()) => Poll::Pending,
            Err(Ended) => Poll::Ready(()),
        }
    }
}

impl Drop for Host {
    /// However a session ends, also with a panic or with the runtime, its client hears of it, and
    /// nobody waits for ever.
    fn drop(&mut self) {
        if self.client.forked() {
            return;
        }
        let context = Arc::clone(self.client.context());
        context.sessions.remove(&self.session);
        if let Some(left) = self.left.take() {
            context.sessions.return_to(left.number);
        }
        let waiting = self.waiting.take().map(|waiting| waiting.poll);
        for poll in waiting.into_iter().chain(self.session.close()) {
            // Of what it has not got by now it gets nothing: its cursor is the one that it came with.
            let cursor = poll.ticket.map(|ticket| ticket.cursor);
            dismiss(poll, cursor, context.reconnect_delay.pause());
        }
        self.client.finish(Some(CloseStatus::abnormal()));
    }
}
