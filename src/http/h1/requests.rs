//! The requests of one connection on their way to the service: from hyper, or directly from the scanner.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::StatusCode;

use super::state::ConnectionState;
use crate::base;
use crate::http::exchange::ReplySlot;
use crate::http::response::Response;
use crate::http::service::{Answer, Handling, RequestService};
use crate::http::upload::IncomingBody;
use crate::http::{forwarded, refusal};
use crate::request_head::{Method, RequestHead};

/// Begins to handle the requests of one connection.
pub(super) struct Requests {
    pub(super) service: RequestService,
    pub(super) connection: Arc<ConnectionState>,
    /// The slot for the next request. `None` only while it is being changed.
    slot: Cell<Option<Arc<ReplySlot>>>,
    /// A request whose response hyper writes, although hyper has not read it.
    pub(super) handed_over: Cell<Option<Box<Exchange>>>,
}

/// A request that is being handled.
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) handling: Handling,
}

impl Exchange {
    /// The answer, once there is one: see [`Handling::poll_answer`].
    #[inline(always)]
    pub(super) fn poll_answer(&mut self, base: &base::Context, cx: &mut TaskContext<'_>) -> Poll<Answer> {
        let mut answer = self.handling.poll_answer(cx);
        if let Poll::Ready(Answer::Response(response)) = &mut answer {
            // The client must not send another request on a connection that will be closed.
            response.head.close |= !base.lifecycle.serving();
        }
        answer
    }
}

impl Requests {
    /// For the requests of `connection`.
    pub(super) fn new(service: RequestService, connection: Arc<ConnectionState>) -> Self {
        let slot = ReplySlot::new(Arc::clone(&service.context.push), Arc::clone(&connection) as _);
        Requests { service, connection, slot: Cell::new(Some(slot)), handed_over: Cell::new(None) }
    }

    /// Begins to handle a request: the service gets it, unless it takes the place of one that was refused.
    pub(super) fn begin(&self, mut head: RequestHead, body: impl IncomingBody) -> Exchange {
        let method = head.method();
        let refused = self.connection.called();
        let RequestService { context, peer, encrypted, .. } = &self.service;
        let (client, https) = forwarded::client(&mut head, (*peer, *encrypted), &context.trusted_proxies);
        if let Some(log) = &context.access_log {
            self.connection.log(log.begin(client, refused.is_none().then_some(&head)));
        }
        let handling = match refused {
            Some(status) => Handling::answered(self.refuse(status)),
            None => {
                let connection = || Arc::clone(&self.connection) as _;
                let mut slot =
                    self.slot.take().unwrap_or_else(|| ReplySlot::new(Arc::clone(&context.push), connection()));
                let ends = ReplySlot::open(&mut slot);
                self.slot.set(Some(slot));
                // Most servers have no trusted proxies.
                if context.trusted_proxies.is_empty() {
                    self.service.begin(head, body, ends)
                } else {
                    RequestService { peer: client, https, ..self.service.clone() }.begin(head, body, ends)
                }
            }
        };
        Exchange { method, handling }
    }

    /// The response to a head that the scanner has refused.
    fn refuse(&self, status: StatusCode) -> Response {
        // A timeout was counted when the deadline passed.
        if status != StatusCode::REQUEST_TIMEOUT {
            refusal::record(status, self.service.peer, &self.service.context.base.stats);
        }
        Response::plain(status).and_close()
    }
}
