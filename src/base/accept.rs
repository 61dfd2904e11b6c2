//! Accepting connections on sockets that do not block.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::log_throttle::LogThrottle;

/// The pause after `accept` has failed, for example for want of descriptors. Another attempt at once would spin.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Accepts a connection. Its socket does not block, and programs that the process starts do not inherit it.
///
/// # Errors
///
/// Those of the system. [`is_over`] tells those that say nothing about the listener.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::{SocketFlags, accept_with};
        Ok(accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let socket = rustix::net::accept(listener)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }
}

/// Whether there is nothing to accept any more, though nothing is wrong with the listener.
pub fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | ConnectionAborted | ConnectionReset | Interrupted)
}

/// Accepts in a loop around poll(2), and pauses when the system refuses. One thread.
#[derive(Debug)]
pub struct PolledAccept {
    complaint: &'static str,
    /// Nothing is accepted before.
    resumes: Option<Instant>,
    throttle: LogThrottle,
}

impl PolledAccept {
    /// `complaint` is what the log says when the system refuses, such as `the hub cannot accept a connection`.
    pub fn new(complaint: &'static str) -> Self {
        PolledAccept { complaint, resumes: None, throttle: LogThrottle::once_a_minute() }
    }

    /// Whether it pauses. Then the listeners are not to be waited for.
    pub fn pauses(&self, now: Instant) -> bool {
        self.resumes.is_some_and(|at| now < at)
    }

    /// The next connection; its socket does not block. `None` if there is none, or if the system refuses: then the pause begins.
    pub fn next(&mut self, listener: impl AsFd, now: Instant) -> Option<OwnedFd> {
        match accept(listener) {
            Ok(socket) => Some(socket),
            Err(error) if is_over(&error) => None,
            Err(error) => {
                self.resumes = Some(now + PAUSE);
                if let Some(more) = self.throttle.allows() {
                    log::error!("{}: {error}{more}", self.complaint);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_refusal_pauses_and_an_empty_backlog_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut accepting = PolledAccept::new("no connection");
        let now = Instant::now();
        assert!(accepting.next(&listener, now).is_none());
        assert!(!accepting.pauses(now));
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(accepting.next(&listener, now).is_some());
        // The system refuses to accept from what is no socket.
        assert!(accepting.next(File::open("/dev/null").unwrap(), now).is_none());
        assert!(accepting.pauses(now));
        assert!(!accepting.pauses(now + PAUSE));
    }
}
