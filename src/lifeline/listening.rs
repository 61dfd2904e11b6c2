//! Closing the sockets of this process that listen.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};

/// Closes all sockets that listen, such as those of Ruby objects: clients are refused at once, and a new supervisor can bind
/// the addresses. Their descriptors stay open, on the null device, because a number that is in use must not become free.
pub(super) fn close_all() {
    // An error: no descriptor is free. Then the end of the process closes them.
    let Ok(null) = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return };
    for descriptor in listening() {
        // SAFETY: no Rust object owns the target. See `super::Serving::close_listeners`.
        unsafe { libc::dup2(null.as_raw_fd(), descriptor) };
    }
}

/// The descriptors of this process that are listening sockets.
fn listening() -> Vec<RawFd> {
    let listens = |descriptor: &RawFd| {
        // SAFETY: it is only asked about. If another thread closes it now, the question fails.
        let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
        sockopt::socket_acceptconn(descriptor).unwrap_or(false)
    };
    open_descriptors().into_iter().filter(listens).collect()
}

/// All numbers that may be open descriptors.
fn open_descriptors() -> Vec<RawFd> {
    if let Ok(entries) = std::fs::read_dir("/dev/fd") {
        return entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1024).min(65_536);
    (0..limit as RawFd).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn finds_listening_sockets_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let found = listening();
        assert!(found.contains(&listener.as_raw_fd()));
        assert!(!found.contains(&connected.as_raw_fd()));
    }
}
