//! File descriptors that become Ruby's.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use magnus::{Error, Value};

/// Gives `descriptor` to the IO that `make` makes of it. `make` must call one function of Ruby's core, which takes the
/// descriptor in its last step and checks for no interrupts. So after an error, and after a `Thread#kill`, the
/// descriptor was not taken, and it is closed here.
pub fn owned_by_ruby(descriptor: OwnedFd, make: impl FnOnce(RawFd) -> Result<Value, Error>) -> Result<Value, Error> {
    let io = make(descriptor.as_raw_fd())?;
    let _taken = descriptor.into_raw_fd();
    Ok(io)
}
