//! A timer of the system that one thread waits for and others set: a timerfd.
//!
//! To set it takes a quarter of a microsecond and wakes no thread. A condition variable with a timeout cannot do that: for a
//! new deadline its thread must wake.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

#[cfg(target_os = "linux")]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer of this process. Any thread may set it; one waits for it. A forked child must not use it: it shares the timer
/// with its parent.
#[derive(Debug)]
pub(super) struct Timer {
    #[cfg(target_os = "linux")]
    timerfd: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    none: std::convert::Infallible,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left, or does not allow timers.
    pub(super) fn new() -> io::Result<Self> {
        let timerfd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        // A filter of system calls may allow one of the two, so this one is tried as well.
        set(&timerfd, Duration::ZERO)?;
        Ok(Timer { timerfd })
    }

    /// Lets the timer fire once, after this time and not when it was to fire before. With zero it fires at once.
    pub(super) fn arm(&self, after: Duration) {
        // Zero would disarm it.
        self.set(after.max(Duration::from_nanos(1)));
    }

    /// Stops the timer. [`Timer::wait`] waits on, even if the timer has fired and no thread has seen that.
    pub(super) fn disarm(&self) {
        self.set(Duration::ZERO);
    }

    fn set(&self, after: Duration) {
        // The kernel refuses only what is no time and no timer.
        let result = set(&self.timerfd, after);
        debug_assert!(result.is_ok(), "{result:?}");
    }

    /// Blocks until the timer fires. Returns at once if it has fired since it was last set or waited for.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut expirations = [0; size_of::<u64>()];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.timerfd, &mut expirations))?;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn set(timerfd: &OwnedFd, after: Duration) -> io::Result<()> {
    let once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec { tv_sec: after.as_secs() as _, tv_nsec: after.subsec_nanos().into() };
    timerfd_settime(timerfd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: once, it_value: value })?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn arm(&self, _after: Duration) {
        match self.none {}
    }

    pub(super) fn disarm(&self) {
        match self.none {}
    }

    pub(super) fn wait(&self) -> io::Result<()> {
        match self.none {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    /// So long that the test would fail by its deadline.
    const NEVER: Duration = Duration::from_secs(3600);
    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn it_fires_once_not_before_its_time_and_again_when_it_is_armed_again() {
        let timer = Timer::new().unwrap();
        for _ in 0..2 {
            let before = Instant::now();
            timer.arm(SOON);
            timer.wait().unwrap();
            assert!(before.elapsed() >= SOON);
        }
    }

    #[test]
    fn a_later_time_and_an_earlier_one_replace_the_first_while_a_thread_waits() {
        let timer = Arc::new(Timer::new().unwrap());
        timer.arm(NEVER);
        let waiting = Arc::clone(&timer);
        let (tell, told) = channel();
        thread::spawn(move || while waiting.wait().is_ok() && tell.send(()).is_ok() {});
        timer.arm(SOON);
        told.recv_timeout(DEADLINE).unwrap();
        timer.arm(Duration::ZERO);
        told.recv_timeout(DEADLINE).unwrap();
        drop(told);
        timer.arm(Duration::ZERO);
    }

    #[test]
    fn it_does_not_fire_when_it_is_disarmed_even_if_it_has_fired() {
        for after in [NEVER, Duration::ZERO] {
            let timer = Timer::new().unwrap();
            timer.arm(after);
            timer.disarm();
            let left = rustix::time::timerfd_gettime(&timer.timerfd).unwrap().it_value;
            assert_eq!((left.tv_sec, left.tv_nsec), (0, 0));
            let mut readable = [PollFd::new(&timer.timerfd, PollFlags::IN)];
            assert_eq!(poll(&mut readable, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap(), 0);
        }
    }

    #[test]
    fn what_has_fired_and_was_not_seen_is_forgotten_when_it_is_set_again() {
        let timer = Timer::new().unwrap();
        timer.arm(Duration::ZERO);
        assert_eq!(poll(&mut [PollFd::new(&timer.timerfd, PollFlags::IN)], None).unwrap(), 1);
        let before = Instant::now();
        timer.arm(SOON);
        timer.wait().unwrap();
        assert!(before.elapsed() >= SOON);
    }
}
