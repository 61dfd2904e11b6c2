//! The engine as the way to other processes.

use std::sync::Arc;

use super::engine::HubClient;
use crate::base::peers::{Parcel, PeerEvent, Peers};
use crate::base::wakeups::RemoteWaker;

impl Peers for HubClient {
    fn send(&self, parcel: Parcel) -> bool {
        let wakes = self.relay.send(parcel);
        if wakes == Some(true) {
            self.wake_driver();
        }
        wakes.is_some()
    }

    fn listen(&self, task: Option<Arc<RemoteWaker>>) {
        self.relay.listen(task);
    }

    fn take(&self, events: &mut Vec<PeerEvent>) {
        self.relay.take(events);
    }
}
