//! What becomes of a WebSocket from which nothing more can come: the peer broke the protocol, or closed its side without
//! a Close frame.
//!
//! The app may still be at work on messages that came before. They get their callbacks, and what these write is sent.
//! Then, when the mailbox is empty and no callback runs, the connection is closed. All of that takes no longer than
//! `close_timeout`.

use std::time::Instant;

use bytes::Bytes;

use super::{State, Stream};
use crate::push::close::CloseStatus;

/// Nothing more is read.
#[derive(Debug)]
pub(super) struct InputEnd {
    /// What the client is closed with, whatever the app says afterwards; 1006 if the peer has closed its side.
    pub(super) status: CloseStatus,
    /// When it is closed, whatever the app is doing.
    pub(super) deadline: Instant,
}

impl Stream {
    /// Nothing more can come.
    pub(super) fn end_input(&mut self, status: CloseStatus, now: Instant) {
        self.decoder = None;
        self.unread = Bytes::new();
        self.backlog = false;
        self.pinged = None;
        self.client.end_input();
        let deadline = now + self.client.context().limits.close_timeout;
        self.input_end.get_or_insert(InputEnd { status, deadline });
    }

    /// Closes the client if nothing more can come and the app has nothing more to do with what came. What it wrote
    /// by then is sent before.
    pub(super) fn close_after_input(&self) {
        if let Some(end) = &self.input_end
            && matches!(self.state, State::Open)
            && self.client.is_idle()
        {
            self.client.close(end.status.clone());
        }
    }
}
