//! How processes share the connections of one listening socket.
//!
//! All processes are woken for a connection, and the quickest one accepts it. In a burst that could be the same one again
//! and again. So a process that has accepted a connection pauses for a moment, in which the others accept. What no other
//! process has taken then is a backlog: the process takes some more after each pause, so that it keeps up with any rate.
//! A connection that comes after a quiet moment is accepted at once.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::base::timers::Timers;

/// How long the others have. They need some 50 µs to wake up.
const PAUSE: Duration = Duration::from_millis(1);

/// The most connections between two pauses.
const MOST: u32 = 32;

/// How many more they become after each pause that leaves a backlog.
const MORE: u32 = 2;

/// The pace of one process at one listener.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many connections it takes between two pauses.
    batch: u32,
    /// How many it has taken since the last pause.
    taken: u32,
    /// It has taken none since.
    paused: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { batch: 1, taken: 0, paused: false }
    }
}

impl Pace {
    /// Lets the others accept, if it is time for that.
    pub(super) async fn pause(&mut self, timers: &Arc<Timers>) {
        self.paused = self.taken >= self.batch;
        if self.paused {
            timers.sleep(PAUSE).await;
            self.taken = 0;
        }
    }

    /// A connection was accepted.
    pub(super) fn took(&mut self) {
        if mem::take(&mut self.paused) {
            self.batch = MOST.min(self.batch + MORE);
        }
        self.taken += 1;
    }

    /// There was none.
    pub(super) fn rest(&mut self) {
        *self = Pace::default();
    }
}
