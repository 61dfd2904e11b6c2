//! What a listener needs for TLS, as `PushServer::Certificates#content` has it. The errors are an `ArgumentError`.

use std::sync::Arc;

use magnus::{Error, RArray, RHash, RString, Ruby, TryConvert, Value};
use push_core::base::ticket_keys::TicketKeys;
use push_core::net::tls::{Config, Pem, TlsSettings, Validity, VerifyMode};

use crate::support::errors::{argument_error, io_error};
use crate::support::jump::lookup;

/// Checks certificates and keys.
pub fn config(ruby: &Ruby, hash: RHash, tickets: Arc<TicketKeys>) -> Result<Config, Error> {
    Config::new(&settings(ruby, hash)?, tickets).map_err(|error| argument_error(ruby, error))
}

/// Checks certificates and keys, and says from when until when each certificate is valid: `[file, subject, from, until]`.
pub fn check(ruby: &Ruby, hash: RHash) -> Result<RArray, Error> {
    let keys = TicketKeys::anonymous().map_err(|error| io_error(ruby, error))?;
    let settings = settings(ruby, hash)?;
    let checked = Config::new(&settings, Arc::new(keys)).and_then(|_| settings.validity());
    let list = ruby.ary_new();
    for Validity { file, subject, from, until } in checked.map_err(|error| argument_error(ruby, error))? {
        list.push((file, subject, from, until))?;
    }
    Ok(list)
}

fn settings(ruby: &Ruby, hash: RHash) -> Result<TlsSettings, Error> {
    let fetch = |name: &str| -> Result<Option<Value>, Error> {
        Ok(lookup(hash, ruby.to_symbol(name))?.filter(|value| !magnus::value::ReprValue::is_nil(*value)))
    };
    let mut certificates = Vec::new();
    if let Some(all) = fetch("certificates")? {
        for pair in RArray::try_convert(all)? {
            let files = RArray::try_convert(pair)?.into_iter().map(pem).collect::<Result<Vec<_>, Error>>()?;
            let Ok([certificate, key]) = <[Pem; 2]>::try_from(files) else {
                return Err(argument_error(ruby, "a certificate and its key are two files"));
            };
            certificates.push((certificate, key));
        }
    }
    let client_ca = fetch("ca")?.map(pem).transpose()?;
    let verify = match fetch("verify_mode")?.map(String::try_convert).transpose()?.as_deref() {
        None | Some("none") => VerifyMode::None,
        Some("peer") => VerifyMode::Peer,
        Some("force_peer") => VerifyMode::ForcePeer,
        Some(other) => {
            let message = format_args!("verify_mode can be none, peer or force_peer, not {other}");
            return Err(argument_error(ruby, message));
        }
    };
    Ok(TlsSettings { certificates, client_ca, verify })
}

/// A file: its path, and its content.
fn pem(file: Value) -> Result<Pem, Error> {
    let file = RArray::try_convert(file)?;
    // SAFETY: copied before anything else runs.
    let bytes = |index| file.entry::<RString>(index).map(|string| unsafe { string.as_slice() }.to_vec());
    Ok(Pem { name: String::from_utf8_lossy(&bytes(0)?).into_owned(), text: bytes(1)? })
}
