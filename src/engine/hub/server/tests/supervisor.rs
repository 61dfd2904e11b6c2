//! A supervisor with a hub in a thread, and peers with real sockets.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use super::author::bytes_of;
use crate::base::lines::{LineReader, LineWriter};
use crate::engine::hub::protocol::{Frame, Position, Role, VERSION, Welcome, decode};
use crate::engine::hub::server::{Driver, Interrupt, NumberStore, Outcome, Settings};

const DEADLINE: Duration = Duration::from_secs(20);

/// The supervisor of one hub.
pub(super) struct Supervisor {
    pub(super) link: UnixStream,
    reader: LineReader,
    pub(super) interrupt: Interrupt,
    pub(super) thread: JoinHandle<Outcome>,
    pub(super) place: PathBuf,
    _folder: tempfile::TempDir,
}

impl Supervisor {
    pub(super) fn start(numbers: &NumberStore, first: &str) -> Self {
        let (link, far) = UnixStream::pair().unwrap();
        link.set_read_timeout(Some(DEADLINE)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("hub.sock");
        let publish = UnixListener::bind(&place).unwrap();
        let settings = Settings { patience: Duration::from_millis(300), ..Settings::default() };
        let made = Driver::new(far.into(), Some(publish.into()), numbers.clone(), settings);
        let (mut driver, interrupt) = made.unwrap();
        let thread = std::thread::spawn(move || {
            loop {
                match driver.run().unwrap() {
                    Outcome::Interrupted => {}
                    outcome => return outcome,
                }
            }
        });
        let reader = LineReader::new(1000);
        let mut own = Supervisor { link, reader, interrupt, thread, place, _folder: folder };
        assert_eq!(own.line(), "ready");
        if !first.is_empty() {
            own.tell(first, Vec::new());
        }
        own
    }

    pub(super) fn tell(&self, line: &str, descriptors: Vec<OwnedFd>) {
        let mut writer = LineWriter::new(1000);
        writer.push(line, descriptors).unwrap();
        writer.flush(&self.link).unwrap();
    }

    pub(super) fn line(&mut self) -> String {
        self.reader.read(&self.link).unwrap().unwrap().text
    }

    pub(super) fn worker(&self, process: u32, position: Option<Position>) -> Client {
        let (near, far) = UnixStream::pair().unwrap();
        self.tell(&format!("worker {process} 1"), vec![far.into()]);
        Client::new(near, Role::Worker, process.into(), position)
    }

    pub(super) fn outsider(&self, author: u128) -> Client {
        Client::new(UnixStream::connect(&self.place).unwrap(), Role::Outsider, author, None)
    }

    pub(super) fn stop(self) -> Outcome {
        self.tell("stop", Vec::new());
        self.thread.join().unwrap()
    }
}

/// A peer that reads frame by frame.
pub(super) struct Client {
    pub(super) socket: UnixStream,
    pub(super) author: u128,
    pub(super) bytes: Vec<u8>,
}

impl Client {
    pub(super) fn new(socket: UnixStream, role: Role, author: u128, position: Option<Position>) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Client { socket, author, bytes: Vec::new() };
        client.send(&Frame::Hello { version: VERSION, role, author, settled: 0, commands: 0, position });
        client
    }

    pub(super) fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    pub(super) fn publish(&mut self, count: u64) {
        let message = bytes_of((self.author, count));
        self.send(&Frame::Publish { count, message: &message });
    }

    /// Calls `wanted` with each frame until it returns something. `None` at the end of the connection.
    pub(super) fn wait<R>(&mut self, mut wanted: impl FnMut(&Frame<'_>) -> Option<R>) -> Option<R> {
        loop {
            while let Some((frame, length)) = decode(&self.bytes, usize::MAX).unwrap() {
                let found = wanted(&frame);
                self.bytes.drain(..length);
                if found.is_some() {
                    return found;
                }
            }
            let mut piece = [0; 4096];
            match self.socket.read(&mut piece).unwrap() {
                0 => return None,
                count => self.bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    pub(super) fn welcome(&mut self) -> Welcome {
        self.wait(|frame| if let Frame::Welcome(welcome) = frame { Some(*welcome) } else { None }).unwrap()
    }

    /// The number of the next message of another author.
    pub(super) fn next(&mut self) -> (u64, u64) {
        self.wait(|frame| if let Frame::Message { seq, count, .. } = frame { Some((*seq, *count)) } else { None })
            .unwrap()
    }

    pub(super) fn numbered(&mut self) -> u64 {
        self.wait(|frame| if let Frame::Numbered { seq, .. } = frame { Some(*seq) } else { None }).unwrap()
    }

    /// Waits for a log as a whole.
    pub(super) fn log(&mut self) {
        self.wait(|frame| (*frame == Frame::End).then_some(())).unwrap();
    }
}
