//! The clients of this process, and the members that they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::event::{Change, ChangeKind};
use super::super::subscription::Member;
use super::super::work;
use super::members::Members;

/// A client of this process is a member of a channel.
#[derive(Debug)]
pub(super) struct Membership {
    channel: Arc<str>,
    member: Arc<str>,
    info: Arc<str>,
    /// The channel has presence, so other clients learn of the member.
    announced: bool,
    /// The reader's number in the log.
    pub(super) reader: u32,
    /// The engine has taken the client's join.
    pub(super) join_taken: bool,
}

impl Membership {
    fn change(&self, kind: ChangeKind) -> Change {
        Change { channel: Arc::clone(&self.channel), member: Arc::clone(&self.member), kind }
    }

    fn join(&self, client: u64) -> Change {
        self.change(ChangeKind::Join { client, info: Arc::clone(&self.info) })
    }
}

/// All memberships of this process.
#[derive(Debug, Default)]
pub(in crate::channel) struct Memberships {
    /// At most one for each channel of a client.
    by_client: HashMap<u64, Vec<Membership>>,
    /// The clients of each member, with the number of channels in which the client is that member.
    by_member: HashMap<Arc<str>, BTreeMap<u64, u32>>,
}

impl Memberships {
    /// The client is `member` of the channel from now on. This replaces the client's former membership of the channel.
    /// Returns the changes to send to the engine. `announced` says that the channel has presence.
    pub(in crate::channel) fn add(
        &mut self,
        channel: &str,
        member: Member<'_>,
        announced: bool,
        client: u64,
        reader: u32,
    ) -> Vec<Change> {
        let own = self.by_client.entry(client).or_default();
        let former = own.iter().position(|other| *other.channel == *channel).map(|at| own.swap_remove(at));
        let join_taken = former.as_ref().is_some_and(|former| former.join_taken && *former.member == *member.name);
        let (name, info) = (member.name.into(), member.info.into());
        let membership = Membership { channel: channel.into(), member: name, info, announced, reader, join_taken };
        let mut changes = Vec::new();
        if announced {
            changes.push(membership.join(client));
        }
        *self.by_member.entry(Arc::clone(&membership.member)).or_default().entry(client).or_default() += 1;
        let name = Arc::clone(&membership.member);
        own.push(membership);
        if let Some(former) = former {
            self.count_down(&former.member, client);
            if former.announced && !(announced && former.member == name) {
                changes.push(former.change(ChangeKind::Leave { client }));
            }
        }
        changes
    }

    /// The client has unsubscribed from the channel. Returns the changes to send to the engine.
    pub(in crate::channel) fn remove(&mut self, channel: &str, client: u64) -> Vec<Change> {
        let Some(own) = self.by_client.get_mut(&client) else { return Vec::new() };
        let ended: Vec<_> = own.extract_if(.., |membership| *membership.channel == *channel).collect();
        if own.is_empty() {
            self.by_client.remove(&client);
        }
        self.end(ended, client)
    }

    /// The client's connection has ended. Returns the changes to send to the engine.
    pub(in crate::channel) fn remove_client(&mut self, client: u64) -> Vec<Change> {
        let ended = self.by_client.remove(&client).unwrap_or_default();
        self.end(ended, client)
    }

    fn end(&mut self, ended: Vec<Membership>, client: u64) -> Vec<Change> {
        ended.iter().for_each(|membership| self.count_down(&membership.member, client));
        let announced = ended.iter().filter(|membership| membership.announced);
        announced.map(|membership| membership.change(ChangeKind::Leave { client })).collect()
    }

    /// The client is `member` in one channel less.
    fn count_down(&mut self, member: &Arc<str>, client: u64) {
        let Some(clients) = self.by_member.get_mut(member) else { return };
        if let Some(channels) = clients.get_mut(&client) {
            *channels -= 1;
            if *channels == 0 {
                clients.remove(&client);
            }
        }
        if clients.is_empty() {
            self.by_member.remove(member);
        }
    }

    /// The ids of a member's clients in this process, of all channels together.
    pub(in crate::channel) fn clients(&self, member: &str) -> Vec<u64> {
        let clients = self.by_member.get(member).into_iter().flat_map(BTreeMap::keys);
        clients.inspect(|_| work::looked(1)).copied().collect()
    }

    /// The membership of a client, if other clients learn of it.
    pub(super) fn announced(&mut self, client: u64, channel: &Arc<str>, member: &Arc<str>) -> Option<&mut Membership> {
        let mut own = self.by_client.get_mut(&client)?.iter_mut();
        own.find(|membership| membership.announced && membership.channel == *channel && membership.member == *member)
    }

    /// The joins of those memberships of which other clients learn and which the table of all members does not have.
    pub(super) fn missing_joins(&self, members: &Members) -> Vec<Change> {
        let all = self.by_client.iter().flat_map(|(client, own)| own.iter().map(|membership| (*client, membership)));
        let announced = all.filter(|(_, membership)| membership.announced);
        let missing = announced.filter(|(client, own)| !members.has(&own.channel, &own.member, *client));
        missing.map(|(client, membership)| membership.join(client)).collect()
    }

    /// Frees memory that the tables do not need any more.
    pub(super) fn shrink(&mut self) {
        self.by_client.shrink_to_fit();
        self.by_member.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty() && self.by_member.is_empty()
    }

    #[cfg(test)]
    pub(super) fn count(&self, client: u64) -> usize {
        self.by_client.get(&client).map_or(0, Vec::len)
    }
}
