//! What a channel keeps, and where a reader that returns continues.

use std::sync::Arc;
use std::time::Instant;

use super::super::cursor::{Cursor, Since};
use super::super::message::Message;
use super::super::policy::Policy;
use super::channel::Channel;
use super::store::Log;

impl Log {
    /// Where a reader that has seen everything up to `since` continues in `channel`: after which seq. `Ok(None)` means
    /// with live messages. `Err` is a gap.
    pub(crate) fn resume(&self, channel: &Channel, since: Since) -> Result<Option<u64>, ()> {
        match since {
            Since::Now => Ok(None),
            Since::After(Cursor { epoch, seq })
                if epoch == self.epoch && (channel.floor()..=self.last).contains(&seq) =>
            {
                Ok(Some(seq))
            }
            Since::After(_) | Since::Unreadable => Err(()),
        }
    }

    /// Stored messages of a channel in order: the first `limit` after a cursor, or the newest. False if messages
    /// between the cursor and the first of these are missing.
    pub(crate) fn history(
        &mut self,
        name: &str,
        since: Since,
        limit: usize,
        now: Instant,
    ) -> (Vec<Arc<Message>>, bool) {
        let at = self.names.get(name);
        at.inspect(|at| self.expire(*at, now));
        let Some(channel) = at.and_then(|at| self.channels.get(at)) else {
            // As an open channel that is empty.
            let floor = self.forgotten.floor(name);
            let empty = Channel::new(name.into(), Policy::default(), floor);
            return (Vec::new(), self.resume(&empty, since).is_ok());
        };
        match self.resume(channel, since) {
            Ok(Some(seq)) => (channel.history(seq).take(limit).cloned().collect(), true),
            start => {
                let mut messages: Vec<_> = channel.history(0).rev().take(limit).cloned().collect();
                messages.reverse();
                (messages, start.is_ok())
            }
        }
    }
}
