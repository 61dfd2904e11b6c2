//! A client's frames, in order, on their way to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Frames handed to the socket in one call.
const SLICES: usize = 64;

/// Where a stream gets its bytes from. One implementation is [`Queue`]; a cursor into a shared
/// log can be another: the stream asks only these questions.
pub trait Outgoing {
    /// Fills `slices` with the next bytes to send, in order; returns how many slices it filled.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize;

    /// The socket took `bytes` of what was gathered. Returns what is finished by that.
    fn advance(&mut self, bytes: usize) -> Sent;

    /// Nothing is left to send.
    fn is_empty(&self) -> bool;
}

/// What a write to the socket finished.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// `write` calls of the app whose bytes are all handed over.
    pub writes: usize,
    /// Bytes of the app's writes handed over.
    pub bytes: usize,
}

/// Whose bytes a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A whole write of the app, or the last frame of a fragmented one: counts for `pending`.
    Write,
    /// A frame of a fragmented write that is not its last.
    Fragment,
    /// A message of a channel, or the server's own: counts neither for `pending` nor for `on_drained`.
    Server,
}

/// One frame or event.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The bytes on the wire; shared between clients.
    pub bytes: Bytes,
    /// Whose they are.
    pub origin: Origin,
}

impl Frame {
    /// A frame of the server's own.
    pub fn own(bytes: Bytes) -> Self {
        Frame { bytes, origin: Origin::Server }
    }

    fn count(&self, bytes: usize, sent: &mut Sent) {
        if self.origin != Origin::Server {
            sent.bytes += bytes;
        }
    }
}

/// A queue of frames. Control frames go between two frames, ahead of what waits.
#[derive(Debug, Default)]
pub struct Queue {
    /// The frame of which the socket has taken the beginning: nothing may come before its rest.
    begun: Option<Frame>,
    /// At most one pong and one ping: RFC 6455 section 5.5.3 allows to answer the latest ping
    /// only, so a flood of pings cannot make this grow.
    control: VecDeque<Bytes>,
    frames: VecDeque<Frame>,
}

impl Queue {
    /// Adds a frame at the end.
    pub fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Takes the next frame out, for who hands it over in another way than [`Queue::write`].
    pub fn pop(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Sends a control frame at the next frame boundary, in place of one of its kind that waits.
    pub fn push_control(&mut self, frame: Bytes) {
        // The first byte holds the opcode.
        self.control.retain(|waiting| waiting.first() != frame.first());
        self.control.push_back(frame);
    }

    /// Hands the socket as much as it takes in one call.
    pub fn write(&self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let socket = Pin::new(socket);
        if let Some(only) = self.only() {
            return socket.poll_write(cx, only);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = self.gather(&mut slices);
        socket.poll_write_vectored(cx, &slices[..filled])
    }

    /// What is next, if nothing follows it: by far the most frequent case, and the cheaper call.
    fn only(&self) -> Option<&Bytes> {
        match (&self.begun, self.control.front(), self.frames.len()) {
            (Some(begun), None, 0) => Some(&begun.bytes),
            (None, None, 1) => self.frames.front().map(|frame| &frame.bytes),
            _ => None,
        }
    }

    /// Forgets all that is not yet begun.
    pub fn drop_unsent(&mut self) {
        self.control.clear();
        self.frames = VecDeque::new();
    }

    /// Takes the next frame if `bytes` reach into it, or if it has no bytes left to wait for.
    fn next_taken(&mut self, bytes: usize) -> Option<Frame> {
        if let Some(frame) = self.begun.take_if(|_| bytes > 0) {
            return Some(frame);
        }
        if bytes > 0
            && let Some(frame) = self.control.pop_front()
        {
            return Some(Frame::own(frame));
        }
        let takes = self.frames.front().is_some_and(|frame| bytes > 0 || frame.bytes.is_empty());
        if takes { self.frames.pop_front() } else { None }
    }
}

impl Outgoing for Queue {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let begun = self.begun.iter().map(|frame| &frame.bytes);
        let waiting = self.frames.iter().map(|frame| &frame.bytes);
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(begun.chain(&self.control).chain(waiting)) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) -> Sent {
        let mut sent = Sent::default();
        // All of the only one there is: no need to look further.
        if self.only().is_some_and(|only| only.len() == bytes)
            && let Some(frame) = self.begun.take().or_else(|| self.frames.pop_front())
        {
            frame.count(bytes, &mut sent);
            sent.writes += usize::from(frame.origin == Origin::Write);
            return sent;
        }
        while let Some(mut frame) = self.next_taken(bytes) {
            let taken = bytes.min(frame.bytes.len());
            bytes -= taken;
            frame.bytes.advance(taken);
            frame.count(taken, &mut sent);
            if frame.bytes.is_empty() {
                sent.writes += usize::from(frame.origin == Origin::Write);
            } else {
                self.begun = Some(frame);
            }
        }
        // A burst must not leave its memory behind with an idle stream.
        if self.frames.is_empty() && self.frames.capacity() > 64 {
            self.frames = VecDeque::new();
        }
        sent
    }

    fn is_empty(&self) -> bool {
        self.begun.is_none() && self.control.is_empty() && self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &'static str) -> Frame {
        Frame { bytes: Bytes::from_static(text.as_bytes()), origin: Origin::Write }
    }

    fn taken(queue: &mut Queue, bytes: usize) -> String {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = queue.gather(&mut slices);
        let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(bytes).collect();
        queue.advance(all.len());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn control_frames_go_between_frames_and_only_the_latest_of_a_kind() {
        let mut queue = Queue::default();
        queue.push(write("first "));
        queue.push(write("second "));
        assert_eq!(taken(&mut queue, 2), "fi");
        queue.push_control(Bytes::from_static(b"pong1 "));
        queue.push_control(Bytes::from_static(b"pong2 "));
        assert_eq!(taken(&mut queue, 6), "rst po");
        queue.push_control(Bytes::from_static(b"pong3 "));
        assert_eq!(taken(&mut queue, 100), "ng2 pong3 second ");
        assert!(queue.is_empty());
    }

    #[test]
    fn counts_writes_once_their_last_byte_is_taken() {
        let mut queue = Queue::default();
        queue.push(Frame::own(Bytes::from_static(b"own")));
        queue.push(Frame { bytes: Bytes::from_static(b"part"), origin: Origin::Fragment });
        queue.push(write("last"));
        assert_eq!(queue.advance(8), Sent { writes: 0, bytes: 5 });
        assert_eq!(queue.advance(3), Sent { writes: 1, bytes: 3 });
        assert!(queue.is_empty());
    }

    #[test]
    fn an_empty_write_is_finished_without_a_byte() {
        let mut queue = Queue::default();
        queue.push(write(""));
        queue.push(write("a"));
        assert_eq!(queue.advance(0), Sent { writes: 1, bytes: 0 });
        assert_eq!(queue.advance(1), Sent { writes: 1, bytes: 1 });
    }

    #[test]
    fn a_begun_frame_is_never_dropped() {
        let mut queue = Queue::default();
        queue.push(write("begun"));
        queue.push(write("waiting"));
        queue.advance(1);
        queue.drop_unsent();
        assert_eq!(taken(&mut queue, 100), "egun");
        assert!(queue.is_empty());
    }
}
