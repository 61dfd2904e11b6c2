//! Lines for people, on stdout and stderr. They often go to a pipe, and its reader may stop reading.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a line waits for a reader that has read until now.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many bytes fit into a pipe that says that it can be written.
const ATOMIC: usize = libc::PIPE_BUF;

/// Stdout or stderr. A line is written at once, or lost: a server must not stop because no process reads its log. Before the
/// first line after that, another one says how many are missing. A file takes all lines.
///
/// Any thread, and also in a forked child: there is no lock. Errors do not matter, since the descriptor may be closed.
#[derive(Debug)]
pub struct Output {
    descriptor: RawFd,
    /// The last line did not get through, so the next one does not wait.
    stuck: AtomicBool,
    /// A line has no end.
    cut: AtomicBool,
    lost: AtomicU64,
}

/// Descriptor 1.
pub static STDOUT: Output = Output::new(1);
/// Descriptor 2.
pub static STDERR: Output = Output::new(2);

/// A line of which a part may have been written.
#[derive(Debug)]
pub struct Unwritten {
    bytes: Vec<u8>,
    /// How many lines the line says are missing.
    told: u64,
    written: usize,
}

impl Output {
    const fn new(descriptor: RawFd) -> Self {
        Output { descriptor, stuck: AtomicBool::new(false), cut: AtomicBool::new(false), lost: AtomicU64::new(0) }
    }

    /// Writes a line with its end, and waits for a moment if need be.
    pub fn write(&self, line: &[u8]) {
        if let Some(rest) = self.begin(line) {
            self.finish(rest);
        }
    }

    /// Writes what the reader takes without waiting. `Some` if that was not all: then [`Output::finish`] follows.
    pub fn begin(&self, line: &[u8]) -> Option<Unwritten> {
        let told = self.lost.swap(0, Ordering::Relaxed);
        let mut bytes = Vec::with_capacity(line.len());
        if told > 0 {
            if self.cut.swap(false, Ordering::Relaxed) {
                bytes.push(b'\n');
            }
            let (lines, are) = if told == 1 { ("line", "is") } else { ("lines", "are") };
            let notice =
                format!("[push_server] warn: {told} {lines} {are} missing here, because no process has read them\n");
            bytes.extend_from_slice(notice.as_bytes());
        }
        bytes.extend_from_slice(line);
        let mut line = Unwritten { bytes, told, written: 0 };
        match self.advance(&mut line) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(line),
            _ => {
                self.stuck.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    /// Writes the rest of a line, or counts the line as lost. Waits for at most 200 ms, and not at all if the line before was
    /// lost.
    pub fn finish(&self, mut line: Unwritten) {
        let deadline = Instant::now() + PATIENCE;
        let mut stuck = self.stuck.load(Ordering::Relaxed);
        while !stuck {
            let wait = deadline.saturating_duration_since(Instant::now());
            stuck = wait.is_zero();
            can_be_written(self.descriptor, wait);
            match self.advance(&mut line) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
        self.stuck.store(true, Ordering::Relaxed);
        self.cut.fetch_or(line.written > 0, Ordering::Relaxed);
        self.lost.fetch_add(line.told + 1, Ordering::Relaxed);
    }

    fn advance(&self, line: &mut Unwritten) -> io::Result<()> {
        while line.written < line.bytes.len() {
            match write_now(self.descriptor, &line.bytes[line.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => line.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes a part. Waits only for a file.
fn write_now(descriptor: RawFd, bytes: &[u8]) -> io::Result<usize> {
    if is_file(descriptor) {
        return write(descriptor, bytes);
    }
    if let Some(result) = write_without_waiting(descriptor, bytes) {
        return result;
    }
    // Another process may write between these two calls, and take the last room. Newer systems do not get here.
    if !can_be_written(descriptor, Duration::ZERO) {
        return Err(ErrorKind::WouldBlock.into());
    }
    write(descriptor, &bytes[..bytes.len().min(ATOMIC)])
}

fn is_file(descriptor: RawFd) -> bool {
    // SAFETY: fstat(2) fills the memory, or fails.
    unsafe {
        let mut status = std::mem::zeroed::<libc::stat>();
        libc::fstat(descriptor, &raw mut status) == 0 && status.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

fn write(descriptor: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are there.
    outcome(unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) })
}

/// `None` if the system cannot do that with this descriptor. Linux 6.4 can with pipes, and older ones with sockets. The
/// descriptor is shared with other programs, so it cannot be put into non-blocking mode.
#[cfg(target_os = "linux")]
fn write_without_waiting(descriptor: RawFd, bytes: &[u8]) -> Option<io::Result<usize>> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the bytes are there, and are only read.
    let result = outcome(unsafe { libc::pwritev2(descriptor, &raw const part, 1, -1, libc::RWF_NOWAIT) });
    let unsupported = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EPERM, libc::ESPIPE];
    match &result {
        Err(error) if error.raw_os_error().is_some_and(|number| unsupported.contains(&number)) => None,
        _ => Some(result),
    }
}

#[cfg(not(target_os = "linux"))]
fn write_without_waiting(_descriptor: RawFd, _bytes: &[u8]) -> Option<io::Result<usize>> {
    None
}

fn outcome(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Waits until the descriptor says that it can be written, or has an error.
fn can_be_written(descriptor: RawFd, wait: Duration) -> bool {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, wait) > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{PipeReader, PipeWriter, Read};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    const LINE: &[u8] = b"line\n";

    fn full_pipe() -> (PipeReader, PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        while can_be_written(writer.as_raw_fd(), Duration::ZERO) {
            write(writer.as_raw_fd(), &[b'x'; ATOMIC]).unwrap();
        }
        (reader, writer)
    }

    /// What a reader gets that reads until `writer` is closed.
    fn rest(mut reader: impl Read, writer: impl Into<OwnedFd>) -> String {
        drop(writer.into());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.trim_start_matches('x').to_owned()
    }

    #[test]
    fn a_full_pipe_takes_no_line_and_says_later_how_many_are_missing() {
        let (mut reader, writer) = full_pipe();
        let output = Output::new(writer.as_raw_fd());
        for _ in 0..3 {
            output.write(LINE);
        }
        let mut full = vec![0; 1 << 16];
        reader.read_exact(&mut full).unwrap();
        output.write(LINE);
        output.write(LINE);
        let notice = "[push_server] warn: 3 lines are missing here, because no process has read them\n";
        assert_eq!(rest(reader, writer), format!("{notice}line\nline\n"));
    }

    #[test]
    fn a_line_waits_for_a_reader_that_reads() {
        let (mut reader, writer) = full_pipe();
        let output = Output::new(writer.as_raw_fd());
        let line = output.begin(LINE).unwrap();
        let mut full = vec![0; 1 << 16];
        reader.read_exact(&mut full).unwrap();
        output.finish(line);
        assert_eq!(rest(reader, writer), "line\n");
    }

    #[test]
    fn a_line_that_is_cut_gets_an_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let output = Output::new(writer.as_raw_fd());
        output.write(&[b'x'; 1 << 20]);
        let mut begun = vec![0; 1 << 16];
        reader.read_exact(&mut begun).unwrap();
        output.write(LINE);
        let notice = "[push_server] warn: 1 line is missing here, because no process has read them\n";
        assert_eq!(rest(reader, writer), format!("\n{notice}line\n"));
    }

    #[test]
    fn sockets_and_files_take_lines() {
        let (near, far) = UnixStream::pair().unwrap();
        Output::new(near.as_raw_fd()).write(LINE);
        assert_eq!(rest(far, near), "line\n");

        let file = tempfile::NamedTempFile::new().unwrap();
        Output::new(file.as_fd().as_raw_fd()).write(LINE);
        assert_eq!(std::fs::read(file.path()).unwrap(), LINE);
    }

    #[test]
    fn a_full_socket_loses_lines_but_keeps_nobody() {
        let (near, far) = UnixStream::pair().unwrap();
        let output = Output::new(near.as_raw_fd());
        for _ in 0..200_000 {
            output.write(LINE);
        }
        assert!(output.lost.load(Ordering::Relaxed) > 0);
        drop(far);
    }

    #[test]
    fn a_reader_that_is_gone_does_not_matter() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Output::new(writer.as_raw_fd());
        output.write(LINE);
        assert_eq!(output.lost.load(Ordering::Relaxed), 0);
        let file = File::open("/dev/null").unwrap();
        Output::new(file.as_raw_fd()).write(LINE);
    }
}
