//! A timer of the system that one thread or task waits for and others set: a timerfd.
//!
//! To set it takes a quarter of a microsecond and wakes no thread. A condition variable with a timeout cannot do that: for a
//! new deadline its thread must wake.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer of this process. Any thread may set it; one waits for it. A forked child must not use it: it shares the timer
/// with its parent. There is none on systems without timerfd.
#[derive(Debug)]
pub(crate) struct Timerfd {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    descriptor: OwnedFd,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    none: std::convert::Infallible,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Timerfd {
    /// A timer for which a thread can wait. It is not armed.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left, or does not allow timers.
    pub(crate) fn blocking() -> io::Result<Self> {
        let timer = Timerfd::new(TimerfdFlags::empty())?;
        // A filter of system calls may allow one of the two, so this one is tried as well.
        timer.try_set(Duration::ZERO)?;
        Ok(timer)
    }

    /// The same for the tasks of a runtime, which waits until the descriptor is readable.
    pub(crate) fn nonblocking() -> io::Result<Self> {
        Timerfd::new(TimerfdFlags::NONBLOCK)
    }

    fn new(flags: TimerfdFlags) -> io::Result<Self> {
        Ok(Timerfd { descriptor: timerfd_create(TimerfdClockId::Monotonic, flags | TimerfdFlags::CLOEXEC)? })
    }

    /// Lets the timer fire once, after this time and not when it was to fire before. With zero it fires at once.
    pub(crate) fn arm(&self, after: Duration) {
        // Zero would disarm it.
        self.set(after.max(Duration::from_nanos(1)));
    }

    /// Stops the timer. [`Timerfd::wait`] waits on, even if the timer has fired and nobody has seen that.
    pub(crate) fn disarm(&self) {
        self.set(Duration::ZERO);
    }

    fn set(&self, after: Duration) {
        // The kernel refuses only what is no time and no timer.
        let result = self.try_set(after);
        debug_assert!(result.is_ok(), "{result:?}");
    }

    fn try_set(&self, after: Duration) -> io::Result<()> {
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: after.as_secs() as _, tv_nsec: after.subsec_nanos().into() };
        let setting = Itimerspec { it_interval: once, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// Waits until the timer fires. Returns at once if it has fired since it was last set or waited for. A timer that does not
    /// block returns the error [`io::ErrorKind::WouldBlock`] instead of waiting.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut expirations = [0; size_of::<u64>()];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut expirations))?;
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl AsRawFd for Timerfd {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Timerfd {
    pub(crate) fn blocking() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn arm(&self, _after: Duration) {
        match self.none {}
    }

    pub(crate) fn disarm(&self) {
        match self.none {}
    }

    pub(crate) fn wait(&self) -> io::Result<()> {
        match self.none {}
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
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

    /// Whether the timer has fired, at the latest after this time.
    fn has_fired(timer: &Timerfd, after: Duration) -> io::Result<bool> {
        let time = Timespec { tv_sec: after.as_secs() as _, tv_nsec: after.subsec_nanos().into() };
        Ok(poll(&mut [PollFd::new(&timer.descriptor, PollFlags::IN)], Some(&time))? > 0)
    }

    #[test]
    fn it_fires_once_not_before_its_time_and_again_when_it_is_armed_again() {
        let timer = Timerfd::blocking().unwrap();
        for _ in 0..2 {
            let before = Instant::now();
            timer.arm(SOON);
            timer.wait().unwrap();
            assert!(before.elapsed() >= SOON);
        }
    }

    #[test]
    fn a_later_time_and_an_earlier_one_replace_the_first_while_a_thread_waits() {
        let timer = Arc::new(Timerfd::blocking().unwrap());
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
            let timer = Timerfd::blocking().unwrap();
            timer.arm(after);
            timer.disarm();
            let left = rustix::time::timerfd_gettime(&timer.descriptor).unwrap().it_value;
            assert_eq!((left.tv_sec, left.tv_nsec), (0, 0));
            assert!(!has_fired(&timer, Duration::ZERO).unwrap());
        }
    }

    #[test]
    fn what_has_fired_and_was_not_seen_is_forgotten_when_it_is_set_again() {
        let timer = Timerfd::blocking().unwrap();
        timer.arm(Duration::ZERO);
        assert!(has_fired(&timer, DEADLINE).unwrap());
        let before = Instant::now();
        timer.arm(SOON);
        timer.wait().unwrap();
        assert!(before.elapsed() >= SOON);
    }

    #[test]
    fn one_that_does_not_block_says_whether_it_has_fired() {
        let timer = Timerfd::nonblocking().unwrap();
        timer.arm(NEVER);
        assert_eq!(timer.wait().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        timer.arm(Duration::ZERO);
        assert!(has_fired(&timer, DEADLINE).unwrap());
        timer.wait().unwrap();
        assert_eq!(timer.wait().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
