//! Commands get their numbers as messages do. The hub applies those about members, and adds some of its own: members without
//! clients expire by its clock, and the clients of a process that has ended leave.

use std::collections::BTreeSet;

use super::super::author::{HUB, commands_of};
use super::peer::{Kind, PeerId};
use super::state::Hub;
use crate::channel::codec::{self, Entry};
use crate::channel::{Change, ChangeKind, Command, PresentMember, process_of};

impl Hub {
    /// A worker has sent a command. If nobody may get it, its count is known, but it has no number.
    pub(super) fn command(&mut self, id: PeerId, count: u64, bytes: &[u8]) -> Result<(), String> {
        let longest = self.longest();
        let Some(peer) = self.peers.get(&id) else { return Ok(()) };
        let (Some(hello), Kind::Worker(process)) = (peer.hello.filter(|_| peer.welcomed), peer.kind) else {
            return Err("an unexpected command".to_owned());
        };
        let author = commands_of(hello.author);
        let own = self.authors.get(author, self.last);
        if count <= own.count {
            return Ok(());
        }
        own.count = count;
        let decoded = codec::decode_entry(bytes, longest);
        let command = match decoded {
            Ok(Some((Entry::Command(command), length))) if length == bytes.len() => command,
            Err(codec::CodecError::TooLong { .. }) => {
                log::error!("the information about a member is too long for the hub: other workers do not learn of it");
                return Ok(());
            }
            _ => return Err("a command that the hub cannot read".to_owned()),
        };
        if !is_of_worker(&command, process) {
            return Err("a command of another process".to_owned());
        }
        let seq = self.used + 1;
        self.authors.get(author, seq).numbered = (count, seq);
        self.number_command(seq, command);
        self.add(seq, author, count, bytes);
        self.note_unseen(id, seq);
        Ok(())
    }

    /// Gives a command its number, in the number store, and applies it.
    pub(super) fn number_command(&mut self, seq: u64, command: Command) {
        // This comes first: the number must be in use before anybody can get it.
        self.numbers.use_up_to(seq);
        self.archive.advance(seq);
        if let Command::Member(change) = &command {
            self.members.apply(change, self.now.0);
        }
        #[cfg(test)]
        self.commands.push((seq, command));
    }

    /// Adds a command of the hub.
    fn append(&mut self, change: Change) {
        let command = Command::Member(change);
        let mut bytes = Vec::new();
        if codec::encode_command(&command, &mut bytes).is_ok() {
            let seq = self.used + 1;
            self.number_command(seq, command);
            // No hub sends it again, so it needs no count.
            self.add(seq, HUB, seq, &bytes);
        }
    }

    /// Has members leave that have had no client for long enough.
    pub(super) fn expire_members(&mut self) {
        if self.is_serving() {
            let expired = self.members.expired(self.settings.linger, self.now.0);
            expired.into_iter().for_each(|change| self.append(change));
            self.members.shrink();
        }
    }

    /// The process has ended, and so have the connections of its clients.
    pub(super) fn end_process(&mut self, process: u32) {
        self.processes.remove(&process);
        // A hub that recovers does that when it has the members.
        if self.is_serving() {
            self.members.leaves_of(process).into_iter().for_each(|change| self.append(change));
        }
    }

    /// These are the members now, from the hub before. Those without clients linger anew, because nobody knows since when they
    /// have had none.
    pub(super) fn take_members(&mut self, members: Vec<PresentMember>) {
        self.members.replace(members, self.now.0);
        let ids = self.members.all().flat_map(|present| present.clients);
        let known: BTreeSet<u32> = ids.map(process_of).collect();
        known.difference(&self.processes.clone()).for_each(|process| self.end_process(*process));
    }
}

/// Whether the worker with this process number may send the command. Members expire by the hub's clock only.
fn is_of_worker(command: &Command, process: u32) -> bool {
    match command {
        Command::Member(Change { kind: ChangeKind::Join { client, .. } | ChangeKind::Leave { client }, .. }) => {
            process_of(*client) == process
        }
        Command::Member(Change { kind: ChangeKind::Expire, .. }) => false,
        Command::Disconnect { .. } => true,
    }
}

/// Whether a process without a server may send the command.
pub(super) fn is_of_outsider(command: &Command) -> bool {
    matches!(command, Command::Disconnect { done: None, .. })
}
