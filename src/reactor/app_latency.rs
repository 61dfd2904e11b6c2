//! Whether the app is fast. If it is, app threads drive the reactor themselves; if not, the standby thread does.

use std::time::Duration;

/// A job that takes this long, or longer, is slow: by then another thread must have looked at the sockets.
pub(super) const FAST_APP: Duration = Duration::from_micros(500);

/// The share of slow jobs among the recent ones.
#[derive(Debug, Default)]
pub(super) struct AppLatency {
    /// In units of 1/65536: a moving average in which each job has a weight of 1/64.
    slow_share: u32,
    slow: bool,
}

const ONE: u32 = 1 << 16;
const WEIGHT: u32 = 64;
/// The app is slow from this share on. A pause of the garbage collector now and then does not make an app slow; a query
/// of a database in every tenth request does.
const SLOW_FROM: u32 = ONE * 5 / 100;
/// The app is fast again below this share. It is lower, so that the app does not change sides with each job.
const FAST_UNTIL: u32 = ONE * 2 / 100;

impl AppLatency {
    /// Counts a job that took `duration`.
    pub(super) fn record(&mut self, duration: Duration) {
        self.slow_share -= self.slow_share / WEIGHT;
        if duration >= FAST_APP {
            self.slow_share += ONE / WEIGHT;
        }
        self.slow = self.slow_share > if self.slow { FAST_UNTIL } else { SLOW_FROM };
    }

    /// Whether many of the recent jobs were slow.
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(jobs: impl Iterator<Item = bool>) -> bool {
        let mut app_latency = AppLatency::default();
        jobs.for_each(|slow| app_latency.record(if slow { FAST_APP } else { Duration::ZERO }));
        app_latency.is_slow()
    }

    #[test]
    fn some_slow_jobs_make_a_slow_app_and_one_does_not() {
        assert!(!after((0..1000).map(|_| false)));
        assert!(!after((0..1000).map(|job| job == 999)));
        assert!(!after((0..1000).map(|job| job % 100 == 0)));
        assert!(after((0..1000).map(|job| job % 10 == 0)));
        assert!(after((0..100).map(|job| job >= 90)));
        assert!(!after((0..1000).map(|job| job < 100)));
    }
}
