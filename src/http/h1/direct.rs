//! Simple requests, answered without hyper.
//!
//! Most requests come whole, ask nothing of the connection, and get a response that is complete when it begins. They go from the
//! scanner to the service, and their responses go to the socket, without hyper: it would parse the head a second time, and it
//! needs buffers of its own for each request. Everything else is hyper's. If a simple request gets a response that is not simple,
//! hyper is given a request in its place, and answers that: see [`Requests::handed_over`].
//!
//! While the app has a request, the socket is only watched. What the client has sent behind the request waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::head_writer::{simple_length, write_simple_head};
use super::reading::Input;
use super::requests::{Exchange, Requests};
use super::socket::ScannedSocket;
use super::state::{ConnectionState, ResponseInProgress};
use crate::base::date;
use crate::http::body::{Body, BodyError};
use crate::http::response::Response;
use crate::http::service::{Answer, Handling};
use crate::http::upload::Whole;
use crate::request_head::Method;

/// Bodies up to this length, in bytes, are copied behind their head, so that one `send` takes both.
const COPIED: usize = 16 * 1024;

/// How many bytes of memory a thread keeps for the next responses: enough for a body that is copied, and most heads.
const KEPT: usize = 4 * COPIED;

/// How many slices one call gives to the socket.
const SLICES: usize = 64;

thread_local! {
    /// A response before the socket takes it. All connections of a reactor share it.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection without hyper.
pub(super) struct Direct {
    socket: ScannedSocket,
    requests: Requests,
    stage: Stage,
}

enum Stage {
    /// The next request is awaited.
    Reading,
    /// A request is being handled.
    Handling(Exchange),
    /// The socket has not taken all of a response.
    Writing(Box<Unsent>),
    /// Everything is written. An encrypted connection may hold something back.
    Flushing,
    /// The client has closed its side.
    Closing,
}

/// What the socket has not taken of a response.
struct Unsent {
    pieces: VecDeque<Bytes>,
    /// The rest of the body, behind the pieces.
    body: Body,
    in_progress: ResponseInProgress,
}

/// What comes after simple requests.
pub(super) enum Next {
    /// The connection is closed.
    Closed,
    /// Something is ready for hyper.
    Hyper,
}

/// Why a connection without hyper has broken.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the response's body: {0}")]
    Body(#[from] BodyError),
}

impl Direct {
    /// Serves the requests that come by `socket`.
    pub(super) fn new(socket: ScannedSocket, requests: Requests) -> Self {
        Direct { socket, requests, stage: Stage::Reading }
    }

    /// The socket, and what has served its requests.
    pub(super) fn into_parts(self) -> (ScannedSocket, Requests) {
        (self.socket, self.requests)
    }

    /// Reads, serves and writes as much as possible.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Next, DirectError>> {
        let Direct { socket, requests, stage } = self;
        let connection = &requests.connection;
        let base = &connection.context().base;
        // An informational response comes before the final one.
        if connection.informs() {
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        }
        loop {
            *stage = match stage {
                Stage::Reading => match ready!(poll_simple(socket, cx))? {
                    Input::Simple(head, body) => Stage::Handling(requests.begin(head, Whole(body))),
                    Input::ForHyper => return Poll::Ready(Ok(Next::Hyper)),
                    Input::End => Stage::Closing,
                },
                Stage::Handling(exchange) => match exchange.poll_answer(base, cx) {
                    Poll::Ready(Answer::Response(response)) => match simple_length(&response) {
                        Some(length) => write_response(socket, connection, response, length, exchange.method, cx)?,
                        None => {
                            exchange.handling = Handling::answered(response);
                            return Poll::Ready(Ok(hand_over(requests, stage)));
                        }
                    },
                    Poll::Ready(Answer::Takeover(takeover)) => {
                        connection.take_over(takeover);
                        Stage::Reading
                    }
                    // A long poll may wait for long: then hyper serves it.
                    Poll::Pending if exchange.handling.is_polling() => {
                        return Poll::Ready(Ok(hand_over(requests, stage)));
                    }
                    Poll::Pending => {
                        socket.watch(cx)?;
                        socket.answer_records(cx)?;
                        return Poll::Pending;
                    }
                },
                Stage::Writing(unsent) => {
                    ready!(unsent.poll_write(socket, connection, cx))?;
                    Stage::Flushing
                }
                Stage::Flushing => {
                    ready!(Pin::new(&mut *socket).poll_flush(cx))?;
                    Stage::Reading
                }
                Stage::Closing => {
                    ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
                    return Poll::Ready(Ok(Next::Closed));
                }
            }
        }
    }
}

/// The next request.
fn poll_simple(socket: &mut ScannedSocket, cx: &mut TaskContext<'_>) -> Poll<io::Result<Input>> {
    let input = socket.poll_simple(cx);
    if input.is_pending() {
        socket.answer_records(cx)?;
    }
    input
}

/// Gives the request that is being handled to hyper, which writes its response.
fn hand_over(requests: &Requests, stage: &mut Stage) -> Next {
    if let Stage::Handling(exchange) = std::mem::replace(stage, Stage::Reading) {
        requests.connection.give_in_place_of(exchange.method);
        requests.handed_over.set(Some(Box::new(exchange)));
    }
    Next::Hyper
}

/// Begins to write a simple response with a body of this length. Nearly always the socket takes all of it.
fn write_response(
    socket: &mut ScannedSocket,
    connection: &Arc<ConnectionState>,
    response: Response,
    length: u64,
    method: Method,
    cx: &mut TaskContext<'_>,
) -> Result<Stage, DirectError> {
    with_output(|output| {
        let mut in_progress = connection.answered(response.head.status, false);
        let date = date::at(connection.context().base.timers.stamp());
        write_simple_head(output, &response, length, method, &date);
        let sends_body = length > 0 && response.sends_body(method);
        let (mut pieces, mut body) = (VecDeque::new(), Body::Empty);
        match response.body {
            _ if !sends_body => in_progress.took(0, true, None),
            Body::Whole(bytes) => {
                in_progress.took(length, true, None);
                if bytes.len() <= COPIED { output.extend_from_slice(&bytes) } else { pieces.push_back(bytes) }
            }
            // Short pieces were joined before: see [`Response::with_chunks`].
            Body::Chunks(chunks) => {
                in_progress.took(length, true, None);
                pieces = chunks;
            }
            mut file => {
                // What was read of it ahead goes out with the head. An error comes again when the rest is read.
                if let Poll::Ready(Some(Ok(first))) = file.poll_chunk(cx, &connection.context().base.disk) {
                    in_progress.took(first.len() as u64, file.is_end_stream(), None);
                    if first.len() <= COPIED { output.extend_from_slice(&first) } else { pieces.push_back(first) }
                }
                body = file;
            }
        }
        let written = match poll_write(socket, output, &pieces, cx) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written == output.len() && pieces.is_empty() && body.is_end_stream() {
            return Ok(Stage::Flushing);
        }
        if written < output.len() {
            pieces.push_front(Bytes::copy_from_slice(&output[written..]));
        } else {
            advance(&mut pieces, written - output.len());
        }
        Ok(Stage::Writing(Box::new(Unsent { pieces, body, in_progress })))
    })
}

/// Lends the thread's memory for a response to `write`, empty. A long head does not leave its memory behind.
#[inline]
fn with_output<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    OUTPUT.with_borrow_mut(|output| {
        output.clear();
        let result = write(output);
        if output.capacity() > KEPT {
            *output = Vec::new();
        }
        result
    })
}

impl Unsent {
    /// Writes the rest.
    fn poll_write(
        &mut self,
        socket: &mut ScannedSocket,
        connection: &ConnectionState,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), DirectError>> {
        loop {
            while !self.pieces.is_empty() {
                let written = ready!(poll_write(socket, &[], &self.pieces, cx))?;
                advance(&mut self.pieces, written);
            }
            if self.body.is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            // What was written is sent first, because the disk may take long.
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            match ready!(self.body.poll_chunk(cx, &connection.context().base.disk)) {
                Some(chunk) => {
                    let chunk = chunk?;
                    self.in_progress.took(chunk.len() as u64, self.body.is_end_stream(), None);
                    self.pieces.push_back(chunk);
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

fn poll_write(
    socket: &mut ScannedSocket,
    first: &[u8],
    pieces: &VecDeque<Bytes>,
    cx: &mut TaskContext<'_>,
) -> Poll<io::Result<usize>> {
    let socket = Pin::new(socket);
    let written = match pieces.len() {
        // send(2) is cheaper than sendmsg(2).
        0 => ready!(socket.poll_write(cx, first))?,
        1 if first.is_empty() => ready!(socket.poll_write(cx, &pieces[0]))?,
        _ => {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let bytes = std::iter::once(first).chain(pieces.iter().map(|piece| &piece[..]));
            let mut filled = 0;
            for (slice, bytes) in slices.iter_mut().zip(bytes.filter(|bytes| !bytes.is_empty())) {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
            ready!(socket.poll_write_vectored(cx, &slices[..filled]))?
        }
    };
    if written == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(written)) }
}

/// The socket has taken `bytes` of the pieces.
fn advance(pieces: &mut VecDeque<Bytes>, mut bytes: usize) {
    while let Some(first) = pieces.front_mut() {
        let taken = bytes.min(first.len());
        first.advance(taken);
        bytes -= taken;
        if !first.is_empty() {
            return;
        }
        pieces.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_leaves_memory_behind_for_the_next_one_unless_it_is_long() {
        for (length, kept) in [(COPIED + 1000, true), (KEPT + 1, false), (10, true)] {
            with_output(|output| {
                assert!(output.is_empty());
                output.resize(length, b'a');
            });
            let capacity = OUTPUT.with_borrow(Vec::capacity);
            assert!(capacity <= KEPT && (capacity >= length) == kept, "{capacity} bytes after {length}");
        }
    }
}
