//! What a session's client was given, until it has shown that it got it.
//!
//! That a response was written does not say that it arrived: the connection may have been dead for a
//! minute. The next poll does, by the number of the answer that it got last. Until then everything is
//! kept, and goes out again in front of what is new. So also what no log keeps, such as an app's own
//! writes, comes exactly once.

use std::collections::VecDeque;

use bytes::Bytes;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    parts: VecDeque<Part>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    /// The number of the first answer that it was in, or will be in.
    number: u64,
    bytes: Bytes,
    cost: usize,
}

impl Backlog {
    /// Adds a part that the answer `number` will be the first to have. `cost` is what it counts for while it is kept.
    pub(super) fn push(&mut self, number: u64, bytes: Bytes, cost: usize) {
        self.bytes += bytes.len();
        self.parts.push_back(Part { number, bytes, cost });
    }

    /// The client has got the answer `number`. Returns the cost of the parts that are not kept any more.
    pub(super) fn confirm(&mut self, number: u64) -> usize {
        let mut cost = 0;
        let got = self.parts.partition_point(|part| part.number <= number);
        for part in self.parts.drain(..got) {
            self.bytes -= part.bytes.len();
            cost += part.cost;
        }
        // A session that idles must not hold the memory of its busiest time.
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

    /// All of it, in order.
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
