//! What a stream reads of channels.

use std::task::Context;
use std::time::Instant;

use super::task::{State, Stream};
use crate::push::queue::Frame;

impl Stream {
    /// Closes the client if channels have given it up. It is for a stream whose socket takes nothing: it does not read
    /// channels, so it would not notice.
    pub(super) fn check_feed(&mut self, cx: &Context<'_>, now: Instant) {
        let reads = matches!(self.state, State::Open | State::Ending { .. });
        let feed = self.feed.as_ref().filter(|_| reads);
        if feed.is_some_and(|feed| feed.poll_given_up(&self.client, cx.waker())) {
            self.give_up(now);
        }
    }

    /// Queues what channels have for the client, if nothing else waits: what the socket has not
    /// taken stays in the log, which all share. Whether anything was queued.
    pub(super) fn read_feed(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let reads = matches!(self.state, State::Open | State::Ending { .. });
        let Some(feed) = self.feed.as_ref().filter(|_| reads) else { return false };
        if !feed.poll_ready(cx.waker()) && matches!(self.state, State::Open) {
            return false;
        }
        let (queue, blocked) = (&mut self.queue, std::mem::take(&mut self.lagged));
        let taken = feed.read(&self.client, blocked, |bytes| queue.push(Frame::own(bytes)));
        if taken.overrun {
            self.give_up(now);
        } else if let State::Ending { status, until } = &self.state
            && !(taken.more && feed.reader().is_behind(*until))
        {
            let status = status.clone();
            self.queue_close(status);
        } else if taken.more {
            // Others first.
            cx.waker().wake_by_ref();
        }
        true
    }
}
