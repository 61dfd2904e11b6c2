//! The members of all processes. Every process has the same table, because all apply the same commands in the same order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::client_id::process_of;
use super::super::event::{Change, ChangeKind, PresentMember};
use super::super::work::{self, PIECE};

/// A member of a channel.
#[derive(Debug)]
struct Present {
    info: Arc<str>,
    /// Sorted.
    clients: Vec<u64>,
    /// When this process learned that the last client had left.
    left: Option<Instant>,
    /// [`Members::expired`] has returned it since then.
    expired: bool,
}

/// What a change has done to a channel's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// The members are the same as before.
    None,
    /// There is a new member.
    New,
    /// A member is no member any more.
    Gone,
}

/// The members of all channels. Not for several threads at once.
#[derive(Debug, Default)]
pub struct Members {
    /// By channel and by name.
    present: HashMap<Arc<str>, BTreeMap<Arc<str>, Present>>,
    /// Whether this process finds out which members are to leave.
    expires: bool,
    /// If so: members without clients, with channel and name, in the order in which their last clients left. Some have
    /// clients again.
    leaving: VecDeque<(Instant, Arc<str>, Arc<str>)>,
}

impl Members {
    /// No members. `expires` says that [`Members::expired`] is used.
    pub fn new(expires: bool) -> Self {
        Members { expires, ..Members::default() }
    }

    /// Applies a change, which this process learns of at `now`. The result depends only on the changes before.
    pub fn apply(&mut self, change: &Change, now: Instant) -> MemberChange {
        let Change { channel, member, kind } = change;
        match kind {
            ChangeKind::Join { client, info } => self.join(channel, member, *client, info),
            ChangeKind::Leave { client } => {
                self.leave(channel, member, *client, now);
                MemberChange::None
            }
            ChangeKind::Expire => self.remove(channel, member),
        }
    }

    fn join(&mut self, channel: &Arc<str>, member: &Arc<str>, client: u64, info: &Arc<str>) -> MemberChange {
        let members = self.present.entry(Arc::clone(channel)).or_default();
        let new = !members.contains_key(member);
        let absent = || Present { info: Arc::clone(info), clients: Vec::new(), left: None, expired: false };
        let present = members.entry(Arc::clone(member)).or_insert_with(absent);
        // The newest information counts.
        present.info = Arc::clone(info);
        (present.left, present.expired) = (None, false);
        if let Err(place) = present.clients.binary_search(&client) {
            present.clients.insert(place, client);
        }
        if new { MemberChange::New } else { MemberChange::None }
    }

    fn leave(&mut self, channel: &Arc<str>, member: &Arc<str>, client: u64, now: Instant) {
        let Some(present) = self.present.get_mut(channel).and_then(|members| members.get_mut(member)) else { return };
        if let Ok(place) = present.clients.binary_search(&client) {
            present.clients.remove(place);
        }
        if present.clients.is_empty() && present.left.is_none() {
            present.left = Some(now);
            if self.expires {
                self.leaving.push_back((now, Arc::clone(channel), Arc::clone(member)));
            }
        }
    }

    /// Removes a member, unless it has clients.
    fn remove(&mut self, channel: &Arc<str>, member: &Arc<str>) -> MemberChange {
        let Some(members) = self.present.get_mut(channel) else { return MemberChange::None };
        if members.get(member).is_none_or(|present| present.left.is_none()) {
            return MemberChange::None;
        }
        members.remove(member);
        if members.is_empty() {
            self.present.remove(channel);
        }
        MemberChange::Gone
    }

    /// The changes by which members leave that have had no client for `linger`. Each is returned once. Looks at no more than
    /// [`PIECE`] members.
    pub fn expired(&mut self, linger: Duration, now: Instant) -> Vec<Change> {
        let mut expired = Vec::new();
        for _ in 0..PIECE {
            work::looked(1);
            if self.leaving.front().is_none_or(|(left, ..)| now.saturating_duration_since(*left) < linger) {
                break;
            }
            let Some((left, channel, member)) = self.leaving.pop_front() else { break };
            let present = self.present.get_mut(&channel).and_then(|members| members.get_mut(&member));
            // It may have left twice at the same time.
            if let Some(present) = present.filter(|present| present.left == Some(left) && !present.expired) {
                present.expired = true;
                expired.push(Change { channel, member, kind: ChangeKind::Expire });
            }
        }
        expired
    }

    /// The changes by which all clients of a process leave. Looks at all members.
    pub fn leaves_of(&self, process: u32) -> Vec<Change> {
        let mut leaves = Vec::new();
        for (channel, member, present) in self.each() {
            let own = present.clients.iter().filter(|client| process_of(**client) == process);
            leaves.extend(own.map(|client| Change {
                channel: Arc::clone(channel),
                member: Arc::clone(member),
                kind: ChangeKind::Leave { client: *client },
            }));
        }
        leaves
    }

    /// All members, in no order.
    pub fn all(&self) -> impl Iterator<Item = PresentMember> {
        self.each().map(|(channel, member, present)| PresentMember {
            channel: Arc::clone(channel),
            member: Arc::clone(member),
            info: Arc::clone(&present.info),
            clients: present.clients.clone(),
        })
    }

    /// Replaces all members. Those without clients have lost the last one at `now`. Returns the channels whose members are
    /// others than before. Looks at all members.
    pub fn replace(&mut self, members: Vec<PresentMember>, now: Instant) -> HashSet<Arc<str>> {
        let before = std::mem::take(&mut self.present);
        self.leaving.clear();
        for PresentMember { channel, member, info, mut clients } in members {
            clients.sort_unstable();
            let left = clients.is_empty().then_some(now);
            if left.is_some() && self.expires {
                self.leaving.push_back((now, Arc::clone(&channel), Arc::clone(&member)));
            }
            self.present.entry(channel).or_default().insert(member, Present { info, clients, left, expired: false });
        }
        let seen = |members: &BTreeMap<Arc<str>, Present>| {
            members.iter().map(|(name, present)| (Arc::clone(name), Arc::clone(&present.info))).collect::<Vec<_>>()
        };
        let channels = before.keys().chain(self.present.keys());
        let differs = |channel: &&Arc<str>| before.get(*channel).map(seen) != self.present.get(*channel).map(seen);
        channels.filter(differs).cloned().collect()
    }

    /// Whether the client is the member.
    pub(super) fn has(&self, channel: &Arc<str>, member: &Arc<str>, client: u64) -> bool {
        let present = self.present.get(channel).and_then(|members| members.get(member));
        present.is_some_and(|present| present.clients.binary_search(&client).is_ok())
    }

    /// Frees memory if most of it is unused. Returns true if it did.
    pub fn shrink(&mut self) -> bool {
        let unused = self.present.capacity() > 64 && self.present.len() < self.present.capacity() / 8;
        if unused {
            self.present.shrink_to(2 * self.present.len());
            self.leaving.shrink_to_fit();
        }
        unused
    }

    /// There is no member, and nothing to remove later.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty() && self.leaving.is_empty()
    }

    /// Names and information of a channel's members with names after `name`, by name. `None` is before all names.
    pub(super) fn after(&self, channel: &str, name: Option<&Arc<str>>) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let start = name.map_or(Bound::Unbounded, |name| Bound::Excluded(Arc::clone(name)));
        let members = self.present.get(channel).map(|members| members.range((start, Bound::Unbounded)));
        members.into_iter().flatten().map(|(name, present)| {
            work::looked(1);
            (name, &present.info)
        })
    }

    fn each(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Present)> {
        self.present
            .iter()
            .flat_map(|(channel, members)| members.iter().map(move |(member, present)| (channel, member, present)))
    }
}
