//! What a [`super::super::Reader`] needs: attach, subscribe, unsubscribe, detach.

use std::sync::Arc;
use std::time::Instant;

use super::super::batch::BatchLimit;
use super::super::cursor::Since;
use super::super::error::Error;
use super::super::subscription::{Subscription, Target};
use super::super::wake::Wake;
use super::state::Channels;

impl Channels {
    pub(in crate::channel) fn attach(&self, id: u64, wake: Arc<dyn Wake>, since: Since) -> u32 {
        self.lock_current().log.attach(id, wake, since)
    }
    pub(in crate::channel) fn set_outlet(&self, number: u32, outlet: u32) {
        self.lock().log.set_outlet(number, outlet);
    }

    pub(in crate::channel) fn subscribe(
        &self,
        number: u32,
        id: u64,
        subscription: Subscription<'_>,
        now: Instant,
    ) -> Result<Option<bool>, Error> {
        let Subscription { target, since, member, frames } = subscription;
        member.map_or(Ok(()), |member| self.limits().check_member(member))?;
        // The lock is held from the start of the subscription to the member's change. So the reader misses no change.
        let mut state = self.lock_current();
        let complete = state.log.subscribe(number, target, since, frames, now)?;
        if let Some(member) = member {
            let announced = matches!(target, Target::Channel(name) if state.log.policy(name).presence);
            let changes = state.presence.memberships.add(target.name(), member, announced, id, number);
            self.send_changes(&mut state, changes);
        }
        Ok(complete)
    }

    pub(in crate::channel) fn unsubscribe(&self, number: u32, member: Option<u64>, target: Target<'_>) -> bool {
        let mut state = self.lock_current();
        let found = state.log.unsubscribe(number, target);
        if let (true, Some(id), Target::Channel(name)) = (found, member, target) {
            let changes = state.presence.memberships.remove(name, id);
            self.send_changes(&mut state, changes);
        }
        found
    }

    pub(in crate::channel) fn detach(&self, number: u32, member: Option<u64>) {
        // A thread that does not exist in a forked child may hold the lock.
        if self.forked() {
            return;
        }
        let mut state = self.lock();
        state.log.detach(number);
        if let Some(id) = member {
            let changes = state.presence.memberships.remove_client(id);
            self.send_changes(&mut state, changes);
        }
    }

    pub(in crate::channel) fn batch_limit(&self) -> BatchLimit {
        let limits = self.limits();
        BatchLimit { messages: limits.batch_messages, bytes: limits.batch_bytes }
    }
}
