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
//! others get the error [`Unavailable`]. See [`super::helper_thread`].

use super::helper_thread::{HelperThread, Purpose};

pub use super::helper_thread::{Running, Unavailable};

const PURPOSE: Purpose = Purpose {
    thread: "push_disk",
    name: "the disk thread",
    without: "requests for static files, and with bodies over body_memory, get 503",
    niceness: 0,
};

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

/// Gives work to the disk thread of a server. Any thread. In a forked child it takes no work.
#[derive(Debug)]
pub struct Disk(HelperThread<3>);

impl Default for Disk {
    fn default() -> Self {
        Disk(HelperThread::new(PURPOSE))
    }
}

impl Disk {
    /// Starts the thread now, instead of with the first piece of work. If the system gives none, that is logged, and the
    /// next piece of work tries again.
    pub fn start(&self) {
        self.0.start();
    }

    /// Runs `work` on the disk thread: see [`HelperThread::run`].
    ///
    /// The work may block, but should do one small thing: everything else waits for it.
    pub fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        self.0.run(lane as usize, work)
    }

    /// Runs `work` on the disk thread later, if there is such a thread. It should be short: see [`Disk::run`].
    pub fn chore(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Unavailable> {
        self.0.submit(Lane::Chores as usize, work)
    }

    /// Ends the thread: see [`HelperThread::stop`].
    pub fn stop(&self) {
        self.0.stop();
    }
}
