//! Polls that reach another process than that of their session.
//!
//! The token of a ticket names the session's process. A poll that reaches another one goes to that, once the app has let it
//! in:
//!
//! ```text
//! poll's process                                  session's process
//! app accepts: a client, just in case ── Ask ──▶  Sessions::find, the same checks as for its own polls
//! client abandoned                    ◀─ Accepted
//! response                            ◀─ Piece…   SessionTask answers
//! app refuses                         ── Refused ▶ the session ends
//! the poll's client is gone           ── Cancel ─▶ the session has no poll
//! ```
//!
//! The poll's process begins a session of its own if there is none (`NoSession`), or if the session's process has ended. In
//! all other cases in which no answer can come, the poll is answered with nothing but the ticket that it brought. It has
//! confirmed no more than that, so its client polls again and gets everything.
//!
//! | module | subject |
//! |---|---|
//! | `asked`, `heard` | a poll of this process, until it has its answer; what it hears |
//! | `served` | the polls of other processes, and the answers to them |
//! | `router` | which of them gets what comes |
//! | `task` | the task that takes what comes |
//! | `wire` | what the processes say |

mod asked;
mod heard;
mod router;
mod served;
mod task;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

pub use task::Relaying;

use super::newcomer::Newcomer;
use super::session::Key;
use super::session_task::answer_empty;
use super::ticket::Ticket;
use crate::base::fork::OwnerProcess;
use crate::channel::Channels;
use crate::push::Context;
use asked::Asked;
use heard::Heard;
use router::Router;
use wire::{Request, Said};

/// The way of polls to the sessions of other processes.
#[derive(Clone)]
pub struct Relay {
    router: Arc<Router>,
    /// The number of this process.
    process: u32,
}

impl Relay {
    /// `None` if there are no other processes.
    pub fn new(channels: &Channels, owner: OwnerProcess) -> Option<Self> {
        Some(Relay { router: Router::new(channels.peers()?, owner), process: channels.process() })
    }

    /// Whether the session of a ticket is in another process.
    pub(super) fn leads_away(&self, ticket: Ticket) -> bool {
        ![0, self.process].contains(&ticket.token.process())
    }

    /// The app has accepted the poll of a newcomer that brings a ticket of another process. Only in a task of the reactor.
    pub(super) fn ask(&self, context: &Arc<Context>, ticket: Ticket, newcomer: Newcomer) {
        if context.base.lifecycle.restarts() {
            return answer_empty(newcomer.poll, Some(ticket), context.reconnect_delay.pause());
        }
        let process = ticket.token.process();
        let Key { place, owner } = newcomer.key.clone();
        let ask = Said::Ask(Request { ticket, place, owner }, newcomer.poll.wait);
        let (id, heard) = self.router.remember(process);
        let sent = self.router.send(process, id, &ask);
        let asked = Asked::new(context, Arc::clone(&self.router), (process, id), (ticket, newcomer), heard);
        if !sent {
            self.router.tell(process, id, Heard::Parted);
        }
        tokio::spawn(asked);
    }

    /// The app has refused a poll that brings a ticket of another process. Any thread.
    pub(super) fn refuse(&self, ticket: Ticket, key: Key) {
        let request = Request { ticket, place: key.place, owner: key.owner };
        self.router.send(ticket.token.process(), 0, &Said::Refused(request));
    }
}

#[cfg(test)]
impl Relay {
    /// How many polls and answers are underway.
    fn sizes(&self) -> usize {
        self.router.state().sizes()
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("process", &self.process).finish_non_exhaustive()
    }
}
