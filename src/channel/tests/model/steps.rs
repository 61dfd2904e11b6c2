//! The random steps of the model: publishers, clients, time and rules.

use std::time::Duration;

use proptest::prelude::*;

use crate::channel::{Pattern, Policy, Slow, Target};

pub(super) const NAMES: [&str; 6] = ["c0", "c1", "c2", "d3", "e4", "e5"];
/// Slow clients skip messages of this channel, and are not told.
pub(super) const TICKER: usize = 2;
/// Patterns, which are subscribed like the channels. Their targets follow those of the channels.
pub(super) const PATTERNS: [&str; 5] = ["c*", "*[0-24]", "[cde]?", "e4", "*"];
pub(super) const CLIENTS: usize = 3;

pub(super) fn policies() -> [Policy; NAMES.len()] {
    let ttl = Some(Duration::from_secs(10));
    [
        Policy { history: 3, ttl, ..Policy::default() },
        Policy { slow: Slow::Drop, ..Policy::default() },
        Policy { history: 100, slow: Slow::Latest, ..Policy::default() },
        Policy { history: 2, ..Policy::default() },
        Policy { history: 5, ..Policy::default() },
        Policy { history: 1, slow: Slow::Drop, ..Policy::default() },
    ]
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish {
        channel: usize,
        store: bool,
        except: Option<usize>,
    },
    Connect {
        client: usize,
        since: Option<u8>,
    },
    Subscribe {
        client: usize,
        target: usize,
        since: Option<u8>,
    },
    Open {
        client: usize,
    },
    Unsubscribe {
        client: usize,
        target: usize,
    },
    Read {
        client: usize,
        blocked: bool,
    },
    Stall {
        client: usize,
    },
    Disconnect {
        client: usize,
    },
    Wait {
        seconds: u64,
    },
    Define {
        channel: usize,
        history: usize,
    },
    Deliver,
    /// A delivery, to at most so many outlets.
    HandOut {
        most: usize,
    },
    /// Whether the client's outlet takes messages.
    Park {
        client: usize,
        parked: bool,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let target = || 0..NAMES.len() + PATTERNS.len();
    let step = prop_oneof![
        12 => (0..NAMES.len(), prop::bool::weighted(0.8), prop::option::weighted(0.1, client()))
            .prop_map(|(channel, store, except)| Step::Publish { channel, store, except }),
        3 => (client(), prop::option::weighted(0.1, any::<u8>())).prop_map(|(client, since)| Step::Connect { client, since }),
        6 => (client(), target(), prop::option::weighted(0.1, any::<u8>()))
            .prop_map(|(client, target, since)| Step::Subscribe { client, target, since }),
        3 => client().prop_map(|client| Step::Open { client }),
        1 => (client(), target()).prop_map(|(client, target)| Step::Unsubscribe { client, target }),
        6 => (client(), prop::bool::weighted(0.1)).prop_map(|(client, blocked)| Step::Read { client, blocked }),
        1 => client().prop_map(|client| Step::Stall { client }),
        2 => client().prop_map(|client| Step::Disconnect { client }),
        1 => (0u64..8).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0..NAMES.len(), 0usize..5).prop_map(|(channel, history)| Step::Define { channel, history }),
        4 => Just(Step::Deliver),
        8 => (1usize..4).prop_map(|most| Step::HandOut { most }),
        6 => (client(), prop::bool::weighted(0.8)).prop_map(|(client, parked)| Step::Park { client, parked }),
    ];
    prop::collection::vec(step, 0..150)
}

pub(super) fn target(target: usize) -> Target<'static> {
    NAMES.get(target).map_or_else(|| Target::Pattern(PATTERNS[target - NAMES.len()]), |name| Target::Channel(name))
}

pub(super) fn is_pattern(target: usize) -> bool {
    target >= NAMES.len()
}

pub(super) fn covers(at: usize, channel: usize) -> bool {
    match target(at) {
        Target::Channel(_) => at == channel,
        Target::Pattern(text) => Pattern::new(text).matches(NAMES[channel]),
    }
}
