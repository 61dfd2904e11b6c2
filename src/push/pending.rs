//! A client that has no connection yet.

use std::sync::Arc;

use super::Client;

/// A client that has no connection yet. If this is dropped before, `Abandoned` is posted to the client.
#[derive(Debug)]
pub struct PendingClient(Option<Arc<Client>>);

impl PendingClient {
    /// A client that was just made.
    pub(super) fn new(client: Arc<Client>) -> Self {
        PendingClient(Some(client))
    }

    /// The connection takes the client.
    pub fn arrive(mut self) -> Option<Arc<Client>> {
        self.0.take()
    }
}

impl Drop for PendingClient {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            client.abandon();
        }
    }
}
