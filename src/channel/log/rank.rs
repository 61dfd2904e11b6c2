//! How much memory a channel's messages take, and the channel's places in the orders of all channels.

/// No channel.
pub(super) const NONE: u32 = u32::MAX;

/// A channel's place in `Sizes`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spot {
    pub(super) class: u8,
    pub(super) index: u32,
}

/// A channel's place among those that have a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbours {
    pub(super) listed: bool,
    pub(super) older: u32,
    pub(super) newer: u32,
}

/// A channel's places in the orders that `Memory` keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rank {
    pub(super) pins: Spot,
    pub(super) history: Spot,
    pub(super) quiet: Neighbours,
}

impl Default for Rank {
    fn default() -> Self {
        let quiet = Neighbours { listed: false, older: NONE, newer: NONE };
        Rank { pins: Spot::default(), history: Spot::default(), quiet }
    }
}

/// How much memory a channel's messages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Bytes of messages that are kept for readers only, or have been read and will be freed soon.
    pub(crate) pinned: usize,
    /// Bytes of messages that are history.
    pub(crate) kept: usize,
    /// How many messages are history.
    pub(crate) history: usize,
}
