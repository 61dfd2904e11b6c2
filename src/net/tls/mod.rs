//! TLS: what a listener needs for it, the handshake, and the socket behind it.
//!
//! | module | subject |
//! |---|---|
//! | [`config`] | certificates, client certificates and versions of a listener, which can be replaced while it accepts |
//! | [`files`] | certificates and keys, as files have them, and what is wrong with them |
//! | [`validity`] | from when until when certificates are valid |
//! | `certificates` | the certificate for the name that a client asks for |
//! | `tickets` | sessions that clients resume in any process |
//! | [`handshake`] | the handshake of a connection |
//! | `gate` | how many handshakes may go on at once |
//! | [`stream`] | an encrypted connection |

mod certificates;
pub mod config;
pub mod files;
mod gate;
pub mod handshake;
pub mod stream;
mod tickets;
pub mod validity;

pub use config::{Config, CurrentConfig, HTTP2, TlsSettings, VerifyMode};
pub use files::{Pem, TlsError};
pub use handshake::{Handshake, HandshakeError, Handshakes};
pub use stream::{ClientCertificate, TlsSocket};
pub use validity::Validity;
