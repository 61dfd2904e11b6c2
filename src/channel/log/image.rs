//! All that the channels have kept, for a process that begins with this log.

use std::sync::Arc;

use super::super::event::Reset;
use super::store::Log;

impl Log {
    /// What another process needs to begin with this log: the floors, and the messages after `since`, in order.
    ///
    /// Looks at all channels in one hold of the lock, because floors and messages must be of one moment. This is rare: a
    /// process starts, or asks because an engine has lost its log.
    pub(crate) fn image(&self, since: u64) -> Reset {
        let channels = (0..self.channels.end()).filter_map(|at| self.channels.get(at));
        let (mut floors, mut history) = (Vec::new(), Vec::new());
        for channel in channels.filter(|channel| !channel.is_pattern) {
            let kept = history.len();
            history.extend(channel.history(since).map(Arc::clone));
            if history.len() > kept || channel.floor() != self.forgotten.floor(&channel.name) {
                floors.push((Arc::clone(&channel.name), channel.floor()));
            }
        }
        history.sort_unstable_by_key(|message| message.seq());
        Reset {
            epoch: self.epoch,
            last: self.last,
            forgotten: self.forgotten.clone(),
            floors,
            history,
            members: Vec::new(),
        }
    }
}
