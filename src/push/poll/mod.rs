//! Long polls: an event stream in pieces, for networks in which nothing else gets through.
//!
//! A poll is an ordinary request whose response waits until there is something to say. A session is
//! what makes one client of a row of polls. Its host, a task of the reactor, does what a stream does
//! for a socket: it collects what is written and published, and gives it to the poll that waits.
//!
//! ```text
//! request ─▶ Poll::new ─▶ app ─┬─ no ──▶ Poll::refuse: the session ends
//!                              ├─ yes ─▶ Poll::resume: Session ─▶ Host ─▶ body of the response
//!                              └─ yes, but there is no session: Poll::begin, a new client
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `ticket` | what a client shows to go on with its session |
//! | `session` | a session as polls see it; any thread |
//! | `host` | the task that answers a session's polls |
//! | `backlog` | what was given, until the client has shown that it got it |

mod backlog;
mod host;
mod session;
mod ticket;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use ticket::{Ticket, since, without_session};

use super::{Client, Context};
use host::Host;
use session::{Arrival, Key, Session, Visit};
use ticket::Token;

use crate::base::lock::Lock;

/// The answer to a poll, once there is one: the body of its response.
pub type Answer = oneshot::Receiver<Bytes>;

/// The user that a session belongs to, by the app's own name for the user; `None` if the app names none.
pub type Owner = Option<Box<[u8]>>;

/// A request that asks to wait.
#[derive(Debug)]
pub struct Poll {
    wait: Duration,
    key: Key,
    /// The session it wants to go on with.
    visit: Option<Visit>,
}

impl Poll {
    /// A poll that waits for `wait`, of a client that has got the event `id` last; `place` is what it
    /// asks for.
    pub fn new(context: &Context, wait: Duration, id: Option<&str>, place: String) -> Self {
        let ticket = id.and_then(Ticket::parse);
        let visit = ticket.and_then(|ticket| context.sessions.find(ticket.token)?.visit(ticket, &place));
        Poll { wait: wait.min(context.base.limits.max_poll_wait), key: Key { place, owner: None }, visit }
    }

    /// Sets the user that the app has named.
    pub fn set_owner(&mut self, owner: Owner) {
        self.key.owner = owner;
    }

    /// The app has let it in. Goes on with its session, if there is one and it has the same owner.
    pub fn resume(&mut self) -> Option<Answer> {
        self.visit.take()?.enter(self.wait, &self.key.owner)
    }

    /// The app has let it in. Begins a session for a client that was made for it.
    pub fn begin(self, client: Arc<Client>) -> (Start, Answer) {
        let (arrival, answer) = Arrival::new(self.wait, None);
        let session = Session::new(client.context(), Token::draw(), self.key, arrival);
        (Start(Some((client, session))), answer)
    }

    /// The app has not let it in. That ends its session, unless the poll has another owner than the session.
    pub fn refuse(self) {
        if let Some(visit) = self.visit {
            visit.refuse(&self.key.owner);
        }
    }
}

/// A session on its way to the reactor. Dropped on the way, its client is told.
#[derive(Debug)]
pub struct Start(Option<(Arc<Client>, Arc<Session>)>);

impl Start {
    /// Begins; within a task of the reactor.
    pub fn spawn(mut self) {
        if let Some((client, session)) = self.0.take() {
            tokio::spawn(Host::new(client, session));
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some((client, _)) = self.0.take() {
            client.abandon();
        }
    }
}

/// The sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions(Lock<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Found by hashing, with a key of this process: how long a wrong token takes says nothing of
    /// the right ones.
    all: HashMap<Token, Arc<Session>>,
    /// Those that no poll waits in, in the order in which they were left.
    left: BTreeMap<u64, Arc<Session>>,
    last_leave: u64,
}

impl Sessions {
    /// Adds a session. If there are more than `max`, the one that was left first ends.
    fn insert(&self, session: &Arc<Session>, max: usize) {
        let Some(token) = session.token else { return };
        let mut table = self.lock();
        table.all.insert(token, Arc::clone(session));
        let surplus = if table.all.len() > max { table.left.pop_first() } else { None };
        drop(table);
        if let Some((_, session)) = surplus {
            session.dismiss();
        }
    }

    fn find(&self, token: Token) -> Option<Arc<Session>> {
        self.lock().all.get(&token).cloned()
    }

    /// No poll waits in it any more; returns what to give to [`Sessions::return_to`].
    fn leave(&self, session: &Arc<Session>) -> u64 {
        let mut table = self.lock();
        table.last_leave += 1;
        let number = table.last_leave;
        table.left.insert(number, Arc::clone(session));
        number
    }

    /// A poll waits in it again.
    fn return_to(&self, number: u64) {
        self.lock().left.remove(&number);
    }

    /// It has ended.
    fn remove(&self, session: &Session) {
        if let Some(token) = session.token {
            self.lock().all.remove(&token);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }
}
