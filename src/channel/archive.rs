//! The histories of channels without their readers: what an engine keeps that orders the messages of several processes.

use std::sync::Arc;
use std::time::Instant;

use super::cursor::Epoch;
use super::event::Reset;
use super::forgotten::Forgotten;
use super::limits::Limits;
use super::log::Log;
use super::message::Message;
use super::policy::Policy;
use super::work::PIECE;

/// The histories of channels, by the channels' rules. For one thread.
pub struct Archive(Log);

impl Archive {
    /// An empty archive. `last` is the newest number of its epoch. Messages up to it are missing.
    pub fn new(epoch: Epoch, last: u64, limits: Limits) -> Self {
        Archive(Log::new(epoch, last, limits, None))
    }

    /// An empty archive with so many floors of channels that keep nothing, a power of two.
    pub(crate) fn with_floors(epoch: Epoch, last: u64, limits: Limits, floors: usize) -> Self {
        let mut archive = Archive::new(epoch, last, limits);
        archive.0.forgotten = Forgotten::with(floors, last);
        archive
    }

    /// Takes over what another process has kept, as the channels of a process do.
    #[cfg(test)]
    pub(crate) fn rebase(&mut self, reset: Reset) {
        self.0.rebase(reset);
    }

    /// Takes over what another process has kept. Keeps the rules.
    pub fn replace(&mut self, reset: Reset) {
        self.0.replace(reset);
    }

    /// Adds a rule for all channels that match `glob`: see [`super::Channels::define`].
    pub fn define(&mut self, glob: &str, policy: Policy) {
        self.0.define(glob, policy);
    }

    /// Forgets all rules.
    pub fn clear_rules(&mut self) {
        self.0.clear_rules();
    }

    /// Whether the rules of a channel keep messages.
    pub fn keeps(&mut self, channel: &str) -> bool {
        self.0.policy(channel).history > 0
    }

    /// Whether a message for a channel that keeps messages has room: see [`Limits::max_channels`].
    pub fn accepts(&mut self, channel: &str) -> bool {
        self.0.accepts(channel)
    }

    /// Adds a numbered message. Numbers rise.
    pub fn append(&mut self, message: Arc<Message>) {
        self.0.append(message);
    }

    /// A stored message with this number was not kept, because its channel keeps none.
    pub fn pass(&mut self, channel: &str, seq: u64) {
        self.0.last = seq;
        self.0.forgotten.raise(channel, seq);
    }

    /// Messages up to this number are in the archive, or belong to no history.
    pub fn advance(&mut self, seq: u64) {
        self.0.last = seq;
    }

    /// Frees what is too old, in as many channels as take no longer than a moment. The caller calls this about once a
    /// second.
    pub fn sweep(&mut self, now: Instant) {
        self.0.sweep(PIECE.min(self.0.channels.end() as usize), now);
    }

    /// What another process needs to begin with this log: the floors, and the messages after `since`, in order.
    pub fn image(&self, since: u64) -> Reset {
        self.0.image(since)
    }

    /// The floors of channels that keep nothing.
    pub fn forgotten(&self) -> &Forgotten {
        &self.0.forgotten
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.0.memory.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Draft;

    fn message(channel: &str, seq: u64) -> Arc<Message> {
        let message = Message::new(&Draft::text(channel, b"x"), &Limits::default(), Instant::now()).unwrap();
        message.number(seq);
        message
    }

    fn numbers(reset: &Reset) -> Vec<u64> {
        reset.history.iter().map(|message| message.seq()).collect()
    }

    fn archive() -> Archive {
        let mut archive = Archive::new(Epoch::from(1), 0, Limits::default());
        archive.define("kept:*", Policy { history: 2, ..Policy::default() });
        archive
    }

    #[test]
    fn keeps_what_the_rules_say() {
        let mut archive = archive();
        assert!(archive.keeps("kept:1") && !archive.keeps("other"));
        for seq in 1..=6 {
            archive.append(message(if seq % 2 == 0 { "kept:2" } else { "kept:1" }, seq));
        }
        archive.pass("other", 7);
        let image = archive.image(0);
        assert_eq!((numbers(&image), image.last), (vec![3, 4, 5, 6], 7));
        let mut floors = image.floors;
        floors.sort();
        assert_eq!(floors, [("kept:1".into(), 1), ("kept:2".into(), 2)]);
        assert_eq!((image.forgotten.floor("other"), image.forgotten.highest()), (7, 7));
        assert_eq!(numbers(&archive.image(4)), [5, 6]);
        archive.clear_rules();
        archive.sweep(Instant::now());
        assert_eq!(numbers(&archive.image(0)), []);
        assert_eq!(archive.forgotten().floor("kept:2"), 6);
        assert_eq!(archive.bytes(), 0);
    }

    #[test]
    fn an_image_makes_an_equal_archive() {
        let mut first = archive();
        (1..=6).for_each(|seq| first.append(message(&format!("kept:{}", seq % 2), seq)));
        first.pass("other", 7);
        let mut second = archive();
        second.replace(first.image(0));
        for archive in [&mut first, &mut second] {
            archive.append(message("kept:0", 8));
        }
        let (first, second) = (first.image(0), second.image(0));
        assert_eq!(numbers(&first), numbers(&second));
        assert_eq!(first.forgotten, second.forgotten);
        assert_eq!(first.floors.len(), second.floors.len());
    }
}
