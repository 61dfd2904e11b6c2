//! One queue of deadlines for all connections: no timer per connection.
//!
//! Deadlines are rounded up to ticks, so that thousands of streams share wake-ups. An [`Alarm`] that is set again for
//! later keeps its old entry. So it wakes its task once too early, and the task looks at the clock and sets the alarm
//! again. A busy stream therefore changes the queue once per interval and not once per message.
//!
//! | module | subject |
//! |---|---|
//! | `clock` | waiting for the next deadline |
//! | `sleep` | waits of tasks, which are not rounded |

mod clock;
mod sleep;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use tokio::sync::Notify;

use self::clock::Clock;
pub use self::clock::enable;
pub use self::sleep::Sleep;
use super::lock::Lock;

/// The deadlines of alarms are met within this time.
const TICK: Duration = Duration::from_millis(20);

/// After so many questions for the time, the clock is read again although the turn has not ended.
const LONG_TURN: u64 = 32;

/// What stamps and the turns of reactors count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment, in nanoseconds from an earlier one that is the same for the whole process. For paths where an [`Instant`] costs too
/// much: the difference of two stamps is a subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(NonZeroU64);

impl Stamp {
    /// A moment as a stamp. The moments before the process had its first one have the same stamp.
    pub fn of(moment: Instant) -> Self {
        Stamp::at(nanoseconds(moment))
    }

    fn at(nanoseconds: u64) -> Self {
        // So that an Option has no more bytes. The nanosecond does not matter.
        Stamp(NonZeroU64::MIN | nanoseconds)
    }

    /// Nanoseconds from the moment that all stamps count from.
    pub(super) fn nanoseconds(self) -> u64 {
        self.0.get()
    }

    /// The moment, to the nanosecond or the next one.
    pub fn moment(self) -> Instant {
        *START + Duration::from_nanos(self.0.get())
    }

    /// Microseconds from an earlier stamp to this one; 0 if it is later.
    pub fn microseconds_since(self, earlier: Stamp) -> u64 {
        self.0.get().saturating_sub(earlier.0.get()) / 1000
    }
}

fn nanoseconds(moment: Instant) -> u64 {
    moment.saturating_duration_since(*START).as_nanos() as u64
}

/// The queue of deadlines of a reactor.
#[derive(Debug)]
pub struct Timers {
    start: Instant,
    /// Nanoseconds from the start to the beginning of the reactor's turn.
    turn: AtomicU64,
    /// The task that is to be woken in the next turn, and whether there is one.
    next_turn: AtomicWaker,
    awaited: AtomicBool,
    /// How often the time was asked for in this turn.
    asked: AtomicU64,
    queue: Lock<DeadlineQueue>,
    /// Alarms up to here have been woken; in nanoseconds from the start.
    fired: AtomicU64,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct DeadlineQueue {
    /// Ordered by nanoseconds from the start, then by alarm.
    entries: BTreeMap<(u64, u64), Waker>,
    next_alarm: u64,
}

/// One task's entry in the queue. It leaves the queue when it is dropped.
#[derive(Debug)]
pub struct Alarm {
    timers: Arc<Timers>,
    id: u64,
    /// Where its entry stands, in nanoseconds from the start, and for which deadline.
    entry: Option<(u64, Instant)>,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            start: *START,
            turn: AtomicU64::new(nanoseconds(Instant::now())),
            next_turn: AtomicWaker::new(),
            awaited: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            queue: Lock::default(),
            fired: AtomicU64::new(0),
            earlier: Notify::new(),
        }
    }
}

impl Timers {
    /// The reactor begins to look at what has happened.
    pub fn begin_turn(&self) {
        self.turn.store(nanoseconds(Instant::now()), Ordering::Relaxed);
        if self.awaited.load(Ordering::Relaxed) {
            self.awaited.store(false, Ordering::Relaxed);
            self.next_turn.wake();
        }
    }

    /// Wakes a task once, when the reactor has something to do again. For one task of the reactor.
    pub fn wake_in_next_turn(&self, task: &Waker) {
        self.next_turn.register(task);
        self.awaited.store(true, Ordering::Relaxed);
    }

    /// When the reactor's turn began. Its tasks use this as the time, since a turn is short, and some tasks run a hundred
    /// thousand times a second: for them a call of the system would cost too much.
    ///
    /// For tasks of the reactor only: between two turns this clock stands still, and a quiet server may take no turn for a
    /// long time.
    pub fn now(&self) -> Instant {
        // A reactor with more to do than it can does not come to the end of its turn. No need to be exact.
        let asked = self.asked.load(Ordering::Relaxed).wrapping_add(1);
        self.asked.store(asked, Ordering::Relaxed);
        if asked.is_multiple_of(LONG_TURN) {
            self.begin_turn();
        }
        self.start + Duration::from_nanos(self.turn.load(Ordering::Relaxed))
    }

    /// When the reactor's turn began: the same as [`Timers::now`], and cheaper.
    pub fn stamp(&self) -> Stamp {
        Stamp::at(self.turn.load(Ordering::Relaxed))
    }

    /// A new alarm, not set.
    pub fn alarm(self: &Arc<Self>) -> Alarm {
        let mut queue = self.lock();
        queue.next_alarm += 1;
        Alarm { timers: Arc::clone(self), id: queue.next_alarm, entry: None }
    }

    /// Wakes tasks as their deadlines pass: a task of the reactor, which never ends. Inside the runtime, which is [`enable`]d.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn run(self: Arc<Self>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let clock = Clock::new()?;
        Ok(async move {
            loop {
                let next = self.lock().entries.keys().next().map(|(at, _)| self.start + Duration::from_nanos(*at));
                match next {
                    None => self.earlier.notified().await,
                    Some(next) => tokio::select! {
                        () = clock.reach(next) => self.fire(),
                        () = self.earlier.notified() => {}
                    },
                }
            }
        })
    }

    fn fire(&self) {
        let now = nanoseconds(Instant::now());
        let due = {
            let mut queue = self.lock();
            let later = queue.entries.split_off(&(now + 1, 0));
            std::mem::replace(&mut queue.entries, later)
        };
        self.fired.store(now, Ordering::Relaxed);
        self.begin_turn();
        for waker in due.into_values() {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DeadlineQueue> {
        self.queue.lock()
    }
}

impl Alarm {
    /// Makes sure that `waker` is woken at `deadline` or before.
    pub fn set(&mut self, deadline: Instant, waker: &Waker) {
        // Still queued, and no later: that entry will do. Alarms are set on the thread that wakes them.
        let fired = self.timers.fired.load(Ordering::Relaxed);
        if self.entry.is_some_and(|(at, sooner)| sooner <= deadline && at > fired) {
            return;
        }
        let tick = TICK.as_nanos() as u64;
        let next_tick = nanoseconds(deadline) / tick + 1;
        self.queue(next_tick * tick, deadline, waker);
    }

    /// The same, without rounding.
    fn set_exactly(&mut self, deadline: Instant, waker: &Waker) {
        self.queue(nanoseconds(deadline), deadline, waker);
    }

    fn queue(&mut self, at: u64, deadline: Instant, waker: &Waker) {
        let mut queue = self.timers.lock();
        if let Some((old, _)) = self.entry {
            queue.entries.remove(&(old, self.id));
        }
        let first = queue.entries.keys().next().is_none_or(|(earliest, _)| at < *earliest);
        queue.entries.insert((at, self.id), waker.clone());
        drop(queue);
        self.entry = Some((at, deadline));
        if first {
            self.timers.earlier.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((at, _)) = self.entry {
            self.timers.lock().entries.remove(&(at, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count {
        wakes: AtomicUsize,
        woken: Notify,
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            self.woken.notify_one();
        }
    }

    #[test]
    fn a_turn_that_does_not_end_does_not_stop_the_clock() {
        let timers = Timers::default();
        let before = timers.now();
        let deadline = Instant::now() + Duration::from_secs(30);
        while timers.now() == before {
            assert!(Instant::now() < deadline, "the clock stands still");
        }
    }

    #[test]
    fn stamps_of_one_process_can_be_compared() {
        let timers = Timers::default();
        let earlier = Stamp::of(timers.now());
        let later = Stamp::of(timers.now() + Duration::from_millis(7));
        assert_eq!((later.microseconds_since(earlier), earlier.microseconds_since(later)), (7000, 0));
        let moment = timers.now();
        assert!(Stamp::of(moment).moment().duration_since(moment) <= Duration::from_nanos(1));
        if let Some(before) = START.checked_sub(Duration::from_secs(1)) {
            assert_eq!(Stamp::of(before), Stamp::of(*START));
        }
    }

    #[test]
    fn wakes_at_the_deadline_and_forgets_what_is_dropped() {
        let runtime = enable(&mut tokio::runtime::Builder::new_current_thread()).build().unwrap();
        runtime.block_on(async {
            let timers = Arc::new(Timers::default());
            let count = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&count));
            let mut kept = timers.alarm();
            let mut dropped = timers.alarm();
            let run = tokio::spawn(Arc::clone(&timers).run().unwrap());
            dropped.set(Instant::now(), &waker);
            kept.set(Instant::now() + Duration::from_secs(3600), &waker);
            kept.set(Instant::now() + Duration::from_millis(30), &waker);
            drop(dropped);
            count.woken.notified().await;
            assert_eq!(count.wakes.load(Ordering::SeqCst), 1);
            assert!(timers.lock().entries.is_empty());
            run.abort();
        });
    }

    #[test]
    fn sleeps_end_and_none_too_early() {
        let runtime = enable(&mut tokio::runtime::Builder::new_current_thread()).build().unwrap();
        runtime.block_on(async {
            let timers = Arc::new(Timers::default());
            tokio::spawn(Arc::clone(&timers).run().unwrap());
            let (begun, ended) = (Instant::now(), Arc::new(Lock::new(Vec::new())));
            // An alarm in the same queue, which is far away until a sleep has begun.
            let mut alarm = timers.alarm();
            alarm.set(Instant::now() + Duration::from_secs(3600), Waker::noop());
            let sleeps = [7, 1, 3, 0, 5].map(|milliseconds| {
                let (timers, ended) = (Arc::clone(&timers), Arc::clone(&ended));
                tokio::spawn(async move {
                    timers.sleep(Duration::from_millis(milliseconds)).await;
                    ended.lock().push(milliseconds);
                    assert!(begun.elapsed() >= Duration::from_millis(milliseconds));
                })
            });
            for sleep in sleeps {
                sleep.await.unwrap();
            }
            ended.lock().sort_unstable();
            assert_eq!(*ended.lock(), [0, 1, 3, 5, 7]);
            assert_eq!(timers.lock().entries.len(), 1);
            assert_eq!(timers.timeout(Duration::from_millis(1), std::future::pending::<()>()).await, None);
            assert_eq!(timers.timeout(Duration::from_secs(3600), async { 1 }).await, Some(1));
            assert_eq!(timers.lock().entries.len(), 1);
        });
    }
}
