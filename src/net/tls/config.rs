//! What a listener needs for TLS.

use std::sync::Arc;

use ring::digest;
use rustls::crypto::ring as crypto;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::certificates::Certificates;
use super::files::{Pem, TlsError, certificates, certified};
use super::tickets::Tickets;
use crate::base::lock::Lock;
use crate::base::ticket_keys::TicketKeys;

/// The protocols that clients may choose from (RFC 7301), the best one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2, as clients ask for it (RFC 9113 section 3.2).
pub const HTTP2: &[u8] = b"h2";

/// What clients must show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// Nothing: they are not asked for a certificate.
    #[default]
    None,
    /// A certificate, if they have one.
    Peer,
    /// A certificate.
    ForcePeer,
}

/// The certificates of a listener.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Each certificate, with the certificates that its issuers need, and its private key. The first one is for clients that ask
    /// for no name, or for one that no certificate is for.
    pub certificates: Vec<(Pem, Pem)>,
    /// Whose certificates clients may show.
    pub client_ca: Option<Pem>,
    /// What clients must show.
    pub verify: VerifyMode,
}

/// What a listener needs for TLS, checked. It is never changed.
#[derive(Debug)]
pub struct Config(pub(super) Arc<ServerConfig>);

/// The configuration of a listener, which can be replaced. Connections keep the one with which they began.
#[derive(Debug)]
pub struct CurrentConfig(Lock<Arc<Config>>);

impl CurrentConfig {
    /// The first configuration.
    pub fn new(config: Config) -> Self {
        CurrentConfig(Lock::new(Arc::new(config)))
    }

    /// Replaces the configuration for handshakes that begin from now on.
    pub fn replace(&self, config: Config) {
        *self.0.lock() = Arc::new(config);
    }

    pub(super) fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().0)
    }
}

impl Config {
    /// Checks certificates and keys. `tickets` are the keys with which sessions are resumed.
    pub fn new(settings: &TlsSettings, tickets: Arc<TicketKeys>) -> Result<Self, TlsError> {
        let provider = Arc::new(crypto::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Refused("TLS".to_owned(), error))?;
        let builder = match (&settings.client_ca, settings.verify) {
            (None, VerifyMode::None) => builder.with_no_client_auth(),
            (Some(_), VerifyMode::None) => return Err(TlsError::NoVerify),
            (None, _) => return Err(TlsError::NoCa),
            (Some(ca), verify) => {
                let refused = |error: String| TlsError::Ca(ca.name.clone(), error);
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca)? {
                    roots.add(certificate).map_err(|error| refused(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let verifier = if verify == VerifyMode::Peer { verifier.allow_unauthenticated() } else { verifier };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
            }
        };
        if settings.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let known = settings.certificates.iter().map(|(certificate, key)| certified(certificate, key, &provider));
        let resolver = Certificates::new(known.collect::<Result<Vec<_>, _>>()?);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // The sessions are in the tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets::new(tickets, settings.session_context()));
        Ok(Config(Arc::new(config)))
    }

    /// The same for a server that does not speak HTTP/2. Before it is used.
    pub fn without_http2(mut self) -> Self {
        if let Some(config) = Arc::get_mut(&mut self.0) {
            config.alpn_protocols.retain(|protocol| protocol != HTTP2);
        }
        self
    }
}

impl TlsSettings {
    /// What clients must show, in a few bytes: a session that began with something else must not be resumed.
    fn session_context(&self) -> Vec<u8> {
        let ca = self.client_ca.as_ref().map_or(&[][..], |ca| &ca.text);
        [&[self.verify as u8], digest::digest(&digest::SHA256, ca).as_ref()].concat()
    }
}
