//! Waiting for many sockets.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How many events one wait may bring.
const BATCH: usize = 512;

/// An epoll instance. It watches each socket edge-triggered, in both directions and until the socket is closed, so that no
/// system call is needed to change that.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// What has happened to a socket.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The number it was added with.
    pub index: usize,
    /// There is something to read, or its end.
    pub readable: bool,
    /// There is room again to write.
    pub writable: bool,
}

/// Room for the events of one wait.
pub struct Events {
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// An instance that watches nothing.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nothing else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a socket, whose events will have this `index`.
    pub fn add(&self, socket: &impl AsRawFd, index: usize) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: interest as u32, u64: index as u64 };
        // SAFETY: both descriptors are open, and the pointer is valid for the call.
        let status =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits up to `milliseconds` for events. A signal may end the wait early.
    pub fn wait(&self, events: &mut Events, milliseconds: i32) -> io::Result<()> {
        let room = events.events.capacity() as i32;
        // SAFETY: the pointer is valid for as many events as there is capacity.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.events.as_mut_ptr(), room, milliseconds) };
        if count < 0 {
            events.events.clear();
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel has written as many.
        unsafe { events.events.set_len(count as usize) };
        Ok(())
    }
}

impl Events {
    /// Room for a batch.
    pub fn new() -> Self {
        Events { events: Vec::with_capacity(BATCH) }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.events.iter().map(|event| {
            let (events, index) = (event.events as i32, event.u64 as usize);
            let over = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
            Event { index, readable: events & (libc::EPOLLIN | over) != 0, writable: events & libc::EPOLLOUT != 0 }
        })
    }
}
