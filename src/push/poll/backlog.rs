//! What was sent to a session's client, until the client has confirmed it.
//!
//! A written response may never arrive: the connection may have been dead for a minute. The next poll confirms the
//! answer, because it contains the number of the newest answer that the client has got. Until then everything is kept,
//! and is sent again before anything new. So messages that are in no log, such as an app's own writes, arrive exactly
//! once, too.

use std::collections::VecDeque;

use bytes::Bytes;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    parts: VecDeque<Part>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    /// The number of the first answer that has this part.
    number: u64,
    bytes: Bytes,
    cost: usize,
}

impl Backlog {
    /// Adds a part. `number` is the first answer that has it. `cost` is its memory, as `max_queued_total` counts it.
    pub(super) fn push(&mut self, number: u64, bytes: Bytes, cost: usize) {
        self.bytes += bytes.len();
        self.parts.push_back(Part { number, bytes, cost });
    }

    /// The client has confirmed the answer `number`. Drops its parts and returns their cost.
    pub(super) fn confirm(&mut self, number: u64) -> usize {
        let mut cost = 0;
        let got = self.parts.partition_point(|part| part.number <= number);
        for part in self.parts.drain(..got) {
            self.bytes -= part.bytes.len();
            cost += part.cost;
        }
        // An idle session must not keep the memory of its busiest time.
        if self.parts.is_empty() {
            self.parts = VecDeque::new();
        }
        cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All parts, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().map(|part| &part.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(backlog: &Backlog) -> String {
        backlog.parts().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_was_got_is_gone_and_the_rest_is_repeated() {
        let mut backlog = Backlog::default();
        for (number, part) in [(1, "a"), (1, "b"), (2, "c"), (3, "d")] {
            backlog.push(number, Bytes::from_static(part.as_bytes()), 10);
        }
        assert_eq!(backlog.confirm(0), 0);
        assert_eq!((text(&backlog).as_str(), backlog.bytes()), ("abcd", 4));
        assert_eq!(backlog.confirm(2), 30);
        assert_eq!((text(&backlog).as_str(), backlog.bytes()), ("d", 1));
        assert_eq!(backlog.confirm(3), 10);
        assert!(backlog.is_empty());
    }
}
