//! Waiting for the next deadline.
//!
//! tokio's timers are not used where the system has a timerfd: tokio would read the clock several times whenever the reactor
//! looks for events, and one queue of deadlines is enough.

use std::time::Instant;

/// Waits for one moment at a time. Inside the runtime.
pub(super) struct Clock(system::Clock);

impl Clock {
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub(super) fn new() -> std::io::Result<Self> {
        system::Clock::new().map(Clock)
    }

    /// Waits until `moment`. The moment of a wait that was given up does not matter any more.
    pub(super) async fn reach(&self, moment: Instant) {
        self.0.reach(moment).await;
    }
}

/// Enables what a clock needs of a runtime.
pub fn enable(runtime: &mut tokio::runtime::Builder) -> &mut tokio::runtime::Builder {
    system::enable(runtime.enable_io())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::time::Instant;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::runtime::Builder;

    use crate::base::timerfd::Timerfd;

    pub(super) fn enable(runtime: &mut Builder) -> &mut Builder {
        runtime
    }

    pub(super) struct Clock(AsyncFd<Timerfd>);

    impl Clock {
        pub(super) fn new() -> io::Result<Self> {
            let timer = Timerfd::nonblocking()?;
            // SAFETY: a timer has the same descriptor as long as it lives.
            Ok(Clock(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
        }

        pub(super) async fn reach(&self, moment: Instant) {
            // This also forgets that an earlier moment has passed.
            self.0.get_ref().arm(moment.saturating_duration_since(Instant::now()));
            while let Ok(mut ready) = self.0.readable().await {
                if ready.try_io(|timer| timer.get_ref().wait()).is_ok() {
                    return;
                }
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;
    use std::time::Instant;

    use tokio::runtime::Builder;

    pub(super) fn enable(runtime: &mut Builder) -> &mut Builder {
        runtime.enable_time()
    }

    pub(super) struct Clock;

    impl Clock {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Clock)
        }

        pub(super) async fn reach(&self, moment: Instant) {
            tokio::time::sleep_until(moment.into()).await;
        }
    }
}
