//! The thread that writes the access log, and the bounded queue in front of it.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased, unbounded};

use super::format::{self, Format};
use crate::base::helper_thread::refuse_file_size_signal;
use crate::base::stats::StatsHandle;

/// How many lines may wait.
const MAX_LINES: usize = 8192;

/// How many bytes may wait. A line can be as long as a request's head.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How many bytes are written at once, if enough wait.
const BUFFER: usize = 64 * 1024;

/// How long the server, as it ends, waits for a log that takes nothing, such as a pipe that is not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The front end of the queue. When it is dropped, the thread writes what waits, and ends.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Sender<String>,
    commands: Sender<WriterCommand>,
    backlog: Arc<WriterBacklog>,
    /// This is disconnected when the thread has ended.
    ended: Receiver<Infallible>,
}

#[derive(Debug)]
enum WriterCommand {
    Reopen,
    Close,
}

/// What waits and what was lost, as both ends of the queue count it.
#[derive(Debug)]
struct WriterBacklog {
    bytes: AtomicUsize,
    /// Lines that were lost, and that no line of the log mentions yet.
    lost: AtomicU64,
    stats: StatsHandle,
}

impl WriterBacklog {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.stats.log_lines_lost.add_many(lines);
    }
}

impl Writer {
    pub(super) fn start(sink: Sink, format: Format, stats: StatsHandle) -> io::Result<Self> {
        let (lines, incoming) = bounded(MAX_LINES);
        let (commands, commanded) = unbounded();
        let (ending, ended) = bounded(0);
        let backlog = Arc::new(WriterBacklog { bytes: AtomicUsize::new(0), lost: AtomicU64::new(0), stats });
        let writing = Writing {
            sink,
            format,
            lines: incoming,
            commands: commanded,
            backlog: Arc::clone(&backlog),
            buffer: Vec::with_capacity(BUFFER),
            buffered: 0,
            failing: false,
            _ending: ending,
        };
        let thread = thread::Builder::new().name("push_access_log".to_owned());
        let no_thread = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("no thread to write it ({error}): raise the system's limit on threads"),
            )
        };
        thread.spawn(|| writing.run()).map_err(no_thread)?;
        Ok(Writer { lines, commands, backlog, ended })
    }

    /// Adds a line, or counts it as lost if too much waits. Never blocks.
    pub(super) fn push(&self, line: String) {
        let length = line.len();
        let waiting = self.backlog.bytes.fetch_add(length, Ordering::Relaxed);
        if waiting + length > MAX_BYTES || self.lines.try_send(line).is_err() {
            self.backlog.bytes.fetch_sub(length, Ordering::Relaxed);
            self.backlog.lose(1);
        }
    }

    pub(super) fn reopen(&self) {
        // An error means that the thread has ended, so there is nothing to write to a new file.
        let _ = self.commands.send(WriterCommand::Reopen);
    }

    pub(super) fn close(&self) {
        let _ = self.commands.send(WriterCommand::Close);
        if self.ended.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the end of the access log could not be written within {} s", CLOSE_TIMEOUT.as_secs());
        }
    }
}

/// The thread's side.
struct Writing {
    sink: Sink,
    format: Format,
    lines: Receiver<String>,
    commands: Receiver<WriterCommand>,
    backlog: Arc<WriterBacklog>,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    buffered: u64,
    /// The last write failed.
    failing: bool,
    _ending: Sender<Infallible>,
}

impl Writing {
    fn run(mut self) {
        refuse_file_size_signal();
        loop {
            select_biased! {
                recv(self.commands) -> order => {
                    // First what was logged before the command was given.
                    self.write_waiting();
                    match order {
                        Ok(WriterCommand::Reopen) => self.sink.reopen(),
                        // An error means that nothing can log any more.
                        Ok(WriterCommand::Close) | Err(_) => return,
                    }
                },
                recv(self.lines) -> line => {
                    if let Ok(line) = line {
                        self.add(&line);
                        self.write_waiting();
                    }
                },
            }
        }
    }

    /// Writes what waits now, and not what comes meanwhile, so that a command need not wait for long.
    fn write_waiting(&mut self) {
        let lines = self.lines.clone();
        for line in lines.try_iter().take(MAX_LINES) {
            self.add(&line);
        }
        self.flush();
    }

    fn add(&mut self, line: &str) {
        self.backlog.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffered += 1;
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let lost = self.backlog.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // At the front: if only a part of the last line could be written, this begins a new one.
            let notice = format::lost(self.format, SystemTime::now(), lost);
            self.buffer.splice(..0, notice.into_bytes());
        }
        if self.buffer.is_empty() {
            return;
        }
        match self.sink.write(&self.buffer) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    log::warn!("cannot write the access log: {error}");
                }
                // The notice is lost, too: the next one must mention these lines again.
                self.backlog.lost.fetch_add(lost, Ordering::Relaxed);
                self.backlog.lose(self.buffered);
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        self.buffered = 0;
    }
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File { file: File, path: PathBuf },
}

impl Sink {
    /// Opens a file, or stdout for `None`.
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Sink::Stdout) };
        Ok(Sink::File { file: append_to(&path)?, path })
    }

    fn reopen(&mut self) {
        let Sink::File { file, path } = self else { return };
        match append_to(path) {
            Ok(new) => {
                *file = new;
                log::info!("access log {} reopened", path.display());
            }
            Err(error) => log::error!("cannot reopen the access log {}, the old file is kept: {error}", path.display()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::File { file, .. } => write_all(file, bytes),
            // Descriptor 1 as it is now, since a program may reopen its stdout.
            Sink::Stdout => write_all(&File::from(io::stdout().as_fd().try_clone_to_owned()?), bytes),
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// Like [`Write::write_all`], and waits where a pipe is full but in non-blocking mode, as stdout can be.
fn write_all(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_writable(file.as_fd()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(descriptor: BorrowedFd<'_>) {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd. Its result is not needed, since the next write shows what it came to.
    unsafe { libc::poll(&raw mut poll, 1, -1) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn writer(path: &std::path::Path) -> (Writer, StatsHandle) {
        let stats = StatsHandle::default();
        let sink = Sink::open(Some(path.to_owned())).unwrap();
        (Writer::start(sink, Format::Common, stats.clone()).unwrap(), stats)
    }

    #[test]
    fn a_close_writes_everything_and_the_file_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let (writer, stats) = writer(&path);
        for number in 0..1000 {
            writer.push(format!("{number}\n"));
        }
        writer.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<String> =
            std::iter::once("before".to_owned()).chain((0..1000).map(|n| n.to_string())).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(stats.log_lines_lost.get(), 0);
        // A second close does nothing, and neither does a write after it.
        writer.close();
        writer.push("late\n".to_owned());
    }

    #[test]
    fn a_moved_file_gets_what_was_logged_before_the_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let (writer, _) = writer(&path);
        writer.push("old\n".to_owned());
        std::fs::rename(&path, &moved).unwrap();
        writer.reopen();
        while !path.exists() {
            thread::yield_now();
        }
        writer.push("new\n".to_owned());
        writer.close();
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "old\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "new\n");
    }

    #[test]
    fn a_file_that_cannot_be_reopened_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let (writer, _) = writer(&folder.join("access.log"));
        let moved = dir.path().join("moved");
        std::fs::rename(&folder, &moved).unwrap();
        writer.reopen();
        writer.push("line\n".to_owned());
        writer.close();
        assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap(), "line\n");
    }

    #[test]
    fn a_pipe_that_is_not_read_loses_lines_but_blocks_no_caller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // Opened for reading and writing, so that the call does not wait for a writer.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (writer, stats) = writer(&path);
        let line = format!("{}\n", "x".repeat(99));
        let pushed = 4 * MAX_LINES as u64;
        for _ in 0..pushed {
            writer.push(line.clone());
        }
        let lost = stats.log_lines_lost.get();
        assert!(lost > 0 && lost < pushed, "{lost}");
        // From here on the pipe is read: every line that was not lost arrives, and the notice.
        let reading = thread::spawn(move || {
            let (mut text, mut chunk) = (String::new(), [0; 65536]);
            let (mut written, mut told) = (0, 0);
            while written < pushed - lost || told < lost {
                let read = reader.read(&mut chunk).unwrap();
                text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
                written = text.lines().filter(|line| line.starts_with('x')).count() as u64;
                let notices = text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_suffix(" lines lost"));
                told = notices.map(|count| count.parse::<u64>().unwrap()).sum();
            }
            (written, told)
        });
        writer.close();
        assert_eq!(reading.join().unwrap(), (pushed - lost, lost));
    }

    #[test]
    fn long_lines_cannot_fill_the_memory() {
        let (lines, incoming) = bounded(MAX_LINES);
        let (commands, _commanded) = unbounded();
        let (_ending, ended) = bounded(0);
        let stats = StatsHandle::default();
        let backlog = WriterBacklog { bytes: AtomicUsize::new(0), lost: AtomicU64::new(0), stats: stats.clone() };
        let writer = Writer { lines, commands, backlog: Arc::new(backlog), ended };
        for _ in 0..MAX_BYTES / 1_000_000 + 5 {
            writer.push("x".repeat(1_000_000));
        }
        assert_eq!(incoming.len(), MAX_BYTES / 1_000_000);
        assert_eq!(stats.log_lines_lost.get(), 5);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let stats = StatsHandle::default();
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
        let sink = Sink::File { file: full, path: PathBuf::from("/dev/full") };
        let writer = Writer::start(sink, Format::Common, stats.clone()).unwrap();
        writer.push("one\n".to_owned());
        writer.push("two\n".to_owned());
        writer.close();
        assert_eq!(stats.log_lines_lost.get(), 2);
    }
}
