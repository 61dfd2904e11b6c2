//! Connections that stay open after HTTP has ended: the socket becomes a push client's stream, or the app gets it.
//!
//! The connection's task gives the socket away when all earlier responses are written. There is a shorter way: an app thread
//! takes the socket for the app at once, if there is nothing to write and no bytes after the request were read. Then
//! the app has a second descriptor of the same socket. The task keeps the first one until it is polled the next time,
//! and neither reads nor writes meanwhile. Then it closes its descriptor, which does not close the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use super::detached::{Descriptor, Detached};
use super::framing::Place;
use super::head_writer::write_head;
use super::state::{ConnectionState, State};
use crate::http::exchange::{RequestConnection, Takeover};
use crate::http::head::ResponseHead;
use crate::http::hijack::Hijacked;
use crate::net::Socket;

/// How many bytes of informational responses may wait for the socket. Further ones are not sent.
const MAX_INFORMATION: usize = 64 * 1024;

/// How long an app thread waits, with the GVL, until the task is not at work. It never is for long, unless the system lets its
/// thread wait for a CPU.
const TURN: Duration = Duration::from_millis(10);

/// Keeps the socket's descriptor in the connection's state, as long as this lives. It must be dropped before the
/// socket.
pub(super) struct LentDescriptor(Arc<ConnectionState>);

impl LentDescriptor {
    pub(super) fn new(socket: &Socket, connection: Arc<ConnectionState>) -> Self {
        connection.lock().descriptor = Some(Descriptor::new(socket));
        LentDescriptor(connection)
    }
}

impl Drop for LentDescriptor {
    fn drop(&mut self) {
        self.0.lock().descriptor = None;
    }
}

impl ConnectionState {
    /// HTTP is over as soon as all earlier responses are written.
    pub(super) fn take_over(&self, takeover: Takeover) {
        let mut state = self.lock();
        if let Some(status) = takeover.status() {
            state.count_time(status, &self.context().base);
        }
        state.detached = Some(Detached::To(takeover));
    }

    /// Whether the client has sent something, or has ended the stream, and the task does not know it yet.
    pub(super) fn has_input(&self) -> bool {
        let state = self.lock();
        // SAFETY: as in `try_hijack`, the lock keeps the socket open.
        state.descriptor.as_ref().is_some_and(|descriptor| unsafe { descriptor.has_input() })
    }

    /// What came in after the request, for the next user of the socket: what hyper has read (`buffered`), what was
    /// ready for hyper, and what the scanner has held back.
    pub(super) fn take_unread(&self, buffered: &Bytes) -> Bytes {
        let mut state = self.lock();
        let ready = std::mem::take(&mut state.ready);
        let given = if ready.is_empty() { buffered.clone() } else { [&buffered[..], &ready].concat().into() };
        let given = state.scanner.without_placeholder(given);
        let held = state.scanner.take_held();
        if given.is_empty() { held } else { [&given[..], &held].concat().into() }
    }
}

impl State {
    /// Whether nothing after the current request was read.
    fn read_nothing_behind(&self) -> bool {
        let between = matches!(self.scanner.place(), Place::Between | Place::Undecided);
        between && self.called == self.scanner.heads() && !self.scanner.holds() && self.ready.is_empty()
    }
}

impl RequestConnection for ConnectionState {
    fn inform(&self, head: &ResponseHead) {
        let mut state = self.lock();
        if self.flushed() && state.information.len() < MAX_INFORMATION {
            state.information = [&state.information[..], &write_head(head)].concat().into();
            self.set_informs(true);
            let task = state.task.clone();
            drop(state);
            if let Some(task) = task {
                self.context().base.wakeups.wake(task);
            }
        }
    }

    fn wait_for_turn_end(&self) {
        let mut until = None;
        while self.lock().in_turn {
            if Instant::now() > *until.get_or_insert_with(|| Instant::now() + TURN) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn try_hijack(&self) -> Option<Hijacked> {
        let mut state = self.lock();
        let written = !state.in_turn && self.flushed() && state.information.is_empty();
        if !written || state.detached.is_some() || !state.read_nothing_behind() {
            return None;
        }
        // SAFETY: the socket is open: its [`LentDescriptor`] is dropped before it, and takes the lock that is held
        // here.
        let hijacked = unsafe { state.descriptor.as_ref()?.duplicate() }?;
        state.detached = Some(Detached::Hijacked);
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            self.context().base.wakeups.wake(task);
        }
        Some(hijacked)
    }

    fn copies_if_hijacked(&self) -> bool {
        self.lock().descriptor.as_ref().is_some_and(|descriptor| !descriptor.is_of_use())
    }

    fn hold_body(&self, held: bool) {
        let mut state = self.lock();
        state.body_held = held;
        if !held && state.scanner.place() == Place::Body {
            state.since = self.context().base.timers.now();
            state.progress = 0;
        }
    }

    fn body_breach(&self) -> Option<StatusCode> {
        let state = self.lock();
        state.scanner.breach_of(state.called.checked_sub(1)?)
    }

    fn begin_long_poll(&self) {
        let now = self.context().base.timers.now();
        let mut state = self.lock();
        state.decline_upgrade(now);
        state.may_last = true;
        state.count_time(StatusCode::OK, &self.context().base);
        state.wake_reader(self.flushed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::context;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::MutexGuard;

    type Change = fn(&ConnectionState, MutexGuard<'_, State>);

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\n";

    /// A connection that has received `received` and whose request the app has; its socket, and the client.
    fn connection(received: &[u8]) -> (Arc<ConnectionState>, LentDescriptor, Socket, UnixStream) {
        let (ours, client) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket::Unix(tokio::net::UnixStream::from_std(ours).unwrap());
        let state = ConnectionState::new(context());
        let lent = LentDescriptor::new(&socket, Arc::clone(&state));
        let now = state.context().base.timers.now();
        let scanned = state.lock().scan(received, now);
        // hyper has taken what it may.
        drop(scanned);
        assert_eq!(state.called(), None);
        (state, lent, socket, client)
    }

    #[tokio::test]
    async fn the_app_gets_the_socket_and_the_task_lets_go() {
        for received in [HEAD, UPGRADE] {
            let (state, lent, socket, mut client) = connection(received);
            let Some(Hijacked::Unix(descriptor)) = state.try_hijack() else { panic!("not hijacked") };
            assert!(!state.begin_turn(), "the task must not use the socket again");
            assert!(state.try_hijack().is_none(), "once");
            drop((lent, socket));
            let mut app = UnixStream::from(descriptor);
            app.write_all(b"from the app").unwrap();
            drop(app);
            let mut read = String::new();
            client.read_to_string(&mut read).unwrap();
            assert_eq!(read, "from the app");
        }
    }

    #[tokio::test]
    async fn the_app_waits_for_the_end_of_the_turn_in_which_the_task_has_passed_the_request_on() {
        let (state, _lent, _socket, _client) = connection(HEAD);
        assert!(state.begin_turn());
        let (sender, asks) = std::sync::mpsc::channel();
        let app = {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                sender.send(()).unwrap();
                state.wait_for_turn_end();
                state.try_hijack().is_some()
            })
        };
        asks.recv().unwrap();
        state.end_turn();
        assert!(app.join().unwrap());
    }

    #[tokio::test]
    async fn the_app_does_not_wait_for_a_task_that_works_on() {
        let (state, _lent, _socket, _client) = connection(HEAD);
        assert!(state.begin_turn());
        state.wait_for_turn_end();
        assert!(state.try_hijack().is_none());
    }

    #[tokio::test]
    async fn not_at_once_if_anything_must_be_written_first_or_was_read_behind() {
        let cases: [(&str, Change); 5] = [
            ("the task is at work", |_, mut state| state.in_turn = true),
            ("there are bytes that the socket does not take", |connection, _| connection.set_flushed(false)),
            ("an informational response waits", |_, mut state| state.information = Bytes::from_static(b"HTTP/1.1 103")),
            ("bytes are ready for hyper", |_, mut state| state.ready = Bytes::from_static(b"G")),
            ("HTTP is over already", |_, mut state| state.detached = Some(Detached::Hijacked)),
        ];
        for (case, change) in cases {
            let (state, _lent, _socket, _client) = connection(HEAD);
            change(&state, state.lock());
            assert!(state.try_hijack().is_none(), "{case}");
        }
        for behind in [&b"GET"[..], HEAD, b"\r\n", b"\x16\x03\x01"] {
            for head in [HEAD, UPGRADE] {
                let (state, _lent, _socket, _client) = connection(&[head, behind].concat());
                assert!(state.try_hijack().is_none(), "{}", behind.escape_ascii());
            }
        }
        let (state, lent, _socket, _client) = connection(HEAD);
        drop(lent);
        assert!(state.try_hijack().is_none(), "the socket is closed, or not HTTP's any more");
    }
}
