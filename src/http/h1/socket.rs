//! The socket of HTTP/1. What is read passes through the [`super::framing::Scanner`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reading::{Input, Read};
use super::state::ConnectionState;
use super::takeover::LentDescriptor;
use crate::net::{Socket, read_buffer};

/// A connection's socket, while HTTP is spoken on it.
///
/// Some fields are copies of parts of the connection's state that are needed often, so that the state need not be
/// locked.
pub(super) struct ScannedSocket {
    /// This field is before the socket, because it must be dropped first.
    lent: LentDescriptor,
    socket: Socket,
    connection: Arc<ConnectionState>,
    /// There is an access log.
    logs: bool,
    half_closed: bool,
    blocked: bool,
}

impl ScannedSocket {
    /// The socket of `connection`.
    pub(super) fn new(socket: Socket, connection: Arc<ConnectionState>) -> Self {
        let lent = LentDescriptor::new(&socket, Arc::clone(&connection));
        let logs = connection.context().access_log.is_some();
        ScannedSocket { lent, socket, connection, logs, half_closed: false, blocked: false }
    }

    /// The bare socket.
    pub(super) fn into_socket(self) -> Socket {
        drop(self.lent);
        self.socket
    }

    /// Writes informational responses. They were accepted when nothing else waited to be written, so they come first.
    fn poll_information(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.informs() {
            return Poll::Ready(Ok(()));
        }
        let context = self.connection.context();
        let mut state = self.connection.lock();
        while !state.information.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &state.information);
            if written.is_pending() != self.blocked {
                self.blocked = written.is_pending();
                state.blocked = self.blocked.then(|| context.base.timers.now());
            }
            let written = ready!(written)?;
            context.base.stats.bytes_out.add_many(written as u64);
            state.information.advance(written);
        }
        self.connection.set_informs(false);
        Poll::Ready(Ok(()))
    }

    /// Takes the next request if it is a simple one. Otherwise makes what has come ready for hyper.
    pub(super) fn poll_simple(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Input>> {
        let base = &self.connection.context().base;
        // As in `poll_read`.
        let mut state = self.connection.lock();
        if state.detached.is_some() {
            return Poll::Pending;
        }
        let mut came = if state.scanner.holds() { state.take_simple(&[], base) } else { None };
        while came.is_none() {
            if state.wants_hyper() {
                came = Some(Input::ForHyper);
                break;
            }
            if state.half_closed {
                return Poll::Ready(Ok(Input::End));
            }
            let read = read_buffer::with(|buffer| {
                ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
                let input = buffer.filled();
                if input.is_empty() {
                    self.half_closed = true;
                    state.half_closed = true;
                    return Poll::Ready(io::Result::Ok(None));
                }
                base.stats.bytes_in.add_many(input.len() as u64);
                Poll::Ready(Ok(state.take_simple(input, base)))
            });
            came = ready!(read)?;
        }
        match came {
            // The client speaks HTTP/2.
            Some(_) if state.detached.is_some() => Poll::Pending,
            Some(came) => Poll::Ready(Ok(came)),
            None => Poll::Pending,
        }
    }

    /// Notices that the connection breaks while the app has a request. What the client has sent behind the request is read once and
    /// held back; more of it waits in the socket.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut state = self.connection.lock();
        if state.half_closed || state.scanner.holds() {
            return Ok(());
        }
        read_buffer::with(|buffer| {
            if Pin::new(&mut self.socket).poll_read(cx, buffer)?.is_pending() {
                return Ok(());
            }
            let input = buffer.filled();
            if input.is_empty() {
                self.half_closed = true;
                state.half_closed = true;
            }
            self.connection.context().base.stats.bytes_in.add_many(input.len() as u64);
            state.scanner.hold(input);
            Ok(())
        })
    }

    /// Sends what reading an encrypted connection may have to answer: an alert, or a change of keys.
    pub(super) fn answer_records(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.socket.is_encrypted() {
            // Pending: the deadline of writing has begun.
            let _ = Pin::new(self).poll_flush(cx)?;
        }
        Ok(())
    }

    fn written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.set_flushed(false);
        if let Poll::Ready(Ok(bytes)) = &result {
            self.connection.context().base.stats.bytes_out.add_many(*bytes as u64);
            if self.logs {
                self.connection.lock().records.written(*bytes);
            }
        }
        if result.is_pending() != self.blocked {
            self.set_blocked(result.is_pending());
        }
        result
    }

    /// Whether the socket takes nothing for now.
    fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.connection.lock().blocked = blocked.then(|| self.connection.context().base.timers.now());
    }
}

impl AsyncRead for ScannedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The lock is held during the read, too: only an app thread with early hints or a hijack may wait for it.
        let mut state = this.connection.lock();
        loop {
            match state.next_read(this.connection.flushed()) {
                Read::Socket => {}
                Read::Ready => {
                    let length = state.ready.len().min(buffer.remaining());
                    buffer.put_slice(&state.ready[..length]);
                    state.ready.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Read::End => return Poll::Ready(Ok(())),
                Read::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Read::Nothing => {
                    state.wait_to_read(cx.waker());
                    return Poll::Pending;
                }
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
            let input = &buffer.filled()[start..];
            if input.is_empty() {
                this.half_closed = true;
                state.half_closed = true;
                continue;
            }
            this.connection.context().base.stats.bytes_in.add_many(input.len() as u64);
            match state.scan(input, this.connection.context().base.timers.now()) {
                None => return Poll::Ready(Ok(())),
                Some(output) => {
                    state.ready = output;
                    state.detect_http2();
                    buffer.set_filled(start);
                }
            }
        }
    }
}

impl AsyncWrite for ScannedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_information(cx))?;
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_information(cx))?;
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// To be called only when all bytes that are to be sent were given to this socket. hyper does so when its buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_information(cx))?;
        // An encrypted connection may hold back what it took. A plain one is always ready.
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        if flushed.is_pending() != this.blocked {
            this.set_blocked(flushed.is_pending());
        }
        ready!(flushed)?;
        if this.connection.end_flush() {
            cx.waker().wake_by_ref();
        }
        if this.logs || this.half_closed {
            let mut state = this.connection.lock();
            state.records.flushed();
            if state.half_closed {
                state.wake_reader(true);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
