//! The task that takes what comes from other processes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use super::Relay;
use super::heard::Heard;
use super::router::{PIECE, REPLY, Router};
use super::wire::{Request, Said};
use crate::base::lifecycle::Phase;
use crate::base::peers::PeerEvent;
use crate::base::wakeups::RemoteWaker;
use crate::push::Context;
use crate::sse;

/// The task. Spawn it on the reactor; it ends with that.
pub struct Relaying {
    context: Arc<Context>,
    router: Arc<Router>,
    waker: Arc<RemoteWaker>,
    events: Vec<PeerEvent>,
    /// Until the server drains.
    serving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Relaying {
    /// The task of a server that has a relay.
    pub fn new(context: &Arc<Context>, relay: &Relay) -> Self {
        let waker = Arc::new(RemoteWaker::new(Arc::clone(&context.base.wakeups)));
        relay.router.peers().listen(Some(Arc::clone(&waker)));
        let mut phase = context.base.lifecycle.receiver();
        let serving = Some(Box::pin(async move { phase.reached(Phase::Draining).await }) as Pin<Box<_>>);
        let (context, router) = (Arc::clone(context), Arc::clone(&relay.router));
        Relaying { context, router, waker, events: Vec::new(), serving }
    }

    fn take(&self, event: PeerEvent) {
        match event {
            PeerEvent::Parcel { from, id, payload } => {
                let length = payload.len();
                match Said::decode(payload) {
                    Some(said) => self.hear(from, id, said, length),
                    None => log::error!(
                        "a parcel about a long poll cannot be read: the worker with the process number {from} has sent it"
                    ),
                }
            }
            PeerEvent::Unreachable { to, id, length, why } => {
                if id & PIECE == PIECE {
                    self.router.state().served.arrived(to, length as usize);
                    self.router.state().served.cancel(to, id & !PIECE);
                    self.router.send_pieces(to);
                } else if id & REPLY == 0 {
                    self.router.tell(to, id, Heard::Unreachable(why));
                }
            }
            PeerEvent::Parted { process } => self.router.parted(Some(process)),
            PeerEvent::Lost => self.router.parted(None),
        }
    }

    fn hear(&self, from: u32, id: u64, said: Said, length: usize) {
        let router = &self.router;
        match said {
            Said::Ask(request, wait) => self.serve(from, id, request, wait),
            Said::Refused(request) => {
                let session = self.context.sessions.find(request.ticket.token);
                let resume = session.and_then(|session| session.request_resume(request.ticket, &request.place));
                resume.into_iter().for_each(|resume| resume.refuse(&request.owner));
            }
            Said::Cancel => router.state().served.cancel(from, id),
            Said::Took(bytes) => {
                router.state().served.arrived(from, bytes as usize);
                router.send_pieces(from);
            }
            Said::Accepted => {
                // Its client has gone meanwhile.
                if !router.tell(from, id & !REPLY, Heard::Accepted) {
                    router.send(from, id & !REPLY, &Said::Cancel);
                }
            }
            Said::NoSession => _ = router.tell(from, id & !REPLY, Heard::NoSession),
            Said::Piece(piece) => {
                router.tell(from, id & !PIECE, Heard::Piece(piece));
                router.took(from, length);
            }
        }
    }

    /// A poll of another process wants to continue a session of this one.
    fn serve(&self, from: u32, id: u64, request: Request, wait: Duration) {
        let Request { ticket, place, owner } = request;
        let resume =
            self.context.sessions.find(ticket.token).and_then(|session| session.request_resume(ticket, &place));
        let wait = wait.min(self.context.base.limits.max_poll_wait);
        let Some(answer) = resume.and_then(|resume| resume.accept(wait, &owner)) else {
            self.router.send(from, id | REPLY, &Said::NoSession);
            return;
        };
        self.router.send(from, id | REPLY, &Said::Accepted);
        let (router, hold) = (Arc::clone(&self.router), self.context.base.in_flight.guard());
        let task = tokio::spawn(async move {
            // As for a poll of this process, the client may try again if the session has given no answer.
            let body = answer.await.unwrap_or_else(|_| sse::retry(1000));
            router.state().served.answer(from, id, body, hold);
            router.send_pieces(from);
        });
        self.router.state().served.add(from, id, task.abort_handle());
    }
}

impl Future for Relaying {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        // Before it looks: what comes from now on wakes it again.
        self.waker.register(cx.waker());
        if self.serving.as_mut().is_some_and(|serving| serving.as_mut().poll(cx).is_ready()) {
            self.serving = None;
            if self.context.base.lifecycle.restarts() {
                self.router.tell_all(None, || Heard::Leaving);
            }
        }
        let mut events = std::mem::take(&mut self.events);
        self.router.peers().take(&mut events);
        events.drain(..).for_each(|event| self.take(event));
        self.events = events;
        Poll::Pending
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        if !self.context.base.owner.forked() {
            self.router.peers().listen(None);
        }
    }
}
