//! A thread for work that the reactor must not do, because it may wait or takes long.
//!
//! The work waits in queues, its lanes, which take turns. The thread starts with the first piece of work, if not before.
//!
//! **Without a thread.** The system may have no thread to give. Then the work is refused with [`Unavailable`], and the next
//! piece of work tries again to start the thread, at most once a second.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;

use super::fork::OwnerProcess;
use super::lock::{Condition, Lock};
use super::log_throttle::LogThrottle;

/// How long to wait before another try to start the thread.
const RETRY: Duration = Duration::from_secs(1);

/// There is no such thread: the system gave none, or it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no thread for this work")]
pub struct Unavailable;

/// What a helper thread is for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// The thread's name for the system, at most 15 bytes.
    pub thread: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// The log says this when the system gives no thread: what is missing then.
    pub without: &'static str,
    /// By how much its priority is lower than that of other threads: see nice(2). Linux only.
    pub niceness: i32,
}

type Work = Box<dyn FnOnce() + Send>;
type Starter<const LANES: usize> = fn(Purpose, Arc<WorkQueue<LANES>>) -> io::Result<()>;

/// Gives work to a thread of its own. Any thread. In a forked child it takes no work.
#[derive(Debug)]
pub struct HelperThread<const LANES: usize> {
    purpose: Purpose,
    queue: Arc<WorkQueue<LANES>>,
    owner: OwnerProcess,
    starter: Starter<LANES>,
    refusals: LogThrottle,
}

#[derive(Debug)]
struct WorkQueue<const LANES: usize> {
    state: Lock<WorkState<LANES>>,
    changed: Condition,
}

struct WorkState<const LANES: usize> {
    lanes: [VecDeque<Work>; LANES],
    /// The lane whose turn it is.
    turn: usize,
    thread: Thread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    NotStarted,
    /// The system gave no thread at this time.
    Failed(Instant),
    Running,
    Stopped,
}

impl<const LANES: usize> HelperThread<LANES> {
    /// A thread that does not run yet.
    pub fn new(purpose: Purpose) -> Self {
        HelperThread::with_starter(purpose, start_thread)
    }

    fn with_starter(purpose: Purpose, starter: Starter<LANES>) -> Self {
        let lanes = [const { VecDeque::new() }; LANES];
        let state = Lock::new(WorkState { lanes, turn: 0, thread: Thread::NotStarted });
        HelperThread {
            purpose,
            queue: Arc::new(WorkQueue { state, changed: Condition::new() }),
            owner: OwnerProcess::current(),
            starter,
            refusals: LogThrottle::once_a_minute(),
        }
    }

    /// Starts the thread now, instead of with the first piece of work. If the system gives none, that is logged, and the
    /// next piece of work tries again.
    pub fn start(&self) {
        if !self.owner.forked() {
            // The error has been logged.
            let _ = self.ensure_running(&mut self.queue.lock());
        }
    }

    /// Runs `work` on the thread. The future is ready when the work is done. If the future is dropped before the work has
    /// begun, the work is dropped too. If it is dropped later, the thread drops the work's value.
    pub fn run<T: Send + 'static>(&self, lane: usize, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            if !sender.is_closed() {
                // An error means that the future was dropped meanwhile.
                let _ = sender.send(work());
            }
        };
        // If the work is refused, it is dropped with its sender, and the future gives the error.
        let _ = self.submit(lane, work);
        Running(receiver)
    }

    /// Runs `work` on the thread later, if there is a thread. Work that is refused, or that has not begun when the thread is
    /// stopped, is dropped.
    pub fn submit(&self, lane: usize, work: impl FnOnce() + Send + 'static) -> Result<(), Unavailable> {
        // In a child the lock may be held by a thread that is not there.
        if self.owner.forked() {
            return Err(Unavailable);
        }
        let mut state = self.queue.lock();
        let running = self.ensure_running(&mut state);
        if running.is_ok() {
            state.lanes[lane].push_back(Box::new(work));
            drop(state);
            self.queue.changed.notify_one();
        }
        running
    }

    /// Ends the thread when it has finished what it is doing. Does not wait for that, since it may hang; work that has not
    /// begun is dropped. Nothing is done afterwards.
    pub fn stop(&self) {
        if self.owner.forked() {
            return;
        }
        let mut state = self.queue.lock();
        // Without a thread nothing waits. With one, it drops what waits: that can close large files, which takes time.
        state.thread = Thread::Stopped;
        drop(state);
        self.queue.changed.notify_all();
    }

    fn ensure_running(&self, state: &mut WorkState<LANES>) -> Result<(), Unavailable> {
        match state.thread {
            Thread::Running => return Ok(()),
            Thread::Stopped => return Err(Unavailable),
            Thread::Failed(last) if last.elapsed() < RETRY => return Err(Unavailable),
            Thread::Failed(_) | Thread::NotStarted => {}
        }
        let Purpose { name, without, .. } = self.purpose;
        match (self.starter)(self.purpose, Arc::clone(&self.queue)) {
            Ok(()) => {
                if state.thread != Thread::NotStarted {
                    log::info!("{name} runs now");
                }
                state.thread = Thread::Running;
                Ok(())
            }
            Err(error) => {
                if self.refusals.allows().is_some() {
                    log::error!("cannot start {name} ({error}): {without} until the system gives a thread");
                }
                state.thread = Thread::Failed(Instant::now());
                Err(Unavailable)
            }
        }
    }
}

impl<const LANES: usize> Drop for HelperThread<LANES> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Lets a write beyond the greatest size of a file (`ulimit -f`, setrlimit(2)) fail with an error on this thread. The
/// system also sends the writing thread a SIGXFSZ, which would end the whole process.
pub(crate) fn refuse_file_size_signal() {
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is emptied, and so initialized, before it is used.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), ptr::null_mut());
    }
}

fn start_thread<const LANES: usize>(purpose: Purpose, queue: Arc<WorkQueue<LANES>>) -> io::Result<()> {
    thread::Builder::new().name(purpose.thread.to_owned()).spawn(move || queue.work(purpose)).map(drop)
}

/// Lowers the priority of this thread.
fn lower_priority(niceness: i32) {
    // Elsewhere it would be that of the whole process.
    if cfg!(target_os = "linux") && niceness > 0 {
        // SAFETY: takes a number. An error changes nothing.
        unsafe { libc::nice(niceness) };
    }
}

impl<const LANES: usize> WorkQueue<LANES> {
    fn lock(&self) -> MutexGuard<'_, WorkState<LANES>> {
        self.state.lock()
    }

    /// The thread.
    fn work(&self, purpose: Purpose) {
        refuse_file_size_signal();
        lower_priority(purpose.niceness);
        let mut state = self.lock();
        while state.thread != Thread::Stopped {
            match state.next() {
                Some(work) => {
                    drop(state);
                    // If it panics, its future gives the error. The panic itself has been reported by then.
                    let _ = catch_unwind(AssertUnwindSafe(work));
                    state = self.lock();
                }
                None => state = self.changed.wait(state),
            }
        }
        let left = std::mem::replace(&mut state.lanes, [const { VecDeque::new() }; LANES]);
        drop(state);
        drop(left);
    }
}

impl<const LANES: usize> WorkState<LANES> {
    fn next(&mut self) -> Option<Work> {
        for _ in 0..LANES {
            self.turn = (self.turn + 1) % LANES;
            if let Some(work) = self.lanes[self.turn].pop_front() {
                return Some(work);
            }
        }
        None
    }
}

impl<const LANES: usize> std::fmt::Debug for WorkState<LANES> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lanes.each_ref().map(VecDeque::len);
        f.debug_struct("State").field("waiting", &waiting).field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Work that a helper thread does or will do. Dropping it says that its value is not wanted.
#[derive(Debug)]
pub struct Running<T>(oneshot::Receiver<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
    use std::sync::atomic::{AtomicBool, Ordering};

    const DEADLINE: Duration = Duration::from_secs(60);
    const PURPOSE: Purpose =
        Purpose { thread: "push_test", name: "the test's thread", without: "nothing is tested", niceness: 1 };

    fn helper() -> HelperThread<2> {
        HelperThread::new(PURPOSE)
    }

    /// Occupies the thread until the sender is dropped; returns when it has begun.
    fn hang(helper: &HelperThread<2>) -> Sender<()> {
        let (release, released) = bounded::<()>(0);
        let (begin, begun) = bounded(1);
        let work = move || {
            begin.send(()).unwrap();
            let _ = released.recv();
        };
        helper.submit(0, work).unwrap();
        begun.recv_timeout(DEADLINE).unwrap();
        release
    }

    fn wait<T>(running: Running<T>) -> Result<T, Unavailable> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(running)
    }

    #[test]
    fn work_is_done_on_one_other_thread() {
        let helper = helper();
        let first = wait(helper.run(0, || thread::current().id())).unwrap();
        let second = wait(helper.run(1, || thread::current().id())).unwrap();
        assert_eq!(first, second);
        assert_ne!(first, thread::current().id());
    }

    #[test]
    fn lanes_take_turns() {
        let helper = helper();
        let release = hang(&helper);
        let (tell, told) = unbounded();
        let mut running = Vec::new();
        for (lane, name) in [(0, "body"), (1, "file")] {
            for _ in 0..3 {
                let tell: Sender<&str> = tell.clone();
                running.push(helper.run(lane, move || tell.send(name)));
            }
        }
        drop(release);
        let order: Vec<_> = (0..6).map(|_| told.recv_timeout(DEADLINE).unwrap()).collect();
        assert_eq!(order, ["file", "body", "file", "body", "file", "body"]);
    }

    #[test]
    fn work_whose_future_was_dropped_is_not_begun() {
        let helper = helper();
        let release = hang(&helper);
        let begun = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&begun);
        drop(helper.run(0, move || flag.store(true, Ordering::SeqCst)));
        drop(release);
        wait(helper.run(0, || ())).unwrap();
        assert!(!begun.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_is_one_failure_and_not_the_end() {
        let helper = helper();
        assert_eq!(wait(helper.run(0, || assert_eq!(1, 2))), Err(Unavailable));
        assert_eq!(wait(helper.run(0, || 3)), Ok(3));
    }

    #[test]
    fn a_stop_does_not_wait_for_work_that_hangs_and_ends_what_waits() {
        let helper = helper();
        let release = hang(&helper);
        let waiting = helper.run(0, || ());
        let (dropped, sentinel): (Receiver<()>, _) = {
            let (held, dropped) = bounded(0);
            (dropped, held)
        };
        helper.submit(0, move || drop(sentinel)).unwrap();
        helper.stop();
        assert_eq!(helper.submit(0, || ()), Err(Unavailable));
        drop(release);
        assert_eq!(wait(waiting), Err(Unavailable));
        assert!(dropped.recv_timeout(DEADLINE).unwrap_err().is_disconnected(), "what waited must be dropped");
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_tried_again_but_not_at_once() {
        fn refuse(_: Purpose, _: Arc<WorkQueue<2>>) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        let mut helper = HelperThread::with_starter(PURPOSE, refuse);
        helper.start();
        helper.starter = start_thread;
        assert_eq!(wait(helper.run(0, || 1)), Err(Unavailable));
        helper.queue.lock().thread = Thread::Failed(Instant::now().checked_sub(RETRY).unwrap());
        assert_eq!(wait(helper.run(0, || 2)), Ok(2));
    }
}
