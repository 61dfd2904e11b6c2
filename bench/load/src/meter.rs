//! What a load counts, and when: only what ends within the measured window.

use crate::histogram::Histogram;

/// Where a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Under way, so that caches are warm and code is compiled; nothing is counted.
    WarmUp,
    /// What ends now counts.
    Measuring,
    /// Nothing is sent any more; what is still to come is checked, not counted.
    Draining,
}

/// The counts of a measured window.
#[derive(Debug)]
pub struct Meter {
    /// Where the load is.
    pub stage: Stage,
    /// Latencies, in ns.
    pub latencies: Histogram,
    /// Operations that have ended.
    pub operations: u64,
    /// WebSocket pings answered.
    pub pings: u64,
    /// Connections that the server closed, and that were opened anew.
    pub reopened: u64,
}

impl Meter {
    /// One that counts nothing yet.
    pub fn new() -> Self {
        Meter { stage: Stage::WarmUp, latencies: Histogram::new(), operations: 0, pings: 0, reopened: 0 }
    }

    /// Whether a load may send another message.
    pub fn sending(&self) -> bool {
        self.stage != Stage::Draining
    }

    /// An operation has ended, begun at `since` (ns).
    pub fn done(&mut self, since: u64, now: u64) {
        if self.stage == Stage::Measuring {
            self.operations += 1;
            self.latencies.record(now.saturating_sub(since));
        }
    }

    /// An operation has ended whose latency is not of interest.
    pub fn done_untimed(&mut self) {
        self.operations += u64::from(self.stage == Stage::Measuring);
    }

    /// A ping has been answered.
    pub fn pinged(&mut self) {
        self.pings += u64::from(self.stage == Stage::Measuring);
    }

    /// A connection has been opened anew.
    pub fn reopened(&mut self) {
        self.reopened += u64::from(self.stage == Stage::Measuring);
    }
}
