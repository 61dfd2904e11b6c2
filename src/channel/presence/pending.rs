//! The changes that the engine has not taken yet: one for each client in a channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::event::{Change, ChangeKind};

/// A channel, and the name of a member in it.
type Place = (Arc<str>, Arc<str>);

/// A change, and the client that it is about. A change of no client has the highest id.
type Key = (Place, u64);

/// A change that the engine has not taken yet.
#[derive(Debug)]
pub(super) struct PendingChange {
    pub(super) change: Change,
    /// The engine may know the client already. Then a later leave must reach the engine.
    known: bool,
}

/// The changes that the engine has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: BTreeMap<Key, PendingChange>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Keeps a change in place of an older one. `known` says that the engine may know the client already; it counts only
    /// if there is no older change. If the engine does not know the client, a leave is dropped, and so is the client's
    /// pending join.
    pub(super) fn keep_change(&mut self, change: Change, known: bool) {
        let key = key(&change);
        let known = self.changes.get(&key).map_or(known, |older| older.known);
        if known || matches!(change.kind, ChangeKind::Join { .. }) {
            self.changes.insert(key, PendingChange { change, known });
        } else {
            self.changes.remove(&key);
        }
    }

    /// Keeps a change that the engine may have taken already, in place of an older change.
    pub(super) fn keep_known(&mut self, change: Change) {
        self.changes.insert(key(&change), PendingChange { change, known: true });
    }

    /// Removes the next change; [`Pending::put_back`] keeps it again.
    pub(super) fn next_change(&mut self) -> Option<PendingChange> {
        self.changes.pop_first().map(|(_, pending)| pending)
    }

    /// Keeps a change that [`Pending::next_change`] has removed.
    pub(super) fn put_back(&mut self, pending: PendingChange) {
        self.changes.insert(key(&pending.change), pending);
    }
}

fn key(change: &Change) -> Key {
    let client = match change.kind {
        ChangeKind::Join { client, .. } | ChangeKind::Leave { client } => client,
        ChangeKind::Expire => u64::MAX,
    };
    ((Arc::clone(&change.channel), Arc::clone(&change.member)), client)
}
