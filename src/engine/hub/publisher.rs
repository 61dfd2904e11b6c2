//! Publishing from a process without a server: a console, a job, a forked child.
//!
//! A process has one connection, which all its threads use at once. It has no thread of its own: one of the threads that
//! wait for an answer drives the connection for all of them. When this thread has its own answer, it wakes another one.
//! So nothing is left behind in a process that forks or ends, and a thread that waits costs nothing.
//!
//! A message is published once, also if the server is restarted meanwhile: see `exchange`.

mod connection;
mod exchange;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use thiserror::Error;

use crate::base::lock::{Condition, Lock};
use crate::channel::{Command, Message};
use connection::Wake;
pub use exchange::{Answer, Broken, GivenUp};
use exchange::{Content, Exchange};
use state::State;

/// Why there is no answer.
#[derive(Debug, Clone, Error)]
pub enum Unanswered {
    /// There is no place at which a server could be.
    #[error("there is no place where a server could listen")]
    Nowhere,
    /// No server listens.
    #[error("no server listens on {path} ({reason})", path = path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What connecting to it has failed with.
        reason: String,
    },
    /// What listens there is not a server that this process can publish to.
    #[error("{reason} ({path})", path = path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is a server, but it has not answered in time.
    #[error("the server on {path} does not answer", path = path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
}

/// A request that was made, and has no answer yet or one that was not taken.
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    cancelled: AtomicBool,
    changed: Condition,
}

/// The result of a wait.
#[derive(Debug)]
pub enum Waited {
    /// There is an answer.
    Answered(Answer),
    /// There is no server, and waiting does not help.
    Failed(Unanswered),
    /// The time is over, or the wait was cancelled.
    NotYet,
}

/// The requests of this process to a server. Any thread may call all methods. A forked child may call none but
/// [`Publisher::close_in_child`].
pub struct Publisher {
    state: Lock<State>,
    /// Ends the wait of the thread that drives.
    wake: Wake,
}

impl Publisher {
    /// A publisher of this process, without a connection.
    ///
    /// # Errors
    ///
    /// The system gives no pipe.
    pub fn new() -> io::Result<Self> {
        Ok(Publisher { state: Lock::new(State::new()), wake: Wake::new()? })
    }

    /// Whether there is a connection now. If not, [`Publisher::set_places`] is worth the effort.
    pub fn is_connected(&self) -> bool {
        self.state.lock().connection.is_some()
    }

    /// Says where a server may be: the sockets, the most likely one first.
    pub fn set_places(&self, places: Vec<PathBuf>) {
        let mut state = self.state.lock();
        if state.places != places {
            state.places = places;
            state.failure = None;
            state.connect_at = Instant::now();
        }
    }

    /// Publishes a message. Sends it at once if the socket takes it. Does not block.
    pub fn publish(&self, message: Arc<Message>) -> Arc<Ticket> {
        self.request(|exchange, id| exchange.publish(id, Content::Message(message)))
    }

    /// Has all processes of the server close the clients of a member. Sends that at once if the socket takes it. Does not
    /// block.
    pub fn disconnect(&self, member: &str) -> Arc<Ticket> {
        let command = Command::Disconnect { member: member.into(), done: None };
        self.request(|exchange, id| exchange.publish(id, Content::Command(command)))
    }

    /// Asks for the end of the log. Does not block.
    pub fn ask(&self) -> Arc<Ticket> {
        self.request(Exchange::ask)
    }

    fn request(&self, add: impl FnOnce(&mut Exchange, u64)) -> Arc<Ticket> {
        let mut state = self.state.lock();
        if !state.driven {
            // A connection may have ended since the last look. What is given to it then would count as sent.
            state.receive();
        }
        state.last_id += 1;
        let id = state.last_id;
        add(&mut state.exchange, id);
        let ticket = Arc::new(Ticket { id, cancelled: AtomicBool::new(false), changed: Condition::new() });
        state.tickets.insert(id, Arc::clone(&ticket));
        if state.exchange.is_welcomed() && !state.send() && state.driven {
            // The thread that drives must wait until the socket takes more.
            self.wake.notify();
        }
        ticket
    }

    /// Waits for the answer. May be called again if it returns [`Waited::NotYet`]. Blocks; a cancelled ticket stays so.
    pub fn wait(&self, ticket: &Arc<Ticket>, deadline: Instant) -> Waited {
        let mut state = self.state.lock();
        loop {
            if let Some(answer) = state.answers.remove(&ticket.id) {
                state.pass_on();
                return Waited::Answered(answer);
            }
            let now = Instant::now();
            if ticket.cancelled.swap(false, Ordering::AcqRel) || now >= deadline {
                state.pass_on();
                return Waited::NotYet;
            }
            if state.driven {
                state.asleep.push(Arc::clone(ticket));
                (state, _) = ticket.changed.wait_timeout(state, deadline - now);
                state.asleep.retain(|other| !Arc::ptr_eq(other, ticket));
                continue;
            }
            if let Some(failure) = state.advance() {
                state.pass_on();
                return Waited::Failed(failure);
            }
            if !state.answers.contains_key(&ticket.id) {
                state.driven = true;
                state = self.await_event(state, deadline);
                state.driven = false;
            }
        }
    }

    /// Makes the present or next [`Publisher::wait`] for this ticket return. Any thread; does not block for long.
    pub fn cancel(&self, ticket: &Ticket) {
        ticket.cancelled.store(true, Ordering::Release);
        // With the lock, so that the thread does not begin to wait meanwhile.
        let _state = self.state.lock();
        ticket.changed.notify_all();
        self.wake.notify();
    }

    /// Forgets a request. Its answer, if it comes, is dropped. Says why there is none.
    pub fn give_up(&self, ticket: &Ticket) -> (GivenUp, Unanswered) {
        let mut state = self.state.lock();
        state.tickets.remove(&ticket.id);
        state.answers.remove(&ticket.id);
        let given_up = state.exchange.give_up(ticket.id);
        let why = match (&state.connection, &state.failure) {
            (Some((path, _)), _) => Unanswered::Silent { path: path.clone() },
            (None, Some((failure, _))) => failure.clone(),
            (None, None) => Unanswered::Nowhere,
        };
        (given_up, why)
    }

    /// Closes the connection if all requests are answered. The next request opens another.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if state.exchange.is_idle() {
            state.connection = None;
            state.exchange.disconnected();
        }
    }

    /// For a forked child: closes the child's descriptor of the connection, which is the parent's. Leaves all else alone.
    pub fn close_in_child(&self) {
        // If another thread of the parent held the lock, no thread releases it here. Then the descriptor stays open.
        if let Some(mut state) = self.state.try_lock() {
            state.connection = None;
        }
    }

    /// Waits until there may be something to do, without the lock.
    fn await_event<'a>(&'a self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        let (interest, until) = match &state.connection {
            Some((_, connection)) => (Some(connection.interest()), deadline),
            None => (None, deadline.min(state.connect_at)),
        };
        drop(state);
        self.wake.wait(interest, until);
        self.state.lock()
    }
}
