//! What the threads of a process that publishes share: the requests, the connection, and the answers.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::author::new_author;
use super::connection::Connection;
use super::exchange::{Answer, Exchange};
use super::{Ticket, Unanswered};

/// The pause between two attempts to connect. It doubles up to the second one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// How often the socket is read before the answers are looked at.
const READS: usize = 64;

/// The requests, and the connection.
pub(super) struct State {
    pub(super) exchange: Exchange,
    /// The sockets at which a server may be, the most likely one first.
    pub(super) places: Vec<PathBuf>,
    pub(super) connection: Option<(PathBuf, Connection)>,
    /// Whether a server has ever sent its welcome to this process.
    pub(super) welcomed: bool,
    /// Why there is no connection, and whether waiting does not help.
    pub(super) failure: Option<(Unanswered, bool)>,
    pub(super) pause: Duration,
    pub(super) connect_at: Instant,
    /// Whether a thread drives.
    pub(super) driven: bool,
    pub(super) last_id: u64,
    /// Of the requests that are neither answered nor given up.
    pub(super) tickets: HashMap<u64, Arc<Ticket>>,
    /// Answers that no thread has taken yet.
    pub(super) answers: HashMap<u64, Answer>,
    /// The threads that wait while another one drives.
    pub(super) asleep: Vec<Arc<Ticket>>,
}

impl State {
    /// Without requests and without a connection.
    pub(super) fn new() -> Self {
        State {
            exchange: Exchange::new(new_author()),
            places: Vec::new(),
            connection: None,
            welcomed: false,
            failure: None,
            pause: PAUSES.0,
            connect_at: Instant::now(),
            driven: false,
            last_id: 0,
            tickets: HashMap::new(),
            answers: HashMap::new(),
            asleep: Vec::new(),
        }
    }

    /// Connects if need be, and sends and receives what is possible now. Returns a failure that waiting does not cure.
    pub(super) fn advance(&mut self) -> Option<Unanswered> {
        if self.connection.is_none() {
            if self.connect_at <= Instant::now() {
                self.connect();
            }
            if let Some((failure, true)) = &self.failure {
                return Some(failure.clone());
            }
        }
        self.receive();
        self.send();
        None
    }

    /// Sends what may be sent. `false`: something is left.
    pub(super) fn send(&mut self) -> bool {
        let Some((_, connection)) = &mut self.connection else { return true };
        loop {
            self.exchange.send((Instant::now(), SystemTime::now()), &mut connection.out);
            if connection.out.is_empty() {
                return true;
            }
            // If the connection has ended, the next read says so.
            if !connection.flush() || !connection.out.is_empty() {
                return false;
            }
        }
    }

    pub(super) fn receive(&mut self) {
        for _ in 0..READS {
            let Some((path, connection)) = &mut self.connection else { return };
            let more = connection.read();
            let taken = self.exchange.receive(&connection.received, &mut connection.out);
            let lost = match (taken, &more) {
                (Err(error), _) => Some((Unanswered::Broken { path: path.clone(), reason: error.to_string() }, true)),
                (Ok(taken), result) => {
                    connection.received.drain(..taken);
                    result.as_ref().err().map(|_| (ended(path, self.exchange.is_welcomed()), false))
                }
            };
            self.settle();
            if let Some(failure) = lost {
                return self.lose(failure);
            }
            if matches!(more, Ok(false)) {
                return;
            }
        }
    }

    /// Gives the answers to the threads that wait for them.
    fn settle(&mut self) {
        self.welcomed |= self.exchange.is_welcomed();
        for (id, answer) in self.exchange.answers() {
            self.pause = PAUSES.0;
            if let Some(ticket) = self.tickets.remove(&id) {
                self.answers.insert(id, answer);
                ticket.changed.notify_all();
            }
        }
    }

    fn connect(&mut self) {
        let mut failure: Option<(&Path, io::Error)> = None;
        for path in &self.places {
            match Connection::open(path) {
                Ok(mut connection) => {
                    self.exchange.connected(&mut connection.out);
                    self.connection = Some((path.clone(), connection));
                    self.failure = None;
                    return;
                }
                // Of several failures, the one that shows that there is a socket says more.
                Err(error) if failure.as_ref().is_none_or(|(_, other)| is_missing(other) && !is_missing(&error)) => {
                    failure = Some((path, error));
                }
                Err(_) => {}
            }
        }
        let failure = match failure {
            None => (Unanswered::Nowhere, true),
            Some((path, error)) => {
                // A server that was there is perhaps restarted now. One that has ended without removing its file, too.
                let waits = self.welcomed
                    || matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock);
                (Unanswered::Unreachable { path: path.to_owned(), reason: explain(&error) }, !waits)
            }
        };
        self.lose(failure);
    }

    fn lose(&mut self, failure: (Unanswered, bool)) {
        self.connection = None;
        self.exchange.disconnected();
        self.connect_at = Instant::now() + self.pause;
        self.failure = Some(failure);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    /// To be called by a thread that stops waiting: another one that waits must drive.
    pub(super) fn pass_on(&mut self) {
        if !self.driven
            && let Some(next) = self.asleep.first()
        {
            next.changed.notify_all();
        }
    }
}

/// Why there is no connection after one has ended. A hub of another version ends it without a welcome.
fn ended(path: &Path, welcomed: bool) -> Unanswered {
    let path = path.to_owned();
    if welcomed {
        return Unanswered::Silent { path };
    }
    Unanswered::Broken {
        path,
        reason: "the server ends the connection: it may be another version of push_server".into(),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "there is no such file".to_owned(),
        io::ErrorKind::ConnectionRefused => "the server that made this file has ended".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not connect to it".to_owned(),
        io::ErrorKind::WouldBlock => "too many processes connect to it".to_owned(),
        _ => error.to_string(),
    }
}
