//! What a stream reads of channels.

use std::task::Context;
use std::time::Instant;

use super::{State, Stream};
use crate::channel::Cursor;
use crate::push::outgoing::Frame;

impl Stream {
    /// Queues what channels have for the client, if nothing else waits: what the socket has not
    /// taken stays in the log, which all share. Whether anything was queued.
    pub(super) fn read_feed(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let ending = match &self.state {
            State::Open => None,
            State::Ending { status, until } => Some((status.clone(), *until)),
            State::Handshake | State::Closing(_) | State::Lingering { .. } => return false,
        };
        let Some(feed) = &self.feed else { return false };
        let ready = feed.poll_ready(cx.waker());
        if !ready && ending.is_none() {
            return false;
        }
        let (queue, blocked) = (&mut self.queue, std::mem::take(&mut self.lagged));
        let taken = feed.read(&self.client, blocked, |bytes| queue.push(Frame::own(bytes)));
        match ending {
            _ if taken.overrun => self.cut_slow(now),
            Some((status, until)) if !taken.more || !feed.reader().is_behind(until) => self.say_close(status),
            // Others first.
            _ if taken.more => cx.waker().wake_by_ref(),
            _ => {}
        }
        true
    }

    /// Where that ends which was published before the app closed the client: it goes out before the
    /// close. `None` if the client reads no channels.
    pub(super) fn last_message(&self) -> Option<Cursor> {
        let feed = self.feed.as_ref()?;
        // A closed client subscribes no more, although its first callback may still run.
        feed.begin_replay();
        let channels = self.client.context().pubsub.channels();
        channels.deliver();
        Some(channels.cursor())
    }
}
