//! The buffer into which connections read.

use std::cell::RefCell;

use tokio::io::ReadBuf;

const LENGTH: usize = 64 * 1024;

thread_local! {
    /// All connections of a reactor share one, so that an idle connection holds none, and its first lines stay in the cache.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LENGTH].into_boxed_slice());
}

/// Lends the thread's buffer to `read`, which must use up or copy what it has read, and must not call this function.
pub(crate) fn with<T>(read: impl FnOnce(&mut ReadBuf<'_>) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| read(&mut ReadBuf::new(buffer)))
}
