//! The adapter to hyper, which speaks HTTP/1. No other file uses hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use super::socket::ScannedSocket;
use super::state::{ConnectionState, ResponseInProgress};
use crate::base::limits::Limits;
use crate::http::body::{Body, BodyError};
use crate::http::exchange::ReplySlot;
use crate::http::response::Response;
use crate::http::service::{Answer, Handling, RequestService};
use crate::http::{forwarded, refusal};

/// hyper's default, too. If hyper is given a number, even this one, it fills a table of so many headers for each
/// request. Without a number it uses a table that it need not fill.
const DEFAULT_MAX_HEADERS: usize = 100;

/// A connection on which hyper speaks HTTP.
pub(super) struct HyperConnection(http1::Connection<TokioIo<ScannedSocket>, HyperService>);

/// Why hyper has given a connection up.
#[derive(Debug)]
pub(super) struct HyperError(hyper::Error);

impl HyperConnection {
    /// Serves the requests that come by `socket`, which is the socket of `connection`.
    pub(super) fn new(socket: ScannedSocket, connection: Arc<ConnectionState>, requests: RequestService) -> Self {
        let context = Arc::clone(&requests.context);
        let limits = &context.base.limits;
        let slot = ReplySlot::new(Arc::clone(&context.push), Arc::clone(&connection) as _);
        let service = HyperService { requests, connection, slot: Cell::new(Some(slot)) };
        let mut builder = http1::Builder::new();
        if limits.max_headers != DEFAULT_MAX_HEADERS {
            builder.max_headers(limits.max_headers);
        }
        builder
            // The connection's state decides when hyper learns that the client has closed its side.
            .half_close(false)
            // The connection checks its deadlines itself, with the timers that all connections share.
            .header_read_timeout(None)
            .max_header_size(limits.max_head_size)
            .max_buf_size(max_buffer(limits));
        HyperConnection(builder.serve_connection(TokioIo::new(socket), service))
    }

    /// Reads, serves and writes as much as possible. Ready when HTTP has ended.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), HyperError>> {
        Pin::new(&mut self.0).poll(cx).map_err(HyperError)
    }

    /// The socket, and the bytes that hyper has read from it but not used.
    pub(super) fn into_parts(self) -> (ScannedSocket, Bytes) {
        let (socket, read, _) = self.into_all_parts();
        (socket, read)
    }

    /// As [`HyperConnection::into_parts`], and what has served its requests.
    pub(super) fn into_all_parts(self) -> (ScannedSocket, Bytes, RequestService) {
        let parts = self.0.into_parts();
        (parts.io.into_inner(), parts.read_buf, parts.service.requests)
    }
}

fn max_buffer(limits: &Limits) -> usize {
    limits.max_head_size.max(64 * 1024)
}

impl HyperError {
    /// The status with which hyper has answered a head that it could not parse. `None` if the error is another one.
    pub(super) fn answered(&self) -> Option<StatusCode> {
        match self.0.is_parse() {
            true if self.0.is_parse_too_large() => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            true => Some(StatusCode::BAD_REQUEST),
            false => None,
        }
    }
}

impl std::fmt::Display for HyperError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The service to which hyper passes requests.
struct HyperService {
    requests: RequestService,
    connection: Arc<ConnectionState>,
    /// The slot for the next request. `None` only while it is being changed.
    slot: Cell<Option<Arc<ReplySlot>>>,
}

impl hyper::service::Service<http::Request<Incoming>> for HyperService {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Exchange;

    fn call(&self, request: http::Request<Incoming>) -> Exchange {
        let (mut head, body) = request.into_parts();
        let (method, version) = (head.method.clone(), head.version);
        let refused = self.connection.called();
        let RequestService { context, peer, encrypted, .. } = &self.requests;
        let (client, https) = forwarded::client(&mut head.headers, (*peer, *encrypted), &context.trusted_proxies);
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
                    self.requests.begin(head, body, ends)
                } else {
                    RequestService { peer: client, https, ..self.requests.clone() }.begin(head, body, ends)
                }
            }
        };
        Exchange { method, version, connection: Arc::clone(&self.connection), handling }
    }
}

impl HyperService {
    /// The response to a head that the scanner has refused.
    fn refuse(&self, status: StatusCode) -> Response {
        // A timeout was counted when the deadline passed.
        if status != StatusCode::REQUEST_TIMEOUT {
            refusal::record(status, self.requests.peer, &self.requests.context.base.stats);
        }
        Response::plain(status).and_close()
    }
}

/// A request that is being handled. hyper polls this future for the response.
struct Exchange {
    method: Method,
    version: Version,
    connection: Arc<ConnectionState>,
    handling: Handling,
}

impl Future for Exchange {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match ready!(this.handling.poll_answer(cx)) {
            Answer::Response(mut response) => {
                // The client must not send another request on a connection that will be closed.
                response.head.close |= !this.connection.context().base.lifecycle.serving();
                let in_progress = this.connection.answered(response.head.status, response.is_streaming());
                Poll::Ready(Ok(framed(*response, &this.method, this.version, in_progress)))
            }
            Answer::Takeover(takeover) => {
                this.connection.take_over(takeover);
                // The connection drops this future when it takes the socket from hyper.
                Poll::Pending
            }
        }
    }
}

/// Makes a response for hyper. hyper frames the body, so the app's Transfer-Encoding is dropped.
fn framed(
    response: Response,
    method: &Method,
    version: Version,
    mut in_progress: ResponseInProgress,
) -> http::Response<ResponseBody> {
    let sends_body = response.sends_body(method);
    let closes = response.closes_for(version);
    let length = response.length();
    let Response { mut head, mut body } = response;
    head.headers.remove(TRANSFER_ENCODING);
    if head.close || closes {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !sends_body && *method != Method::HEAD {
        head.headers.remove(CONTENT_LENGTH);
        body = Body::Empty;
    }
    // hyper does not poll a body that it will not send.
    let nothing_to_send = *method == Method::HEAD || body.is_end_stream();
    in_progress.took(0, nothing_to_send, None);
    let mut framed = http::Response::new(ResponseBody { body, length, broken: None, in_progress });
    *framed.status_mut() = head.status;
    *framed.headers_mut() = head.headers;
    if closes {
        // If a client of HTTP/1.0 asks for keep-alive, hyper adds keep-alive even to a response that says close. It
        // does not if the response's version is HTTP/1.0.
        *framed.version_mut() = Version::HTTP_10;
    }
    framed
}

/// A response's body on its way through hyper.
struct ResponseBody {
    body: Body,
    /// The app's Content-Length. hyper takes no more bytes than this.
    length: Option<u64>,
    /// Why the body cannot be finished. hyper gets this error when it has written all bytes before it, because at an
    /// error it drops what it has not written.
    broken: Option<Broken>,
    /// Ends when hyper drops the body: hyper has taken all of it, or wants no more.
    in_progress: ResponseInProgress,
}

struct Broken {
    error: BodyError,
    flushing: bool,
}

impl ResponseBody {
    /// The next bytes. At an error: `None`, and `broken` is set.
    fn poll_chunk(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Bytes>> {
        let disk = &self.in_progress.connection().context().base.disk;
        let chunk = match ready!(self.body.poll_chunk(cx, disk)) {
            Some(Ok(chunk)) => Some(chunk),
            Some(Err(error)) => return self.fail(error),
            None if self.length.is_some_and(|length| self.in_progress.taken() < length) => {
                let (taken, length) = (self.in_progress.taken(), self.length.unwrap_or_default());
                log::warn!("a response ended after {taken} of the {length} bytes that its Content-Length promised");
                return self.fail(BodyError::Short);
            }
            None => None,
        };
        let ended = chunk.is_none() || self.body.is_end_stream();
        self.in_progress.took(chunk.as_ref().map_or(0, Bytes::len) as u64, ended, self.length);
        Poll::Ready(chunk)
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Bytes>> {
        self.broken = Some(Broken { error, flushing: false });
        Poll::Ready(None)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.broken.is_none() {
            let chunk = ready!(this.poll_chunk(cx));
            if chunk.is_some() || this.broken.is_none() {
                return Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))));
            }
        }
        let connection = this.in_progress.connection();
        if let Some(broken) = &mut this.broken
            && !std::mem::replace(&mut broken.flushing, true)
        {
            connection.await_flush();
        }
        // hyper flushes when the body is pending.
        if connection.flushed() {
            Poll::Ready(this.broken.take().map(|broken| Err(broken.error)))
        } else {
            Poll::Pending
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
