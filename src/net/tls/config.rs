//! What a listener needs for TLS.

use std::sync::Arc;

use ring::digest;
use rustls::crypto::ring as crypto;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use webpki::EndEntityCert;

use super::certificates::Certificates;
use super::tickets::Tickets;
use crate::base::lock::Lock;
use crate::base::ticket_keys::TicketKeys;

/// The protocols that clients may choose from (RFC 7301), the best one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2, as clients ask for it (RFC 9113 section 3.2).
pub const HTTP2: &[u8] = b"h2";

/// A file in the format PEM (RFC 7468).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Pem {
    /// What errors call it: its path.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
}

impl std::fmt::Debug for Pem {
    /// Without the text, which may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What clients must show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
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
    pub verify: Verify,
}

/// A certificate or a key that cannot be used. The texts name the file.
#[derive(Debug, Error)]
pub enum TlsError {
    /// There is none at all.
    #[error("there is no certificate")]
    NoCertificate,
    /// The file is not as PEM has it.
    #[error("{0} is no PEM file: {1}")]
    Pem(String, String),
    /// It may be the file of a key, for example.
    #[error("{0} has no certificate")]
    Empty(String),
    /// It may be the file of a certificate, for example.
    #[error("{0} has no private key")]
    NoKey(String),
    /// There is nobody who could be asked for the password.
    #[error("the key in {0} is encrypted: decrypt it, and let only this user read the file")]
    EncryptedKey(String),
    /// The certificate, or the key, is of a kind that is not supported, or broken.
    #[error("{0}: {1}")]
    Refused(String, rustls::Error),
    /// They do not belong together.
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    WrongKey {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// The certificates of issuers cannot be used.
    #[error("{0}: {1}")]
    Ca(String, String),
    /// Clients are to be asked for certificates, and nobody says whose.
    #[error("verify_mode needs ca: the certificates that client certificates are issued by")]
    NoCa,
    /// It would not do anything.
    #[error("ca needs verify_mode: peer or force_peer")]
    NoVerify,
}

/// What a listener needs for TLS, checked. It is never changed.
#[derive(Debug)]
pub struct Config(pub(super) Arc<ServerConfig>);

/// The configuration of a listener, which can be replaced. Connections keep the one with which they began.
#[derive(Debug)]
pub struct Current(Lock<Arc<Config>>);

impl Current {
    /// The first configuration.
    pub fn new(config: Config) -> Self {
        Current(Lock::new(Arc::new(config)))
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
            (None, Verify::None) => builder.with_no_client_auth(),
            (Some(_), Verify::None) => return Err(TlsError::NoVerify),
            (None, _) => return Err(TlsError::NoCa),
            (Some(ca), verify) => {
                let refused = |error: String| TlsError::Ca(ca.name.clone(), error);
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca)? {
                    roots.add(certificate).map_err(|error| refused(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let verifier = if verify == Verify::Peer { verifier.allow_unauthenticated() } else { verifier };
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
        config.ticketer = Arc::new(Tickets::new(tickets, settings.clients()));
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
    /// What clients must show, in a few bytes.
    fn clients(&self) -> Vec<u8> {
        let ca = self.client_ca.as_ref().map_or(&[][..], |ca| &ca.text);
        [&[self.verify as u8], digest::digest(&digest::SHA256, ca).as_ref()].concat()
    }
}

fn certificates(file: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(&file.text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| TlsError::Pem(file.name.clone(), error.to_string()))?;
    if all.is_empty() { Err(TlsError::Empty(file.name.clone())) } else { Ok(all) }
}

fn private_key(file: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|sign| memchr::memmem::find(&file.text, sign).is_some()) {
        return Err(TlsError::EncryptedKey(file.name.clone()));
    }
    PrivateKeyDer::from_pem_slice(&file.text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(file.name.clone()),
        other => TlsError::Pem(file.name.clone(), other.to_string()),
    })
}

/// A certificate that its key belongs to, and the names that it is for.
fn certified(
    certificate: &Pem,
    key: &Pem,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<(Vec<String>, CertifiedKey), TlsError> {
    let chain = certificates(certificate)?;
    let refused = |file: &Pem, error| TlsError::Refused(file.name.clone(), error);
    let signing = provider.key_provider.load_private_key(private_key(key)?).map_err(|error| refused(key, error))?;
    let names = EndEntityCert::try_from(&chain[0])
        .map(|parsed| parsed.valid_dns_names().map(str::to_owned).collect())
        .map_err(|error| TlsError::Ca(certificate.name.clone(), error.to_string()))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok((names, certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::WrongKey { certificate: certificate.name.clone(), key: key.name.clone() })
        }
        Err(error) => Err(refused(certificate, error)),
    }
}
