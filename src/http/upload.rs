//! Reading the body of a request, before the app is called.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};

use super::context::Context;
use super::exchange::RequestConnection;
use super::response::Response;
use super::spool::{RequestBody, Spool, SpoolError};
use crate::base::limits::Limits;
use crate::base::log_throttle::LogThrottle;

/// The body of a request when its head has come.
pub(super) trait IncomingBody: Body<Data = Bytes> + Send + Unpin + 'static {
    /// Takes all of the body, if it is there without waiting.
    fn take_whole(&mut self) -> Option<Bytes> {
        self.is_end_stream().then(Bytes::new)
    }
}

/// A body that has come together with its head.
pub(super) struct Whole(pub(super) Bytes);

impl IncomingBody for Whole {
    fn take_whole(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.0))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.take_whole().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads a complete body. The error is the response to send. If the Content-Length is too large, the body is refused
/// before it is polled, because polling makes hyper send 100 Continue.
pub(super) async fn read(
    mut body: impl IncomingBody,
    context: &Context,
    connection: &dyn RequestConnection,
) -> Result<RequestBody, Box<Response>> {
    let limits = &context.base.limits;
    let most = limits.max_body_size as u64;
    let said = body.size_hint().lower();
    if said > most {
        return Err(too_large(limits));
    }
    if said > limits.body_memory as u64 && !context.budget.fits(said) {
        return Err(refusal(&SpoolError::OverBudget, context));
    }
    let mut spool = Spool::new(&context.base.disk, &context.budget, limits.body_memory);
    let mut held = false;
    loop {
        let frame = poll_fn(|cx| {
            let room = spool.poll_room(cx);
            if held != room.is_pending() {
                held = !held;
                connection.hold_body(held);
            }
            ready!(room)?;
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let data = match frame.await {
            Ok(None) => break,
            // Trailers are dropped, because Rack has no place for them (RFC 9110 section 6.5.1).
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            // The framing is broken, or the client is gone: nothing more can be read.
            Ok(Some(Err(_))) => return Err(Box::new(Response::plain(StatusCode::BAD_REQUEST).and_close())),
            Err(error) => return Err(refusal(&error, context)),
        };
        if spool.length() + data.len() as u64 > most {
            return Err(too_large(limits));
        }
        spool.add(data).map_err(|error| refusal(&error, context))?;
    }
    spool.finish().await.map_err(|error| refusal(&error, context))
}

pub(super) fn too_large(limits: &Limits) -> Box<Response> {
    // Once at the level info, since the operator may want another limit. After that only at the level debug.
    static TOLD: Once = Once::new();
    let message = format!("413: a request body exceeds {} bytes (max_body_size)", limits.max_body_size);
    log::debug!("{message}");
    TOLD.call_once(|| log::info!("{message}; said once"));
    Box::new(Response::plain(StatusCode::PAYLOAD_TOO_LARGE).and_close())
}

/// The response to a body that cannot be kept: 503 if another try may succeed soon.
fn refusal(error: &SpoolError, context: &Context) -> Box<Response> {
    static OVER_BUDGET: LogThrottle = LogThrottle::once_a_minute();
    static FAILED: LogThrottle = LogThrottle::once_a_minute();
    let folder = context.budget.folder().display();
    let may_pass = match error {
        SpoolError::OverBudget => {
            context.base.stats.spool_full.add();
            let most = context.budget.most();
            if let Some(more) = OVER_BUDGET.allows() {
                log::warn!(
                    "503: the request bodies in {folder} would take more than {most} bytes (max_spooled_total){more}"
                );
            }
            true
        }
        SpoolError::Unavailable(_) => {
            context.base.stats.disk_unavailable.add();
            true
        }
        SpoolError::File(error) => {
            context.base.stats.spool_errors.add();
            if let Some(more) = FAILED.allows() {
                log::error!("a request body cannot be written to a temporary file in {folder}: {error}{more}");
            }
            is_shortage(error)
        }
    };
    let response = if may_pass { Response::unavailable() } else { Response::plain(StatusCode::INTERNAL_SERVER_ERROR) };
    Box::new(response.and_close())
}

/// Whether the system lacks something that may become free again.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}
