//! Long polls: an event stream in pieces, for networks in which neither a WebSocket nor a stream works.
//!
//! A poll is an ordinary request whose response waits for a message. The polls of one client are a session. Each
//! session has a task on the reactor, which collects what is written and published, and answers the poll that waits. An
//! answer is the body of a poll's response.
//!
//! ```text
//! request ─▶ Poll::new ─▶ app ─┬─ no ──▶ Poll::refuse: the session ends
//!                              ├─ yes ─▶ Poll::resume: Session ─▶ SessionTask ─▶ body of the response
//!                              ├─ yes, but there is no session: Poll::begin, a new client
//!                              └─ yes, but another process has the session: Poll::begin, Relay
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `ticket` | the id with which a client continues its session |
//! | `session` | a session as other threads see it |
//! | `newcomer` | a client whose session has not begun |
//! | `relay` | polls that reach another process than that of their session |
//! | `session_task` | the task that answers a session's polls |
//! | `backlog` | what was sent, until the client has confirmed it |

mod backlog;
mod newcomer;
mod relay;
mod session;
mod session_task;
mod ticket;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use relay::{Relay, Relaying};
pub use ticket::{Ticket, since, without_session};

use super::pending::PendingClient;
use super::{Client, Context};
use newcomer::Newcomer;
use session::{AcceptedPoll, Key, ResumeRequest, Session};
use ticket::Token;

use crate::base::lock::Lock;

/// The answer to a poll, once there is one: the body of its response.
pub type Answer = oneshot::Receiver<Bytes>;

/// The user that a session belongs to, as the app names the user. `None` if the app names no user.
pub type Owner = Option<Box<[u8]>>;

/// A request that is a long poll.
#[derive(Debug)]
pub struct Poll {
    wait: Duration,
    key: Key,
    session: Found,
}

/// The session that a poll asks to continue.
#[derive(Debug)]
enum Found {
    /// There is none.
    No,
    /// This process has it.
    Here(ResumeRequest),
    /// Another process may have it.
    Elsewhere(Relay, Ticket),
}

impl Poll {
    /// A poll that waits for `wait`. `id` is the id of the last event that its client has got. `place` has the
    /// request's host, path and query.
    pub fn new(context: &Context, wait: Duration, id: Option<&str>, place: String) -> Self {
        let ticket = id.and_then(Ticket::parse);
        let away = ticket.and_then(|ticket| Some((context.relay.as_ref().filter(|it| it.leads_away(ticket))?, ticket)));
        let session = match (away, ticket) {
            (Some((relay, ticket)), _) => Found::Elsewhere(relay.clone(), ticket),
            (None, Some(ticket)) => {
                let session = context.sessions.find(ticket.token);
                session.and_then(|it| it.request_resume(ticket, &place)).map_or(Found::No, Found::Here)
            }
            (None, None) => Found::No,
        };
        Poll { wait: wait.min(context.base.limits.max_poll_wait), key: Key { place, owner: None }, session }
    }

    /// Sets the user, as the app names the user.
    pub fn set_owner(&mut self, owner: Owner) {
        self.key.owner = owner;
    }

    /// The app has accepted the poll. Continues its session, if this process has it and it has the same owner.
    pub fn resume(&mut self) -> Option<Answer> {
        match std::mem::replace(&mut self.session, Found::No) {
            Found::Here(request) => request.accept(self.wait, &self.key.owner),
            other => {
                self.session = other;
                None
            }
        }
    }

    /// The app has accepted the poll. Begins a session for `client`, unless another process has one for it.
    pub fn begin(self, client: Arc<Client>) -> (Start, Answer) {
        let (poll, answer) = AcceptedPoll::new(self.wait, None);
        let elsewhere = match self.session {
            Found::Elsewhere(relay, ticket) => Some((relay, ticket)),
            Found::No | Found::Here(_) => None,
        };
        let context = Arc::clone(client.context());
        let newcomer = Newcomer { client: PendingClient::new(client), key: self.key, poll };
        (Start(Box::new(Beginning { context, newcomer, elsewhere })), answer)
    }

    /// The app has refused the poll. That ends its session, unless the poll has another owner.
    pub fn refuse(self) {
        match self.session {
            Found::No => {}
            Found::Here(request) => request.refuse(&self.key.owner),
            Found::Elsewhere(relay, ticket) => relay.refuse(ticket, self.key),
        }
    }
}

/// A session that has not begun. If it is dropped before it begins, `Abandoned` is posted to its client.
pub struct Start(Box<Beginning>);

struct Beginning {
    context: Arc<Context>,
    newcomer: Newcomer,
    /// Another process may have a session for the client.
    elsewhere: Option<(Relay, Ticket)>,
}

impl Start {
    /// Begins the session, or finds the one that another process has. Only in a task of the reactor.
    pub fn spawn(self) {
        let Beginning { context, newcomer, elsewhere } = *self.0;
        match elsewhere {
            None => newcomer.begin(&context, false),
            Some((relay, ticket)) => relay.ask(&context, ticket, newcomer),
        }
    }
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("elsewhere", &self.0.elsewhere).finish_non_exhaustive()
    }
}

/// The sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions(Lock<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Tokens are found by a hash with a secret key of this process. So the time of a look-up reveals nothing about
    /// valid tokens.
    all: HashMap<Token, Arc<Session>>,
    /// The sessions without a poll. Those that have been without one for longest come first.
    left: BTreeMap<u64, Arc<Session>>,
    last_leave: u64,
}

impl Sessions {
    /// Adds a session. If there are more than `max`, the one that has been without a poll for longest ends.
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

    /// The session has no poll now. Returns a number for [`Sessions::return_to`].
    fn leave(&self, session: &Arc<Session>) -> u64 {
        let mut table = self.lock();
        table.last_leave += 1;
        let number = table.last_leave;
        table.left.insert(number, Arc::clone(session));
        number
    }

    /// The session that got this number from [`Sessions::leave`] has a poll again, or ends.
    fn return_to(&self, number: u64) {
        self.lock().left.remove(&number);
    }

    /// The session has ended.
    fn remove(&self, session: &Session) {
        if let Some(token) = session.token {
            self.lock().all.remove(&token);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }
}
