//! Response bodies, ready or still being made.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::SizeHint;
use thiserror::Error;

use super::file_body::FileBody;
use crate::base::disk::Disk;
use crate::base::lock::{Condition, Lock};
use crate::push;
use crate::push::unnumbered::Unnumbered;

/// Bytes of a streamed body that may wait for the socket. With more, the writer must wait.
const STREAM_BUFFER: usize = 256 * 1024;

/// A response body, as hyper takes it.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// One piece.
    Whole(Bytes),
    /// Pieces, all there.
    Chunks(VecDeque<Bytes>),
    /// Bytes that a [`BodyWriter`] is still writing.
    Stream(BodyReader),
    /// A file.
    File(FileBody),
    /// A body of unknown length that is not sent: the response to a HEAD.
    Unsent,
}

/// The body could not be finished. The connection is cut, so that the client does not take the body for complete.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The app's body has raised, or its app thread has ended.
    #[error("the body was abandoned by the app")]
    Abandoned,
    /// The body is shorter than the Content-Length that the app has set.
    #[error("the body is shorter than its Content-Length")]
    Short,
    /// The file could not be read.
    #[error("file: {0}")]
    File(#[from] io::Error),
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body {
    /// A body of one piece.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Body::Whole(bytes.into())
    }
}

impl Body {
    /// The next bytes. Files are read on the thread of `disk`.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>, disk: &Disk) -> Poll<Option<Result<Bytes, BodyError>>> {
        let was_empty = self.is_end_stream();
        Poll::Ready(match self {
            Body::Empty | Body::Unsent => None,
            Body::Whole(bytes) => Some(Ok(std::mem::take(bytes))).filter(|_| !was_empty),
            Body::Chunks(chunks) => chunks.pop_front().map(Ok),
            Body::Stream(reader) => ready!(reader.poll_chunk(cx)),
            Body::File(file) => ready!(file.poll_chunk(cx, disk)).map(|chunk| chunk.map_err(BodyError::File)),
        })
    }

    /// Whether no more bytes follow.
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Chunks(chunks) => chunks.is_empty(),
            Body::File(file) => file.remaining() == 0,
            Body::Stream(_) | Body::Unsent => false,
        }
    }

    /// How many bytes follow, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Chunks(chunks) => Some(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
            Body::File(file) => Some(file.remaining()),
            Body::Stream(_) | Body::Unsent => None,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Makes a body that one thread writes while the reactor sends it.
pub(super) fn stream(push: Arc<push::Context>) -> (BodyWriter, BodyReader) {
    let shared = Arc::new(Shared { push, state: Lock::default(), room: Condition::new() });
    (BodyWriter(Arc::clone(&shared)), BodyReader { shared, held: None })
}

/// A part of a streamed body.
#[derive(Debug)]
enum Part {
    Chunk(Bytes),
    /// What follows waits for messages that its writer has published.
    Unnumbered(Box<Unnumbered>),
}

struct Shared {
    push: Arc<push::Context>,
    state: Lock<State>,
    room: Condition,
}

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<Part>,
    bytes: usize,
    /// The connection's task, if it waits for more.
    reader: Option<Waker>,
    ended: Option<Ending>,
    reader_gone: bool,
    interrupted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Finished,
    Abandoned,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn end(&self, ending: Ending) {
        // In a forked child no task reads the body, and the lock may be held by a thread that is not there.
        if self.forked() {
            return;
        }
        let unnumbered = Unnumbered::take(&self.push);
        let mut state = self.lock();
        if state.ended.is_none() {
            state.parts.extend(unnumbered.map(Part::Unnumbered));
            state.ended = Some(ending);
        }
        self.wake_reader(state);
    }

    fn forked(&self) -> bool {
        self.push.base.owner.forked()
    }

    fn wake_reader(&self, mut state: MutexGuard<'_, State>) {
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            self.push.base.wakeups.wake(reader);
        }
    }
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was taken, and there is room for more.
    Room,
    /// It was taken, but the socket is behind: call [`BodyWriter::wait_for_room`] before the next chunk.
    Full,
    /// The connection is gone, so nothing more can be sent.
    Gone,
}

/// The app's end of a streamed body. If it is dropped without [`BodyWriter::finish`], the connection is cut, so that
/// the client does not take the body for complete.
pub struct BodyWriter(Arc<Shared>);

impl BodyWriter {
    /// Adds a chunk. Never blocks.
    pub fn push(&self, chunk: Bytes) -> Pushed {
        if self.0.forked() {
            return Pushed::Gone;
        }
        let unnumbered = Unnumbered::take(&self.0.push);
        let mut state = self.0.lock();
        if state.reader_gone {
            return Pushed::Gone;
        }
        state.parts.extend(unnumbered.map(Part::Unnumbered));
        // In chunked coding, an empty chunk would be the end of the body.
        if !chunk.is_empty() {
            state.bytes += chunk.len();
            state.parts.push_back(Part::Chunk(chunk));
        }
        let full = state.bytes >= STREAM_BUFFER;
        self.0.wake_reader(state);
        if full { Pushed::Full } else { Pushed::Room }
    }

    /// Blocks until there is room, the connection is gone, or [`BodyWriter::interrupt`] is called.
    pub fn wait_for_room(&self) {
        let mut state = self.0.lock();
        while state.bytes >= STREAM_BUFFER && !state.reader_gone && !state.interrupted {
            state = self.0.room.wait(state);
        }
        state.interrupted = false;
    }

    /// Ends a wait for room. Any thread.
    pub fn interrupt(&self) {
        self.0.lock().interrupted = true;
        self.0.room.notify_all();
    }

    /// The body is complete.
    pub fn finish(&self) {
        self.0.end(Ending::Finished);
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").finish_non_exhaustive()
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader").finish_non_exhaustive()
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.0.end(Ending::Abandoned);
    }
}

/// The connection's end of a streamed body.
pub struct BodyReader {
    shared: Arc<Shared>,
    /// What the next part waits for.
    held: Option<Box<Unnumbered>>,
}

impl BodyReader {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(unnumbered) = &mut self.held {
                ready!(Pin::new(unnumbered).poll(cx));
                self.held = None;
            }
            let mut state = self.shared.lock();
            match (state.parts.pop_front(), state.ended) {
                (Some(Part::Chunk(chunk)), _) => {
                    state.bytes -= chunk.len();
                    if state.bytes < STREAM_BUFFER {
                        self.shared.room.notify_all();
                    }
                    return Poll::Ready(Some(Ok(chunk)));
                }
                (Some(Part::Unnumbered(unnumbered)), _) => {
                    drop(state);
                    self.held = Some(unnumbered);
                }
                (None, None) => {
                    state.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                (None, Some(Ending::Finished)) => return Poll::Ready(None),
                (None, Some(Ending::Abandoned)) => return Poll::Ready(Some(Err(BodyError::Abandoned))),
            }
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_gone = true;
        let parts = std::mem::take(&mut state.parts);
        drop(state);
        // Not under the lock, since a part may wait for another one.
        drop(parts);
        self.shared.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::context;

    fn next(reader: &mut BodyReader) -> Poll<Option<Result<Bytes, BodyError>>> {
        reader.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_writer_that_is_dropped_makes_no_clean_end() {
        let (writer, mut reader) = stream(Arc::clone(&context().push));
        assert_eq!(writer.push(Bytes::from_static(b"half")), Pushed::Room);
        drop(writer);
        assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(next(&mut reader), Poll::Ready(Some(Err(BodyError::Abandoned)))));
    }

    #[test]
    fn a_writer_waits_while_the_reader_is_behind_and_learns_that_the_reader_has_gone() {
        let (writer, mut reader) = stream(Arc::clone(&context().push));
        assert_eq!(writer.push(Bytes::from(vec![0; STREAM_BUFFER])), Pushed::Full);
        let reading = std::thread::spawn(move || {
            assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(_)))));
        });
        writer.wait_for_room();
        reading.join().unwrap();
        assert_eq!(writer.push(Bytes::from_static(b"more")), Pushed::Gone);
    }

    #[test]
    fn an_interrupt_ends_the_wait_for_room() {
        let (writer, _reader) = stream(Arc::clone(&context().push));
        writer.push(Bytes::from(vec![0; STREAM_BUFFER]));
        writer.interrupt();
        writer.wait_for_room();
    }
}
