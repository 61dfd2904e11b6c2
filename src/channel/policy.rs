//! What a channel keeps and how it treats slow readers, by glob.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::globs::Globs;
use super::pattern::Pattern;

/// What happens to a reader that lags too far (see [`super::Limits::slow_bytes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slow {
    /// Its connection is closed. The client reconnects with its cursor.
    #[default]
    Resume,
    /// It continues with what is published from now on, and is told how many messages it has missed.
    Drop,
    /// It continues with the newest message and is told nothing. For tickers and dashboards.
    Latest,
}

/// The rules of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How many messages are kept for clients that reconnect. 0 means none.
    pub history: usize,
    /// How long they are kept. `None` means until newer messages replace them.
    pub ttl: Option<Duration>,
    /// What happens to slow readers.
    pub slow: Slow,
    /// Whether members are announced.
    pub presence: bool,
}

impl Policy {
    /// The default of a channel with history: 100 messages, 300 seconds.
    pub fn with_history() -> Self {
        Policy { history: 100, ttl: Some(Duration::from_secs(300)), ..Policy::default() }
    }

    /// Whether a message published at `published` is too old at `now`.
    pub(super) fn expired(&self, published: Instant, now: Instant) -> bool {
        self.ttl.is_some_and(|ttl| now.saturating_duration_since(published) >= ttl)
    }
}

/// The rules by glob. If several globs match a channel's name, the one that was set last counts. So general rules are
/// set first, and exceptions after them. A channel that no glob matches has the default.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// Rules by number. When a glob gets a new rule, the old one leaves an empty place.
    rules: Vec<Option<(Pattern, Policy)>>,
    numbers: HashMap<Box<str>, u32>,
    globs: Globs,
    found: Vec<u32>,
}

impl Policies {
    /// Adds a rule; an older one for the same glob is forgotten.
    pub(super) fn define(&mut self, glob: &str, policy: Policy) {
        let pattern = Pattern::new(glob);
        let number = self.rules.len() as u32;
        if let Some(older) = self.numbers.insert(glob.into(), number) {
            self.globs.remove(&pattern, older);
            self.rules[older as usize] = None;
        }
        self.globs.insert(&pattern, number);
        self.rules.push(Some((pattern, policy)));
        if self.rules.len() > 64 + 2 * self.numbers.len() {
            self.renumber();
        }
    }

    /// Closes the gaps that replaced rules have left.
    fn renumber(&mut self) {
        let rules = std::mem::take(self).rules;
        for (pattern, policy) in rules.into_iter().flatten() {
            self.define(pattern.as_str(), policy);
        }
    }

    /// The rule for `name`.
    pub(super) fn of(&mut self, name: &str) -> Policy {
        self.found.clear();
        self.globs.find(name, &mut self.found);
        let last = self.found.iter().max().and_then(|number| self.rules.get(*number as usize));
        last.and_then(Option::as_ref).map(|(_, policy)| policy.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_matches_counts() {
        let history = |history| Policy { history, ..Policy::default() };
        let mut policies = Policies::default();
        policies.define("*", history(1));
        policies.define("chat:*", history(2));
        policies.define("chat:lobby", history(3));
        let of = |policies: &mut Policies, name: &str| policies.of(name).history;
        assert_eq!(["x", "chat:1", "chat:lobby"].map(|name| of(&mut policies, name)), [1, 2, 3]);
        policies.define("*", history(4));
        assert_eq!(["x", "chat:lobby"].map(|name| of(&mut policies, name)), [4, 4]);
        (0..1000).for_each(|number| policies.define("chat:*", history(number)));
        assert_eq!(["x", "chat:lobby"].map(|name| of(&mut policies, name)), [4, 999]);
        assert!(policies.rules.len() < 100);
        assert_eq!(Policies::default().of("x"), Policy::default());
    }
}
