//! A child's native watch over its supervisor: a small thread that needs nothing of Ruby.
//!
//! The supervisor, and no other process, holds the other end of a Unix socket, the lifeline. It sends lines:
//!
//! | line | meaning |
//! |---|---|
//! | `hub`, with a descriptor | a new connection to the hub, for [`Lifeline::on_hub`] |
//! | `threads` | Ruby did not answer: log what the native threads of this process do |
//! | end of the stream | the supervisor is gone: end this process within [`END`], also if Ruby is stuck |
//!
//! Unknown lines are logged and skipped, so that a newer supervisor can say more.
//!
//! The thread does nothing itself that may block: a log whose reader is stuck must not keep a process alive.
//!
//! | module | subject |
//! |---|---|
//! | `end` | ending the process |
//! | `listening` | closing the sockets of the process that listen |
//! | `threads` | what the native threads of the process do |

mod end;
mod listening;
mod threads;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::base::fork::{NotInChild, OwnerProcess};
use crate::base::lines::{Line, LineReader};
use crate::base::lock::Lock;

/// How long the process lives at most when the supervisor is gone.
pub const END: Duration = Duration::from_millis(1800);

/// How long of [`END`] a server may take to answer the requests that it has.
pub const GRACE: Duration = Duration::from_secs(1);

/// The longest line that is understood.
const LONGEST_LINE: usize = 1024;

type TakeHub = Box<dyn Fn(OwnedFd) + Send>;

/// What a process serves: what is to end when the supervisor is gone. It is called on a thread of its own.
pub trait Serving: Send {
    /// Closes the listeners that the reactor watches. May block for a turn of the reactor.
    fn close_listeners(&self);

    /// Lets what clients have begun end, within `grace`, and cuts the rest.
    fn drain(&self, grace: Duration);
}

/// The watch over the supervisor. Ends without a trace when it is dropped. Any thread.
///
/// In a forked child there is no such thread, and dropping it there does nothing.
pub struct Lifeline(NotInChild<Watch>);

struct Watch(Arc<Shared>);

struct Shared {
    socket: UnixStream,
    /// What the process is called in the log.
    name: String,
    /// The end of the stream is wanted: see [`Lifeline`]'s `drop`.
    ended: AtomicBool,
    hub: Lock<Hub>,
    serving: Lock<Option<Box<dyn Serving>>>,
    /// A thread writes the report about threads.
    reporting: AtomicBool,
}

#[derive(Default)]
struct Hub {
    take: Option<TakeHub>,
    /// A connection that came before there was a taker. The newest counts.
    early: Option<OwnedFd>,
}

impl Lifeline {
    /// Starts the thread. `name` is what the process is called in the log, such as `worker 3`.
    ///
    /// # Errors
    ///
    /// The descriptor is no socket that can be used, or the system has no thread to give.
    pub fn start(socket: OwnedFd, name: &str) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(false)?;
        let shared = Arc::new(Shared {
            socket,
            name: name.to_owned(),
            ended: AtomicBool::new(false),
            hub: Lock::default(),
            serving: Lock::default(),
            reporting: AtomicBool::new(false),
        });
        let watch = Arc::clone(&shared);
        thread::Builder::new().name("push_lifeline".to_owned()).spawn(move || watch.run())?;
        Ok(Lifeline(NotInChild::new(OwnerProcess::current(), Watch(shared))))
    }

    /// Sets what gets each connection to the hub, on the lifeline's thread. It must not block. A connection that came
    /// before is handed over now.
    pub fn on_hub(&self, take: impl Fn(OwnedFd) + Send + 'static) {
        let mut hub = self.0.0.hub.lock();
        if let Some(connection) = hub.early.take() {
            take(connection);
        }
        hub.take = Some(Box::new(take));
    }

    /// Sets what the process serves from now on. A process that serves nothing ends at once when the supervisor is gone.
    pub fn protect(&self, serving: impl Serving + 'static) {
        *self.0.0.serving.lock() = Some(Box::new(serving));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        // Ends the read of the thread. Fails only if the other end is gone; then the read has ended.
        let _ = self.0.socket.shutdown(std::net::Shutdown::Read);
    }
}

impl Shared {
    /// The thread.
    fn run(self: Arc<Self>) {
        let mut reader = LineReader::new(LONGEST_LINE);
        loop {
            let line = reader.read(&self.socket);
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            match line {
                Ok(Some(line)) => self.carry_out(line),
                Ok(None) => end::end(&self.name, "the supervisor is gone", self.serving.lock().take()),
                // Without a lifeline the process would outlive its supervisor.
                Err(error) => {
                    end::end(&self.name, &format!("the lifeline is broken: {error}"), self.serving.lock().take())
                }
            }
        }
    }

    fn carry_out(self: &Arc<Self>, line: Line) {
        match line.text.as_str() {
            "hub" => self.take_hub(line),
            "threads" => self.report_threads(),
            other => {
                log::warn!("{}: the supervisor says '{}' on the lifeline: unknown", self.name, other.escape_debug())
            }
        }
    }

    fn take_hub(&self, line: Line) {
        let Some(connection) = line.descriptors.into_iter().next() else {
            let why = if line.lost_descriptors { "too many files are open" } else { "none was sent" };
            log::error!("{}: got no connection to the hub: {why}", self.name);
            return;
        };
        let mut hub = self.hub.lock();
        match &hub.take {
            Some(take) => take(connection),
            None => hub.early = Some(connection),
        }
    }

    fn report_threads(self: &Arc<Self>) {
        if self.reporting.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(self);
        let report = move || {
            threads::report(&shared.name);
            shared.reporting.store(false, Ordering::SeqCst);
        };
        if let Err(error) = thread::Builder::new().name("push_report".to_owned()).spawn(report) {
            self.reporting.store(false, Ordering::SeqCst);
            log::error!("{}: cannot log its threads: no thread to do it ({error})", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::io::fcntl_getfd;

    use super::*;
    use crate::base::lines::LineWriter;

    fn lifeline() -> (UnixStream, Lifeline) {
        let (supervisor, child) = UnixStream::pair().unwrap();
        (supervisor, Lifeline::start(child.into(), "worker 1").unwrap())
    }

    fn wait_until(done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    fn send(supervisor: &UnixStream, text: &str, descriptors: Vec<OwnedFd>) {
        let mut writer = LineWriter::new(100);
        writer.push(text, descriptors).unwrap();
        writer.flush(supervisor).unwrap();
    }

    #[test]
    fn connections_to_the_hub_are_handed_over_also_the_newest_of_those_that_came_early() {
        let (supervisor, lifeline) = lifeline();
        let (got, taken) = crossbeam_channel::unbounded();
        let (hub, worker) = UnixStream::pair().unwrap();
        send(&supervisor, "hub", vec![tempfile::tempfile().unwrap().into()]);
        send(&supervisor, "hub", vec![worker.into()]);
        send(&supervisor, "hub", vec![]);
        send(&supervisor, "what?", vec![]);
        wait_until(|| lifeline.0.0.hub.lock().early.is_some());
        lifeline.on_hub(move |connection| got.send(connection).unwrap());
        send(&supervisor, "hub", vec![tempfile::tempfile().unwrap().into()]);
        let connections: Vec<_> = (0..2).map(|_| taken.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
        assert!(connections.iter().all(|it| fcntl_getfd(it).is_ok()));
        drop((hub, lifeline));
    }

    #[test]
    fn a_lifeline_that_is_dropped_ends_its_thread_and_not_the_process() {
        let (supervisor, lifeline) = lifeline();
        let shared = Arc::downgrade(&lifeline.0.0);
        drop(lifeline);
        wait_until(|| shared.strong_count() == 0);
        drop(supervisor);
    }
}
