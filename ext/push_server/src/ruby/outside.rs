//! Publishing from a process without a server: a console, a job, a child of a worker, an app that is loaded for others.
//!
//! The process has one connection, which it never inherits: a forked child opens its own. The number of a message is
//! waited for at once, without the GVL, so a process may end as soon as a publish returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use magnus::typed_data::Obj;
use magnus::{Error, Ruby};
use push_core::base::fork::{NotInChild, OwnerProcess};
use push_core::channel::{Draft, Limits, Message};
use push_core::engine::hub::publisher::{Answer, GivenUp, Publisher, Ticket, Unanswered, Waited};

use crate::ruby::cursor::Cursor;
use crate::support::cell::GvlCell;
use crate::support::errors::{channel_error, refusal};
use crate::support::gvl::{check_interrupts, without_gvl};
use crate::support::library::{engine_error, outside_route, server_error};

static CONNECTION: GvlCell<Option<Connection>> = GvlCell::new(None);

struct Connection {
    publisher: NotInChild<Arc<Publisher>>,
    owner: OwnerProcess,
    timeout: Duration,
}

/// The server to which this process publishes.
pub struct Server {
    publisher: Arc<Publisher>,
    timeout: Duration,
}

/// The server to which this process publishes; `None` if its messages stay here. To be asked only in a process that does
/// not serve. The error is what Ruby raised.
pub fn server(ruby: &Ruby) -> Result<Option<Server>, Error> {
    let connected = CONNECTION.with(ruby, |slot| {
        forget_inherited(slot);
        let connection = slot.as_ref().filter(|connection| connection.publisher.is_connected())?;
        Some(Server { publisher: Arc::clone(&connection.publisher), timeout: connection.timeout })
    });
    if connected.is_some() {
        return Ok(connected);
    }
    let Some((places, seconds)) = outside_route(ruby)? else { return Ok(None) };
    let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let made = CONNECTION.with(ruby, |slot| {
        if slot.is_none() {
            let owner = OwnerProcess::current();
            let publisher = NotInChild::new(owner, Arc::new(Publisher::new()?));
            *slot = Some(Connection { publisher, owner, timeout });
        }
        Ok(slot.as_mut().map(|connection| {
            connection.timeout = timeout;
            Server { publisher: Arc::clone(&connection.publisher), timeout }
        }))
    });
    let server = made.map_err(|error: std::io::Error| server_error(ruby, &format!("cannot publish: {error}")))?;
    if let Some(server) = &server {
        server.publisher.set_places(places);
    }
    Ok(server)
}

/// In a forked child: the connection is the parent's.
fn forget_inherited(slot: &mut Option<Connection>) {
    if let Some(inherited) = slot.take_if(|connection| connection.owner.forked()) {
        inherited.publisher.close_in_child();
    }
}

/// Closes the connection, if there is one and all messages are answered.
pub fn close(ruby: &Ruby) {
    CONNECTION.with(ruby, |slot| {
        forget_inherited(slot);
        if let Some(connection) = slot {
            connection.publisher.close();
        }
    });
}

/// Publishes a message, and waits for its number. Releases the GVL.
pub fn publish(ruby: &Ruby, server: &Server, draft: &Draft<'_>) -> Result<Obj<Cursor>, Error> {
    // Only the server knows how long names and messages may be.
    let limits = Limits { max_name: u16::MAX.into(), log_bytes: usize::MAX, ..Limits::default() };
    let message = Message::new(draft, &limits, Instant::now()).map_err(|error| channel_error(ruby, &error))?;
    let ticket = server.publisher.publish(message);
    match wait(ruby, server, &ticket)? {
        Answer::At(cursor) => Ok(Cursor::wrap(ruby, cursor)),
        Answer::Refused(reason) => Err(refusal(ruby, reason)),
    }
}

/// Has the server close the clients of a member in all its processes, and waits until the order is numbered. Releases the
/// GVL.
pub fn disconnect(ruby: &Ruby, server: &Server, member: &str) -> Result<(), Error> {
    let ticket = server.publisher.disconnect(member);
    match wait(ruby, server, &ticket)? {
        Answer::At(_) => Ok(()),
        Answer::Refused(reason) => Err(refusal(ruby, reason)),
    }
}

/// The end of the server's log. Releases the GVL.
pub fn cursor(ruby: &Ruby, server: &Server) -> Result<Obj<Cursor>, Error> {
    let ticket = server.publisher.ask();
    match wait(ruby, server, &ticket)? {
        Answer::At(cursor) => Ok(Cursor::wrap(ruby, cursor)),
        Answer::Refused(reason) => Err(refusal(ruby, reason)),
    }
}

fn wait(ruby: &Ruby, server: &Server, ticket: &Arc<Ticket>) -> Result<Answer, Error> {
    let publisher = &server.publisher;
    let owner = OwnerProcess::current();
    // If the thread is killed meanwhile, it gives the message up.
    let pending = Pending { publisher, ticket, answered: false };
    let deadline = Instant::now() + server.timeout.min(Duration::from_secs(1 << 30));
    loop {
        let waited = without_gvl(ruby, || publisher.wait(ticket, deadline), || publisher.cancel(ticket));
        match waited {
            Some(Waited::Answered(answer)) => {
                pending.complete();
                return Ok(answer);
            }
            Some(Waited::Failed(_)) => break,
            Some(Waited::NotYet) | None => {}
        }
        let interrupted = check_interrupts(ruby);
        if owner.forked() {
            // The handler of a signal has forked, and this is the child. The message and its locks are the parent's.
            std::mem::forget(pending);
            return interrupted.and(Err(server_error(ruby, "this process was forked while its parent published")));
        }
        interrupted?;
        if Instant::now() >= deadline {
            break;
        }
    }
    let (given_up, why) = pending.give_up();
    Err(unavailable(ruby, given_up, &why))
}

/// A request that is given up when it is dropped without an answer.
struct Pending<'a> {
    publisher: &'a Arc<Publisher>,
    ticket: &'a Arc<Ticket>,
    answered: bool,
}

impl Pending<'_> {
    fn complete(mut self) {
        self.answered = true;
    }

    fn give_up(mut self) -> (GivenUp, Unanswered) {
        self.answered = true;
        self.publisher.give_up(self.ticket)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.publisher.give_up(self.ticket);
        }
    }
}

fn unavailable(ruby: &Ruby, given_up: GivenUp, why: &Unanswered) -> Error {
    let published = match given_up {
        GivenUp::Unsent => "nothing was published",
        GivenUp::Sent => "the message was sent, and may be published nevertheless",
    };
    let advice = match why {
        Unanswered::Nowhere => {
            "this server, or that of the parent process, has no publish socket: see the option publish_socket"
        }
        Unanswered::Unreachable { .. } => {
            "start push_server in this folder; or set PUSH_SERVER_HUB to the path of a server's publish socket, or to self \
             to keep messages in this process"
        }
        Unanswered::Broken { .. } | Unanswered::Silent { .. } => {
            return engine_error(ruby, &format!("{why}: {published}"));
        }
    };
    engine_error(ruby, &format!("{why}: {published}. To publish from here, {advice}"))
}
