//! When clients that are cut off reconnect: the `retry:` of event streams, WHATWG HTML section 9.2.6.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::limits::Limits;

/// How many clients of a stopped server reconnect to the next one in a second, if there is time.
const RECONNECTS_A_SECOND: u32 = 100;

/// Draws a random delay for each client, so that clients that are cut off together do not reconnect together.
#[derive(Debug)]
pub struct ReconnectDelay {
    /// Milliseconds.
    least: u64,
    most: u64,
    /// What is added to `most` once the server stops.
    spread: AtomicU64,
}

impl ReconnectDelay {
    /// Delays between `retry_min` and `retry_max`.
    pub fn new(limits: &Limits) -> Self {
        let [least, most] = [limits.retry_min, limits.retry_max].map(milliseconds);
        ReconnectDelay { least, most: most.max(least), spread: AtomicU64::new(0) }
    }

    /// The server stops, and has `clients` clients. Their delays are spread over as much of `time` as it takes to accept
    /// them one by one. A few clients reconnect as soon as always. Any thread.
    pub fn spread(&self, clients: usize, time: Duration) {
        let clients = u32::try_from(clients).unwrap_or(u32::MAX);
        let wanted = Duration::from_secs(1) * clients / RECONNECTS_A_SECOND;
        self.spread.store(milliseconds(wanted.min(time)), Ordering::Relaxed);
    }

    /// A client's delay, in whole milliseconds. Any thread.
    pub fn pause(&self) -> u64 {
        fastrand::u64(self.least..=self.most.saturating_add(self.spread.load(Ordering::Relaxed)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(delay: &ReconnectDelay) -> (u64, u64) {
        let mut pauses: Vec<u64> = (0..1000).map(|_| delay.pause()).collect();
        pauses.sort_unstable();
        (pauses[0], pauses[999])
    }

    #[test]
    fn a_delay_lies_between_its_bounds() {
        let mut limits = Limits::default();
        let (least, most) = drawn(&ReconnectDelay::new(&limits));
        assert!(least >= 1000 && most <= 3000);
        limits.set("retry_min", Some(5000.0)).unwrap();
        assert_eq!(drawn(&ReconnectDelay::new(&limits)), (5000, 5000));
    }

    #[test]
    fn the_delays_of_many_clients_are_spread_over_the_time_there_is() {
        let delay = ReconnectDelay::new(&Limits::default());
        delay.spread(1, Duration::from_secs(25));
        assert!(drawn(&delay).1 <= 3010);
        delay.spread(10_000, Duration::from_secs(25));
        let (least, most) = drawn(&delay);
        assert!(least < 3000 && (20_000..=28_000).contains(&most), "{least} to {most}");
        delay.spread(usize::MAX, Duration::MAX);
        delay.pause();
    }
}
