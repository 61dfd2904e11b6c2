//! The rules of channels that the newest code has.

use super::super::protocol::Rule;
use crate::channel::{Archive, Policy};

/// The rules of the newest generation.
#[derive(Debug, Default)]
pub(super) struct Rules {
    generation: u32,
    list: Vec<(Box<str>, Policy)>,
}

impl Rules {
    /// Takes a process's rules. Returns false if that changes nothing.
    ///
    /// Of two processes of one generation, one may have set a rule that the other will set later. So a rule is not
    /// forgotten before there is a newer generation, and it keeps its place.
    pub(super) fn take(&mut self, generation: u32, rules: &[Rule<'_>]) -> bool {
        if generation < self.generation {
            return false;
        }
        let mut changed = false;
        if generation > self.generation {
            self.generation = generation;
            changed = !self.list.is_empty();
            self.list.clear();
        }
        for rule in rules {
            let policy = rule.policy();
            match self.list.iter_mut().find(|(glob, _)| **glob == *rule.glob) {
                Some((_, old)) if *old == policy => {}
                Some((_, old)) => {
                    *old = policy;
                    changed = true;
                }
                None => {
                    self.list.push((rule.glob.into(), policy));
                    changed = true;
                }
            }
        }
        changed
    }

    /// Gives the rules to the archive.
    pub(super) fn apply(&self, archive: &mut Archive) {
        archive.clear_rules();
        self.list.iter().for_each(|(glob, policy)| archive.define(glob, policy.clone()));
    }

    /// The generation, and the rules.
    pub(super) fn list(&self) -> (u32, Vec<Rule<'_>>) {
        (self.generation, self.list.iter().map(|(glob, policy)| Rule::new(glob, policy)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rules: &mut Rules, generation: u32, globs: &[(&str, u32)]) -> bool {
        let list: Vec<_> = globs.iter().map(|(glob, history)| Rule { glob, history: *history, ttl: 0 }).collect();
        rules.take(generation, &list)
    }

    fn list(rules: &Rules) -> Vec<(String, u32)> {
        rules.list().1.iter().map(|rule| (rule.glob.to_owned(), rule.history)).collect()
    }

    #[test]
    fn the_newest_generation_holds() {
        let mut rules = Rules::default();
        assert!(take(&mut rules, 1, &[("*", 1), ("a", 2)]));
        assert!(!take(&mut rules, 1, &[("*", 1)]));
        assert!(take(&mut rules, 1, &[("*", 1), ("b", 3)]));
        assert_eq!(list(&rules), [("*".into(), 1), ("a".into(), 2), ("b".into(), 3)]);
        assert!(take(&mut rules, 1, &[("*", 4)]));
        assert_eq!(list(&rules)[0], ("*".into(), 4));
        assert!(take(&mut rules, 2, &[("c", 1)]));
        assert!(!take(&mut rules, 1, &[("d", 1)]));
        assert_eq!((list(&rules), rules.list().0), (vec![("c".into(), 1)], 2));
        assert!(take(&mut rules, 3, &[]));
        assert_eq!(list(&rules), []);
    }
}
