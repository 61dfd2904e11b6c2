//! The handshake of a connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::config::CurrentConfig;
use super::gate::Gate;
use super::stream::TlsSocket;
use crate::net::Socket;

/// The first byte of TLS: the record of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Why a connection is not encrypted.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The client speaks something else, most likely HTTP. Its socket, of which nothing was read.
    #[error("the client does not speak TLS")]
    Plain(Socket),
    /// The client and this listener have found no way, or the client has ended the connection. It has been told, if it still
    /// listens.
    #[error("{0}")]
    Failed(io::Error),
    /// The client has connected, and ended the connection.
    #[error("the client has sent nothing")]
    Nothing,
}

/// What the handshakes of a server share.
#[derive(Debug)]
pub struct Handshakes {
    /// A permit for each.
    permits: Arc<Semaphore>,
    gate: Arc<Gate>,
}

impl Handshakes {
    /// At most `most` at a time (`max_handshakes`).
    pub fn new(most: usize) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Handshakes { permits, gate: Arc::default() }
    }

    /// Waits until there is room for one more: its client waits in the backlog until then.
    pub(in crate::net) async fn acquire(&self, config: &Arc<CurrentConfig>) -> Box<Handshake> {
        let permit = match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        };
        self.begin(config, permit)
    }

    /// As [`Handshakes::acquire`], without waiting: `None` if there is no room now.
    pub(in crate::net) fn try_acquire(&self, config: &Arc<CurrentConfig>) -> Option<Box<Handshake>> {
        Some(self.begin(config, Arc::clone(&self.permits).try_acquire_owned().ok()?))
    }

    fn begin(&self, config: &Arc<CurrentConfig>, permit: OwnedSemaphorePermit) -> Box<Handshake> {
        Box::new(Handshake { config: Arc::clone(config), gate: Arc::clone(&self.gate), _permit: permit })
    }
}

/// A handshake that a connection begins with. It counts until it is dropped.
#[derive(Debug)]
pub struct Handshake {
    config: Arc<CurrentConfig>,
    gate: Arc<Gate>,
    _permit: OwnedSemaphorePermit,
}

impl Handshake {
    /// Encrypts the connection. Inside the runtime. It has no deadline of its own.
    pub async fn run(self: Box<Self>, socket: Socket) -> Result<Socket, HandshakeError> {
        match socket.peek().await.map_err(HandshakeError::Failed)? {
            None => return Err(HandshakeError::Nothing),
            Some(HANDSHAKE) => {}
            Some(_) => return Err(HandshakeError::Plain(socket)),
        }
        let mut accepting = pin!(TlsAcceptor::from(self.config.get()).accept(socket));
        let accepted = poll_fn(|cx| if self.gate.admits(cx) { accepting.as_mut().poll(cx) } else { Poll::Pending });
        let stream = accepted.await.map_err(HandshakeError::Failed)?;
        Ok(Socket::Tls(Box::new(TlsSocket::new(stream))))
    }
}
