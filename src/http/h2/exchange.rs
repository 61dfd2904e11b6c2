//! The task of a stream: a request, and its response or what takes its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use h2::Reason;
use h2::server::SendResponse;

use super::pumped;
use super::request_state::RequestState;
use super::sending::Sending;
use super::translation;
use crate::access_log::{LogEntry, RequestOutcome};
use crate::http::exchange::{PendingStream, Takeover};
use crate::http::hijack::Hijack;
use crate::http::response::Response;
use crate::http::service::{Answer, Handling};
use crate::net::h2_received::Receiving;
use crate::net::h2_stream::{FrameBatch, H2Stream};
use crate::push::stream::Stream;
use crate::request_head::Method;

/// A request that a stream has brought, until it is answered. If this is dropped before, the stream is reset.
pub(super) struct Exchange {
    pub(super) state: Arc<RequestState>,
    /// `None` once something else sends.
    pub(super) respond: Option<SendResponse<FrameBatch>>,
    /// CONNECT for a WebSocket.
    pub(super) method: Method,
    /// What comes in, if the request is not the reader of it: that of a WebSocket.
    pub(super) receiving: Option<Receiving>,
    pub(super) entry: Option<LogEntry>,
    pub(super) stage: Stage,
}

/// How far it has come.
pub(super) enum Stage {
    /// The app has it, or its body is being read. `true`: the task is registered.
    Handling(Handling, bool),
    /// The response is being sent.
    Sending(Box<Sending>),
}

impl Exchange {
    fn send_information(&mut self) {
        for head in self.state.take_information() {
            if let Some(respond) = &mut self.respond {
                // Fails only if the client has gone.
                let _ = respond.send_informational(translation::response(head));
            }
        }
    }

    fn take_over(&mut self, takeover: Takeover) {
        if let Some(status) = takeover.status() {
            self.state.count_time(status);
        }
        match takeover {
            Takeover::Stream(pending) => self.begin_stream(*pending),
            Takeover::Hijack(hijack) => self.hijack(*hijack),
        }
    }

    fn begin_stream(&mut self, PendingStream { client, head }: PendingStream) {
        let Some(respond) = &mut self.respond else { return };
        // Fails if the client has gone.
        let Ok(send) = respond.send_response(translation::response(head), false) else { return };
        if let Some(client) = client.arrive() {
            Stream::over_h2(
                client,
                H2Stream::new(send, self.receiving.take(), self.state.connection()),
                self.entry.take(),
            )
            .spawn();
        }
    }

    fn hijack(&mut self, mut hijack: Hijack) {
        let Some(respond) = self.respond.take() else { return };
        if let Some(head) = hijack.head.as_mut().filter(|_| self.method == Method::Connect) {
            translation::refuse_websocket(head);
        }
        let receiving = self.receiving.take();
        if let Some(mut entry) = self.entry.take() {
            let status = hijack.head.as_ref().map(|head| head.status);
            entry.log(&RequestOutcome { status, upgrade: Some("hijack"), ..RequestOutcome::default() });
        }
        let (connection, context) = (self.state.connection(), Arc::clone(self.state.context()));
        let method = self.method;
        tokio::spawn(async move {
            pumped::hand_over(respond, receiving, connection, hijack, method, &context.base).await;
        });
    }
}

impl Exchange {
    /// Sends what can be sent at once, which is most often all.
    fn respond(&mut self, mut response: Response, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(respond) = &mut self.respond else { return Poll::Ready(()) };
        if self.method == Method::Connect {
            translation::refuse_websocket(&mut response.head);
        }
        match Sending::begin(respond, response, &self.state, self.method, self.entry.take()) {
            Ok(mut sending) => {
                let sent = sending.poll(cx, &self.state);
                if sent.is_pending() {
                    self.stage = Stage::Sending(Box::new(sending));
                }
                sent
            }
            Err(error) => {
                log::debug!("a response cannot be sent: {error}");
                respond.send_reset(Reason::INTERNAL_ERROR);
                Poll::Ready(())
            }
        }
    }
}

impl Future for Exchange {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let (handling, registered) = match &mut this.stage {
            Stage::Handling(handling, registered) => (handling, registered),
            Stage::Sending(sending) => return sending.poll(cx, &this.state),
        };
        if !std::mem::replace(registered, true) {
            this.state.register(cx.waker());
        }
        let answer = handling.poll_answer(cx);
        this.send_information();
        match answer {
            Poll::Ready(Answer::Response(response)) => this.respond(response, cx),
            Poll::Ready(Answer::Takeover(takeover)) => {
                this.take_over(takeover);
                Poll::Ready(())
            }
            // If the client goes, what the app answers is dropped.
            Poll::Pending => match &mut this.respond {
                Some(respond) => respond.poll_reset(cx).map(drop),
                None => Poll::Ready(()),
            },
        }
    }
}
