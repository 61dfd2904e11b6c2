//! From when until when certificates are valid.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::config::TlsSettings;
use super::files::{TlsError, certificates};

/// From when until when a certificate is valid. Clients refuse it at other times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// The file that it is in.
    pub file: String,
    /// What it is for: the common name of its subject, or the first of its alternative names. May be empty.
    pub subject: String,
    /// In seconds since 1970.
    pub from: u64,
    /// The last second, since 1970.
    pub until: u64,
}

impl TlsSettings {
    /// Of each certificate that clients get, also of those of issuers. One that cannot be read is left out: clients may know it
    /// all the same.
    pub fn validity(&self) -> Result<Vec<Validity>, TlsError> {
        let mut all = Vec::new();
        for (file, _) in &self.certificates {
            all.extend(certificates(file)?.iter().filter_map(|certificate| of(&file.name, certificate)));
        }
        Ok(all)
    }
}

fn of(file: &str, certificate: &CertificateDer<'_>) -> Option<Validity> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let subject = common_name(parsed.subject()).or_else(|| parsed.valid_dns_names().next().map(str::to_owned));
    // The certificate is not verified here. The first thing that webpki looks at is the time, and the error has what is asked for.
    let outside = |time| {
        let time = UnixTime::since_unix_epoch(time);
        parsed.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let until = match outside(Duration::MAX)? {
        Error::CertExpired { not_after, .. } => not_after.as_secs(),
        _ => return None,
    };
    let from = match outside(Duration::ZERO)? {
        Error::CertNotValidYet { not_before, .. } => not_before.as_secs(),
        _ => 0,
    };
    Some(Validity { file: file.to_owned(), subject: subject.unwrap_or_default(), from, until })
}

/// The last common name of a subject. Of the encoding (DER), only short texts are known.
fn common_name(subject: &[u8]) -> Option<String> {
    // The object identifier 2.5.4.3.
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = memchr::memmem::rfind(subject, &COMMON_NAME)?;
    let [_, length, text @ ..] = &subject[at + COMMON_NAME.len()..] else { return None };
    let text = text.get(..usize::from(*length)).filter(|text| text.len() < 128)?;
    Some(String::from_utf8_lossy(text).chars().filter(|char| !char.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_common_name_is_the_last_one() {
        let one = |text: &str| {
            [&[0x31, 0, 0x30, 0, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c][..], &[text.len() as u8], text.as_bytes()].concat()
        };
        assert_eq!(common_name(&one("a.example")).as_deref(), Some("a.example"));
        assert_eq!(common_name(&[one("Specs"), one("b\n.example")].concat()).as_deref(), Some("b.example"));
        assert_eq!(common_name(&one("")).as_deref(), Some(""));
        for end in 0..one("a").len() {
            assert_eq!(common_name(&one("a")[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_a_certificate(bytes: Vec<u8>) {
            let _ = common_name(&[&[0x06, 0x03, 0x55, 0x04, 0x03][..], &bytes].concat());
            prop_assert_eq!(of("file", &CertificateDer::from(bytes)), None);
        }
    }
}
