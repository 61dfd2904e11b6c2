//! The disk thread: it does what may wait for a disk, so that the reactor never does.
//!
//! A server has one such thread. It looks static files up and reads them, and it writes request bodies that are too
//! long for memory. Other parts of the server may give it small chores.
//!
//! **Fairness.** Each piece of work is small: at most 64 KiB are read or a block is written at a time. Files, bodies
//! and chores have a queue each, and the queues take turns. So each piece of a file waits for at most one write of a
//! body and one chore, however many uploads there are. The same holds for bodies.
//!
//! **Bounds.** The queues need no limit of their own. A request has at most one piece of work here at a time: its file
//! is looked up, or the next piece of it is read, or one block of its body is written. When a body is given up, its file
//! is closed here too. So `max_connections` bounds the queues.
//!
//! **Without a thread.** If the system has no thread to give, the server still serves requests that need no disk. The
//! others get the error [`Unavailable`]. The server tries to start the thread again, at most once a second.

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

use crate::base::fork::OwnerProcess;
use crate::base::log_throttle::LogThrottle;

use super::lock::{Condition, Lock};

/// How long to wait before another try to start the thread.
const RETRY: Duration = Duration::from_secs(1);

/// What a piece of work is for. Each kind has a queue of its own, and the queues take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Files to be sent.
    Files,
    /// Request bodies.
    Bodies,
    /// Short work of the server that no request waits for.
    Chores,
}

/// There is no disk thread: the system gave none, or the server has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no thread for the disk")]
pub struct Unavailable;

type Work = Box<dyn FnOnce() + Send>;
type Starter = fn(Arc<DiskQueue>) -> io::Result<()>;

/// Gives work to the disk thread of a server. Any thread. In a forked child it takes no work.
#[derive(Debug)]
pub struct Disk {
    queue: Arc<DiskQueue>,
    owner: OwnerProcess,
    starter: Starter,
}

#[derive(Debug, Default)]
struct DiskQueue {
    state: Lock<DiskState>,
    changed: Condition,
}

#[derive(Default)]
struct DiskState {
    /// The queues, by [`Lane`].
    lanes: [VecDeque<Work>; 3],
    /// The lane whose turn it is.
    turn: usize,
    thread: Thread,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    #[default]
    NotStarted,
    /// The system gave no thread at this time.
    Failed(Instant),
    Running,
    Stopped,
}

impl Default for Disk {
    fn default() -> Self {
        Disk::with_starter(start_thread)
    }
}

impl Disk {
    fn with_starter(starter: Starter) -> Self {
        Disk { queue: Arc::default(), owner: OwnerProcess::current(), starter }
    }

    /// Starts the thread now, instead of with the first piece of work. If the system gives none, that is logged, and the
    /// next piece of work tries again.
    pub fn start(&self) {
        if !self.owner.forked() {
            // The error has been logged.
            let _ = self.ensure_running(&mut self.queue.lock());
        }
    }

    /// Runs `work` on the disk thread. The future is ready when the work is done. If the future is dropped before the
    /// work has begun, the work is dropped too. If it is dropped later, the disk thread drops the work's value.
    ///
    /// The work may block, but should do one small thing: everything else waits for it.
    pub fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            if !sender.is_closed() {
                // An error means that the future was dropped meanwhile.
                let _ = sender.send(work());
            }
        };
        // If the work is refused, it is dropped with its sender, and the future gives the error.
        let _ = self.submit(lane, Box::new(work));
        Running(receiver)
    }

    /// Runs `work` on the disk thread later, if there is such a thread. It should be short: see [`Disk::run`].
    pub fn chore(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Unavailable> {
        self.submit(Lane::Chores, Box::new(work))
    }

    /// Ends the thread when it has finished what it is doing. Does not wait for that, since a disk may hang; work
    /// that has not begun is dropped. Nothing is done afterwards.
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

    fn submit(&self, lane: Lane, work: Work) -> Result<(), Unavailable> {
        // In a child the lock may be held by a thread that is not there.
        if self.owner.forked() {
            return Err(Unavailable);
        }
        let mut state = self.queue.lock();
        let running = self.ensure_running(&mut state);
        if running.is_ok() {
            state.lanes[lane as usize].push_back(work);
            drop(state);
            self.queue.changed.notify_one();
        }
        running
    }

    fn ensure_running(&self, state: &mut DiskState) -> Result<(), Unavailable> {
        match state.thread {
            Thread::Running => return Ok(()),
            Thread::Stopped => return Err(Unavailable),
            Thread::Failed(last) if last.elapsed() < RETRY => return Err(Unavailable),
            Thread::Failed(_) | Thread::NotStarted => {}
        }
        match (self.starter)(Arc::clone(&self.queue)) {
            Ok(()) => {
                if state.thread != Thread::NotStarted {
                    log::info!("the disk thread runs now");
                }
                state.thread = Thread::Running;
                Ok(())
            }
            Err(error) => {
                static SELDOM: LogThrottle = LogThrottle::once_a_minute();
                if SELDOM.allows().is_some() {
                    log::error!(
                        "cannot start the disk thread ({error}): requests for static files, and with bodies over \
                         body_memory, get 503 until the system gives a thread"
                    );
                }
                state.thread = Thread::Failed(Instant::now());
                Err(Unavailable)
            }
        }
    }
}

impl Drop for Disk {
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

fn start_thread(queue: Arc<DiskQueue>) -> io::Result<()> {
    thread::Builder::new().name("push_disk".to_owned()).spawn(move || queue.work()).map(drop)
}

impl DiskQueue {
    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock()
    }

    /// The thread.
    fn work(&self) {
        refuse_file_size_signal();
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
        let left = std::mem::take(&mut state.lanes);
        drop(state);
        drop(left);
    }
}

impl DiskState {
    fn next(&mut self) -> Option<Work> {
        let lanes = self.lanes.len();
        for _ in 0..lanes {
            self.turn = (self.turn + 1) % lanes;
            if let Some(work) = self.lanes[self.turn].pop_front() {
                return Some(work);
            }
        }
        None
    }
}

impl std::fmt::Debug for DiskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lanes.each_ref().map(VecDeque::len);
        f.debug_struct("State").field("waiting", &waiting).field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Work that the disk thread does or will do. Dropping it says that its value is not wanted.
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

    /// Occupies the thread until the sender is dropped; returns when it has begun.
    fn hang(disk: &Disk) -> Sender<()> {
        let (release, released) = bounded::<()>(0);
        let (begin, begun) = bounded(1);
        let work = move || {
            begin.send(()).unwrap();
            let _ = released.recv();
        };
        disk.chore(work).unwrap();
        begun.recv_timeout(DEADLINE).unwrap();
        release
    }

    fn wait<T>(running: Running<T>) -> Result<T, Unavailable> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(running)
    }

    #[test]
    fn work_is_done_on_one_other_thread() {
        let disk = Disk::default();
        let first = wait(disk.run(Lane::Files, || thread::current().id())).unwrap();
        let second = wait(disk.run(Lane::Bodies, || thread::current().id())).unwrap();
        assert_eq!(first, second);
        assert_ne!(first, thread::current().id());
    }

    #[test]
    fn lanes_take_turns() {
        let disk = Disk::default();
        let release = hang(&disk);
        let (tell, told) = unbounded();
        let mut running = Vec::new();
        for (lane, name) in [(Lane::Bodies, "body"), (Lane::Files, "file")] {
            for _ in 0..3 {
                let tell: Sender<&str> = tell.clone();
                running.push(disk.run(lane, move || tell.send(name)));
            }
        }
        drop(release);
        let order: Vec<_> = (0..6).map(|_| told.recv_timeout(DEADLINE).unwrap()).collect();
        assert_eq!(order, ["file", "body", "file", "body", "file", "body"]);
    }

    #[test]
    fn work_whose_future_was_dropped_is_not_begun() {
        let disk = Disk::default();
        let release = hang(&disk);
        let begun = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&begun);
        drop(disk.run(Lane::Files, move || flag.store(true, Ordering::SeqCst)));
        drop(release);
        wait(disk.run(Lane::Files, || ())).unwrap();
        assert!(!begun.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_is_one_failure_and_not_the_end() {
        let disk = Disk::default();
        assert_eq!(wait(disk.run(Lane::Files, || assert_eq!(1, 2))), Err(Unavailable));
        assert_eq!(wait(disk.run(Lane::Files, || 3)), Ok(3));
    }

    #[test]
    fn a_stop_does_not_wait_for_a_disk_that_hangs_and_ends_what_waits() {
        let disk = Disk::default();
        let release = hang(&disk);
        let waiting = disk.run(Lane::Files, || ());
        let (dropped, sentinel): (Receiver<()>, _) = {
            let (held, dropped) = bounded(0);
            (dropped, held)
        };
        disk.chore(move || drop(sentinel)).unwrap();
        disk.stop();
        assert_eq!(disk.chore(|| ()), Err(Unavailable));
        drop(release);
        assert_eq!(wait(waiting), Err(Unavailable));
        assert!(dropped.recv_timeout(DEADLINE).unwrap_err().is_disconnected(), "what waited must be dropped");
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_tried_again_but_not_at_once() {
        fn refuse(_: Arc<DiskQueue>) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        let mut disk = Disk::with_starter(refuse);
        disk.start();
        disk.starter = start_thread;
        assert_eq!(wait(disk.run(Lane::Files, || 1)), Err(Unavailable));
        disk.queue.lock().thread = Thread::Failed(Instant::now().checked_sub(RETRY).unwrap());
        assert_eq!(wait(disk.run(Lane::Files, || 2)), Ok(2));
    }
}
