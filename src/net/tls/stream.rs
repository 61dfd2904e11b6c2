//! An encrypted connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::net::Socket;

/// A certificate that a client has shown, in the format DER. It was verified.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate(pub Vec<u8>);

/// A connection after its handshake, over a socket that is not encrypted.
///
/// It may hold back what was written, until it is flushed.
#[derive(Debug)]
pub struct TlsSocket {
    stream: TlsStream<Socket>,
    /// The client has ended a connection of TLS 1.2: nothing may be written any more.
    ended: bool,
    client_certificate: Option<Arc<ClientCertificate>>,
}

impl TlsSocket {
    pub(super) fn new(stream: TlsStream<Socket>) -> Self {
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let client_certificate = shown.map(|certificate| Arc::new(ClientCertificate(certificate.to_vec())));
        TlsSocket { stream, ended: false, client_certificate }
    }

    /// The socket beneath.
    pub fn socket(&self) -> &Socket {
        self.stream.get_ref().0
    }

    /// The protocol that the client has chosen (RFC 7301). `None`: it cannot choose.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// See [`Socket::client_certificate`].
    pub fn client_certificate(&self) -> Option<&Arc<ClientCertificate>> {
        self.client_certificate.as_ref()
    }

    /// Whether the client has resumed a session.
    pub fn resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// See [`Socket::reset`].
    pub fn reset(&mut self) {
        self.stream.get_mut().0.reset();
    }

    /// Sends close_notify, as far as the socket takes it at once.
    pub fn send_close_notify(&mut self) {
        self.stream.get_mut().1.send_close_notify();
        // What the socket does not take now is not sent.
        let _ = Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    /// The client has sent close_notify. In TLS 1.3 it may still read. In TLS 1.2 this is the end of both directions
    /// (RFC 5246 section 7.2.1).
    fn received_close_notify(&mut self) {
        if self.stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_2) && !self.ended {
            self.send_close_notify();
            self.ended = true;
        }
    }

    fn check_open(&self) -> io::Result<()> {
        if self.ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl AsyncRead for TlsSocket {
    /// The end of the stream is close_notify. An end without it is an error: something may be missing.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            this.received_close_notify();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
