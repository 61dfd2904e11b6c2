//! Strings and fields that an app gives: what is text, what is bytes, what cannot be sent.

use std::borrow::Cow;

use magnus::encoding::{Coderange, EncodingCapable};
use magnus::scan_args::get_kwargs;
use magnus::value::ReprValue;
use magnus::{Error, Integer, RHash, RString, Ruby, Symbol, Value};
use push_core::channel::Kind;

use crate::support::developer_hints;
use crate::support::jump::{class_name, inspect};

/// A String of what was sent as text (UTF-8) or as bytes (ASCII-8BIT).
pub fn string_of(ruby: &Ruby, text: bool, bytes: &[u8]) -> RString {
    if text { ruby.enc_str_new(bytes, ruby.utf8_encoding()) } else { ruby.str_from_slice(bytes) }
}

/// An argument that `false` says is not there; nil is a value of it.
pub fn given(value: Value) -> Option<Value> {
    Some(value).filter(|value| value.is_nil() || value.to_bool())
}

/// The text of a String that is UTF-8 in name or in fact.
pub fn text_of(string: RString) -> Option<String> {
    let ruby = Ruby::get_with(string);
    let encoding = string.enc_get();
    let utf8 = [ruby.utf8_encindex(), ruby.usascii_encindex(), ruby.ascii8bit_encindex()].contains(&encoding);
    // SAFETY: copied before anything else runs.
    let bytes = unsafe { string.as_slice() };
    String::from_utf8(bytes.to_vec()).ok().filter(|_| utf8)
}

/// Whether `data` goes out as text; an error if it can neither be text nor bytes.
pub fn is_text(ruby: &Ruby, what: &str, data: RString) -> Result<bool, Error> {
    let encoding = data.enc_get();
    if encoding == ruby.ascii8bit_encindex() {
        return Ok(false);
    }
    let name = || magnus::encoding::RbEncoding::from(encoding).name().to_string();
    if encoding != ruby.utf8_encindex() && encoding != ruby.usascii_encindex() {
        let message = format!("{what} takes UTF-8 text or ASCII-8BIT bytes, not {}: use encode or b", name());
        return Err(Error::new(ruby.exception_arg_error(), message));
    }
    if data.enc_coderange_scan() == Coderange::Broken {
        let message = format!("the String is not valid {}: use scrub, or b to send bytes", name());
        return Err(Error::new(ruby.exception_arg_error(), message));
    }
    Ok(true)
}

/// The kind of message that `data` becomes, by its encoding and, for bytes, by whether they are valid UTF-8.
pub fn kind_of(ruby: &Ruby, what: &str, data: RString) -> Result<Kind, Error> {
    if is_text(ruby, what, data)? {
        return Ok(Kind::Text);
    }
    let utf8 = is_utf8(data);
    if utf8 {
        developer_hints::text_in_bytes(what);
    }
    Ok(if utf8 { Kind::Utf8Bytes } else { Kind::Binary })
}

/// Whether a String's bytes are valid UTF-8, whatever its encoding.
pub fn is_utf8(data: RString) -> bool {
    // SAFETY: nothing calls into Ruby while the slice is read.
    std::str::from_utf8(unsafe { data.as_slice() }).is_ok()
}

/// `event:`, `id:` and `retry:` of a write.
#[derive(Default)]
pub struct EventOptions {
    /// `None`: not given. `Some(None)`: nameless.
    pub event: Option<Option<String>>,
    pub id: Option<String>,
    pub retry: Option<u64>,
}

impl EventOptions {
    pub fn parse(ruby: &Ruby, options: RHash) -> Result<Self, Error> {
        type Given = (Option<Value>, Option<Value>, Option<Value>);
        let (event, id, retry) = get_kwargs::<_, (), Given, ()>(options, &[], &["event", "id", "retry"])?.optional;
        Ok(EventOptions {
            event: event.map(|event| field(ruby, "event", event)).transpose()?,
            id: id.map(|id| field(ruby, "id", id)).transpose()?.flatten(),
            retry: retry.filter(|retry| !retry.is_nil()).map(|retry| milliseconds(ruby, retry)).transpose()?,
        })
    }
}

/// A field of an event: nil, or text.
pub fn field(ruby: &Ruby, name: &str, value: Value) -> Result<Option<String>, Error> {
    if value.is_nil() { Ok(None) } else { text(ruby, name, "a String or nil", value).map(Some) }
}

/// The text of a String, Symbol or Integer; `wanted` says what else is refused.
pub fn text(ruby: &Ruby, name: &str, wanted: &str, value: Value) -> Result<String, Error> {
    let text: Cow<'_, str> = if let Some(symbol) = Symbol::from_value(value) {
        symbol.name()?.into_owned().into()
    } else if let Some(integer) = Integer::from_value(value) {
        integer.to_string().into()
    } else if let Some(string) = RString::from_value(value) {
        let invalid = || Error::new(ruby.exception_arg_error(), format!("{name}: must be valid UTF-8"));
        text_of(string).ok_or_else(invalid)?.into()
    } else {
        let message = format!("{name}: must be {wanted}, not {}", class_name(value));
        return Err(Error::new(ruby.exception_type_error(), message));
    };
    Ok(text.into_owned())
}

fn milliseconds(ruby: &Ruby, value: Value) -> Result<u64, Error> {
    let number = Integer::from_value(value).and_then(|integer| integer.to_u64().ok());
    let Some(number) = number else {
        let message = format!("retry: must be Integer milliseconds, 0 or more, not {}", inspect(value)?);
        return Err(Error::new(ruby.exception_arg_error(), message));
    };
    Ok(number)
}
