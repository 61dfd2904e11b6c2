//! The members of channels, each with any number of clients.
//!
//! A user with three tabs is one member. The member leaves when the last tab has been gone for a while. So a page that
//! reloads causes no leave and no join.
//!
//! Two tables. *Seats* are what the clients of this process have subscribed as; they change at once. *Members* are
//! those of all processes; they change only when the engine says so, by [`Change`]s that all processes apply in the
//! same order. What the engine does not take for now waits here: one change for each client in a channel, one
//! announcement for each member.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client_id::process_of;
use super::engine::Engine;
use super::event::{Change, ChangeKind, Command};
use super::subscription::Member;
use super::work::{self, PIECE};
use crate::base::json;

/// A channel, and the name of a member in it.
type Place = (Arc<str>, Arc<str>);

/// As what a client of this process has subscribed to a channel.
#[derive(Debug)]
struct Seat {
    channel: Arc<str>,
    member: Arc<str>,
    info: Arc<str>,
    /// Others are told: the channel has presence.
    announced: bool,
    /// The reader's number in the log.
    reader: u32,
    /// The engine has taken the client's join.
    told: bool,
}

impl Seat {
    fn change(&self, kind: ChangeKind) -> Change {
        Change { channel: Arc::clone(&self.channel), member: Arc::clone(&self.member), kind }
    }
}

/// A member of a channel.
#[derive(Debug)]
struct Present {
    info: Arc<str>,
    /// In order.
    clients: Vec<u64>,
    /// When the last client went.
    left: Option<Instant>,
}

/// A change that the engine has not taken yet.
#[derive(Debug)]
struct Waiting {
    change: Change,
    /// The engine may know of the client already: a leave that follows must reach it.
    known: bool,
}

/// What the readers of a channel are to be told of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) channel: Arc<str>,
    pub(super) member: Arc<str>,
    /// Of a member that joins; `None` has left.
    pub(super) info: Option<Arc<str>>,
    /// The client that is not told.
    pub(super) except: Option<u64>,
}

/// What a change comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// This process tells the channel's readers.
    pub(super) announcement: Option<Announcement>,
    /// The number of a reader that is told which members are there.
    pub(super) joined: Option<u32>,
}

/// The members of all channels.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// The number of this process.
    process: u32,
    members: HashMap<Arc<str>, BTreeMap<Arc<str>, Present>>,
    /// By client.
    seats: HashMap<u64, Vec<Seat>>,
    /// The clients of this process that are there as a member, each with the number of its seats.
    names: HashMap<Arc<str>, BTreeMap<u64, u32>>,
    /// Members without clients whose leaving this process looks after, in the order in which they went. Some have come
    /// back.
    leaving: VecDeque<(Instant, Arc<str>, Arc<str>)>,
    /// Changes that the engine has not taken, by place and client.
    changes: BTreeMap<(Place, u64), Waiting>,
    /// Announcements that the engine has not taken.
    announcements: BTreeMap<Place, Announcement>,
}

impl Presence {
    /// The presence of a process with this number: see [`super::Engine::process`].
    pub(super) fn new(process: u32) -> Self {
        Presence { process, ..Presence::default() }
    }

    // ---- seats ---------------------------------------------------------------------------

    /// A client is there as `member`, and no longer as what it was. Returns what the engine is to be told.
    pub(super) fn sit(
        &mut self,
        channel: &str,
        member: Member<'_>,
        announced: bool,
        client: u64,
        reader: u32,
        now: Instant,
    ) -> Vec<Change> {
        let seats = self.seats.entry(client).or_default();
        let former = seats.iter().position(|other| *other.channel == *channel).map(|at| seats.swap_remove(at));
        let told = former.as_ref().is_some_and(|former| former.told && *former.member == *member.name);
        let (name, info) = (member.name.into(), member.info.into());
        let seat = Seat { channel: channel.into(), member: name, info, announced, reader, told };
        let mut changes = Vec::new();
        if announced {
            changes.push(seat.change(ChangeKind::Join { client, info: Arc::clone(&seat.info) }));
        }
        *self.names.entry(Arc::clone(&seat.member)).or_default().entry(client).or_default() += 1;
        let name = Arc::clone(&seat.member);
        seats.push(seat);
        if let Some(former) = former {
            self.unname(&former.member, client);
            if former.announced && !(announced && former.member == name) {
                changes.push(former.change(ChangeKind::Leave { client, at: now }));
            }
        }
        changes
    }

    /// A client has unsubscribed. Returns what the engine is to be told.
    pub(super) fn stand_up(&mut self, channel: &str, client: u64, now: Instant) -> Vec<Change> {
        let Some(own) = self.seats.get_mut(&client) else { return Vec::new() };
        let left: Vec<_> = own.extract_if(.., |seat| *seat.channel == *channel).collect();
        if own.is_empty() {
            self.seats.remove(&client);
        }
        self.left(left, client, now)
    }

    /// A client's connection has ended. Returns what the engine is to be told.
    pub(super) fn gone(&mut self, client: u64, now: Instant) -> Vec<Change> {
        let left = self.seats.remove(&client).unwrap_or_default();
        self.left(left, client, now)
    }

    fn left(&mut self, seats: Vec<Seat>, client: u64, now: Instant) -> Vec<Change> {
        seats.iter().for_each(|seat| self.unname(&seat.member, client));
        let announced = seats.iter().filter(|seat| seat.announced);
        announced.map(|seat| seat.change(ChangeKind::Leave { client, at: now })).collect()
    }

    /// A client is no longer `member` in one channel.
    fn unname(&mut self, member: &Arc<str>, client: u64) {
        let Some(clients) = self.names.get_mut(member) else { return };
        if let Some(seats) = clients.get_mut(&client) {
            *seats -= 1;
            if *seats == 0 {
                clients.remove(&client);
            }
        }
        if clients.is_empty() {
            self.names.remove(member);
        }
    }

    /// The ids of a member's clients in this process, in whatever channels.
    pub(super) fn clients(&self, member: &str) -> Vec<u64> {
        let clients = self.names.get(member).into_iter().flat_map(BTreeMap::keys);
        clients.inspect(|_| work::looked(1)).copied().collect()
    }

    // ---- members -------------------------------------------------------------------------

    /// Does what the engine says.
    pub(super) fn apply(&mut self, change: Change) -> Applied {
        let Change { channel, member, kind } = change;
        match kind {
            ChangeKind::Join { client, info } => self.join(channel, member, client, info),
            ChangeKind::Leave { client, at } => {
                self.leave(channel, member, client, at);
                Applied::default()
            }
            ChangeKind::Expire { process } => {
                let gone = self.remove(&channel, &member);
                let tells = gone && process == self.process;
                let announcement = tells.then_some(Announcement { channel, member, info: None, except: None });
                Applied { announcement, joined: None }
            }
        }
    }

    fn join(&mut self, channel: Arc<str>, member: Arc<str>, client: u64, info: Arc<str>) -> Applied {
        let members = self.members.entry(Arc::clone(&channel)).or_default();
        let new = !members.contains_key(&member);
        let absent = || Present { info: Arc::clone(&info), clients: Vec::new(), left: None };
        let present = members.entry(Arc::clone(&member)).or_insert_with(absent);
        // The newest information counts.
        present.info = Arc::clone(&info);
        present.left = None;
        if let Err(place) = present.clients.binary_search(&client) {
            present.clients.insert(place, client);
        }
        if process_of(client) != self.process {
            return Applied::default();
        }
        let joined = self.seat(client, &channel, &member).map(|seat| seat.reader);
        let announcement = Announcement { channel, member, info: Some(info), except: Some(client) };
        Applied { announcement: new.then_some(announcement), joined }
    }

    fn leave(&mut self, channel: Arc<str>, member: Arc<str>, client: u64, at: Instant) {
        let Some(present) = self.members.get_mut(&channel).and_then(|members| members.get_mut(&member)) else {
            return;
        };
        if let Ok(place) = present.clients.binary_search(&client) {
            present.clients.remove(place);
        }
        if present.clients.is_empty() && present.left.is_none() {
            present.left = Some(at);
            if process_of(client) == self.process {
                self.leaving.push_back((at, channel, member));
            }
        }
    }

    /// Removes a member that has no clients. False if it has some, or was removed before.
    fn remove(&mut self, channel: &Arc<str>, member: &Arc<str>) -> bool {
        let Some(members) = self.members.get_mut(channel) else { return false };
        if members.get(member).is_none_or(|present| present.left.is_none()) {
            return false;
        }
        members.remove(member);
        if members.is_empty() {
            self.members.remove(channel);
        }
        true
    }

    /// Members that have had no client for `linger`: what the engine is to be told of them. Looks at no more than
    /// [`PIECE`] members.
    pub(super) fn expired(&mut self, linger: Duration, now: Instant) -> Vec<Change> {
        let mut expired = Vec::new();
        for _ in 0..PIECE {
            work::looked(1);
            if self.leaving.front().is_none_or(|(left, ..)| now.saturating_duration_since(*left) < linger) {
                break;
            }
            let Some((left, channel, member)) = self.leaving.pop_front() else { break };
            let present = self.members.get(&channel).and_then(|members| members.get(&member));
            if present.is_some_and(|present| present.left == Some(left)) {
                expired.push(Change { channel, member, kind: ChangeKind::Expire { process: self.process } });
            }
        }
        if self.members.capacity() > 64 && self.members.len() < self.members.capacity() / 8 {
            self.members.shrink_to(2 * self.members.len());
            self.seats.shrink_to_fit();
            self.names.shrink_to_fit();
            self.leaving.shrink_to_fit();
        }
        expired
    }

    /// The engine has forgotten all members. Those that are known stay for a while, as if their clients had just gone;
    /// the clients of this process are told to the engine again.
    pub(super) fn reset(&mut self, now: Instant) {
        self.leaving.clear();
        for (channel, members) in &mut self.members {
            for (member, present) in members {
                present.clients.clear();
                present.left = Some(now);
                self.leaving.push_back((now, Arc::clone(channel), Arc::clone(member)));
            }
        }
        // What the engine had taken may have survived, and may come behind the reset. So clients that have left are
        // still to be told, and those that are told again count as known.
        for (client, seats) in &self.seats {
            for seat in seats.iter().filter(|seat| seat.announced) {
                let change = seat.change(ChangeKind::Join { client: *client, info: Arc::clone(&seat.info) });
                let place = (Arc::clone(&seat.channel), Arc::clone(&seat.member));
                self.changes.insert((place, *client), Waiting { change, known: true });
            }
        }
    }

    /// There are no members, and no leave that is to be announced.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.leaving.is_empty() && !self.waits()
    }

    /// Names and information of a channel's members, by name.
    pub(super) fn members(&self, channel: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.members_after(channel, None)
    }

    /// The members with names after `name`.
    pub(super) fn members_after(
        &self,
        channel: &str,
        name: Option<&Arc<str>>,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let start = name.map_or(Bound::Unbounded, |name| Bound::Excluded(Arc::clone(name)));
        let members = self.members.get(channel).map(|members| members.range((start, Bound::Unbounded)));
        members.into_iter().flatten().map(|(name, present)| {
            work::looked(1);
            (name, &present.info)
        })
    }

    // ---- what waits for the engine ---------------------------------------------------------

    /// Whether the engine has not taken something.
    pub(super) fn waits(&self) -> bool {
        !self.changes.is_empty() || !self.announcements.is_empty()
    }

    /// Tells the engine of a change. If the engine does not take it, it waits in place of an older one.
    pub(super) fn tell(&mut self, change: Change, engine: &dyn Engine) {
        if self.changes.is_empty() && engine.command(Command::Member(change.clone())).is_ok() {
            self.told(&change);
        } else {
            self.keep_change(change);
        }
    }

    /// Tells the engine of the changes that wait, until it takes no more.
    pub(super) fn retry(&mut self, engine: &dyn Engine) {
        while let Some((key, waiting)) = self.changes.pop_first() {
            if engine.command(Command::Member(waiting.change.clone())).is_err() {
                self.changes.insert(key, waiting);
                return;
            }
            self.told(&waiting.change);
        }
    }

    fn told(&mut self, change: &Change) {
        if let ChangeKind::Join { client, .. } = change.kind
            && let Some(seat) = self.seat(client, &change.channel, &change.member)
        {
            seat.told = true;
        }
    }

    fn keep_change(&mut self, change: Change) {
        let client = match change.kind {
            ChangeKind::Join { client, .. } | ChangeKind::Leave { client, .. } => client,
            // Of no client.
            ChangeKind::Expire { .. } => u64::MAX,
        };
        let key = ((Arc::clone(&change.channel), Arc::clone(&change.member)), client);
        let joins = matches!(change.kind, ChangeKind::Join { .. });
        let known = match self.changes.get(&key) {
            Some(older) => older.known,
            None if joins => self.seat(client, &key.0.0, &key.0.1).is_some_and(|seat| seat.told),
            None => true,
        };
        if joins || known {
            self.changes.insert(key, Waiting { change, known });
        } else {
            // The engine has never heard of the client.
            self.changes.remove(&key);
        }
    }

    fn seat(&mut self, client: u64, channel: &Arc<str>, member: &Arc<str>) -> Option<&mut Seat> {
        let mut seats = self.seats.get_mut(&client)?.iter_mut();
        seats.find(|seat| seat.announced && seat.channel == *channel && seat.member == *member)
    }

    /// The engine has not taken an announcement: it waits in place of an older one.
    pub(super) fn keep_announcement(&mut self, announcement: Announcement) {
        let place = (Arc::clone(&announcement.channel), Arc::clone(&announcement.member));
        self.announcements.insert(place, announcement);
    }

    /// The next of the announcements that wait; [`Presence::keep_announcement`] puts it back.
    pub(super) fn next_announcement(&mut self) -> Option<Announcement> {
        self.announcements.pop_first().map(|(_, announcement)| announcement)
    }
}

/// The data of `push.join` (with `info`) or `push.leave`.
pub(super) fn announcement_payload(channel: &str, member: &str, info: Option<&str>) -> String {
    let mut json = String::from("{\"channel\":");
    json::put_string(&mut json, channel);
    json.push_str(",\"member\":");
    json::put_string(&mut json, member);
    if let Some(info) = info {
        json.push_str(",\"info\":");
        json.push_str(info);
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(15);
    const ANA: Member<'_> = Member { name: "u7", info: "{\"name\":\"Ana\"}" };

    /// Presence with an engine that gives back at once what it is told.
    #[derive(Default)]
    struct Fixture(Presence);

    impl Fixture {
        /// Whether readers are told of a member.
        fn apply(&mut self, changes: Vec<Change>) -> bool {
            changes.into_iter().filter(|change| self.0.apply(change.clone()).announcement.is_some()).count() > 0
        }

        fn join(&mut self, channel: &str, member: Member<'_>, client: u64, now: Instant) -> bool {
            let changes = self.0.sit(channel, member, true, client, 0, now);
            self.apply(changes)
        }

        fn leave(&mut self, channel: &str, client: u64, now: Instant) {
            let changes = self.0.stand_up(channel, client, now);
            assert!(!self.apply(changes));
        }

        fn gone(&mut self, client: u64, now: Instant) {
            let changes = self.0.gone(client, now);
            assert!(!self.apply(changes));
        }

        fn expire(&mut self, now: Instant) -> Vec<(String, String)> {
            let expired = self.0.expired(LINGER, now);
            let told = expired.into_iter().filter_map(|change| self.0.apply(change).announcement);
            told.map(|it| (it.channel.to_string(), it.member.to_string())).collect()
        }

        fn here(&self, channel: &str) -> Vec<(&str, &str)> {
            self.0.members(channel).map(|(name, info)| (&**name, &**info)).collect()
        }
    }

    fn gone(channel: &str, member: &str) -> (String, String) {
        (channel.to_owned(), member.to_owned())
    }

    #[test]
    fn three_tabs_are_one_member() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        assert!(own.join("c", ANA, 1, start));
        assert!(!own.join("c", ANA, 2, start) && !own.join("c", ANA, 3, start));
        own.gone(1, start);
        own.leave("c", 2, start);
        assert!(own.expire(start + LINGER * 2).is_empty());
        own.gone(3, start + LINGER * 2);
        assert!(own.expire(start + LINGER * 3 - Duration::from_nanos(1)).is_empty());
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
        assert_eq!(own.expire(start + LINGER * 3), [gone("c", "u7")]);
        assert!(own.here("c").is_empty());
        assert!(own.0.is_empty() && own.0.seats.is_empty() && own.0.names.is_empty());
    }

    #[test]
    fn a_client_is_the_member_that_it_was_last() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        let guest = Member { name: "guest", info: "null" };
        assert!(own.join("c", guest, 1, start) && own.join("c", ANA, 1, start));
        assert!(own.0.clients("guest").is_empty());
        assert_eq!(own.expire(start + LINGER), [gone("c", "guest")]);
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
        own.leave("c", 1, start);
        assert_eq!(own.expire(start + LINGER), [gone("c", "u7")]);
    }

    #[test]
    fn a_member_that_returns_in_time_has_never_left() {
        let (mut own, start) = (Fixture::default(), Instant::now());
        own.join("c", ANA, 1, start);
        own.gone(1, start);
        assert!(!own.join("c", ANA, 2, start));
        assert!(own.expire(start + LINGER * 2).is_empty());
        own.gone(2, start + LINGER * 2);
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
        assert_eq!(own.0.clients("u7"), [1, 3]);
        assert_eq!(own.here("b"), [("u1", "null"), ("u7", ANA.info)]);
        own.leave("a", 1, Instant::now());
        assert_eq!(own.0.seats.get(&1).map(Vec::len), Some(1));
        assert_eq!(announcement_payload("b", "u\"1", None), "{\"channel\":\"b\",\"member\":\"u\\\"1\"}");
        assert_eq!(announcement_payload("b", "u1", Some("{}")), "{\"channel\":\"b\",\"member\":\"u1\",\"info\":{}}");
    }

    #[test]
    fn a_member_of_a_channel_without_presence_is_known_in_this_process_alone() {
        let mut own = Presence::default();
        assert!(own.sit("c", ANA, false, 1, 0, Instant::now()).is_empty());
        assert_eq!(own.clients("u7"), [1]);
        assert!(own.gone(1, Instant::now()).is_empty() && own.clients("u7").is_empty());
    }

    #[test]
    fn one_process_tells_of_each_member() {
        let now = Instant::now();
        let [mut here, mut there] = [0, 1].map(Presence::new);
        let all = |here: &mut Presence, there: &mut Presence, changes: Vec<Change>| {
            let told = |applied: Applied| applied.announcement.map(|it| it.info.is_some());
            let each = |change: Change| [told(here.apply(change.clone())), told(there.apply(change))];
            changes.into_iter().map(each).collect::<Vec<_>>()
        };
        let joins = there.sit("c", ANA, true, crate::channel::client_id(1, 5), 0, now);
        assert_eq!(all(&mut here, &mut there, joins), [[None, Some(true)]]);
        let leaves = there.gone(crate::channel::client_id(1, 5), now);
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
        // The engine is told again of this process's client; nobody is told that the member has come.
        let (_, waiting) = own.0.changes.pop_first().unwrap();
        assert_eq!(own.0.apply(waiting.change).announcement, None);
        assert_eq!(own.expire(now + LINGER), [gone("c", "u1")]);
        assert_eq!(own.here("c"), [("u7", ANA.info)]);
    }
}
