//! The clients of a server, by number.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use super::Client;

use crate::base::lock::Lock;

/// The clients of a server, by number. Any thread.
#[derive(Debug, Default)]
pub struct Clients(Lock<HashMap<u64, Arc<Client>>>);

impl Clients {
    pub(super) fn insert(&self, client: &Arc<Client>) {
        self.lock().insert(client.id(), Arc::clone(client));
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// The client of this number.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.0.lock()
    }
}
