//! What drives the connection to the hub: a task of the reactor while there is one, else a thread.
//!
//! The app publishes before its server starts, and in the callbacks of clients that were cut when the server has stopped.
//! So the thread lives as long as the process. While the task drives, it sleeps.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::unix::AsyncFd;

use super::connection::Turn;
use crate::base::fork::OwnerProcess;
use crate::base::lock::{Condition, Lock};
use crate::base::wakeups::{RemoteWaker, Wakeups};
use crate::channel::engine::EngineTask;

/// Turns that the task takes in a row before the other tasks of the reactor have theirs.
const TURNS: usize = 4;

/// What is driven.
pub(super) trait Driven: Send + Sync {
    /// Does what there is to do, without waiting. `readable`: the socket may have bytes.
    fn turn(&self, readable: bool) -> Turn;

    /// The socket of the present connection.
    fn socket(&self) -> Option<Arc<UnixStream>>;

    /// Does what a server's other tasks do, while there is no server.
    fn attend(&self);

    /// Its driver.
    fn driver(&self) -> &Driver;
}

/// Gives turns to [`Driven`]: by the task, or by the thread.
pub(super) struct Driver {
    state: Lock<State>,
    changed: Condition,
    thread: Arc<ThreadWaker>,
    owner: OwnerProcess,
}

#[derive(Default)]
struct State {
    /// Wakes the task. `None` while the thread drives.
    task: Option<Arc<RemoteWaker>>,
    ended: bool,
}

/// Wakes the thread while it waits for the socket.
struct ThreadWaker {
    asleep: AtomicBool,
    pipe: UnixStream,
}

impl ThreadWaker {
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It is never full: one byte is written for each time that the thread falls asleep.
            let _ = (&self.pipe).write(&[0]);
        }
    }
}

/// The thread, before it starts.
pub(super) struct Thread {
    pipe: UnixStream,
    waker: Arc<ThreadWaker>,
}

impl Driver {
    /// A driver whose thread is to be started.
    pub(super) fn new() -> io::Result<(Self, Thread)> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let waker = Arc::new(ThreadWaker { asleep: AtomicBool::new(false), pipe: writer });
        let driver = Driver {
            state: Lock::default(),
            changed: Condition::new(),
            thread: Arc::clone(&waker),
            owner: OwnerProcess::current(),
        };
        Ok((driver, Thread { pipe: reader, waker }))
    }

    /// Has the driver take a turn soon. Any thread.
    pub(super) fn wake(&self) {
        let task = self.state.lock().task.clone();
        match task {
            Some(task) => task.wake(),
            None => self.thread.wake(),
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
        self.thread.wake();
    }

    /// The task that drives from now on. When it is dropped, the thread drives again.
    pub(super) fn task(client: Arc<dyn Driven>, wakeups: &Arc<Wakeups>) -> EngineTask {
        let waker = Arc::new(RemoteWaker::new(Arc::clone(wakeups)));
        client.driver().state.lock().task = Some(Arc::clone(&waker));
        client.driver().thread.wake();
        Box::pin(Task { client, waker, socket: None })
    }

    /// Waits until the thread is to drive. Returns false if it is to end.
    fn await_turn(&self) -> bool {
        let mut state = self.state.lock();
        while state.task.is_some() && !state.ended {
            state = self.changed.wait(state);
        }
        !state.ended
    }
}

impl Thread {
    /// Starts the thread. It ends with the client.
    pub(super) fn start(self, client: &Arc<impl Driven + 'static>) -> io::Result<()> {
        let client = Arc::downgrade(client);
        std::thread::Builder::new().name("push_hub".to_owned()).spawn(move || self.run(&client)).map(drop)
    }

    fn run(self, client: &Weak<impl Driven>) {
        while let Some(client) = client.upgrade() {
            if !client.driver().await_turn() {
                return;
            }
            // Before the turn, so that whatever comes after the turn's look wakes.
            self.waker.asleep.store(true, Ordering::SeqCst);
            let turn = client.turn(true);
            client.attend();
            let socket = client.socket();
            drop(client);
            if !turn.more {
                let read = if turn.paused { PollFlags::empty() } else { PollFlags::IN };
                let write = if turn.write_blocked { PollFlags::OUT } else { PollFlags::empty() };
                self.wait(socket.as_deref(), read | write);
            }
            self.waker.asleep.store(false, Ordering::SeqCst);
            // One byte for each wake-up.
            while matches!((&self.pipe).read(&mut [0; 16]), Ok(1..)) {}
        }
    }

    fn wait(&self, socket: Option<&UnixStream>, flags: PollFlags) {
        let mut events = vec![PollFd::new(&self.pipe, PollFlags::IN)];
        // poll(2) reports the end of a connection unasked, again and again.
        if let Some(socket) = socket.filter(|_| !flags.is_empty()) {
            events.push(PollFd::new(socket, flags));
        }
        // An error is an interruption, or a lack of memory. Then the next turn looks.
        let _ = poll(&mut events, None);
    }
}

/// The task of the reactor.
struct Task {
    client: Arc<dyn Driven>,
    waker: Arc<RemoteWaker>,
    socket: Option<AsyncFd<Arc<UnixStream>>>,
}

impl Task {
    /// Watches the socket of the present connection. Returns false if that fails, and the connection ends.
    fn watch(&mut self) -> bool {
        let socket = self.client.socket();
        let same = match (&socket, &self.socket) {
            (Some(socket), Some(watched)) => Arc::ptr_eq(socket, watched.get_ref()),
            (None, None) => true,
            _ => false,
        };
        if !same {
            // First the old one: the descriptor's number may be the same.
            self.socket = None;
            if let Some(socket) = socket {
                // SAFETY: an Arc of a socket has the same descriptor as long as it lives.
                match unsafe { AsyncFd::register(Arc::clone(&socket)) } {
                    Ok(watched) => self.socket = Some(watched),
                    Err(error) => {
                        log::error!("the hub's socket cannot be watched: {error}");
                        // The hub sees the end, and the supervisor makes another connection.
                        let _ = socket.shutdown(Shutdown::Both);
                        return false;
                    }
                }
            }
        }
        true
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before it looks: what is submitted from now on wakes it again.
        self.waker.register(cx.waker());
        for _ in 0..TURNS {
            let failed = !self.watch();
            let Task { client, socket, .. } = &mut *self;
            let ready = socket.as_ref().map(|socket| socket.poll_read_ready(cx));
            let mut guard = match ready {
                Some(Poll::Ready(Ok(guard))) => Some(guard),
                _ => None,
            };
            let turn = client.turn(guard.is_some() || failed);
            let mut again = turn.more;
            if let Some(guard) = &mut guard
                && turn.read_blocked
            {
                // The next look registers the task, or finds what has come meanwhile.
                guard.clear_ready();
                again = true;
            }
            if turn.write_blocked
                && let Some(Poll::Ready(Ok(mut guard))) = socket.as_ref().map(|socket| socket.poll_write_ready(cx))
            {
                guard.clear_ready();
                again = true;
            }
            if !again {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let driver = self.client.driver();
        if driver.owner.forked() {
            return;
        }
        let mut state = driver.state.lock();
        if state.task.as_ref().is_some_and(|task| Arc::ptr_eq(task, &self.waker)) {
            state.task = None;
            drop(state);
            driver.changed.notify_all();
        }
    }
}
