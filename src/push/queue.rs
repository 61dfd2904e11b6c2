//! The frames of a client, in order, on their way to its connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::websocket::{Opcode, frame};

/// Bytes of pongs that wait for one client.
const PONGS: usize = 4096;

/// What a write to the socket finished.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// `write` calls of the app of which the socket has taken all bytes.
    pub writes: usize,
    /// Bytes of the app's writes that the socket has taken.
    pub bytes: usize,
}

/// Where a frame comes from.
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
    /// Where the frame comes from.
    pub origin: Origin,
}

impl Frame {
    /// A frame of the server's own.
    pub fn own(bytes: Bytes) -> Self {
        Frame { bytes, origin: Origin::Server }
    }

    /// The frames of a WebSocket message of the app. `payload` of a text message must be valid UTF-8.
    pub fn message(opcode: Opcode, payload: &[u8]) -> impl Iterator<Item = Frame> + '_ {
        frame::message(opcode, payload).map(|(bytes, last)| {
            let origin = if last { Origin::Write } else { Origin::Fragment };
            Frame { bytes, origin }
        })
    }

    fn count(&self, bytes: usize, sent: &mut Sent) {
        if self.origin != Origin::Server {
            sent.bytes += bytes;
        }
    }
}

/// A queue of frames. Control frames go between two frames, ahead of what waits.
///
/// Small while it is empty or has one frame, because each idle client has one.
#[derive(Debug, Default)]
pub struct Queue {
    frames: VecDeque<Frame>,
    /// The socket has taken the beginning of the first frame: nothing may come before its rest.
    begun: bool,
    /// What goes before the frames that are not begun. `None` if there is none.
    control: Option<Box<Control>>,
}

/// Control frames.
#[derive(Debug, Default)]
struct Control {
    /// A ping of ours: there is never more than one.
    ping: Option<Bytes>,
    /// Pongs: whole frames, one after the other.
    pongs: BytesMut,
}

impl Queue {
    /// Adds a frame at the end.
    pub fn push(&mut self, frame: Frame) {
        // Most often there is one. VecDeque would have room for four.
        if self.frames.capacity() == 0 {
            self.frames.reserve_exact(1);
        }
        self.frames.push_back(frame);
    }

    /// Takes the next frame out, to be sent in another way than by a stream.
    pub fn pop(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Sends a ping at the next frame boundary, if none waits already.
    pub fn push_ping(&mut self, frame: Bytes) {
        self.control.get_or_insert_default().ping.get_or_insert(frame);
    }

    /// Sends a pong at the next frame boundary, behind those that wait.
    ///
    /// If they are more than 4 KiB together, the oldest are dropped: RFC 6455 section 5.5.3 allows an endpoint to
    /// answer only the latest ping. So a flood of pings cannot make this grow.
    pub fn push_pong(&mut self, frame: &[u8]) {
        let pongs = &mut self.control.get_or_insert_default().pongs;
        while pongs.len() + frame.len() > PONGS
            && let Some(length) = first_pong(pongs)
        {
            pongs.advance(length);
        }
        pongs.extend_from_slice(frame);
    }

    /// What is next, if nothing follows it.
    pub(super) fn only(&self) -> Option<&Bytes> {
        if self.control.is_some() || self.frames.len() != 1 {
            return None;
        }
        self.frames.front().map(|frame| &frame.bytes)
    }

    /// What waits, in the order in which it is sent.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let begun = self.frames.iter().take(usize::from(self.begun));
        let waiting = self.frames.iter().skip(usize::from(self.begun));
        let ping = self.control.iter().filter_map(|control| control.ping.as_deref());
        let pongs = self.control.iter().map(|control| &control.pongs[..]).filter(|pongs| !pongs.is_empty());
        begun.map(|frame| &frame.bytes[..]).chain(ping).chain(pongs).chain(waiting.map(|frame| &frame.bytes[..]))
    }

    /// Fills `slices` with the next bytes to send, in order. Returns how many slices it filled.
    pub(super) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// How many bytes wait, counted up to `most`. An empty frame counts as none.
    pub(super) fn bytes(&self, most: usize) -> usize {
        if let Some(only) = self.only() {
            return only.len().min(most);
        }
        let mut bytes = 0;
        let lengths = self.pieces().map(<[u8]>::len);
        for length in lengths {
            bytes += length;
            if bytes >= most {
                return most;
            }
        }
        bytes
    }

    /// Gives the next `bytes` bytes to send, in order. What many clients are sent is not copied.
    pub(super) fn share(&self, mut bytes: usize, mut give: impl FnMut(Bytes)) {
        let begun = self.frames.iter().take(usize::from(self.begun));
        let waiting = self.frames.iter().skip(usize::from(self.begun));
        let control = self.control.iter().flat_map(|control| {
            let pongs = Some(&control.pongs[..]).filter(|pongs| !pongs.is_empty()).map(Bytes::copy_from_slice);
            control.ping.clone().into_iter().chain(pongs)
        });
        let shared = |frame: &Frame| frame.bytes.clone();
        for mut piece in begun.map(shared).chain(control).chain(waiting.map(shared)) {
            if bytes == 0 {
                return;
            }
            piece.truncate(bytes);
            bytes -= piece.len();
            give(piece);
        }
    }

    /// The socket took `bytes` of what was gathered. Returns what is finished by that.
    pub(super) fn advance(&mut self, mut bytes: usize) -> Sent {
        let mut sent = Sent::default();
        // All of the only one there is: no need to look further.
        if self.only().is_some_and(|only| only.len() == bytes)
            && let Some(frame) = self.frames.pop_front()
        {
            self.begun = false;
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
                self.begun = true;
                self.frames.push_front(frame);
            }
        }
        // A burst must not leave its memory behind with an idle stream.
        if self.frames.is_empty() && self.frames.capacity() > 64 {
            self.frames = VecDeque::new();
        }
        sent
    }

    /// Nothing is left to send.
    pub(super) fn is_empty(&self) -> bool {
        self.control.is_none() && self.frames.is_empty()
    }

    /// Gives its memory back if nothing waits. For a client that may get nothing for a long time.
    pub(super) fn shrink(&mut self) {
        self.frames.shrink_to_fit();
    }

    /// Forgets all that is not yet begun.
    pub fn drop_unsent(&mut self) {
        self.control = None;
        self.frames.truncate(usize::from(self.begun));
        self.frames.shrink_to_fit();
    }

    /// Takes the next frame if `bytes` reach into it, or if it has no bytes left to wait for.
    fn next_taken(&mut self, bytes: usize) -> Option<Frame> {
        if self.begun && bytes > 0 {
            self.begun = false;
            return self.frames.pop_front();
        }
        if bytes > 0
            && let Some(frame) = self.take_control()
        {
            return Some(Frame::own(frame));
        }
        let takes = self.frames.front().is_some_and(|frame| !self.begun && (bytes > 0 || frame.bytes.is_empty()));
        if takes { self.frames.pop_front() } else { None }
    }

    fn take_control(&mut self) -> Option<Bytes> {
        let control = self.control.as_mut()?;
        let frame = control.ping.take().or_else(|| take_pong(&mut control.pongs));
        if control.ping.is_none() && control.pongs.is_empty() {
            self.control = None;
        }
        frame
    }
}

fn take_pong(pongs: &mut BytesMut) -> Option<Bytes> {
    let length = first_pong(pongs)?;
    let pong = Bytes::copy_from_slice(&pongs[..length]);
    pongs.advance(length);
    Some(pong)
}

/// The length of the first of some frames that hold at most 125 bytes each: RFC 6455 section 5.5.
fn first_pong(pongs: &[u8]) -> Option<usize> {
    let payload = usize::from(*pongs.get(1)?);
    Some(pongs.len().min(2 + payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    /// A control frame of an opcode that is a letter.
    fn control(opcode: char, payload: &str) -> Vec<u8> {
        [&[opcode as u8, payload.len() as u8], payload.as_bytes()].concat()
    }

    #[test]
    fn control_frames_go_between_frames_all_pongs_and_one_ping() {
        let mut queue = Queue::default();
        queue.push(write("first "));
        queue.push(write("second "));
        assert_eq!(taken(&mut queue, 2), "fi");
        queue.push_pong(&control('A', "1"));
        queue.push_pong(&control('A', "2"));
        queue.push_ping(Bytes::from(control('P', "")));
        queue.push_ping(Bytes::from(control('P', "")));
        assert_eq!(taken(&mut queue, 8), "rst P\0A\u{1}");
        queue.push_pong(&control('A', "3"));
        queue.push_ping(Bytes::from(control('P', "")));
        assert_eq!(taken(&mut queue, 100), "1P\0A\u{1}2A\u{1}3second ");
        assert!(queue.is_empty() && queue.control.is_none());
    }

    proptest! {
        /// A peer that pings and reads little, or nothing: what waits is bounded, whole, in order, and ends with the
        /// answer to the latest ping.
        #[test]
        fn pongs_are_bounded(steps in proptest::collection::vec((0usize..=125, 0usize..200), 1..400), reads: bool) {
            let (mut queue, mut wire) = (Queue::default(), Vec::new());
            for (number, (length, read)) in steps.iter().enumerate() {
                let payload = format!("{number:<length$}");
                queue.push_pong(&control('A', &payload));
                let pongs = &queue.control.as_ref().unwrap().pongs;
                prop_assert!(pongs.len() <= PONGS && pongs.capacity() <= 4 * PONGS);
                if reads {
                    wire.extend(taken(&mut queue, *read).into_bytes());
                }
            }
            wire.extend(taken(&mut queue, usize::MAX).into_bytes());
            let (mut rest, mut numbers) = (&wire[..], Vec::new());
            while let [b'A', length, more @ ..] = rest {
                let (payload, behind) = more.split_at(usize::from(*length));
                numbers.push(std::str::from_utf8(payload).unwrap().trim().parse::<usize>().unwrap());
                rest = behind;
            }
            prop_assert!(rest.is_empty() && queue.is_empty());
            prop_assert!(numbers.is_sorted_by(|one, next| one < next));
            prop_assert_eq!(numbers.last(), Some(&(steps.len() - 1)));
        }
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
