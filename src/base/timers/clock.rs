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
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use rustix::io::read;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::runtime::Builder;

    pub(super) fn enable(runtime: &mut Builder) -> &mut Builder {
        runtime
    }

    pub(super) struct Clock(AsyncFd<OwnedFd>);

    impl Clock {
        pub(super) fn new() -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: a timer has the same descriptor as long as it lives.
            Ok(Clock(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
        }

        pub(super) async fn reach(&self, moment: Instant) {
            // 0 would stop the timer.
            let time = moment.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
            let setting = Itimerspec { it_interval: never, it_value: once };
            // It cannot fail with such a time. This also forgets that an earlier moment has passed.
            let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting);
            while let Ok(mut ready) = self.0.readable().await {
                let mut count = [0; 8];
                if ready.try_io(|timer| Ok(read(timer.get_ref(), &mut count)?)).is_ok() {
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
