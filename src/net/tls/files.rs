//! Certificates and keys, as files have them.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use webpki::EndEntityCert;

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
    /// The file begins as all structures of ASN.1 do.
    #[error("{0} is no PEM file, but looks like DER or PKCS#12: convert it with openssl")]
    Der(String),
    /// There is nobody who could be asked for the password.
    #[error("the key in {0} is encrypted: decrypt it, and let only this user read the file")]
    EncryptedKey(String),
    /// It is of a kind that is not supported, or broken.
    #[error("the key in {0} cannot be used: it must be RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, or Ed25519")]
    Key(String),
    /// As `openssl x509 -req` makes it without `-extfile`. It cannot be for any name.
    #[error("the certificate in {0} is not of version 3 (X.509): issue one that has a subjectAltName")]
    Version(String),
    /// The certificate is of a kind that is not supported, or broken.
    #[error("{0}: {1}")]
    Refused(String, rustls::Error),
    /// Clients take the first certificate for the server's.
    #[error(
        "the certificate that the key in {key} belongs to is number {number} in {certificate}: it must be the first one"
    )]
    Order {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// From 1.
        number: usize,
    },
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

/// All certificates of a file; at least one.
pub(super) fn certificates(file: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(&file.text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| TlsError::Pem(file.name.clone(), error.to_string()))?;
    if all.is_empty() { Err(file.without(TlsError::Empty)) } else { Ok(all) }
}

impl Pem {
    /// Why there is nothing in it that could be used.
    fn without(&self, error: impl FnOnce(String) -> TlsError) -> TlsError {
        // A SEQUENCE with a length of two bytes.
        if self.text.starts_with(&[0x30, 0x82]) { TlsError::Der(self.name.clone()) } else { error(self.name.clone()) }
    }
}

fn private_key(file: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|sign| memchr::memmem::find(&file.text, sign).is_some()) {
        return Err(TlsError::EncryptedKey(file.name.clone()));
    }
    PrivateKeyDer::from_pem_slice(&file.text).map_err(|error| match error {
        pem::Error::NoItemsFound => file.without(TlsError::NoKey),
        other => TlsError::Pem(file.name.clone(), other.to_string()),
    })
}

/// A certificate that its key belongs to, and the names that it is for.
pub(super) fn certified(
    certificate: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<(Vec<String>, CertifiedKey), TlsError> {
    let chain = certificates(certificate)?;
    let signing = provider.key_provider.load_private_key(private_key(key)?);
    let signing = signing.map_err(|_| TlsError::Key(key.name.clone()))?;
    let names = EndEntityCert::try_from(&chain[0])
        .map(|parsed| parsed.valid_dns_names().map(str::to_owned).collect())
        .map_err(|error| match error {
            webpki::Error::UnsupportedCertVersion => TlsError::Version(certificate.name.clone()),
            other => TlsError::Ca(certificate.name.clone(), other.to_string()),
        })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok((names, certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(mismatch(certificate, key, &certified)),
        Err(error) => Err(TlsError::Refused(certificate.name.clone(), error)),
    }
}

/// Why the key does not belong to the first certificate.
fn mismatch(certificate: &Pem, key: &Pem, certified: &CertifiedKey) -> TlsError {
    let public = certified.key.public_key();
    let belongs = |one: &CertificateDer<'_>| {
        EndEntityCert::try_from(one).is_ok_and(|parsed| Some(parsed.subject_public_key_info()) == public)
    };
    let (certificate, key) = (certificate.name.clone(), key.name.clone());
    match certified.cert.iter().position(belongs) {
        Some(index) => TlsError::Order { certificate, key, number: index + 1 },
        None => TlsError::WrongKey { certificate, key },
    }
}
