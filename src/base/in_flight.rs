//! Counting what is unfinished, so that a draining server knows when it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::base::fork::OwnerProcess;

/// A count of open connections, clients and requests that can be waited on to reach zero.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize,
    owner: OwnerProcess,
    zero: (Sender<()>, Receiver<()>),
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is open any more.
    Finished,
    /// The deadline has passed.
    TimedOut,
    /// Something arrived on the interrupt channel.
    Interrupted,
}

/// One counted thing; dropping it counts down.
#[derive(Debug)]
pub struct InFlightGuard(Arc<InFlight>);

impl Default for InFlight {
    fn default() -> Self {
        InFlight { count: AtomicUsize::new(0), owner: OwnerProcess::current(), zero: bounded(1) }
    }
}

impl InFlight {
    /// Counts one more thing until the guard is dropped.
    pub fn guard(self: &Arc<Self>) -> InFlightGuard {
        self.count.fetch_add(1, Ordering::AcqRel);
        InFlightGuard(Arc::clone(self))
    }

    /// How many things are open.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Blocks until nothing is open, `deadline` has passed, or something arrives on `interrupt`.
    pub fn wait(&self, deadline: Instant, interrupt: &Receiver<()>) -> Drained {
        while self.count() > 0 {
            select! {
                recv(self.zero.1) -> _ => {}
                recv(interrupt) -> _ => return Drained::Interrupted,
                recv(crossbeam_channel::at(deadline)) -> _ => return Drained::TimedOut,
            }
        }
        Drained::Finished
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        // In a forked child no thread waits, and the channel's lock may be held by a thread that is not there.
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 && !self.0.owner.forked() {
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
    fn waits_for_the_last_guard() {
        let in_flight = Arc::new(InFlight::default());
        let guards = [in_flight.guard(), in_flight.guard()];
        let never = crossbeam_channel::never();
        assert_eq!(in_flight.wait(Instant::now(), &never), Drained::TimedOut);
        let waiter = {
            let in_flight = Arc::clone(&in_flight);
            std::thread::spawn(move || in_flight.wait(Instant::now() + Duration::from_secs(30), &never))
        };
        drop(guards);
        assert_eq!(waiter.join().unwrap(), Drained::Finished);
        assert_eq!(in_flight.count(), 0);
    }
}
