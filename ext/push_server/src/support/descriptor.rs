//! File descriptors that become Ruby's, or come from there.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use magnus::{Error, Ruby, Value};

use super::errors::{argument_error, io_error};

/// A duplicate of a descriptor of Ruby, so that nothing depends on the Ruby object.
pub fn duplicate(ruby: &Ruby, descriptor: RawFd) -> Result<OwnedFd, Error> {
    if descriptor < 0 {
        return Err(argument_error(ruby, "not a file descriptor"));
    }
    // SAFETY: it is borrowed for this call, and the caller keeps the IO open that it belongs to.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    descriptor.try_clone_to_owned().map_err(|error| io_error(ruby, error))
}

/// Gives `descriptor` to the IO that `make` makes of it. `make` must call one function of Ruby's core, which takes the
/// descriptor in its last step and checks for no interrupts. So after an error, and after a `Thread#kill`, the
/// descriptor was not taken, and it is closed here.
pub fn owned_by_ruby(descriptor: OwnedFd, make: impl FnOnce(RawFd) -> Result<Value, Error>) -> Result<Value, Error> {
    let io = make(descriptor.as_raw_fd())?;
    let _taken = descriptor.into_raw_fd();
    Ok(io)
}
