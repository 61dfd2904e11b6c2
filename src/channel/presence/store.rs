//! All about members: what clients do, and what the engine says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::client_id::process_of;
use super::super::engine::Engine;
use super::super::event::{Change, ChangeKind, Command};
use super::announcement::Announcement;
use super::members::Members;
use super::memberships::Memberships;
use super::pending::Pending;

/// The result of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::channel) struct Applied {
    /// This process sends the announcement to the channel's readers.
    pub(in crate::channel) announcement: Option<Announcement>,
    /// The number of the reader that gets the list of members.
    pub(in crate::channel) joined: Option<u32>,
}

/// The members of all channels.
#[derive(Debug, Default)]
pub(in crate::channel) struct Presence {
    /// The number of this process.
    process: u32,
    /// What the clients of this process do.
    pub(in crate::channel) memberships: Memberships,
    members: Members,
    pending: Pending,
}

impl Presence {
    /// The presence of a process with this number: see [`super::super::Engine::process`].
    pub(in crate::channel) fn new(process: u32) -> Self {
        Presence { process, ..Presence::default() }
    }

    // ---- members ---------------------------------------------------------------------------

    /// Applies a change that the engine has sent to all processes.
    pub(in crate::channel) fn apply(&mut self, change: Change) -> Applied {
        let Change { channel, member, kind } = change;
        match kind {
            ChangeKind::Join { client, info } => self.join(channel, member, client, info),
            ChangeKind::Leave { client, at } => {
                self.members.leave(channel, member, client, at, process_of(client) == self.process);
                Applied::default()
            }
            ChangeKind::Expire { process } => {
                let removed = self.members.remove(&channel, &member);
                let announces = removed && process == self.process;
                let announcement = announces.then_some(Announcement { channel, member, info: None, except: None });
                Applied { announcement, joined: None }
            }
        }
    }

    fn join(&mut self, channel: Arc<str>, member: Arc<str>, client: u64, info: Arc<str>) -> Applied {
        let new = self.members.join(&channel, &member, client, &info);
        if process_of(client) != self.process {
            return Applied::default();
        }
        let joined = self.memberships.announced(client, &channel, &member).map(|membership| membership.reader);
        let announcement = Announcement { channel, member, info: Some(info), except: Some(client) };
        Applied { announcement: new.then_some(announcement), joined }
    }

    /// The changes to send to the engine for members that have had no client for `linger`. Looks at no more than
    /// [`super::super::work::PIECE`] members.
    pub(in crate::channel) fn expired(&mut self, linger: Duration, now: Instant) -> Vec<Change> {
        let expired = self.members.expired(linger, now);
        if self.members.shrink() {
            self.memberships.shrink();
        }
        let kind = ChangeKind::Expire { process: self.process };
        expired.into_iter().map(|(channel, member)| Change { channel, member, kind: kind.clone() }).collect()
    }

    /// The engine has forgotten all members. The members stay for a while, as if their clients had left just now. The
    /// joins of this process's clients are sent to the engine again.
    pub(in crate::channel) fn reset(&mut self, now: Instant) {
        self.members.reset(now);
        // The engine may have kept a change that it took before, and may send that change after the reset. So pending
        // leaves stay, and the engine may know a client whose join is sent again.
        self.memberships.joins().for_each(|join| self.pending.keep_known(join));
    }

    /// There are no members, and no leave to announce.
    pub(in crate::channel) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Names and information (JSON) of a channel's members, by name.
    pub(in crate::channel) fn members(&self, channel: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.members.after(channel, None)
    }

    /// The members with names after `name`; `None` is before all names.
    pub(in crate::channel) fn members_after(
        &self,
        channel: &str,
        name: Option<&Arc<str>>,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.members.after(channel, name)
    }

    // ---- what the engine has not taken -----------------------------------------------------

    /// Whether there is a change or an announcement that the engine has not taken.
    pub(in crate::channel) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends a change to the engine. If the engine does not take the change, it is kept in place of an older one.
    pub(in crate::channel) fn send(&mut self, change: Change, engine: &dyn Engine) {
        if !self.pending.has_changes() && engine.command(Command::Member(change.clone())).is_ok() {
            self.taken(&change);
            return;
        }
        let known = match change.kind {
            ChangeKind::Join { client, .. } => {
                let membership = self.memberships.announced(client, &change.channel, &change.member);
                membership.is_some_and(|membership| membership.join_taken)
            }
            ChangeKind::Leave { .. } | ChangeKind::Expire { .. } => true,
        };
        self.pending.keep_change(change, known);
    }

    /// Sends the pending changes to the engine, until the engine takes no more.
    pub(in crate::channel) fn retry(&mut self, engine: &dyn Engine) {
        while let Some(pending) = self.pending.next_change() {
            if engine.command(Command::Member(pending.change.clone())).is_err() {
                self.pending.put_back(pending);
                return;
            }
            self.taken(&pending.change);
        }
    }

    /// The engine has taken a change.
    fn taken(&mut self, change: &Change) {
        if let ChangeKind::Join { client, .. } = change.kind
            && let Some(membership) = self.memberships.announced(client, &change.channel, &change.member)
        {
            membership.join_taken = true;
        }
    }

    /// Keeps an announcement that the engine has not taken, in place of an older one.
    pub(in crate::channel) fn keep_announcement(&mut self, announcement: Announcement) {
        self.pending.keep_announcement(announcement);
    }

    /// Removes the next announcement that the engine has not taken; [`Presence::keep_announcement`] puts it back.
    pub(in crate::channel) fn next_announcement(&mut self) -> Option<Announcement> {
        self.pending.next_announcement()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Member;

    const LINGER: Duration = Duration::from_secs(15);
    const ANA: Member<'_> = Member { name: "u7", info: "{\"name\":\"Ana\"}" };

    /// Presence with an engine that sends each change back at once.
    #[derive(Default)]
    struct Fixture(Presence);

    impl Fixture {
        /// Returns true if there is an announcement.
        fn apply(&mut self, changes: Vec<Change>) -> bool {
            changes.into_iter().filter(|change| self.0.apply(change.clone()).announcement.is_some()).count() > 0
        }

        fn join(&mut self, channel: &str, member: Member<'_>, client: u64, now: Instant) -> bool {
            let changes = self.0.memberships.add(channel, member, true, client, 0, now);
            self.apply(changes)
        }

        fn leave(&mut self, channel: &str, client: u64, now: Instant) {
            let changes = self.0.memberships.remove(channel, client, now);
            assert!(!self.apply(changes));
        }

        fn disconnect(&mut self, client: u64, now: Instant) {
            let changes = self.0.memberships.remove_client(client, now);
            assert!(!self.apply(changes));
        }

        fn expire(&mut self, now: Instant) -> Vec<(String, String)> {
            let expired = self.0.expired(LINGER, now);
            let announced = expired.into_iter().filter_map(|change| self.0.apply(change).announcement);
            announced.map(|it| (it.channel.to_string(), it.member.to_string())).collect()
        }

        fn here(&self, channel: &str) -> Vec<(&str, &str)> {
            self.0.members(channel).map(|(name, info)| (&**name, &**info)).collect()
        }
    }

    fn place(channel: &str, member: &str) -> (String, String) {
        (channel.to_owned(), member.to_owned())
    }

    #[test]
    fn three_tabs_are_one_member() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        assert!(own.join("c", ANA, 1, start));
        assert!(!own.join("c", ANA, 2, start) && !own.join("c", ANA, 3, start));
        own.disconnect(1, start);
        own.leave("c", 2, start);
        assert!(own.expire(start + LINGER * 2).is_empty());
        own.disconnect(3, start + LINGER * 2);
        assert!(own.expire(start + LINGER * 3 - Duration::from_nanos(1)).is_empty());
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
        assert_eq!(own.expire(start + LINGER * 3), [place("c", "u7")]);
        assert!(own.here("c").is_empty());
        assert!(own.0.is_empty() && own.0.memberships.is_empty());
    }

    #[test]
    fn a_client_is_the_member_that_it_was_last() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        let guest = Member { name: "guest", info: "null" };
        assert!(own.join("c", guest, 1, start) && own.join("c", ANA, 1, start));
        assert!(own.0.memberships.clients("guest").is_empty());
        assert_eq!(own.expire(start + LINGER), [place("c", "guest")]);
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
        own.leave("c", 1, start);
        assert_eq!(own.expire(start + LINGER), [place("c", "u7")]);
    }

    #[test]
    fn a_member_that_returns_in_time_has_never_left() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        own.join("c", ANA, 1, start);
        own.disconnect(1, start);
        assert!(!own.join("c", ANA, 2, start));
        assert!(own.expire(start + LINGER * 2).is_empty());
        own.disconnect(2, start + LINGER * 2);
        // The second time counts, not the first.
        assert!(own.expire(start + LINGER * 2).is_empty());
        assert_eq!(own.expire(start + LINGER * 3).len(), 1);
    }

    #[test]
    fn members_of_several_channels() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        own.join("a", ANA, 1, start);
        own.join("b", ANA, 1, start);
        own.join("b", Member { name: "u1", info: "null" }, 2, start);
        own.join("b", ANA, 3, start);
        assert_eq!(own.0.memberships.clients("u7"), [1, 3]);
        assert_eq!(own.here("b"), [("u1", "null"), ("u7", ANA.info)]);
        own.leave("a", 1, Instant::now());
        assert_eq!(own.0.memberships.count(1), 1);
    }

    #[test]
    fn a_member_of_a_channel_without_presence_is_known_in_this_process_alone() {
        let mut own = Presence::default();
        assert!(own.memberships.add("c", ANA, false, 1, 0, Instant::now()).is_empty());
        assert_eq!(own.memberships.clients("u7"), [1]);
        assert!(
            own.memberships.remove_client(1, Instant::now()).is_empty() && own.memberships.clients("u7").is_empty()
        );
    }

    #[test]
    fn one_process_announces_each_member() {
        let now = Instant::now();
        let [mut here, mut there] = [0, 1].map(Presence::new);
        let all = |here: &mut Presence, there: &mut Presence, changes: Vec<Change>| {
            let announced = |applied: Applied| applied.announcement.map(|it| it.info.is_some());
            let each = |change: Change| [announced(here.apply(change.clone())), announced(there.apply(change))];
            changes.into_iter().map(each).collect::<Vec<_>>()
        };
        let joins = there.memberships.add("c", ANA, true, crate::channel::client_id(1, 5), 0, now);
        assert_eq!(all(&mut here, &mut there, joins), [[None, Some(true)]]);
        let leaves = there.memberships.remove_client(crate::channel::client_id(1, 5), now);
        assert_eq!(all(&mut here, &mut there, leaves), [[None, None]]);
        assert!(here.expired(LINGER, now + LINGER).is_empty());
        let expired = there.expired(LINGER, now + LINGER);
        // Twice is the same as once.
        let twice = [expired.clone(), expired].concat();
        assert_eq!(all(&mut here, &mut there, twice), [[None, Some(false)], [None, None]]);
        assert!(here.is_empty() && there.is_empty());
    }

    #[test]
    fn members_outlive_an_engine_that_forgets_them() {
        let (mut own, now) = (Fixture::default(), Instant::now());
        own.join("c", ANA, 1, now);
        own.apply(vec![Change {
            channel: "c".into(),
            member: "u1".into(),
            kind: ChangeKind::Join { client: crate::channel::client_id(1, 1), info: "1".into() },
        }]);
        own.0.reset(now);
        assert_eq!(own.here("c").len(), 2);
        // The engine gets the join of this process's client again; the readers get no announcement.
        let pending = own.0.pending.next_change().unwrap();
        assert_eq!(own.0.apply(pending.change).announcement, None);
        assert_eq!(own.expire(now + LINGER), [place("c", "u1")]);
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
    }
}
