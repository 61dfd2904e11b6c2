//! What a load counts: operations that end within the measured window.

use crate::histogram::Histogram;

/// The stages of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Requests are sent, so that caches are warm and code is compiled, but nothing is counted.
    WarmUp,
    /// Operations that end now are counted.
    Measuring,
    /// Nothing is sent any more, and answers that still come are counted: what was sent was within the window.
    Finishing,
    /// Nothing is sent any more. Answers that still come are checked, but not counted.
    Draining,
}

/// The counts of a measured window.
#[derive(Debug)]
pub struct Meter {
    /// The stage of the load.
    pub stage: Stage,
    /// Latencies, in ns.
    pub latencies: Histogram,
    /// Operations that have ended.
    pub operations: u64,
    /// Bytes that have come.
    pub bytes: u64,
    /// WebSocket pings answered.
    pub pings: u64,
    /// Connections that the server closed, and that were opened anew.
    pub reopened: u64,
}

impl Meter {
    /// A meter that counts nothing yet.
    pub fn new() -> Self {
        Meter { stage: Stage::WarmUp, latencies: Histogram::new(), operations: 0, bytes: 0, pings: 0, reopened: 0 }
    }

    /// Whether a load may send another message.
    pub fn sending(&self) -> bool {
        matches!(self.stage, Stage::WarmUp | Stage::Measuring)
    }

    fn counting(&self) -> bool {
        matches!(self.stage, Stage::Measuring | Stage::Finishing)
    }

    /// An operation has ended, begun at `since` (ns).
    pub fn done(&mut self, since: u64, now: u64) {
        if self.counting() {
            self.operations += 1;
            self.latencies.record(now.saturating_sub(since));
        }
    }

    /// An operation has ended whose latency is not of interest.
    pub fn done_untimed(&mut self) {
        self.operations += u64::from(self.counting());
    }

    /// So many bytes have come and are parsed.
    pub fn came(&mut self, bytes: usize) {
        if self.counting() {
            self.bytes += bytes as u64;
        }
    }

    /// A ping has been answered.
    pub fn pinged(&mut self) {
        self.pings += u64::from(self.counting());
    }

    /// A connection has been opened anew.
    pub fn reopened(&mut self) {
        self.reopened += u64::from(self.counting());
    }
}
