//! Counting what is unfinished, so that a draining server knows when it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::fork::Birth;

/// A count of open connections, clients and requests that can be waited on to reach zero.
#[derive(Debug)]
pub struct Tally {
    count: AtomicUsize,
    birth: Birth,
    zero: (Sender<()>, Receiver<()>),
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Nothing is open any more.
    Finished,
    /// The deadline has passed.
    TimedOut,
    /// Something arrived on the interrupt channel.
    Interrupted,
}

/// One counted thing; dropping it counts down.
#[derive(Debug)]
pub struct Mark(Arc<Tally>);

impl Default for Tally {
    fn default() -> Self {
        Tally { count: AtomicUsize::new(0), birth: Birth::now(), zero: bounded(1) }
    }
}

impl Tally {
    /// Counts one more thing until the mark is dropped.
    pub fn mark(self: &Arc<Self>) -> Mark {
        self.count.fetch_add(1, Ordering::AcqRel);
        Mark(Arc::clone(self))
    }

    /// How many things are open.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Blocks until nothing is open, `deadline` has passed, or something arrives on `interrupt`.
    pub fn wait(&self, deadline: Instant, interrupt: &Receiver<()>) -> Waited {
        while self.count() > 0 {
            select! {
                recv(self.zero.1) -> _ => {}
                recv(interrupt) -> _ => return Waited::Interrupted,
                recv(crossbeam_channel::at(deadline)) -> _ => return Waited::TimedOut,
            }
        }
        Waited::Finished
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // In a forked child nobody waits, and the channel's lock may be held by nobody who is there.
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 && !self.0.birth.forked() {
            // Full means that a waiter is already going to look.
            let _ = self.0.zero.0.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_for_the_last_mark() {
        let tally = Arc::new(Tally::default());
        let marks = [tally.mark(), tally.mark()];
        let never = crossbeam_channel::never();
        assert_eq!(tally.wait(Instant::now(), &never), Waited::TimedOut);
        let waiter = {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || tally.wait(Instant::now() + Duration::from_secs(30), &never))
        };
        drop(marks);
        assert_eq!(waiter.join().unwrap(), Waited::Finished);
        assert_eq!(tally.count(), 0);
    }
}
