//! The body of a request, as it comes in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::request_state::RequestState;
use crate::base::timers::Alarm;
use crate::http::exchange::RequestConnection;
use crate::http::head::ResponseHead;
use crate::http::headers::{has_token, single_text};
use crate::http::response_headers::ResponseHeaders;
use crate::http::upload::IncomingBody;
use crate::net::h2_received::Receiving;
use crate::request_head::RequestHead;

/// The body of a request. Boxed, because most requests have none.
pub(super) struct UploadBody(Option<Box<Upload>>);

struct Upload {
    receiving: Receiving,
    state: Arc<RequestState>,
    alarm: Alarm,
    /// The Content-Length, which h2 compares with what comes.
    length: Option<u64>,
    /// The client waits for a 100 before it sends (RFC 9110 section 10.1.1).
    expects_continue: bool,
}

/// Why a body ends before its end.
#[derive(Debug, Error)]
pub(super) enum UploadError {
    /// The client has broken off.
    #[error(transparent)]
    Reset(#[from] h2::Error),
    /// Too little came for too long.
    #[error("the body comes too slowly (body_timeout, body_progress)")]
    TimedOut,
    /// See [`Receiving::is_crowded_out`].
    #[error("too much was received (max_h2_received)")]
    CrowdedOut,
}

impl UploadBody {
    /// No body.
    pub(super) fn empty() -> Self {
        UploadBody(None)
    }

    /// The body of the request with this head.
    pub(super) fn new(receiving: Receiving, head: &RequestHead, state: Arc<RequestState>) -> Self {
        let alarm = state.context().base.timers.alarm();
        let length = single_text(head, "content-length").and_then(|length| length.parse().ok());
        let expects_continue = has_token(head, "expect", "100-continue");
        UploadBody(Some(Box::new(Upload { receiving, state, alarm, length, expects_continue })))
    }
}

impl Upload {
    fn poll_data(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        self.receiving.wake_if_crowded_out(cx.waker());
        if self.receiving.is_crowded_out() {
            return Poll::Ready(Some(Err(UploadError::CrowdedOut)));
        }
        if std::mem::take(&mut self.expects_continue) {
            self.state.inform(&ResponseHead::new(StatusCode::CONTINUE, ResponseHeaders::new()));
        }
        match self.receiving.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.receiving.release(data.len());
                self.state.body_came(data.len());
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let deadline = self.state.body_deadline();
                if self.state.context().base.timers.now() >= deadline {
                    if self.state.is_about_to_move(cx) {
                        return Poll::Pending;
                    }
                    self.state.time_out_body();
                    return Poll::Ready(Some(Err(UploadError::TimedOut)));
                }
                self.alarm.set(deadline, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl IncomingBody for UploadBody {}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match &mut self.0 {
            Some(upload) => upload.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.receiving.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_ref().and_then(|upload| upload.length) {
            Some(length) => SizeHint::with_exact(length),
            None if self.0.is_none() => SizeHint::with_exact(0),
            None => SizeHint::new(),
        }
    }
}
