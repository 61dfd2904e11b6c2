//! The members of all processes, as the engine has given them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::work::{self, PIECE};

/// A member of a channel.
#[derive(Debug)]
struct PresentMember {
    info: Arc<str>,
    /// Sorted.
    clients: Vec<u64>,
    /// When the last client left.
    left: Option<Instant>,
}

/// The members of all channels.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By channel and by name.
    present: HashMap<Arc<str>, BTreeMap<Arc<str>, PresentMember>>,
    /// Members without clients that this process removes later, with channel and name, in the order in which their last
    /// clients left. Some have clients again.
    leaving: VecDeque<(Instant, Arc<str>, Arc<str>)>,
}

impl Members {
    /// A client is the member from now on. Returns true if the member is new.
    pub(super) fn join(&mut self, channel: &Arc<str>, member: &Arc<str>, client: u64, info: &Arc<str>) -> bool {
        let members = self.present.entry(Arc::clone(channel)).or_default();
        let new = !members.contains_key(member);
        let absent = || PresentMember { info: Arc::clone(info), clients: Vec::new(), left: None };
        let present = members.entry(Arc::clone(member)).or_insert_with(absent);
        // The newest information counts.
        present.info = Arc::clone(info);
        present.left = None;
        if let Err(place) = present.clients.binary_search(&client) {
            present.clients.insert(place, client);
        }
        new
    }

    /// A client is not the member any more. `own` says that this process removes the member if this was its last client.
    pub(super) fn leave(&mut self, channel: Arc<str>, member: Arc<str>, client: u64, at: Instant, own: bool) {
        let Some(present) = self.present.get_mut(&channel).and_then(|members| members.get_mut(&member)) else {
            return;
        };
        if let Ok(place) = present.clients.binary_search(&client) {
            present.clients.remove(place);
        }
        if present.clients.is_empty() && present.left.is_none() {
            present.left = Some(at);
            if own {
                self.leaving.push_back((at, channel, member));
            }
        }
    }

    /// Removes a member that has no clients. Returns false if the member has clients, or was removed before.
    pub(super) fn remove(&mut self, channel: &Arc<str>, member: &Arc<str>) -> bool {
        let Some(members) = self.present.get_mut(channel) else { return false };
        if members.get(member).is_none_or(|present| present.left.is_none()) {
            return false;
        }
        members.remove(member);
        if members.is_empty() {
            self.present.remove(channel);
        }
        true
    }

    /// The members that have had no client for `linger` and that this process removes: channel and name. Looks at no
    /// more than [`PIECE`] members.
    pub(super) fn expired(&mut self, linger: Duration, now: Instant) -> Vec<(Arc<str>, Arc<str>)> {
        let mut expired = Vec::new();
        for _ in 0..PIECE {
            work::looked(1);
            if self.leaving.front().is_none_or(|(left, ..)| now.saturating_duration_since(*left) < linger) {
                break;
            }
            let Some((left, channel, member)) = self.leaving.pop_front() else { break };
            let present = self.present.get(&channel).and_then(|members| members.get(&member));
            if present.is_some_and(|present| present.left == Some(left)) {
                expired.push((channel, member));
            }
        }
        expired
    }

    /// Frees memory if most of it is unused. Returns true if it did.
    pub(super) fn shrink(&mut self) -> bool {
        let unused = self.present.capacity() > 64 && self.present.len() < self.present.capacity() / 8;
        if unused {
            self.present.shrink_to(2 * self.present.len());
            self.leaving.shrink_to_fit();
        }
        unused
    }

    /// All members stay, as if their clients had left just now. This process removes them later.
    pub(super) fn reset(&mut self, now: Instant) {
        self.leaving.clear();
        for (channel, members) in &mut self.present {
            for (member, present) in members {
                present.clients.clear();
                present.left = Some(now);
                self.leaving.push_back((now, Arc::clone(channel), Arc::clone(member)));
            }
        }
    }

    /// There is no member, and nothing to remove later.
    pub(super) fn is_empty(&self) -> bool {
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
}
