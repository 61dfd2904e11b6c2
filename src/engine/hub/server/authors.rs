//! The authors of messages, and how far their messages are known.

use std::collections::HashMap;

use super::super::protocol::Known;
use super::peer::PeerId;

/// How many authors are kept that are not connected. An author that comes back after so many others may get a second
/// number for a message; it would have to miss an answer and stay away for all that time.
const MOST: usize = 4096;

/// An author.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Author {
    /// The highest count that is known.
    pub(super) count: u64,
    /// Its number. 0: it has none, because the message was refused or given up.
    pub(super) seq: u64,
    /// The author's connection.
    pub(super) peer: Option<PeerId>,
    /// The newest number when the author was last heard of.
    touched: u64,
}

/// The authors.
#[derive(Debug, Default)]
pub(super) struct Authors(HashMap<u128, Author>);

impl Authors {
    /// The author, which is added if it is new. `last` is the newest number.
    pub(super) fn get(&mut self, author: u128, last: u64) -> &mut Author {
        if self.0.len() >= 2 * MOST && !self.0.contains_key(&author) {
            self.forget();
        }
        let author = self.0.entry(author).or_default();
        author.touched = last;
        author
    }

    /// A count of an author is known, with its number.
    pub(super) fn know(&mut self, known: Known) {
        let author = self.get(known.author, known.seq);
        if known.count > author.count {
            (author.count, author.seq) = (known.count, known.seq);
        }
    }

    /// The connection has ended.
    pub(super) fn leave(&mut self, author: u128, peer: PeerId) {
        if let Some(author) = self.0.get_mut(&author).filter(|author| author.peer == Some(peer)) {
            author.peer = None;
        }
    }

    /// What is known of the authors whose highest number is above `seq`.
    pub(super) fn known_after(&self, seq: u64) -> Vec<Known> {
        let authors = self.0.iter().filter(|(_, it)| it.count > 0 && it.seq > seq);
        authors.map(|(author, it)| Known { author: *author, count: it.count, seq: it.seq }).collect()
    }

    /// What is known of one author.
    pub(super) fn known_of(&self, author: u128) -> Option<Known> {
        let own = self.0.get(&author).filter(|own| own.count > 0)?;
        Some(Known { author, count: own.count, seq: own.seq })
    }

    /// What is known of all authors.
    pub(super) fn known(&self) -> Vec<Known> {
        let authors = self.0.iter().filter(|(_, it)| it.count > 0);
        authors.map(|(author, it)| Known { author: *author, count: it.count, seq: it.seq }).collect()
    }

    /// Forgets those that were not heard of for longest. Half of them, so that this is rare.
    fn forget(&mut self) {
        let mut touched: Vec<_> = self.0.values().filter(|it| it.peer.is_none()).map(|it| it.touched).collect();
        if touched.len() <= MOST {
            return;
        }
        let middle = touched.len() - MOST;
        let (_, limit, _) = touched.select_nth_unstable(middle);
        let limit = *limit;
        self.0.retain(|_, it| it.peer.is_some() || it.touched >= limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_authors_that_were_quiet_for_longest() {
        let mut authors = Authors::default();
        authors.get(0, 0).peer = Some(1);
        for author in 1..20_000_u64 {
            authors.know(Known { author: author.into(), count: 3, seq: author });
        }
        assert!(authors.0.len() <= 2 * MOST);
        assert!(authors.0.contains_key(&0) && !authors.0.contains_key(&1));
        assert_eq!(authors.get(19_999, 20_000).count, 3);
        assert_eq!(authors.known_after(19_998), [Known { author: 19_999, count: 3, seq: 19_999 }]);
        authors.leave(0, 7);
        assert_eq!(authors.get(0, 0).peer, Some(1));
        authors.leave(0, 1);
        assert_eq!(authors.get(0, 0).peer, None);
    }
}
