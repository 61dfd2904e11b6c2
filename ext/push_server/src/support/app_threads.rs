//! How many app threads there are, and how many of them stream a body.
//!
//! The thread that called the app must also call its body: Rack::Lock, fibers and thread-locals depend on it. A body
//! may last for hours. So the pool starts another app thread for each body that lasts longer than [`SHORT_BODY`].
//!
//! Nothing here needs the GVL, and any thread may call it. In a forked child nothing takes the lock, because its holder
//! may not exist there.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use push_core::base::fork::OwnerProcess;
use push_core::base::lock::{Condition, Lock};

/// A body that ends sooner does not count as lasting. Most bodies do.
const SHORT_BODY: Duration = Duration::from_millis(50);

/// The app threads of a server.
pub struct AppThreads {
    state: Lock<State>,
    changed: Condition,
    wanted: usize,
    max_streaming: usize,
    /// Called with the lock held, when no app thread is left for requests (false), and when there is one again (true).
    attend: Box<dyn Fn(bool) + Send + Sync>,
    owner: OwnerProcess,
}

#[derive(Default)]
struct State {
    /// Threads in `NativeServer#work`.
    present: usize,
    /// Bodies that began less than [`SHORT_BODY`] ago, by number.
    young: BTreeMap<u64, Instant>,
    /// Bodies that last, so that each has occupied an app thread.
    lasting: usize,
    /// The number of the next body.
    next: u64,
    /// How many app threads there are, if the system gives no more threads.
    left: Option<usize>,
    /// Whether the last call of `attend` has said that no app thread is left.
    unattended: bool,
    interrupted: bool,
    stopped: bool,
}

/// Why [`AppThreads::await_shortage`] returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Shortage {
    /// A body lasts: one more app thread is needed.
    OneMore,
    /// The server stops.
    Stopped,
}

/// An app thread counts as present until this is dropped.
pub struct Presence(Arc<AppThreads>);

/// A body counts as being streamed until this is dropped.
pub struct Streaming {
    app_threads: Arc<AppThreads>,
    number: u64,
}

impl AppThreads {
    /// `wanted`: how many app threads there should be, beside those whose body lasts. `max_streaming`: how many bodies may
    /// last. `attend` is called when no app thread is left for requests (false), and when there is one again (true).
    pub fn new(wanted: usize, max_streaming: usize, attend: impl Fn(bool) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(AppThreads {
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

    /// The current thread becomes an app thread.
    pub fn arrive(self: &Arc<Self>) -> Presence {
        self.lock().present += 1;
        Presence(Arc::clone(self))
    }

    /// Sets how many app threads there are, if the system gives no more threads. `None`: the system gives threads, so the
    /// pool replaces missing app threads soon.
    pub fn set_left(&self, left: Option<usize>) {
        let mut state = self.lock();
        state.left = left;
        self.attend(&mut state);
    }

    /// Calls `attend` if its answer has changed. To be called after each change of `left` and `lasting`.
    fn attend(&self, state: &mut State) {
        let unattended = state.left.is_some_and(|left| left <= state.lasting);
        if std::mem::replace(&mut state.unattended, unattended) != unattended {
            (self.attend)(!unattended);
        }
    }

    /// Whether there are more app threads than wanted, so that the current one should end. False in a forked child.
    pub fn surplus(&self) -> bool {
        if self.owner.forked() {
            return false;
        }
        let state = self.lock();
        state.present > self.wanted + state.lasting
    }

    /// The current app thread begins to stream a body. `None` if too many bodies last already, and in a forked child.
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
        Some(Streaming { app_threads: Arc::clone(self), number })
    }

    /// Blocks until a body has lasted longer than [`SHORT_BODY`], or until [`AppThreads::stop`]. `None`:
    /// [`AppThreads::interrupt`] has ended the wait. Called without the GVL.
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
                Some((number, age)) if age >= SHORT_BODY => {
                    state.young.remove(&number);
                    state.lasting += 1;
                    self.attend(&mut state);
                    return Some(Shortage::OneMore);
                }
                Some((_, age)) => self.changed.wait_timeout(state, SHORT_BODY - age).0,
            };
        }
    }

    /// Ends one call of [`AppThreads::await_shortage`]: the current one, or the next.
    pub fn interrupt(&self) {
        self.lock().interrupted = true;
        self.changed.notify_all();
    }

    /// Ends all calls of [`AppThreads::await_shortage`], for good.
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
        if self.app_threads.owner.forked() {
            return;
        }
        let mut state = self.app_threads.lock();
        if state.young.remove(&self.number).is_none() {
            state.lasting -= 1;
            self.app_threads.attend(&mut state);
        }
    }
}
