//! Whether the app is quick: then workers drive the reactor themselves; otherwise the stand-in does.

use std::time::Duration;

/// A job that takes longer is slow: by then somebody else must have looked at the sockets.
pub(super) const FAST_APP: Duration = Duration::from_micros(500);

/// The share of slow jobs among the recent ones.
#[derive(Debug, Default)]
pub(super) struct AppLatency {
    /// In units of 1/65536: a moving average with a weight of 1/64.
    share: u32,
    slow: bool,
}

const ONE: u32 = 1 << 16;
const WEIGHT: u32 = 64;
/// A pause of the garbage collector now and then makes no slow app; every tenth request that asks a
/// database does.
const SLOW_FROM: u32 = ONE * 5 / 100;
/// Lower, so that it does not go to and fro.
const FAST_UNTIL: u32 = ONE * 2 / 100;

impl AppLatency {
    /// A job has taken so long.
    pub(super) fn record(&mut self, duration: Duration) {
        self.share -= self.share / WEIGHT;
        if duration >= FAST_APP {
            self.share += ONE / WEIGHT;
        }
        self.slow = self.share > if self.slow { FAST_UNTIL } else { SLOW_FROM };
    }

    /// Whether jobs are slow often.
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
