//! How the log wakes a reader, and how an engine wakes the thread that takes its events.

/// Somebody who sleeps until there is something to do.
pub trait Wake: Send + Sync {
    /// Makes it look soon. Any thread, possibly with the log's lock held: must neither block nor
    /// call anything of this module.
    fn wake(&self);

    /// The log's memory was full, and messages that the reader has not got are gone. Its connection should be closed at
    /// once; if it reads instead, the read says so. The same rules hold as for [`Wake::wake`]. Called once, even if
    /// [`Wake::wake`] was called before.
    fn give_up(&self) {
        self.wake();
    }
}
