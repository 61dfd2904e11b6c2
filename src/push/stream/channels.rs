//! How a stream reads channels.

use std::task::Context;
use std::time::Instant;

use super::task::{State, Stream};
use crate::push::queue::Frame;

impl Stream {
    /// Closes the client if channels have given it up. For a blocked stream: it does not read channels, so it would not
    /// notice.
    pub(super) fn check_given_up(&mut self, cx: &Context<'_>, now: Instant) {
        let reads = matches!(self.state, State::Open | State::Ending { .. });
        let client_reader = self.client_reader.as_ref().filter(|_| reads);
        if client_reader.is_some_and(|client_reader| client_reader.poll_given_up(&self.client, cx.waker())) {
            self.give_up(now);
        }
    }

    /// Queues what channels have for the client. To be called when nothing else waits: until the pipe can take messages,
    /// they stay in the log, which all clients share. Returns false if there was nothing to do.
    pub(super) fn read_channels(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let reads = matches!(self.state, State::Open | State::Ending { .. });
        let Some(client_reader) = self.client_reader.as_ref().filter(|_| reads) else { return false };
        if !client_reader.poll_ready(cx.waker()) && matches!(self.state, State::Open) {
            return false;
        }
        let (queue, blocked) = (&mut self.queue, std::mem::take(&mut self.lagged));
        let taken = client_reader.read(&self.client, blocked, |bytes| queue.push(Frame::own(bytes)));
        self.delivers = taken.newest;
        if taken.overrun {
            self.give_up(now);
        } else if let State::Ending { status, last } = &mut self.state {
            let numbered = last.are_numbered();
            if !client_reader.is_behind(&self.client, last, cx.waker()) || (numbered && !taken.more && !taken.waits) {
                let status = status.clone();
                self.queue_close(status);
            } else if taken.more || (last.are_numbered() && !taken.waits) {
                // Other tasks get their turn first.
                cx.waker().wake_by_ref();
            }
        } else if taken.more {
            // Other tasks get their turn first.
            cx.waker().wake_by_ref();
        }
        true
    }
}
