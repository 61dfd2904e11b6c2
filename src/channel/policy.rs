//! What a channel keeps and how it treats slow readers, by glob.

use std::time::{Duration, Instant};

use super::pattern::Pattern;

/// What happens to a reader that lags too far (see [`super::Limits::slow_bytes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slow {
    /// Its connection is closed; it returns with its cursor.
    #[default]
    Resume,
    /// It goes on with what is published from now on, and is told how much it missed.
    Drop,
    /// It goes on with the newest message and is told nothing: tickers, dashboards.
    Latest,
}

/// The rules of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How many messages are kept for those who come back; 0 is none.
    pub history: usize,
    /// How long they are kept; `None` is until they are pushed out.
    pub ttl: Option<Duration>,
    /// What becomes of slow readers.
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

/// The rules by glob. The last one defined that matches a channel's name is its rule, so that the
/// general comes first and the exceptions after it; a channel that none matches has the default.
#[derive(Debug, Default)]
pub(super) struct Policies {
    rules: Vec<(Pattern, Policy)>,
}

impl Policies {
    /// Adds a rule; an older one for the same glob is forgotten.
    pub(super) fn define(&mut self, glob: &str, policy: Policy) {
        self.rules.retain(|(pattern, _)| pattern.as_str() != glob);
        self.rules.push((Pattern::new(glob), policy));
    }

    /// The rule for `name`.
    pub(super) fn of(&self, name: &str) -> Policy {
        let rule = self.rules.iter().rev().find(|(pattern, _)| pattern.matches(name));
        rule.map(|(_, policy)| policy.clone()).unwrap_or_default()
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
        let of = |policies: &Policies, name: &str| policies.of(name).history;
        assert_eq!([of(&policies, "x"), of(&policies, "chat:1"), of(&policies, "chat:lobby")], [1, 2, 3]);
        policies.define("*", history(4));
        assert_eq!([of(&policies, "x"), of(&policies, "chat:lobby")], [4, 4]);
        assert_eq!(policies.rules.len(), 3);
        assert_eq!(Policies::default().of("x"), Policy::default());
    }
}
