//! All about members: what clients do, and what the engine says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::client_id::process_of;
use super::super::engine::Engine;
use super::super::event::{Change, ChangeKind, Command, PresentMember};
use super::announcement::Announcement;
use super::members::{MemberChange, Members};
use super::memberships::Memberships;
use super::pending::Pending;

/// The result of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::channel) struct Applied {
    /// What the channel's readers in this process get.
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
    /// The presence of a process with this number: see [`Engine::process`]. `expires` is [`Engine::expires_members`].
    pub(in crate::channel) fn new(process: u32, expires: bool) -> Self {
        Presence { process, members: Members::new(expires), ..Presence::default() }
    }

    // ---- members ---------------------------------------------------------------------------

    /// Applies a change that the engine has sent to all processes. Each process announces it to its own readers. So nothing
    /// is announced twice, and no announcement can be lost with a process.
    pub(in crate::channel) fn apply(&mut self, change: Change, now: Instant) -> Applied {
        let changed = self.members.apply(&change, now);
        let Change { channel, member, kind } = change;
        let (client, info) = match kind {
            ChangeKind::Join { client, info } => (Some(client), Some(info)),
            ChangeKind::Leave { .. } | ChangeKind::Expire => (None, None),
        };
        let own = client.filter(|client| process_of(*client) == self.process);
        let membership = own.and_then(|client| self.memberships.announced(client, &channel, &member));
        let joined = membership.map(|membership| membership.reader);
        let announced = changed != MemberChange::None;
        let announcement = announced.then_some(Announcement { channel, member, info, except: client });
        Applied { announcement, joined }
    }

    /// The changes to send to the engine for members that have had no client for `linger`. Looks at no more than
    /// [`super::super::work::PIECE`] members.
    pub(in crate::channel) fn expired(&mut self, linger: Duration, now: Instant) -> Vec<Change> {
        let expired = self.members.expired(linger, now);
        if self.members.shrink() {
            self.memberships.shrink();
        }
        expired
    }

    /// These are the members now. Returns the channels whose members have changed, with the members.
    ///
    /// If the engine has lost changes of this process, they are sent again. It may not have lost them. But to apply a change
    /// twice is the same as once.
    pub(in crate::channel) fn replace(&mut self, members: Vec<PresentMember>, now: Instant) -> HashSet<Arc<str>> {
        let changed = self.members.replace(members, now);
        let leaves = self.members.leaves_of(self.process).into_iter();
        let gone = leaves.filter(|leave| match leave.kind {
            ChangeKind::Leave { client } => self.memberships.announced(client, &leave.channel, &leave.member).is_none(),
            ChangeKind::Join { .. } | ChangeKind::Expire => false,
        });
        let lost: Vec<_> = gone.collect();
        lost.into_iter().chain(self.memberships.missing_joins(&self.members)).for_each(|change| {
            self.pending.keep_known(change);
        });
        changed
    }

    /// All members of all channels.
    pub(in crate::channel) fn all(&self) -> Vec<PresentMember> {
        self.members.all().collect()
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

    /// Whether there is a change that the engine has not taken.
    pub(in crate::channel) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends a change to the engine. If the engine does not take the change, it is kept in place of an older one.
    pub(in crate::channel) fn send(&mut self, change: Change, engine: &dyn Engine) {
        if self.pending.is_empty() && engine.command(Command::Member(change.clone())).is_ok() {
            self.taken(&change);
            return;
        }
        let known = match change.kind {
            ChangeKind::Join { client, .. } => {
                let membership = self.memberships.announced(client, &change.channel, &change.member);
                membership.is_some_and(|membership| membership.join_taken)
            }
            ChangeKind::Leave { .. } | ChangeKind::Expire => true,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Member, client_id};

    const LINGER: Duration = Duration::from_secs(15);
    const ANA: Member<'_> = Member { name: "u7", info: "{\"name\":\"Ana\"}" };

    /// Presence with an engine that sends each change back at once.
    struct Fixture(Presence);

    impl Fixture {
        fn new() -> Self {
            Fixture(Presence::new(0, true))
        }

        /// Returns true if there is an announcement.
        fn apply(&mut self, changes: Vec<Change>, now: Instant) -> bool {
            let announced = |change| self.0.apply(change, now).announcement.is_some();
            changes.into_iter().map(announced).filter(|announced| *announced).count() > 0
        }

        fn join(&mut self, channel: &str, member: Member<'_>, client: u64, now: Instant) -> bool {
            let changes = self.0.memberships.add(channel, member, true, client, 0);
            self.apply(changes, now)
        }

        fn leave(&mut self, channel: &str, client: u64, now: Instant) {
            let changes = self.0.memberships.remove(channel, client);
            assert!(!self.apply(changes, now));
        }

        fn disconnect(&mut self, client: u64, now: Instant) {
            let changes = self.0.memberships.remove_client(client);
            assert!(!self.apply(changes, now));
        }

        fn expire(&mut self, now: Instant) -> Vec<(String, String)> {
            let expired = self.0.expired(LINGER, now);
            let announced = expired.into_iter().filter_map(|change| self.0.apply(change, now).announcement);
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
        let (mut own, start) = (Fixture::new(), Instant::now());
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
        let (mut own, start) = (Fixture::new(), Instant::now());
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
        let (mut own, start) = (Fixture::new(), Instant::now());
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
        let (mut own, start) = (Fixture::new(), Instant::now());
        own.join("a", ANA, 1, start);
        own.join("b", ANA, 1, start);
        own.join("b", Member { name: "u1", info: "null" }, 2, start);
        own.join("b", ANA, 3, start);
        assert_eq!(own.0.memberships.clients("u7"), [1, 3]);
        assert_eq!(own.here("b"), [("u1", "null"), ("u7", ANA.info)]);
        own.leave("a", 1, start);
        assert_eq!(own.0.memberships.count(1), 1);
    }

    #[test]
    fn a_member_of_a_channel_without_presence_is_known_in_this_process_alone() {
        let mut own = Presence::default();
        assert!(own.memberships.add("c", ANA, false, 1, 0).is_empty());
        assert_eq!(own.memberships.clients("u7"), [1]);
        assert!(own.memberships.remove_client(1).is_empty() && own.memberships.clients("u7").is_empty());
    }

    #[test]
    fn each_process_announces_each_member_once() {
        let now = Instant::now();
        let mut all = [0, 1, 2].map(|process| Presence::new(process, process == 0));
        let client = client_id(1, 5);
        let apply = |all: &mut [Presence; 3], change: &Change| {
            all.each_mut().map(|own| {
                let Applied { announcement, joined } = own.apply(change.clone(), now);
                (announcement.map(|it| (it.info.is_some(), it.except)), joined)
            })
        };
        let join = all[1].memberships.add("c", ANA, true, client, 7).remove(0);
        let announced = Some((true, Some(client)));
        assert_eq!(apply(&mut all, &join), [(announced, None), (announced, Some(7)), (announced, None)]);
        // Twice is the same as once.
        assert_eq!(apply(&mut all, &join), [(None, None), (None, Some(7)), (None, None)]);
        let leave = all[1].memberships.remove_client(client).remove(0);
        assert_eq!(apply(&mut all, &leave), [(None, None); 3]);
        // One process decides when the member leaves.
        let expired = all.each_mut().map(|own| own.expired(LINGER, now + LINGER));
        assert_eq!(expired.each_ref().map(Vec::len), [1, 0, 0]);
        assert_eq!(apply(&mut all, &expired[0][0]), [(Some((false, None)), None); 3]);
        assert_eq!(apply(&mut all, &expired[0][0]), [(None, None); 3]);
        assert!(all.iter().all(Presence::is_empty));
    }

    #[test]
    fn a_member_that_has_come_back_does_not_expire() {
        let (mut own, now) = (Fixture::new(), Instant::now());
        own.join("c", ANA, 1, now);
        own.disconnect(1, now);
        let expired = own.0.expired(LINGER, now + LINGER);
        assert!(!own.join("c", ANA, 2, now) && !own.apply(expired, now));
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
    }

    #[test]
    fn a_member_that_leaves_twice_at_the_same_time_expires_once() {
        let (mut members, now) = (Members::new(true), Instant::now());
        let twice = || [ChangeKind::Join { client: 1, info: "1".into() }, ChangeKind::Leave { client: 1 }];
        for kind in twice().into_iter().chain(twice()) {
            members.apply(&Change { channel: "c".into(), member: "a".into(), kind }, now);
        }
        assert_eq!(members.expired(LINGER, now + LINGER).len(), 1);
    }

    #[test]
    fn the_clients_of_a_process_leave_together() {
        let (mut members, now) = (Members::new(true), Instant::now());
        for (process, member) in [(1, "a"), (2, "a"), (2, "b"), (1, "c")] {
            let kind = ChangeKind::Join { client: client_id(process, 1), info: "1".into() };
            members.apply(&Change { channel: "c".into(), member: member.into(), kind }, now);
        }
        let leaves = members.leaves_of(2);
        assert_eq!(leaves.len(), 2);
        leaves.iter().for_each(|leave| _ = members.apply(leave, now));
        let expired = members.expired(LINGER, now + LINGER);
        assert_eq!(expired.iter().map(|change| &*change.member).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_table_that_replaces_another_one() {
        let (mut own, now) = (Fixture::new(), Instant::now());
        own.join("a", ANA, 1, now);
        own.join("b", ANA, 1, now);
        own.join("c", ANA, 2, now);
        own.disconnect(2, now);
        let member = |channel: &str, member: &str, clients: &[u64]| PresentMember {
            channel: channel.into(),
            member: member.into(),
            info: ANA.info.into(),
            clients: clients.into(),
        };
        let other = client_id(1, 1);
        // The engine has lost the join in `b` and the leave in `c`, and has members of another process.
        let table = vec![member("a", "u7", &[1]), member("c", "u7", &[2]), member("d", "u1", &[other])];
        let mut changed: Vec<_> = own.0.replace(table.clone(), now).into_iter().collect();
        changed.sort_unstable();
        assert_eq!(changed.iter().map(|name| &**name).collect::<Vec<_>>(), ["b", "d"]);
        let mut again = Vec::new();
        while let Some(pending) = own.0.pending.next_change() {
            again.push((pending.change.channel.to_string(), pending.change.kind.clone()));
            own.0.apply(pending.change, now);
        }
        let join = ChangeKind::Join { client: 1, info: ANA.info.into() };
        assert_eq!(again, [("b".to_owned(), join), ("c".to_owned(), ChangeKind::Leave { client: 2 })]);
        assert_eq!(own.expire(now + LINGER), [place("c", "u7")]);
        let mut all = own.0.all();
        all.sort_unstable_by(|left, right| left.channel.cmp(&right.channel));
        assert_eq!(all, [member("a", "u7", &[1]), member("b", "u7", &[1]), member("d", "u1", &[other])]);
    }

    #[test]
    fn a_member_without_clients_lingers_anew_in_a_table_that_replaces_another_one() {
        let (mut own, now) = (Fixture::new(), Instant::now());
        let gone = PresentMember { channel: "c".into(), member: "u1".into(), info: "1".into(), clients: Vec::new() };
        assert_eq!(own.0.replace(vec![gone], now).len(), 1);
        assert!(own.expire(now + LINGER - Duration::from_nanos(1)).is_empty());
        assert_eq!(own.expire(now + LINGER), [place("c", "u1")]);
    }
}
