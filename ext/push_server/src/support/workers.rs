//! How many workers there are, and how many of them sit in a body that is being streamed.
//!
//! The thread that called the app must also call its body: Rack::Lock, fibers and thread-locals
//! depend on it. A body may last for hours. So a body that lasts is noticed after a moment, and the
//! pool starts another worker in the place of the one it occupies.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use push_core::base::fork::OwnerProcess;
use push_core::base::lock::{Condition, Lock};

/// Most bodies are done in less, and need no replacement.
const MOMENT: Duration = Duration::from_millis(50);

/// The workers of a server.
pub struct Workers {
    state: Lock<State>,
    changed: Condition,
    wanted: usize,
    max_streaming: usize,
    /// Is told whether there is a worker for requests. Called with the lock held.
    attend: Box<dyn Fn(bool) + Send + Sync>,
    /// A forked child leaves the lock alone: a thread that is not there may hold it.
    owner: OwnerProcess,
}

#[derive(Default)]
struct State {
    /// Threads in `NativeServer#work`.
    present: usize,
    /// Bodies that began a moment ago, by number.
    young: BTreeMap<u64, Instant>,
    /// Bodies that have a replacement.
    lasting: usize,
    next: u64,
    /// The number of workers, if the system gives no more threads.
    left: Option<usize>,
    /// Whether `attend` was told last that there is none.
    unattended: bool,
    interrupted: bool,
    stopped: bool,
}

/// Why [`Workers::await_shortage`] returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Shortage {
    /// A body lasts: one more worker is needed.
    OneMore,
    /// The server stops.
    Stopped,
}

/// A worker is there as long as this lives.
pub struct Presence(Arc<Workers>);

/// A body is being streamed as long as this lives.
pub struct Streaming {
    workers: Arc<Workers>,
    number: u64,
}

impl Workers {
    /// `wanted` workers beside those in a lasting body, of which there may be `max_streaming`. `attend` is told when no
    /// worker is left for requests, and when there is one again.
    pub fn new(wanted: usize, max_streaming: usize, attend: impl Fn(bool) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Workers {
            state: Lock::default(),
            changed: Condition::new(),
            wanted,
            max_streaming,
            attend: Box::new(attend),
            owner: OwnerProcess::current(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The current thread becomes a worker.
    pub fn arrive(self: &Arc<Self>) -> Presence {
        self.lock().present += 1;
        Presence(Arc::clone(self))
    }

    /// How many workers are `left` if the system gives no more threads. `None`: the pool gets the threads that it needs,
    /// so workers that are missing will come soon.
    pub fn set_left(&self, left: Option<usize>) {
        let mut state = self.lock();
        state.left = left;
        self.attend(&mut state);
    }

    /// To be called after each change.
    fn attend(&self, state: &mut State) {
        let unattended = state.left.is_some_and(|left| left <= state.lasting);
        if std::mem::replace(&mut state.unattended, unattended) != unattended {
            (self.attend)(!unattended);
        }
    }

    /// Whether there are more than needed, so that the current one should leave.
    pub fn surplus(&self) -> bool {
        if self.owner.forked() {
            return false;
        }
        let state = self.lock();
        state.present > self.wanted + state.lasting
    }

    /// The current worker begins to stream a body; `None` if too many last already.
    pub fn stream(self: &Arc<Self>) -> Option<Streaming> {
        if self.owner.forked() {
            return None;
        }
        let mut state = self.lock();
        if state.lasting >= self.max_streaming {
            return None;
        }
        let number = state.next;
        state.next += 1;
        if state.young.is_empty() {
            self.changed.notify_all();
        }
        state.young.insert(number, Instant::now());
        Some(Streaming { workers: Arc::clone(self), number })
    }

    /// Blocks until a body turns out to last, or [`Workers::stop`]. `None`: [`Workers::interrupt`] has ended the wait.
    pub fn await_shortage(&self) -> Option<Shortage> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Some(Shortage::Stopped);
            }
            if std::mem::take(&mut state.interrupted) {
                return None;
            }
            let first = state.young.first_key_value().map(|(number, began)| (*number, began.elapsed()));
            state = match first {
                None => self.changed.wait(state),
                Some((number, age)) if age >= MOMENT => {
                    state.young.remove(&number);
                    state.lasting += 1;
                    self.attend(&mut state);
                    return Some(Shortage::OneMore);
                }
                Some((_, age)) => self.changed.wait_timeout(state, MOMENT - age).0,
            };
        }
    }

    /// Ends a wait for shortage. Any thread.
    pub fn interrupt(&self) {
        self.lock().interrupted = true;
        self.changed.notify_all();
    }

    /// Ends all waits for shortage, for good. Any thread.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.0.owner.forked() {
            self.0.lock().present -= 1;
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if self.workers.owner.forked() {
            return;
        }
        let mut state = self.workers.lock();
        if state.young.remove(&self.number).is_none() {
            state.lasting -= 1;
            self.workers.attend(&mut state);
        }
    }
}
