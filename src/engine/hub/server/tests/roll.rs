use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{Change, ChangeKind, Command, Members};

/// A member leaves so long after its last client.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A member: information and clients.
type View = (Arc<str>, BTreeSet<u64>);

/// Members by channel and name.
pub(super) type Table = BTreeMap<(Arc<str>, Arc<str>), View>;

/// The members of a process.
pub(super) fn table(members: &Members) -> Table {
    let all = members.all();
    all.map(|own| ((own.channel, own.member), (own.info, own.clients.into_iter().collect()))).collect()
}

/// What readers are told: the channel and the member's name, and whether it has joined.
pub(super) type Told = (u64, Arc<str>, Arc<str>, bool);

/// Members as the commands of a log make them, written down in the simplest way.
#[derive(Debug, Default, Clone)]
struct State {
    table: Table,
    /// When the last client has left.
    left: BTreeMap<(Arc<str>, Arc<str>), Instant>,
}

impl State {
    /// Returns what readers are told.
    fn apply(&mut self, seq: u64, at: Instant, command: &Command) -> Option<Told> {
        let Command::Member(Change { channel, member, kind }) = command else { return None };
        let key = (Arc::clone(channel), Arc::clone(member));
        let told = |joined| Some((seq, Arc::clone(channel), Arc::clone(member), joined));
        match kind {
            ChangeKind::Join { client, info } => {
                let new = !self.table.contains_key(&key);
                let own = self.table.entry(key.clone()).or_default();
                own.0 = Arc::clone(info);
                own.1.insert(*client);
                self.left.remove(&key);
                return if new { told(true) } else { None };
            }
            ChangeKind::Leave { client } => {
                let own = self.table.get_mut(&key)?;
                if own.1.remove(client) && own.1.is_empty() {
                    self.left.insert(key, at);
                }
            }
            ChangeKind::Expire => {
                let own = self.table.get(&key).expect("a member that is none expires");
                assert!(own.1.is_empty(), "a member with clients expires");
                let alone = at - self.left[&key];
                assert!(alone >= LINGER, "{member} leaves after {alone:?}");
                self.table.remove(&key);
                self.left.remove(&key);
                return told(false);
            }
        }
        None
    }
}

#[derive(Debug, Default)]
struct Log {
    base: State,
    commands: BTreeMap<u64, (Instant, Command)>,
}

impl Log {
    fn at(&self, last: u64) -> (State, Vec<Told>) {
        let (mut state, mut told) = (self.base.clone(), Vec::new());
        for (seq, (at, command)) in self.commands.range(..=last) {
            told.extend(state.apply(*seq, *at, command));
        }
        (state, told)
    }
}

/// The commands that hubs have numbered, and the members that follow from them.
#[derive(Debug, Default)]
pub(super) struct Roll {
    epochs: BTreeMap<u64, Log>,
    epoch: Option<u64>,
}

impl Roll {
    /// A hub serves. It goes on with the log up to `began`; `None`: nobody has reported anything.
    pub(super) fn begin(&mut self, epoch: u64, began: Option<u64>) {
        if self.epoch == Some(epoch) {
            // What a hub has numbered and nobody has got has not happened.
            let log = self.epochs.get_mut(&epoch).unwrap();
            log.commands.split_off(&(began.unwrap() + 1));
            return;
        }
        let before = self.epoch.and_then(|before| Some(self.epochs[&before].at(began?).0));
        let base = before.unwrap_or_default();
        self.epochs.insert(epoch, Log { base, commands: BTreeMap::new() });
        self.epoch = Some(epoch);
    }

    /// The hub has numbered a command.
    pub(super) fn add(&mut self, seq: u64, at: Instant, command: Command) {
        let log = self.epochs.get_mut(&self.epoch.unwrap()).unwrap();
        let twice = |(_, other): &(Instant, Command)| {
            matches!(&command, Command::Member(Change { kind: ChangeKind::Join { .. }, .. })) && *other == command
        };
        assert!(!log.commands.values().any(twice), "{command:?} has two numbers");
        assert!(log.commands.last_key_value().is_none_or(|(last, _)| *last < seq));
        log.commands.insert(seq, (at, command));
    }

    /// A process has these members at a place of the log.
    pub(super) fn check(&self, epoch: u64, last: u64, members: &Members) {
        assert_eq!(table(members), self.epochs[&epoch].at(last).0.table, "the members at {last}");
    }

    /// What readers are told after a place of the log and up to another one.
    pub(super) fn told(&self, epoch: u64, after: u64, last: u64) -> Vec<Told> {
        let told = self.epochs[&epoch].at(last).1;
        told.into_iter().filter(|(seq, ..)| *seq > after).collect()
    }

    /// How many commands there are of the present epoch.
    pub(super) fn count(&self) -> usize {
        self.epoch.map_or(0, |epoch| self.epochs[&epoch].commands.len())
    }
}
