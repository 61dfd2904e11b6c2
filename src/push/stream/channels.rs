//! What a stream reads of channels.

use std::task::Context;
use std::time::Instant;

use super::{State, Stream};
use crate::push::outgoing::Frame;

impl Stream {
    /// Queues what channels have for the client, if nothing else waits: what the socket has not
    /// taken stays in the log, which all share. Whether there was anything.
    pub(super) fn read_feed(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(feed) = self.feed.as_ref().filter(|_| matches!(self.state, State::Open)) else { return false };
        if !feed.poll_ready(cx.waker()) {
            return false;
        }
        let (queue, blocked) = (&mut self.queue, std::mem::take(&mut self.lagged));
        let taken = feed.read(&self.client, blocked, |bytes| queue.push(Frame::own(bytes)));
        if taken.overrun {
            self.cut_slow(now);
        } else if taken.more {
            // Others first.
            cx.waker().wake_by_ref();
        }
        true
    }

    /// What was published before the app closed the client goes out before the close, as far as it
    /// is given at once.
    pub(super) fn read_last_messages(&mut self) {
        if let Some(feed) = self.feed.take() {
            self.client.context().pubsub.channels().deliver();
            let queue = &mut self.queue;
            feed.read(&self.client, self.lagged, |bytes| queue.push(Frame::own(bytes)));
        }
    }
}
