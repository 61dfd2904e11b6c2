//! When the standby thread must look whether a thread drives.
//!
//! The thread that parks the runtime arms a timer, and the thread that drives next disarms it. The standby thread sleeps
//! until the timer fires, so it wakes only for a batch of jobs that takes long.
//!
//! To set the timer is a system call. Under load, when the runtime is parked again and again within a tick, it stays
//! armed instead, and is only put off: once a tick, for two ticks. Then it fires once, after the last of these batches.

use std::time::{Duration, Instant};

use super::app_latency::FAST_APP;

/// How long no thread drives until the standby thread does.
pub(super) const TICK: Duration = FAST_APP;

/// What the scheduler knows of the timer. It changes under the scheduler's lock, together with the timer itself.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// When the timer fires, if it is armed. It may have fired by now: the standby thread has not seen it yet.
    fires: Option<Instant>,
    /// When the runtime was last parked.
    parked: Option<Instant>,
    /// How many jobs had been taken by then.
    taken: u64,
    /// It had been parked less than a tick before, too.
    often: bool,
}

/// What must be done with the timer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerChange {
    Keep,
    Arm(Duration),
    Disarm,
}

impl Watchdog {
    /// The runtime is parked; `taken` of all jobs were taken so far. The timer fires in one tick at the earliest, and
    /// in two at the latest, or at once if the standby thread must drive next.
    pub(super) fn park(&mut self, now: Instant, taken: u64, standby_is_next: bool) -> TimerChange {
        self.often = self.parked.is_some_and(|parked| now.saturating_duration_since(parked) < TICK);
        self.parked = Some(now);
        self.taken = taken;
        match self.fires {
            _ if standby_is_next => self.arm(now, Duration::ZERO),
            Some(fires) if fires >= now + TICK => TimerChange::Keep,
            _ => self.arm(now, if self.often { 2 * TICK } else { TICK }),
        }
    }

    /// A thread drives. The timer stays armed if the runtime will probably be parked again within a tick.
    pub(super) fn drive(&mut self) -> TimerChange {
        if self.often || self.fires.take().is_none() { TimerChange::Keep } else { TimerChange::Disarm }
    }

    /// The standby thread has seen that the timer has fired, and finds the runtime parked or not. It may be armed again
    /// by now.
    pub(super) fn fire(&mut self, now: Instant) {
        self.fires = self.fires.filter(|fires| *fires > now);
    }

    /// The standby thread waits for the timer again, and the runtime is parked.
    pub(super) fn wait(&mut self, now: Instant) -> TimerChange {
        match self.fires {
            Some(_) => TimerChange::Keep,
            None => self.arm(now, TICK.saturating_sub(self.parked_for(now))),
        }
    }

    /// Whether the runtime, if it is parked, has been for a tick.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.parked_for(now) >= TICK
    }

    /// Whether at most one job was taken since the runtime was parked: that of the thread that has parked it.
    pub(super) fn is_stuck(&self, taken: u64) -> bool {
        taken <= self.taken + 1
    }

    fn parked_for(&self, now: Instant) -> Duration {
        self.parked.map_or(Duration::ZERO, |parked| now.saturating_duration_since(parked))
    }

    fn arm(&mut self, now: Instant, after: Duration) -> TimerChange {
        self.fires = Some(now + after);
        TimerChange::Arm(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done with the timer for batches that take `batch`, one every `period`, and how often it fires.
    fn changes(batch: Duration, period: Duration, batches: u32) -> (u32, u32, u32) {
        let (mut watchdog, start) = (Watchdog::default(), Instant::now());
        let (mut armed, mut disarmed, mut fired) = (0, 0, 0);
        for number in 0..batches {
            let parked = start + period * number;
            for (now, drives) in [(parked, false), (parked + batch, true)] {
                if watchdog.fires.is_some_and(|fires| fires <= now) {
                    fired += 1;
                    watchdog.fire(now);
                }
                match if drives { watchdog.drive() } else { watchdog.park(now, 0, false) } {
                    TimerChange::Keep => {}
                    TimerChange::Arm(after) => {
                        assert!(after >= TICK && after <= 2 * TICK);
                        armed += 1;
                    }
                    TimerChange::Disarm => disarmed += 1,
                }
            }
        }
        (armed, disarmed, fired)
    }

    #[test]
    fn under_light_load_it_never_fires_and_is_set_twice_a_batch() {
        assert_eq!(changes(TICK / 2, 3 * TICK, 1000), (1000, 1000, 0));
    }

    #[test]
    fn under_load_it_never_fires_and_is_set_once_a_tick_at_most() {
        for per_tick in [2, 10, 100] {
            let (armed, disarmed, fired) = changes(TICK / per_tick / 2, TICK / per_tick, 100 * per_tick);
            // The first batch is like one under light load.
            assert!(armed <= 101 && disarmed <= 1 && fired == 0, "{armed} {disarmed} {fired}");
        }
    }

    #[test]
    fn it_fires_for_each_batch_that_takes_long() {
        assert_eq!(changes(5 * TICK, 10 * TICK, 100), (100, 0, 100));
    }

    #[test]
    fn it_fires_at_once_if_the_standby_thread_is_next_and_for_the_rest_of_the_tick_after_that() {
        let (mut watchdog, start) = (Watchdog::default(), Instant::now());
        assert_eq!(watchdog.park(start, 0, true), TimerChange::Arm(Duration::ZERO));
        watchdog.fire(start);
        assert!(!watchdog.is_late(start));
        assert_eq!(watchdog.wait(start + TICK / 4), TimerChange::Arm(TICK * 3 / 4));
        assert_eq!(watchdog.wait(start + TICK / 4), TimerChange::Keep);
        watchdog.fire(start + TICK / 2);
        assert_eq!(watchdog.wait(start + TICK / 2), TimerChange::Keep, "it was armed again meanwhile");
        assert!(watchdog.is_late(start + TICK));
    }

    #[test]
    fn jobs_are_stuck_if_only_the_thread_that_has_parked_the_runtime_has_taken_one() {
        let mut watchdog = Watchdog::default();
        watchdog.park(Instant::now(), 7, false);
        assert!(watchdog.is_stuck(7) && watchdog.is_stuck(8) && !watchdog.is_stuck(9));
    }
}
