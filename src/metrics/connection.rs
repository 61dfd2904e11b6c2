//! A connection: a state machine without I/O.

use std::mem;
use std::time::{Duration, Instant};

use super::answer::answer;
use super::figures::Figures;

/// Time for the head of a request, and again for the response.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time in which a request follows its connection.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// How long a connection is read on after the response, for a client that has not read it yet: closing a socket with unread bytes
/// would make the system throw the response away.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are read after the response.
const EXCESS: usize = 64 << 10;

/// A connection that serves one request.
#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// What has come of the request.
    Reading(Vec<u8>),
    Writing {
        response: Vec<u8>,
        sent: usize,
    },
    /// Reads on for a while; how much has come.
    Ending(usize),
    Ended,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Read,
    Write,
    /// It is over: the socket is to be closed.
    Nothing,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Self {
        Connection { state: State::Reading(Vec::new()), deadline: now + PATIENCE }
    }

    /// What to do next.
    pub(super) fn next(&self, now: Instant) -> Next {
        match self.state {
            State::Ended => Next::Nothing,
            _ if self.deadline <= now => Next::Nothing,
            State::Reading(_) | State::Ending(_) => Next::Read,
            State::Writing { .. } => Next::Write,
        }
    }

    /// Whether its client may expect the response soon: its request has begun, or may be on its way.
    pub(super) fn is_expected(&self, now: Instant) -> bool {
        match &self.state {
            State::Reading(received) => !received.is_empty() || now + PATIENCE < self.deadline + ON_ITS_WAY,
            State::Writing { .. } => true,
            State::Ending(_) | State::Ended => false,
        }
    }

    /// When it is over in any case.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes what has come from the client. No bytes: the client has ended its side.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant, figures: impl FnOnce() -> Option<Figures>) {
        match &mut self.state {
            State::Reading(received) if !bytes.is_empty() => {
                received.extend_from_slice(bytes);
                if let Some(response) = answer(received, figures) {
                    self.state = State::Writing { response, sent: 0 };
                    self.deadline = now + PATIENCE;
                }
            }
            State::Ending(received) if !bytes.is_empty() && *received < EXCESS => *received += bytes.len(),
            State::Reading(_) | State::Ending(_) => self.state = State::Ended,
            State::Writing { .. } | State::Ended => {}
        }
    }

    /// What is to be sent.
    pub(super) fn output(&self) -> &[u8] {
        match &self.state {
            State::Writing { response, sent } => &response[*sent..],
            _ => &[],
        }
    }

    /// So many bytes were sent. Returns true if these were the last ones: then the socket's sending side is to be closed.
    pub(super) fn sent(&mut self, count: usize, now: Instant) -> bool {
        let State::Writing { response, sent } = &mut self.state else { return false };
        *sent += count;
        if *sent < response.len() {
            return false;
        }
        drop(mem::replace(&mut self.state, State::Ending(0)));
        self.deadline = now + LINGER;
        true
    }

    /// The socket is broken.
    pub(super) fn fail(&mut self) {
        self.state = State::Ended;
    }
}
