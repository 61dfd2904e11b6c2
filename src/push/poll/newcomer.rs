//! A client whose session has not begun.

use std::sync::Arc;

use super::session::{AcceptedPoll, Key, Session};
use super::session_task::SessionTask;
use super::ticket::Token;
use crate::push::Context;
use crate::push::pending::PendingClient;

/// A client, and the poll that may begin its session. If it is dropped before, `Abandoned` is posted to the client.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) client: PendingClient,
    pub(super) key: Key,
    pub(super) poll: AcceptedPoll,
}

impl Newcomer {
    /// Begins the session. `lost_writes`: its client had a session in a process that has died. Only in a task of the reactor.
    pub(super) fn begin(self, context: &Context, lost_writes: bool) {
        let Some(client) = self.client.arrive() else { return };
        if lost_writes {
            client.set_lost_writes();
        }
        let token = Token::draw(context.pubsub.channels().process());
        let session = Session::new(context, token, self.key, self.poll);
        tokio::spawn(SessionTask::new(client, Arc::clone(&session)));
    }
}
