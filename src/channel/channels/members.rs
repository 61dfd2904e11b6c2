//! The members of channels, and the messages that announce them.

use std::sync::Arc;
use std::time::Instant;

use super::super::draft::{Draft, EventName, Kind};
use super::super::engine::Full;
use super::super::error::Error;
use super::super::event::{Change, Command};
use super::super::log::Log;
use super::super::message::Message;
use super::super::notice::Notice;
use super::super::presence::{Announcement, Applied, Presence};
use super::super::work;
use super::state::{Channels, State};

impl Channels {
    /// Names and information (JSON) of a channel's members, sorted by name. In a channel with thousands of members, the
    /// result may or may not have members that join or leave meanwhile.
    pub fn present(&self, channel: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        loop {
            let state = self.lock_current();
            let last = all.last().map(|(name, _)| Arc::clone(name));
            let before = all.len();
            let next = state.presence.members_after(channel, last.as_ref()).take(work::PIECE);
            all.extend(next.map(|(name, info)| (Arc::clone(name), Arc::clone(info))));
            if all.len() < before + work::PIECE {
                return all;
            }
        }
    }

    /// Makes all other processes close the clients of `member`. Returns the ids of the member's clients in this process;
    /// the caller closes these clients.
    pub fn disconnect(&self, member: &str) -> Result<Vec<u64>, Error> {
        let sent = self.engine.command(Command::Disconnect { member: member.into() });
        sent.map_err(|Full(_)| self.unavailable())?;
        Ok(self.lock_current().presence.memberships.clients(member))
    }

    /// The ids of clients that another process wants to close. Each id is returned once.
    pub fn take_dismissed(&self) -> Vec<u64> {
        std::mem::take(&mut self.lock().dismissed)
    }

    /// Sends changes to the engine, and applies those that the engine sends back at once.
    pub(super) fn send_changes(&self, state: &mut State, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        changes.into_iter().for_each(|change| state.presence.send(change, &*self.engine));
        self.take_events(state);
    }

    /// Applies a change that the engine has sent.
    pub(super) fn apply_change(&self, log: &mut Log, presence: &mut Presence, change: Change) {
        let channel = Arc::clone(&change.channel);
        let Applied { announcement, joined } = presence.apply(change);
        // The announcement comes after the change in the engine's order. This must not wait, because the caller holds the
        // log's lock.
        if let Some(announcement) = announcement
            && !self.announce(&announcement)
        {
            presence.keep_announcement(announcement);
        }
        if let Some(reader) = joined {
            let members = presence.members(&channel).map(|(name, info)| (Arc::clone(name), Arc::clone(info))).collect();
            log.notify(reader, Notice::Here { channel, members });
        }
    }

    /// Publishes an announcement. Returns false if the engine takes no message for now.
    fn announce(&self, announcement: &Announcement) -> bool {
        let Announcement { channel, member, except, .. } = announcement;
        let payload = announcement.payload();
        let draft = Draft {
            kind: Kind::Server,
            event: EventName::Given(announcement.event()),
            store: false,
            except: *except,
            ..Draft::text(channel, payload.as_bytes())
        };
        match Message::new(&draft, &self.limits(), Instant::now()) {
            Ok(message) => self.submit(message).is_ok(),
            Err(error) => {
                log::warn!("{channel}: {member} could not be announced: {error}");
                true
            }
        }
    }

    /// Sends the engine what the engine has not taken before.
    pub(super) fn retry_pending(&self, presence: &mut Presence) {
        presence.retry(&*self.engine);
        while let Some(announcement) = presence.next_announcement() {
            if !self.announce(&announcement) {
                presence.keep_announcement(announcement);
                return;
            }
        }
    }
}
