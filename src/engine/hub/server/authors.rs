//! The authors of messages, and how far their messages are known.

use std::collections::{HashMap, VecDeque};

use super::super::author::commands_of;
use super::super::protocol::{Known, Refusal};
use super::peer::{Hello, PeerId};

/// How many authors are kept that are not connected. An author that comes back after so many others may get a second
/// number for a message; it would have to miss an answer and stay away for all that time.
const MOST: usize = 4096;

/// How many refused messages of an author are kept.
const REFUSED: usize = 16;

/// An author.
#[derive(Debug, Default)]
pub(super) struct Author {
    /// The highest count that is known.
    pub(super) count: u64,
    /// The highest count of a message with a number, and the number. 0: the hub does not know it.
    pub(super) numbered: (u64, u64),
    /// The newest refused messages: an author that has missed an answer gets it again.
    refused: VecDeque<(u64, Refusal)>,
    /// The author's connection.
    pub(super) peer: Option<PeerId>,
    /// The newest number when the author was last heard of.
    touched: u64,
}

impl Author {
    /// A message of the author was refused.
    pub(super) fn refuse(&mut self, count: u64, reason: Refusal) {
        if self.refused.len() >= REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((count, reason));
    }

    /// The refused messages above a count.
    pub(super) fn refused_after(&self, count: u64) -> impl Iterator<Item = (u64, Refusal)> {
        self.refused.iter().copied().filter(move |(own, _)| *own > count)
    }
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
            (author.count, author.numbered) = (known.count, (known.count, known.seq));
        }
    }

    /// Returns the highest known count of the commands of a worker that has connected.
    pub(super) fn know_commands(&mut self, id: PeerId, hello: &Hello, last: u64) -> u64 {
        let own = self.get(commands_of(hello.author), last);
        own.peer = Some(id);
        if hello.commands > own.count {
            (own.count, own.numbered) = (hello.commands, (hello.commands, 0));
        }
        own.count
    }

    /// The connection has ended.
    pub(super) fn leave(&mut self, author: u128, peer: PeerId) {
        for author in [author, commands_of(author)] {
            if let Some(author) = self.0.get_mut(&author).filter(|author| author.peer == Some(peer)) {
                author.peer = None;
            }
        }
    }

    /// What is known of the authors whose highest number is above `seq`.
    pub(super) fn known_after(&self, seq: u64) -> Vec<Known> {
        self.known().into_iter().filter(|known| known.seq > seq).collect()
    }

    /// What is known of one author.
    pub(super) fn known_of(&self, author: u128) -> Option<Known> {
        let (count, seq) = self.0.get(&author)?.numbered;
        (count > 0).then_some(Known { author, count, seq })
    }

    /// What is known of all authors.
    pub(super) fn known(&self) -> Vec<Known> {
        let authors = self.0.iter().map(|(author, it)| (*author, it.numbered));
        let known = authors.filter(|(_, (count, _))| *count > 0);
        known.map(|(author, (count, seq))| Known { author, count, seq }).collect()
    }

    /// Forgets those that were not heard of for longest. Half of them, so that this is rare.
    fn forget(&mut self) {
        // With the author, so that there are no equal ones: many may have come without a message between them.
        let away = self.0.iter().filter(|(_, it)| it.peer.is_none());
        let mut touched: Vec<_> = away.map(|(author, it)| (it.touched, *author)).collect();
        if touched.len() <= MOST {
            return;
        }
        let middle = touched.len() - MOST;
        let (_, limit, _) = touched.select_nth_unstable(middle);
        let limit = *limit;
        self.0.retain(|author, it| it.peer.is_some() || (it.touched, *author) >= limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_authors_also_if_no_process_publishes() {
        let mut authors = Authors::default();
        (0..20_000).for_each(|author| _ = authors.get(author, 5));
        assert!(authors.0.len() <= 2 * MOST);
    }

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
