//! The certificate for the name that a client asks for (RFC 6066, section 3: server name indication).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a listener, by the names that they are for.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Lower case; `*.example.com` stands for one label in front. Several for a name have keys of different kinds.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that ask for no name, or for one that no certificate is for.
    default: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// The first one is the default, together with those after it that are for one of its names.
    pub(super) fn new(certificates: impl IntoIterator<Item = (Vec<String>, CertifiedKey)>) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        let mut default: Vec<Arc<CertifiedKey>> = Vec::new();
        let mut default_names: Vec<String> = Vec::new();
        for (own, certificate) in certificates {
            let certificate = Arc::new(certificate);
            let own: Vec<_> = own.into_iter().map(|name| name.to_ascii_lowercase()).collect();
            if default.is_empty() {
                default_names.clone_from(&own);
            }
            if default.is_empty() || own.iter().any(|name| default_names.contains(name)) {
                default.push(Arc::clone(&certificate));
            }
            for name in own {
                names.entry(name).or_default().push(Arc::clone(&certificate));
            }
        }
        Certificates { names, default }
    }

    fn for_name(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.names.get(&format!("*.{parent}")));
        self.names.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().map_or(&self.default[..], |name| self.for_name(name));
        let usable =
            |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(hello.signature_schemes()).is_some();
        // If none is usable, rustls tells the client so.
        found.iter().find(usable).or_else(|| found.first()).cloned()
    }
}
