//! How the log wakes a reader, and how an engine wakes the thread that takes its events.

/// A task or a queue that is woken when there is something to do.
pub trait Wake: Send + Sync {
    /// Makes it look soon. Called by any thread, perhaps with the log's lock held. So it must not block, and must not
    /// call anything of this module.
    fn wake(&self);

    /// The log's memory was full, and messages that the reader has not got are gone. The reader's connection should be
    /// closed at once; a further read would report an overrun. The rules of [`Wake::wake`] hold. Called once, even
    /// after a call of [`Wake::wake`].
    fn give_up(&self) {
        self.wake();
    }
}
