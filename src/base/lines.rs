//! Lines with descriptors over a Unix stream socket: how the supervisor talks to the native threads of its children.
//!
//! A line is UTF-8 text, ended by a newline. Descriptors ride with its first byte (unix(7),
//! SCM_RIGHTS). [`LineReader`] and [`LineWriter`] hold buffers only and are given the socket with each call. So they work
//! with a blocking and with a non-blocking socket, and below any event loop: an operation that would have to wait returns
//! the error [`io::ErrorKind::WouldBlock`].

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv,
    recvmsg, sendmsg,
};

/// The most descriptors that one line can have.
pub const MAX_DESCRIPTORS: usize = 16;

/// How many bytes are looked at in one go. Longer lines take several.
const CHUNK: usize = 4096;

/// macOS has no such flags. There the socket option SO_NOSIGPIPE and fcntl(2) do the same.
#[cfg(not(target_vendor = "apple"))]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const RECEIVE: RecvFlags = RecvFlags::empty();
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// A line that was received.
#[derive(Debug)]
pub struct Line {
    /// The text, without its newline.
    pub text: String,
    /// The descriptors that came with it. They are closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Whether descriptors were lost: this process has as many open as it may have, or there were more than
    /// [`MAX_DESCRIPTORS`].
    pub lost_descriptors: bool,
}

/// Reads lines from one socket. Nothing else may read from that socket.
#[derive(Debug)]
pub struct LineReader {
    longest: usize,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    lost_descriptors: bool,
}

impl LineReader {
    /// A reader of lines of at most `longest` bytes, newline included.
    pub fn new(longest: usize) -> Self {
        LineReader { longest, begun: Vec::new(), descriptors: Vec::new(), lost_descriptors: false }
    }

    /// The next line. `None` at the end of the stream; the beginning of a line without an end is dropped then.
    ///
    /// With a non-blocking socket, call this until it returns `WouldBlock`, then wait until the socket can be read.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: there is no whole line yet. `InvalidData`: the line is too long, or no UTF-8; nothing more can be read
    /// from this stream. Others: the socket is broken.
    pub fn read(&mut self, socket: impl AsFd) -> io::Result<Option<Line>> {
        loop {
            let count = self.bytes_of_line(socket.as_fd())?;
            if count == 0 || self.receive(socket.as_fd(), count)? == 0 {
                return Ok(None);
            }
            if self.begun.last() == Some(&b'\n') {
                return self.take().map(Some);
            }
            if self.begun.len() >= self.longest {
                return Err(invalid(format!("a line is longer than {} bytes", self.longest)));
            }
        }
    }

    /// How many bytes of the line's rest have arrived, at most a chunk. Leaves them in the socket.
    ///
    /// The system does not say to which of the bytes that it returns the descriptors belong, and systems differ. A read
    /// that does not go beyond a line's end gives descriptors of that line only.
    fn bytes_of_line(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut bytes = [0; CHUNK];
        let wanted = CHUNK.min(self.longest - self.begun.len());
        let (count, _) = retry(|| recv(socket, &mut bytes[..wanted], RecvFlags::PEEK))?;
        Ok(memchr::memchr(b'\n', &bytes[..count]).map_or(count, |newline| newline + 1))
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let held = self.begun.len();
        self.begun.resize(held + count, 0);
        let result = retry(|| recvmsg(socket, &mut [IoSliceMut::new(&mut self.begun[held..])], &mut control, RECEIVE));
        let received = result.as_ref().map_or(0, |message| message.bytes);
        self.begun.truncate(held + received);
        let message = result?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                self.descriptors.extend(descriptors);
            }
        }
        self.lost_descriptors |= message.flags.contains(rustix::net::ReturnFlags::CTRUNC);
        Ok(received)
    }

    fn take(&mut self) -> io::Result<Line> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.pop();
        let descriptors = std::mem::take(&mut self.descriptors);
        if cfg!(target_vendor = "apple") {
            for descriptor in &descriptors {
                fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| invalid("a line is not UTF-8".to_owned()))?;
        Ok(Line { text, descriptors, lost_descriptors: std::mem::take(&mut self.lost_descriptors) })
    }
}

/// Writes lines to one socket, and keeps what the socket does not take, up to a bound.
#[derive(Debug)]
pub struct LineWriter {
    most: usize,
    waiting: VecDeque<Outgoing>,
    /// The bytes of `waiting`.
    bytes: usize,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl LineWriter {
    /// A writer that keeps at most `most` bytes of lines that the socket has not taken.
    pub fn new(most: usize) -> Self {
        LineWriter { most, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Appends a line. [`LineWriter::flush`] sends it.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the text has a newline, or there are more than [`MAX_DESCRIPTORS`]. `OutOfMemory`: the peer does not
    /// read, and the lines that wait for it fill the writer.
    pub fn push(&mut self, text: &str, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        if text.contains('\n') || descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bytes = [text.as_bytes(), b"\n"].concat();
        if self.bytes + bytes.len() > self.most {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes += bytes.len();
        self.waiting.push_back(Outgoing { bytes, sent: 0, descriptors });
        Ok(())
    }

    /// Whether lines wait for the socket.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the lines. A blocking socket takes all of them.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the socket takes no more now. Call this again when it can be written to. Others: the socket is broken.
    pub fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        while let Some(line) = self.waiting.front_mut() {
            let sent = send(socket.as_fd(), &line.bytes[line.sent..], &line.descriptors)?;
            // They rode with the first byte.
            line.descriptors.clear();
            line.sent += sent;
            if line.sent == line.bytes.len() {
                self.bytes -= line.sent;
                self.waiting.pop_front();
            }
        }
        Ok(())
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    retry(|| {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(Errno::INVAL);
        }
        sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SEND)
    })
}

fn retry<T>(mut operation: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match operation() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use rustix::io::fcntl_getfd;

    use super::*;

    /// A file that holds `text`.
    fn file(text: &str) -> OwnedFd {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file.into()
    }

    fn contents(descriptor: OwnedFd) -> String {
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).unwrap();
        text
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (left, right) = UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        right.set_nonblocking(true).unwrap();
        (left, right)
    }

    fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn each_line_has_its_own_descriptors() {
        let (left, right) = pair();
        let mut writer = LineWriter::new(1000);
        for (text, files) in [("a", vec![]), ("b", vec!["1", "2"]), ("c", vec!["3"]), ("", vec![]), ("d", vec!["4"])] {
            writer.push(text, files.into_iter().map(file).collect()).unwrap();
        }
        writer.flush(&left).unwrap();
        assert!(writer.is_empty());
        let mut reader = LineReader::new(100);
        let mut read = || {
            let line = reader.read(&right).unwrap().unwrap();
            for descriptor in &line.descriptors {
                assert!(fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
            }
            assert!(!line.lost_descriptors);
            (line.text, line.descriptors.into_iter().map(contents).collect::<Vec<_>>().join(","))
        };
        let expected = [("a", ""), ("b", "1,2"), ("c", "3"), ("", ""), ("d", "4")];
        for (text, files) in expected {
            assert_eq!(read(), (text.to_owned(), files.to_owned()));
        }
        assert_eq!(kind(reader.read(&right)), io::ErrorKind::WouldBlock);
        drop(left);
        assert!(reader.read(&right).unwrap().is_none());
    }

    #[test]
    fn a_line_that_comes_in_pieces_keeps_its_descriptors() {
        let (mut left, right) = pair();
        let mut reader = LineReader::new(10_000);
        let text = "é".repeat(4000);
        let (first, rest) = text.as_bytes().split_at(5001);
        send(left.as_fd(), &first[..1], &[file("mine")]).unwrap();
        assert_eq!(kind(reader.read(&right)), io::ErrorKind::WouldBlock);
        left.write_all(&first[1..]).unwrap();
        assert_eq!(kind(reader.read(&right)), io::ErrorKind::WouldBlock);
        left.write_all(rest).unwrap();
        left.write_all(b"\nnext").unwrap();
        let line = reader.read(&right).unwrap().unwrap();
        assert_eq!(line.text, text);
        assert_eq!(line.descriptors.into_iter().map(contents).collect::<Vec<_>>(), ["mine"]);
        drop(left);
        assert!(reader.read(&right).unwrap().is_none());
    }

    #[test]
    fn a_line_may_be_as_long_as_the_bound_and_no_longer() {
        for (size, fits) in [(99, true), (100, false), (5000, false)] {
            let (mut left, right) = pair();
            left.write_all("x".repeat(size).as_bytes()).unwrap();
            left.write_all(b"\n").unwrap();
            let result = LineReader::new(100).read(&right);
            match fits {
                true => assert_eq!(result.unwrap().unwrap().text.len(), size),
                false => assert_eq!(kind(result), io::ErrorKind::InvalidData),
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let (mut left, right) = pair();
        left.write_all(b"\xff\n").unwrap();
        assert_eq!(kind(LineReader::new(100).read(&right)), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_writer_refuses_what_is_no_line() {
        let mut writer = LineWriter::new(1000);
        assert_eq!(kind(writer.push("a\nb", vec![])), io::ErrorKind::InvalidInput);
        let many = (0..=MAX_DESCRIPTORS).map(|_| file("")).collect();
        assert_eq!(kind(writer.push("a", many)), io::ErrorKind::InvalidInput);
        assert!(writer.is_empty());
    }

    #[test]
    fn a_peer_that_does_not_read_fills_the_writer_up_to_its_bound() {
        let (left, right) = pair();
        let mut writer = LineWriter::new(10_000);
        let mut pushed = 0;
        let refused = loop {
            match writer.push(&format!("line {pushed} {}", "x".repeat(990)), vec![]) {
                Ok(()) => pushed += 1,
                Err(error) => break error,
            }
            if let Err(error) = writer.flush(&left) {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        let mut reader = LineReader::new(2000);
        for expected in 0..pushed {
            let line = loop {
                match reader.read(&right) {
                    Ok(line) => break line.unwrap(),
                    Err(_) => drop(writer.flush(&left)),
                }
            };
            assert!(line.text.starts_with(&format!("line {expected} ")));
        }
        assert!(writer.is_empty());
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (left, right) = pair();
        drop(right);
        let mut writer = LineWriter::new(1000);
        writer.push("anybody?", vec![]).unwrap();
        assert_eq!(kind(writer.flush(&left)), io::ErrorKind::BrokenPipe);
    }
}
