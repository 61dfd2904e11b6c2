//! A WebSocket whose input has ended: the peer broke the protocol, or closed its side without a Close frame.
//!
//! Messages that came before still get their callbacks, and what these write is sent. When the mailbox is empty and no
//! callback runs, the connection is closed. All of that takes no longer than `close_timeout`.

use std::time::Instant;

use super::task::{InputEnd, State, Stream};
use crate::websocket::close::CloseStatus;

impl Stream {
    /// Reads nothing more.
    pub(super) fn end_input(&mut self, status: CloseStatus, now: Instant) {
        self.decoder = None;
        self.unread = None;
        self.backlog = false;
        self.pinged_at = None;
        self.client.end_input();
        let deadline = now + self.client.context().base.limits.close_timeout;
        self.input_end.get_or_insert_with(|| Box::new(InputEnd { status, deadline }));
    }

    /// Closes the client if its input has ended and the app has handled all that came. What the app wrote is sent
    /// before.
    pub(super) fn close_after_input(&self) {
        if let Some(end) = &self.input_end
            && matches!(self.state, State::Open)
            && self.client.is_idle()
        {
            self.client.close(end.status.clone());
        }
    }
}
