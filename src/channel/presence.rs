//! Who is there: members of channels, each with any number of readers.
//!
//! Somebody with three tabs is one member, and is there until the last tab has been gone for a
//! while: a page that reloads neither leaves nor joins.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::subscription::Member;
use super::work::{self, PIECE};
use crate::base::json;

/// A channel, and the name of a member in it.
type Seat = (Arc<str>, Arc<str>);

/// A member in a channel.
#[derive(Debug)]
struct Present {
    info: Arc<str>,
    /// In order.
    readers: Vec<u64>,
    /// When the last reader went.
    left: Option<Instant>,
}

/// The members of all channels.
#[derive(Debug, Default)]
pub(super) struct Presence {
    channels: HashMap<Arc<str>, BTreeMap<Arc<str>, Present>>,
    /// The channels in which a reader is a member, and as which.
    readers: HashMap<u64, Vec<Seat>>,
    /// A member's readers in all channels, each with the number of its channels.
    names: HashMap<Arc<str>, BTreeMap<u64, u32>>,
    /// Members without readers, in the order in which they went. Some have come back.
    leaving: VecDeque<(Instant, Arc<str>, Arc<str>)>,
}

impl Presence {
    /// A reader is there as `member`, and no longer as whom it was. True if the member was not: others are to be told.
    pub(super) fn join(&mut self, channel: &str, member: Member<'_>, reader: u64, now: Instant) -> bool {
        let (channel, name): Seat = (channel.into(), member.name.into());
        let members = self.channels.entry(Arc::clone(&channel)).or_default();
        let new = !members.contains_key(&name);
        let absent = || Present { info: member.info.into(), readers: Vec::new(), left: None };
        let present = members.entry(Arc::clone(&name)).or_insert_with(absent);
        // The newest tab knows best.
        present.info = member.info.into();
        present.left = None;
        if let Err(place) = present.readers.binary_search(&reader) {
            present.readers.insert(place, reader);
        }
        self.seat(channel, name, reader, now);
        new
    }

    /// A reader is `member`, of which others are not told.
    pub(super) fn join_unseen(&mut self, channel: &str, member: Member<'_>, reader: u64, now: Instant) {
        self.seat(channel.into(), member.name.into(), reader, now);
    }

    /// A reader has one seat in a channel.
    fn seat(&mut self, channel: Arc<str>, member: Arc<str>, reader: u64, now: Instant) {
        let seats = self.readers.entry(reader).or_default();
        let former = seats.iter().position(|(name, _)| *name == channel).map(|at| seats.swap_remove(at));
        seats.push((Arc::clone(&channel), Arc::clone(&member)));
        *self.names.entry(Arc::clone(&member)).or_default().entry(reader).or_default() += 1;
        if let Some((_, former)) = &former {
            self.unname(former, reader);
        }
        if let Some((channel, former)) = former.filter(|(_, former)| *former != member) {
            self.part(channel, former, reader, now);
        }
    }

    /// A reader has unsubscribed.
    pub(super) fn leave(&mut self, channel: &str, reader: u64, now: Instant) {
        let Some(own) = self.readers.get_mut(&reader) else { return };
        let left: Vec<_> = own.extract_if(.., |(name, _)| **name == *channel).collect();
        if own.is_empty() {
            self.readers.remove(&reader);
        }
        for (channel, member) in left {
            self.unname(&member, reader);
            self.part(channel, member, reader, now);
        }
    }

    /// A reader's connection has ended.
    pub(super) fn gone(&mut self, reader: u64, now: Instant) {
        for (channel, member) in self.readers.remove(&reader).unwrap_or_default() {
            self.unname(&member, reader);
            self.part(channel, member, reader, now);
        }
    }

    /// A reader is no longer `member` in one channel.
    fn unname(&mut self, member: &Arc<str>, reader: u64) {
        let Some(readers) = self.names.get_mut(member) else { return };
        if let Some(seats) = readers.get_mut(&reader) {
            *seats -= 1;
            if *seats == 0 {
                readers.remove(&reader);
            }
        }
        if readers.is_empty() {
            self.names.remove(member);
        }
    }

    fn part(&mut self, channel: Arc<str>, member: Arc<str>, reader: u64, now: Instant) {
        let Some(present) = self.channels.get_mut(&channel).and_then(|members| members.get_mut(&member)) else {
            return;
        };
        if let Ok(place) = present.readers.binary_search(&reader) {
            present.readers.remove(place);
        }
        if present.readers.is_empty() {
            present.left = Some(now);
            self.leaving.push_back((now, channel, member));
        }
    }

    /// Removes members that have had no reader for `linger`, and returns their channels and names. Looks at no more than
    /// [`PIECE`] members.
    pub(super) fn expire(&mut self, linger: Duration, now: Instant) -> Vec<Seat> {
        let mut expired = Vec::new();
        for _ in 0..PIECE {
            work::looked(1);
            if self.leaving.front().is_none_or(|(left, ..)| now.saturating_duration_since(*left) < linger) {
                break;
            }
            let Some((left, channel, member)) = self.leaving.pop_front() else { break };
            let Some(members) = self.channels.get_mut(&channel) else { continue };
            if members.get(&member).is_some_and(|present| present.left == Some(left)) {
                members.remove(&member);
                if members.is_empty() {
                    self.channels.remove(&channel);
                }
                expired.push((channel, member));
            }
        }
        if self.channels.capacity() > 64 && self.channels.len() < self.channels.capacity() / 8 {
            self.channels.shrink_to(2 * self.channels.len());
            self.readers.shrink_to_fit();
            self.names.shrink_to_fit();
            self.leaving.shrink_to_fit();
        }
        expired
    }

    /// Nobody is there, nor about to be told to have left.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.leaving.is_empty()
    }

    /// Names and information of a channel's members, by name.
    pub(super) fn members(&self, channel: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.members_after(channel, None)
    }

    /// Members whose names come after `name`.
    pub(super) fn members_after(
        &self,
        channel: &str,
        name: Option<&Arc<str>>,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let start = name.map_or(Bound::Unbounded, |name| Bound::Excluded(Arc::clone(name)));
        let members = self.channels.get(channel).map(|members| members.range((start, Bound::Unbounded)));
        members.into_iter().flatten().map(|(name, present)| {
            work::looked(1);
            (name, &present.info)
        })
    }

    /// The ids of a member's readers, in whatever channels.
    pub(super) fn readers(&self, member: &str) -> Vec<u64> {
        let readers = self.names.get(member).into_iter().flat_map(BTreeMap::keys);
        readers.inspect(|_| work::looked(1)).copied().collect()
    }

    /// The members of a channel as a JSON object.
    pub(super) fn here(&self, channel: &str) -> String {
        let mut json = String::from("{");
        for (name, info) in self.members(channel) {
            if json.len() > 1 {
                json.push(',');
            }
            json::put_string(&mut json, name);
            json.push(':');
            json.push_str(info);
        }
        json.push('}');
        json
    }
}

/// What others are told of a member that joins (with `info`) or leaves.
pub(super) fn announcement(channel: &str, member: &str, info: Option<&str>) -> String {
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

    #[test]
    fn three_tabs_are_one_member() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        assert!(presence.join("c", ANA, 1, start));
        assert!(!presence.join("c", ANA, 2, start) && !presence.join("c", ANA, 3, start));
        presence.gone(1, start);
        presence.leave("c", 2, start);
        assert!(presence.expire(LINGER, start + LINGER * 2).is_empty());
        presence.gone(3, start + LINGER * 2);
        assert!(presence.expire(LINGER, start + LINGER * 3 - Duration::from_nanos(1)).is_empty());
        assert_eq!(presence.here("c"), "{\"u7\":{\"name\":\"Ana\"}}");
        assert_eq!(presence.expire(LINGER, start + LINGER * 3), [("c".into(), "u7".into())]);
        assert_eq!(presence.here("c"), "{}");
        assert!(presence.channels.is_empty() && presence.readers.is_empty() && presence.leaving.is_empty());
        assert!(presence.names.is_empty());
    }

    #[test]
    fn a_reader_is_whom_it_was_last() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let guest = Member { name: "guest", info: "null" };
        assert!(presence.join("c", guest, 1, start) && presence.join("c", ANA, 1, start));
        assert!(presence.readers("guest").is_empty());
        assert_eq!(presence.expire(LINGER, start + LINGER), [("c".into(), "guest".into())]);
        assert_eq!(presence.here("c"), "{\"u7\":{\"name\":\"Ana\"}}");
        presence.leave("c", 1, start);
        assert_eq!(presence.expire(LINGER, start + LINGER), [("c".into(), "u7".into())]);
    }

    #[test]
    fn a_flap_is_nothing() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.join("c", ANA, 1, start);
        presence.gone(1, start);
        assert!(!presence.join("c", ANA, 2, start));
        assert!(presence.expire(LINGER, start + LINGER * 2).is_empty());
        presence.gone(2, start + LINGER * 2);
        // The first going has been outlived by the second.
        assert!(presence.expire(LINGER, start + LINGER * 2).is_empty());
        assert_eq!(presence.expire(LINGER, start + LINGER * 3).len(), 1);
    }

    #[test]
    fn members_of_several_channels() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.join("a", ANA, 1, start);
        presence.join("b", ANA, 1, start);
        presence.join("b", Member { name: "u1", info: "null" }, 2, start);
        presence.join("b", ANA, 3, start);
        let mut readers = presence.readers("u7");
        readers.sort_unstable();
        assert_eq!(readers, [1, 3]);
        assert_eq!(presence.here("b"), "{\"u1\":null,\"u7\":{\"name\":\"Ana\"}}");
        presence.leave("a", 1, Instant::now());
        assert_eq!(presence.readers.get(&1).map(Vec::len), Some(1));
        assert_eq!(announcement("b", "u\"1", None), "{\"channel\":\"b\",\"member\":\"u\\\"1\"}");
        assert_eq!(announcement("b", "u1", Some("{}")), "{\"channel\":\"b\",\"member\":\"u1\",\"info\":{}}");
    }
}
