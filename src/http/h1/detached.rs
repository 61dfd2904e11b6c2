//! A connection on which HTTP is over.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http::exchange::Takeover;
use crate::http::hijack::Hijacked;
use crate::net::Socket;

/// Where the socket is when HTTP is over.
#[derive(Debug)]
pub(super) enum Detached {
    /// The connection's task still has it, and gives it away.
    To(Takeover),
    /// The app has it already.
    Hijacked,
    /// The client speaks HTTP/2.
    Http2,
}

/// The number of a socket's descriptor. It does not keep the socket open.
#[derive(Debug)]
pub(super) struct Descriptor {
    number: RawFd,
    /// `None`: the descriptor is of no use to the app.
    wrap: Option<fn(OwnedFd) -> Hijacked>,
}

impl Descriptor {
    pub(super) fn new(socket: &Socket) -> Self {
        Descriptor { number: socket.as_fd().as_raw_fd(), wrap: Hijacked::wrapper(socket) }
    }

    /// Whether the app could do something with it.
    pub(super) fn is_of_use(&self) -> bool {
        self.wrap.is_some()
    }

    /// A second descriptor of the same socket, for the app. `None` if the connection is encrypted, or if the process has too
    /// many descriptors. Then the connection's task gives its own away, or carries bytes, which is slower.
    ///
    /// # Safety
    /// The socket must be open until this returns.
    pub(super) unsafe fn duplicate(&self) -> Option<Hijacked> {
        let wrap = self.wrap?;
        // SAFETY: the caller promises that the socket is open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.number) };
        borrowed.try_clone_to_owned().ok().map(wrap)
    }

    /// Whether a read would give something, also the end of the stream, even if the reactor does not know that yet.
    ///
    /// # Safety
    /// The socket must be open until this returns.
    pub(super) unsafe fn has_input(&self) -> bool {
        // SAFETY: the caller promises that the socket is open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.number) };
        let mut asked = [PollFd::from_borrowed_fd(borrowed, PollFlags::IN)];
        // A timeout of zero does not wait.
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
