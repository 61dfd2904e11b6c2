//! `[status, headers, body]`: what an app returned. Its head is checked and converted here; [`crate::rack::body`] has
//! the body. The errors are a `TypeError`, or what the app's objects raise.

use magnus::value::ReprValue;
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, Symbol, TryConvert, Value};
use push_core::http::ResponseHeaders;

use crate::support::entries::each_entry;
use crate::support::errors::{excerpt, type_error};
use crate::support::fields::{require_string, text_of};
use crate::support::jump::unless_raised;

/// A Rack response whose head is converted.
pub struct AppResponse {
    pub status: i64,
    pub headers: ResponseHeaders,
    pub body: Value,
    /// The header `rack.hijack`: it is called with the socket, after the head is sent.
    pub hijack: Option<Value>,
    /// The header `rack.protocol`: the protocol that the body speaks.
    pub protocol: Option<String>,
}

/// Converts what `call` has returned.
pub fn parse(ruby: &Ruby, value: Value) -> Result<AppResponse, Error> {
    let Some(parts) = unless_raised(RArray::try_convert(value))?.filter(|parts| parts.len() == 3) else {
        let returned = excerpt(value)?;
        return Err(type_error(ruby, format_args!("the app must return [status, headers, body], not {returned}")));
    };
    let status = status(ruby, parts.entry(0)?)?;
    let mut response =
        AppResponse { status, headers: ResponseHeaders::new(), body: parts.entry(2)?, hijack: None, protocol: None };
    each_header(ruby, parts.entry(1)?, |name, value| match name {
        b"rack.hijack" => {
            response.hijack = Some(value).filter(|callable| !callable.is_nil());
            Ok(())
        }
        b"rack.protocol" => {
            response.protocol = RString::from_value(value).and_then(text_of);
            Ok(())
        }
        _ => add_field(ruby, &mut response.headers, name, value),
    })?;
    Ok(response)
}

fn status(ruby: &Ruby, value: Value) -> Result<i64, Error> {
    // Nearly all apps return an Integer.
    if let Some(number) = Integer::from_value(value) {
        return number.to_i64();
    }
    if let Some(number) = unless_raised(Integer::try_convert(value))? {
        return number.to_i64();
    }
    let text = unless_raised(RString::try_convert(value))?.and_then(text_of);
    match text.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(number),
        None => Err(type_error(ruby, format_args!("the status must be an Integer, not {}", excerpt(value)?))),
    }
}

/// Converts headers, in any form that Rack allows.
pub fn headers(ruby: &Ruby, value: Value) -> Result<ResponseHeaders, Error> {
    let mut map = ResponseHeaders::new();
    each_header(ruby, value, |key, value| add_field(ruby, &mut map, key, value))?;
    Ok(map)
}

/// Gives each header to `take`, which must not call Ruby while it uses the name.
#[inline]
fn each_header(
    ruby: &Ruby,
    headers: Value,
    mut take: impl FnMut(&[u8], Value) -> Result<(), Error>,
) -> Result<(), Error> {
    // Rack 2 requires only `each`. Rack::Headers and Rack::Utils::HeaderHash are Hashes.
    let hash = match RHash::from_value(headers) {
        Some(hash) => hash,
        None if !headers.is_nil() && headers.respond_to("to_h", false)? => headers.funcall("to_h", ())?,
        None => {
            return Err(type_error(ruby, format_args!("the headers must be a Hash, not {}", excerpt(headers)?)));
        }
    };
    each_entry(ruby, hash, |key, value| match RString::from_value(key) {
        // SAFETY: `take` calls no Ruby while it uses the slice.
        Some(name) => take(unsafe { name.as_slice() }, value),
        None => match Symbol::from_value(key) {
            Some(symbol) => take(symbol.name()?.as_bytes(), value),
            None => require_string(ruby, key, || "a header name".to_owned()).map(|_| ()),
        },
    })
}

#[inline]
fn add_field(ruby: &Ruby, headers: &mut ResponseHeaders, name: &[u8], value: Value) -> Result<(), Error> {
    match RString::from_value(value) {
        // SAFETY: nothing calls Ruby while the slice is used.
        Some(text) => headers.add(name, unsafe { text.as_slice() }).map_err(|error| type_error(ruby, error)),
        None => add_fields(ruby, headers, name, value),
    }
}

/// Adds the values of a header with several ones. Another value is an error.
#[inline(never)]
fn add_fields(ruby: &Ruby, headers: &mut ResponseHeaders, name: &[u8], value: Value) -> Result<(), Error> {
    // The values of rack.* are for the server, and need not be Strings.
    if name.starts_with(b"rack.") {
        return Ok(());
    }
    let mut add = |value: Value| {
        let text = require_string(ruby, value, || format!("the value of header {}", String::from_utf8_lossy(name)))?;
        // SAFETY: as above.
        headers.add(name, unsafe { text.as_slice() }).map_err(|error| type_error(ruby, error))
    };
    match RArray::from_value(value) {
        Some(values) => (0..values.len()).try_for_each(|index| add(values.entry(index as isize)?)),
        None => add(value),
    }
}
