//! The members of channels, and the messages that announce them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::draft::{Draft, EventName, Kind};
use super::super::engine::Full;
use super::super::error::Error;
use super::super::event::{Change, Command, PresentMember};
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
        let command = Command::Disconnect { member: member.into(), done: Some(self.engine.process()) };
        self.engine.command(command).map_err(|Full(_)| self.unavailable())?;
        let place = self.unsettled_command().unwrap_or(0);
        self.last_disconnect.fetch_max(place, Ordering::Relaxed);
        Ok(self.lock_current().presence.memberships.clients(member))
    }

    /// The place among the commands of this process up to which members were disconnected, as
    /// [`super::super::Progress::wait_for_command`] takes it. A process that ends must wait for that, or the other processes
    /// do not learn of it. 0: there is nothing to wait for.
    pub fn last_disconnect(&self) -> u64 {
        self.last_disconnect.load(Ordering::Relaxed)
    }

    /// Makes all processes close the clients of `member`, also this one: see [`Channels::take_dismissed`].
    pub fn dismiss(&self, member: &str) -> Result<(), Error> {
        let command = Command::Disconnect { member: member.into(), done: None };
        self.engine.command(command).map_err(|Full(_)| self.unavailable())
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

    /// Applies a command that the engine has sent. `seq` is its number.
    pub(super) fn apply_command(&self, state: &mut State, seq: u64, command: Command) {
        let State { log, presence, dismissed, .. } = state;
        log.pass(seq);
        match command {
            Command::Disconnect { done, .. } if done == Some(self.engine.process()) => {}
            Command::Disconnect { member, .. } => dismissed.extend(presence.memberships.clients(&member)),
            Command::Member(change) => {
                let channel = Arc::clone(&change.channel);
                let Applied { announcement, joined } = presence.apply(change, Instant::now());
                if let Some(announcement) = announcement.and_then(|it| self.announcement(&it, seq)) {
                    log.append(announcement);
                }
                if let Some(reader) = joined {
                    log.tell_members(reader, &channel, here(presence, Arc::clone(&channel)));
                }
            }
        }
    }

    /// The engine has given all members anew. The readers of a channel whose members are others get all of them, and so do those
    /// of the channels that have `missed` announcements.
    pub(super) fn replace_members(&self, state: &mut State, members: Vec<PresentMember>, missed: Vec<Arc<str>>) {
        let State { log, presence, .. } = state;
        let mut channels = presence.replace(members, Instant::now());
        channels.extend(missed);
        for channel in channels {
            log.tell_members_to_all(&channel, || here(presence, Arc::clone(&channel)));
        }
        presence.retry(&*self.engine);
    }

    /// The message by which this process's readers hear of a member, with the number of the command.
    fn announcement(&self, announcement: &Announcement, seq: u64) -> Option<Arc<Message>> {
        let Announcement { channel, member, except, .. } = announcement;
        let payload = announcement.payload();
        let draft = Draft {
            kind: Kind::Server,
            event: EventName::Given(announcement.event()),
            store: false,
            except: *except,
            ..Draft::text(channel, payload.as_bytes())
        };
        let message = Message::new(&draft, &self.limits(), Instant::now());
        if let Err(error) = &message {
            // The names are what a client says.
            let (channel, member) = (channel.escape_debug(), member.escape_debug());
            log::warn!("{channel}: {member} could not be announced: {error}");
        }
        message.ok().inspect(|message| message.number(seq))
    }
}

/// A notice with all members of a channel.
fn here(presence: &Presence, channel: Arc<str>) -> Notice {
    let members = presence.members(&channel).map(|(name, info)| (Arc::clone(name), Arc::clone(info))).collect();
    Notice::Here { channel, members }
}
