//! Finds which of many globs match a name.
//!
//! The globs form a tree of their beginnings: globs that begin alike share nodes. A name goes down the tree once, along
//! all paths that fit it. So a glob costs time only for names that begin as it does, however many globs there are:
//! among twenty thousand globs like `user:1:*`, a name meets one. At worst a search costs the number of different
//! beginnings of globs that match a beginning of the name.

use super::pattern::{Pattern, Token};
use super::slab::Slab;
use super::work;

/// No node.
const NONE: u32 = u32::MAX;

/// The node of the empty beginning.
const ROOT: u32 = 0;

/// Globs, each with a number. A search returns the numbers of those that match.
#[derive(Debug)]
pub(super) struct Globs {
    nodes: Slab<Node>,
    len: usize,
    walk: Walk,
}

/// A beginning of globs.
#[derive(Debug)]
struct Node {
    /// The node of this beginning without its last token.
    parent: u32,
    /// The nodes with one byte more, in the order of that byte.
    bytes: Vec<(u8, u32)>,
    classes: Vec<(Token, u32)>,
    one: u32,
    any: u32,
    /// The numbers of the globs that end here: several texts can mean the same.
    ends: Vec<u32>,
    /// The number of the last walk that came by. Only of nodes that end with `*`.
    walked: u64,
}

/// Memory for a walk down the tree, kept for the next one.
#[derive(Debug, Default)]
struct Walk {
    number: u64,
    /// Nodes that match the name so far.
    at: Vec<u32>,
    next: Vec<u32>,
    /// Nodes that end with `*` and were reached. They still match when more bytes follow.
    stars: Vec<u32>,
}

impl Node {
    fn new(parent: u32) -> Self {
        Node { parent, bytes: Vec::new(), classes: Vec::new(), one: NONE, any: NONE, ends: Vec::new(), walked: 0 }
    }

    fn child(&self, token: &Token) -> u32 {
        match token {
            Token::Byte(byte) => self.byte(*byte),
            Token::One => self.one,
            Token::Any => self.any,
            Token::Class { .. } => {
                self.classes.iter().find(|(class, _)| class == token).map_or(NONE, |(_, child)| *child)
            }
        }
    }

    fn byte(&self, byte: u8) -> u32 {
        self.bytes.binary_search_by_key(&byte, |(own, _)| *own).map_or(NONE, |index| self.bytes[index].1)
    }

    fn add(&mut self, token: &Token, child: u32) {
        match token {
            Token::Byte(byte) => {
                let index = self.bytes.partition_point(|(own, _)| own < byte);
                self.bytes.insert(index, (*byte, child));
            }
            Token::One => self.one = child,
            Token::Any => self.any = child,
            Token::Class { .. } => self.classes.push((token.clone(), child)),
        }
    }

    fn drop_child(&mut self, child: u32) {
        self.bytes.retain(|(_, own)| *own != child);
        self.classes.retain(|(_, own)| *own != child);
        for own in [&mut self.one, &mut self.any] {
            *own = if *own == child { NONE } else { *own };
        }
    }

    /// Whether it has no children but, perhaps, one for `*`.
    fn is_leaf(&self) -> bool {
        self.bytes.is_empty() && self.classes.is_empty() && self.one == NONE
    }
}

impl Default for Globs {
    fn default() -> Self {
        let mut nodes = Slab::default();
        nodes.insert(Node::new(NONE));
        Globs { nodes, len: 0, walk: Walk::default() }
    }
}

impl Globs {
    /// Adds a glob. A search returns `number` for each name that matches.
    pub(super) fn insert(&mut self, glob: &Pattern, number: u32) {
        let mut at = ROOT;
        for token in glob.tokens() {
            let Some(node) = self.nodes.get(at) else { return };
            let mut child = node.child(token);
            if child == NONE {
                child = self.nodes.insert(Node::new(at));
                if let Some(node) = self.nodes.get_mut(at) {
                    node.add(token, child);
                }
            }
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.push(number);
            self.len += 1;
        }
    }

    /// Removes a glob.
    pub(super) fn remove(&mut self, glob: &Pattern, number: u32) {
        let mut at = ROOT;
        for token in glob.tokens() {
            let Some(node) = self.nodes.get(at) else { return };
            at = node.child(token);
        }
        let Some(node) = self.nodes.get_mut(at) else { return };
        let before = node.ends.len();
        node.ends.retain(|own| *own != number);
        self.len -= before - node.ends.len();
        // Removes the nodes that no other glob uses.
        while let Some(node) = self.nodes.get(at)
            && at != ROOT
            && node.ends.is_empty()
            && node.is_leaf()
            && node.any == NONE
        {
            let parent = node.parent;
            self.nodes.remove(at);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.drop_child(at);
            }
            at = parent;
        }
    }

    /// Adds the numbers of all globs that match `name` to `found`, each once, in no order.
    pub(super) fn find(&mut self, name: &str, found: &mut Vec<u32>) {
        if self.len == 0 {
            return;
        }
        let Globs { nodes, walk, .. } = self;
        walk.number += 1;
        walk.at.clear();
        walk.stars.clear();
        walk.at.push(ROOT);
        walk.enter_stars(nodes, found);
        for byte in name.bytes() {
            walk.next.clear();
            for at in walk.at.iter().chain(&walk.stars) {
                work::looked(1);
                let Some(node) = nodes.get(*at) else { continue };
                walk.next.extend(Some(node.byte(byte)).filter(|child| *child != NONE));
                walk.next.extend(Some(node.one).filter(|child| *child != NONE));
                work::looked(node.classes.len());
                let classes = node.classes.iter().filter(|(class, _)| class.matches(byte));
                walk.next.extend(classes.map(|(_, child)| *child));
            }
            std::mem::swap(&mut walk.at, &mut walk.next);
            walk.enter_stars(nodes, found);
            if walk.at.is_empty() && walk.stars.is_empty() {
                return;
            }
        }
        for node in walk.at.iter().filter_map(|at| nodes.get(*at)) {
            found.extend_from_slice(&node.ends);
        }
    }
}

impl Walk {
    /// Adds nodes for a `*` that may begin here.
    fn enter_stars(&mut self, nodes: &mut Slab<Node>, found: &mut Vec<u32>) {
        for at in &self.at {
            let star = nodes.get(*at).map_or(NONE, |node| node.any);
            let Some(node) = nodes.get_mut(star).filter(|node| node.walked != self.number) else { continue };
            node.walked = self.number;
            found.extend_from_slice(&node.ends);
            if !node.is_leaf() {
                self.stars.push(star);
            }
        }
    }
}

#[cfg(test)]
impl Globs {
    pub(super) fn footprint(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(globs: &mut Globs, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        globs.find(name, &mut found);
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn finds_what_matches(
            texts in proptest::collection::vec("[ab*?\\[\\]^\\\\-]{0,6}", 0..30),
            gone in proptest::collection::vec(any::<bool>(), 30),
            names in proptest::collection::vec("[ab]{0,6}", 1..10),
        ) {
            let mut globs = Globs::default();
            let patterns: Vec<_> = texts.iter().map(|text| Pattern::new(text)).collect();
            (0..).zip(&patterns).for_each(|(number, pattern)| globs.insert(pattern, number));
            for ((number, pattern), gone) in (0..).zip(&patterns).zip(&gone) {
                if *gone {
                    globs.remove(pattern, number);
                }
            }
            for name in &names {
                let plainly: Vec<u32> = (0..)
                    .zip(&patterns)
                    .zip(&gone)
                    .filter(|((_, pattern), gone)| !**gone && pattern.matches(name))
                    .map(|((number, _), _)| number)
                    .collect();
                prop_assert_eq!(found(&mut globs, name), plainly);
            }
            (0..).zip(&patterns).for_each(|(number, pattern)| globs.remove(pattern, number));
            prop_assert_eq!(globs.footprint(), 1);
        }
    }

    #[test]
    fn a_search_meets_only_globs_that_begin_like_the_name() {
        for kind in ["N", "user:N:*", "*:N", "*:N:*", "user:*:N", "user:?:[0-9]:N*", "*a*N*"] {
            let mut globs = Globs::default();
            let glob = |number: u32| Pattern::new(&kind.replace('N', &number.to_string()));
            (0..20_000).for_each(|number| globs.insert(&glob(number), number));
            for name in ["user:1234:5678", "user:7:7:1234", "1234", "abba:1234:a", "nothing of that"] {
                let (_, looks) = work::most(|| found(&mut globs, name));
                assert!(looks < 200, "{kind}: {looks} for {name}");
            }
        }
    }
}
