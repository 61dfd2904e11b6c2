//! The adapter to hyper, which speaks HTTP/1. No other file uses hyper.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use super::requests::{Exchange, Requests};
use super::socket::ScannedSocket;
use super::state::{ConnectionState, ResponseInProgress};
use crate::base::limits::Limits;
use crate::http::body::{Body, BodyError};
use crate::http::response::Response;
use crate::http::service::Answer;
use crate::http::upload::IncomingBody;
use crate::request_head::{Method, RequestHead};

/// hyper's default, too. If hyper is given a number, even this one, it fills a table of so many headers for each
/// request. Without a number it uses a table that it need not fill.
const DEFAULT_MAX_HEADERS: usize = 100;

/// A connection on which hyper speaks HTTP.
pub(super) struct HyperConnection(http1::Connection<TokioIo<ScannedSocket>, Requests>);

/// Why hyper has given a connection up.
#[derive(Debug)]
pub(super) struct HyperError(hyper::Error);

impl HyperConnection {
    /// Serves the requests that come by `socket`.
    pub(super) fn new(socket: ScannedSocket, requests: Requests) -> Self {
        let limits = &requests.connection.context().base.limits;
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
        HyperConnection(builder.serve_connection(TokioIo::new(socket), requests))
    }

    /// Reads, serves and writes as much as possible. Ready when HTTP has ended.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), HyperError>> {
        Pin::new(&mut self.0).poll(cx).map_err(HyperError)
    }

    /// The socket, the bytes that hyper has read from it but not used, and what has served its requests.
    pub(super) fn into_parts(self) -> (ScannedSocket, Bytes, Requests) {
        let parts = self.0.into_parts();
        (parts.io.into_inner(), parts.read_buf, parts.service)
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

impl IncomingBody for Incoming {}

/// The service to which hyper passes requests.
impl hyper::service::Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = HyperExchange;

    fn call(&self, request: http::Request<Incoming>) -> HyperExchange {
        let connection = Arc::clone(&self.connection);
        if let Some(exchange) = self.handed_over.take() {
            return HyperExchange { exchange: *exchange, version: Version::HTTP_11, connection };
        }
        let (head, body) = request.into_parts();
        let head = RequestHead::from_parts(head);
        let version = head.version();
        let exchange = self.begin(head, body);
        HyperExchange { exchange, version, connection }
    }
}

/// A request that is being handled. hyper polls this future for the response.
pub(super) struct HyperExchange {
    exchange: Exchange,
    version: Version,
    connection: Arc<ConnectionState>,
}

impl Future for HyperExchange {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match ready!(this.exchange.poll_answer(&this.connection.context().base, cx)) {
            Answer::Response(response) => {
                let in_progress = this.connection.answered(response.head.status, response.is_streaming());
                Poll::Ready(Ok(framed(response, this.exchange.method, this.version, in_progress)))
            }
            Answer::Takeover(takeover) => {
                this.connection.take_over(takeover);
                // The connection drops this future when it takes the socket from hyper.
                Poll::Pending
            }
        }
    }
}

/// Makes a response for hyper.
fn framed(
    response: Response,
    method: Method,
    version: Version,
    mut in_progress: ResponseInProgress,
) -> http::Response<ResponseBody> {
    let length = response.length();
    let (head, body) = head_for_hyper(response, method, version);
    // hyper does not poll a body that it will not send.
    let nothing_to_send = method == Method::Head || body.is_end_stream();
    in_progress.took(0, nothing_to_send, None);
    head.map(|()| ResponseBody { body, length, broken: None, in_progress })
}

/// The head and the body of a response for hyper. hyper frames the body, so the app's Transfer-Encoding is dropped.
pub(super) fn head_for_hyper(response: Response, method: Method, version: Version) -> (http::Response<()>, Body) {
    let sends_body = response.sends_body(method);
    let closes = response.closes_for(version == Version::HTTP_10);
    let Response { mut head, mut body } = response;
    head.headers.remove("transfer-encoding");
    if head.close || closes {
        head.headers.set("connection", "close");
    }
    if !sends_body && method != Method::Head {
        head.headers.remove("content-length");
        body = Body::Empty;
    }
    let mut framed = http::Response::new(());
    *framed.status_mut() = head.status;
    *framed.headers_mut() = head.headers.into_map();
    if closes {
        // If a client of HTTP/1.0 asks for keep-alive, hyper adds keep-alive even to a response that says close. It
        // does not if the response's version is HTTP/1.0.
        *framed.version_mut() = Version::HTTP_10;
    }
    (framed, body)
}

/// A response's body on its way through hyper.
pub(super) struct ResponseBody {
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

/// What [`super::head_comparison`] compares with.
#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::disk::Disk;
    use hyper::service::service_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct HyperBody(Body, Disk);

    impl http_body::Body for HyperBody {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut TaskContext<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let HyperBody(body, disk) = &mut *self;
            body.poll_chunk(cx, disk).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }

    /// The head that hyper writes, and whether the connection ends after it. `None` if hyper writes nothing.
    pub(in crate::http::h1) async fn head_by_hyper(
        request: &str,
        version: Version,
        make: impl Fn() -> Response,
    ) -> Option<(String, bool)> {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let called = Arc::new(AtomicUsize::new(0));
        let service = service_fn(|request: http::Request<Incoming>| {
            called.fetch_add(1, Ordering::Relaxed);
            let method = Method::named(request.method().as_str().as_bytes());
            let (head, body) = head_for_hyper(make(), method, version);
            async move { Ok::<_, Infallible>(head.map(|()| HyperBody(body, Disk::default()))) }
        });
        let mut server = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        // If the connection stays open, the second request is read, too.
        client.write_all(request.repeat(2).as_bytes()).await.unwrap();
        let mut ended = false;
        while !ended && called.load(Ordering::Relaxed) < 2 {
            tokio::select! {
                biased;
                _ = &mut server => ended = true,
                () = tokio::task::yield_now() => {}
            }
        }
        let mut wire = vec![0; 16 * 1024];
        let head = loop {
            tokio::select! {
                biased;
                length = client.read(&mut wire) => break String::from_utf8(wire[..length.unwrap()].to_vec()).unwrap(),
                _ = &mut server, if !ended => ended = true,
                () = tokio::task::yield_now(), if ended => return None,
            }
        };
        let head = head.split_once("\r\n\r\n").map(|(head, _)| head.to_owned())?;
        Some((head, called.load(Ordering::Relaxed) < 2))
    }
}
