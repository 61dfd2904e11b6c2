use std::collections::{BTreeMap, HashMap};

/// Which message: its author's number and its count.
pub(super) type Content = (u128, u64);

/// The name of the channel with a history. The other one has none.
pub(super) const KEPT: &str = "kept";

/// All that anybody has got or was answered.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// By epoch and number.
    messages: BTreeMap<(u64, u64), Content>,
    /// The numbers by epoch and message.
    numbers: HashMap<(u64, Content), u64>,
    answered: Vec<(u64, u64, Content)>,
}

impl Truth {
    /// Somebody has got a message with its number.
    pub(super) fn see(&mut self, epoch: u64, seq: u64, content: Content) {
        let before = *self.messages.entry((epoch, seq)).or_insert(content);
        assert_eq!(before, content, "the number {seq} was used for two messages");
        let before = *self.numbers.entry((epoch, content)).or_insert(seq);
        assert_eq!(before, seq, "the message {content:?} has two numbers");
    }

    /// An author was answered.
    pub(super) fn answer(&mut self, epoch: u64, seq: u64, content: Content) {
        self.see(epoch, seq, content);
        self.answered.push((epoch, seq, content));
    }

    /// The number of a message in an epoch.
    pub(super) fn number(&self, epoch: u64, content: Content) -> Option<u64> {
        self.numbers.get(&(epoch, content)).copied()
    }

    /// The messages of an epoch with numbers above `after` and up to `last`.
    pub(super) fn between(&self, epoch: u64, after: u64, last: u64) -> impl Iterator<Item = (u64, Content)> {
        self.messages
            .range((epoch, after + 1)..=(epoch, last.max(after + 1)))
            .map(|((_, seq), content)| (*seq, *content))
            .filter(move |(seq, _)| *seq <= last)
    }

    /// The answers in an epoch.
    pub(super) fn answered(&self, epoch: u64) -> impl Iterator<Item = (u64, Content)> {
        self.answered.iter().filter(move |(own, ..)| *own == epoch).map(|(_, seq, content)| (*seq, *content))
    }

    pub(super) fn answers(&self) -> usize {
        self.answered.len()
    }
}

/// Whether a message goes to the channel with a history.
pub(super) fn is_kept(content: Content) -> bool {
    content.1.is_multiple_of(2) && !is_command(content)
}

/// Whether it is no message, but a command of an outsider.
pub(super) fn is_command(content: Content) -> bool {
    content.0 < 1000 && content.1.is_multiple_of(5)
}
