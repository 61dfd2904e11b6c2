//! What a load counts: operations that end within the measured window.

use crate::histogram::Histogram;

/// The stages of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Requests are sent, so that caches are warm and code is compiled, but nothing is counted.
    WarmUp,
    /// Operations that end now are counted.
    Measuring,
    /// Nothing is sent any more. Answers that still come are checked, but not counted.
    Draining,
}

/// The counts of a measured window.
#[derive(Debug)]
pub struct Meter {
    /// The stage of the load.
    pub stage: Stage,
    /// How many more operations may begin in this stage. `None`: as many as there is time for.
    left: Option<u64>,
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
        Meter {
            stage: Stage::WarmUp,
            left: None,
            latencies: Histogram::new(),
            operations: 0,
            bytes: 0,
            pings: 0,
            reopened: 0,
        }
    }

    /// Another stage begins, of this many operations.
    pub fn begin(&mut self, stage: Stage, operations: u64) {
        self.stage = stage;
        self.left = Some(operations);
    }

    /// Whether a load that goes by the clock may send another message.
    pub fn sending(&self) -> bool {
        matches!(self.stage, Stage::WarmUp | Stage::Measuring)
    }

    /// Whether a load may send another message. If so, this many `operations` begin with it.
    pub fn begins(&mut self, operations: usize) -> bool {
        if !self.sending() || self.left == Some(0) {
            return false;
        }
        self.left = self.left.map(|left| left.saturating_sub(operations as u64));
        true
    }

    fn counting(&self) -> bool {
        self.stage == Stage::Measuring
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_as_many_operations_as_were_asked_for_and_counts_them_if_it_is_measured() {
        let mut meter = Meter::new();
        for (stage, operations) in [(Stage::WarmUp, 3), (Stage::Measuring, 5)] {
            meter.begin(stage, operations);
            for _ in 0..10 {
                if meter.begins(1) {
                    meter.done(0, 1);
                }
            }
        }
        assert_eq!((meter.operations, meter.begins(1)), (5, false));
    }

    #[test]
    fn a_message_that_makes_many_operations_begins_as_long_as_one_is_left() {
        let mut meter = Meter::new();
        meter.begin(Stage::Measuring, 2001);
        assert_eq!([(); 4].map(|()| meter.begins(1000)), [true, true, true, false]);
    }

    #[test]
    fn what_begins_is_not_bounded_without_a_number_but_ends_with_the_window() {
        let mut meter = Meter::new();
        assert!((0..1000).all(|_| meter.begins(1000)));
        meter.stage = Stage::Draining;
        assert!(!meter.begins(1));
    }
}
