//! Strings and fields that an app gives: which are text, which are bytes, and which cannot be sent. The errors are an
//! `ArgumentError` or a `TypeError`.

use magnus::encoding::{Coderange, EncodingCapable};
use magnus::rb_sys::AsRawValue;
use magnus::value::ReprValue;
use magnus::{Error, Integer, RString, Ruby, Symbol, Value};
use push_core::channel::{Kind, Message, Since};
use rb_sys::{RBasic, VALUE, rb_utf8_encindex};

use crate::support::developer_hints;
use crate::support::errors::{argument_error, excerpt, type_error};
use crate::support::jump::class_name;

/// A new String for the app: in UTF-8 if the client sent text, in ASCII-8BIT if it sent bytes. Text is known to be valid.
pub fn string_of(ruby: &Ruby, text: bool, bytes: &[u8]) -> RString {
    let string = ruby.str_from_slice(bytes);
    if text {
        declare_text(ruby, string, bytes.is_ascii());
    }
    string
}

/// Makes a new ASCII-8BIT String one of UTF-8 that Ruby need not scan, as the macros RB_ENCODING_SET_INLINED and
/// RB_ENC_CODERANGE_SET do. The functions of Ruby's interface would check a String that others may know.
fn declare_text(_locked: &Ruby, string: RString, ascii: bool) {
    use rb_sys::ruby_coderange_type::{RUBY_ENC_CODERANGE_7BIT, RUBY_ENC_CODERANGE_VALID};
    use rb_sys::ruby_encoding_consts::RUBY_ENCODING_SHIFT;
    let scanned = if ascii { RUBY_ENC_CODERANGE_7BIT } else { RUBY_ENC_CODERANGE_VALID };
    // SAFETY: a String begins with RBasic. These bits are 0 in a new one: ASCII-8BIT has the index 0, and nothing has scanned it.
    unsafe {
        let encoding = (rb_utf8_encindex() as VALUE) << RUBY_ENCODING_SHIFT as u32;
        (*(string.as_raw() as *mut RBasic)).flags |= encoding | scanned as VALUE;
    }
}

/// A message's payload, as it was published.
pub fn payload(ruby: &Ruby, message: &Message) -> RString {
    string_of(ruby, matches!(message.kind(), Kind::Text | Kind::Server), message.payload())
}

/// An argument for which `false` means that the app has not given it; nil is a value.
pub fn given(value: Value) -> Option<Value> {
    Some(value).filter(|value| value.is_nil() || value.to_bool())
}

/// The text of a String whose encoding is UTF-8, US-ASCII or ASCII-8BIT and whose bytes are valid UTF-8.
pub fn text_of(string: RString) -> Option<String> {
    let ruby = Ruby::get_with(string);
    let encoding = string.enc_get();
    let utf8 = [ruby.utf8_encindex(), ruby.usascii_encindex(), ruby.ascii8bit_encindex()].contains(&encoding);
    // SAFETY: copied before anything else runs.
    let bytes = unsafe { string.as_slice() };
    String::from_utf8(bytes.to_vec()).ok().filter(|_| utf8)
}

/// Whether `data` is sent as text: by its encoding. An error if it can be neither text nor bytes. `what` is the method
/// that got it, for the message.
pub fn is_text(ruby: &Ruby, what: &str, data: RString) -> Result<bool, Error> {
    let encoding = data.enc_get();
    if encoding == ruby.ascii8bit_encindex() {
        return Ok(false);
    }
    let name = || magnus::encoding::RbEncoding::from(encoding).name().to_string();
    if encoding != ruby.utf8_encindex() && encoding != ruby.usascii_encindex() {
        let message = format!("{what} takes UTF-8 text or ASCII-8BIT bytes, not {}: use encode or b", name());
        return Err(argument_error(ruby, message));
    }
    if data.enc_coderange_scan() == Coderange::Broken {
        let message = format!("the String is not valid {}: use scrub, or b to send bytes", name());
        return Err(argument_error(ruby, message));
    }
    Ok(true)
}

/// The kind of message that `data` becomes: by its encoding and, for bytes, by whether they are valid UTF-8.
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

/// Whether a String's bytes are valid UTF-8. Its encoding does not matter.
pub fn is_utf8(data: RString) -> bool {
    // SAFETY: nothing calls into Ruby while the slice is read.
    std::str::from_utf8(unsafe { data.as_slice() }).is_ok()
}

/// A field of an event, called `name` in messages: nil, or text.
pub fn field(ruby: &Ruby, name: &str, value: Value) -> Result<Option<String>, Error> {
    if value.is_nil() { Ok(None) } else { text(ruby, name, "a String or nil", value).map(Some) }
}

/// A channel's name, a glob, a member: text. `what` is the argument, for the message.
pub fn name(ruby: &Ruby, what: &str, value: Value) -> Result<String, Error> {
    text(ruby, what, "a String", value)
}

/// The text of a String, Symbol or Integer. `name` is the argument and `wanted` what it must be, for the message.
fn text(ruby: &Ruby, name: &str, wanted: &str, value: Value) -> Result<String, Error> {
    if let Some(symbol) = Symbol::from_value(value) {
        Ok(symbol.name()?.into_owned())
    } else if let Some(integer) = Integer::from_value(value) {
        Ok(integer.to_string())
    } else if let Some(string) = RString::from_value(value) {
        text_of(string).ok_or_else(|| argument_error(ruby, format_args!("{name}: must be valid UTF-8")))
    } else if value.respond_to("to_str", false)? {
        // Such as a PushServer::Cursor.
        let string: RString = value.funcall("to_str", ())?;
        text_of(string).ok_or_else(|| argument_error(ruby, format_args!("{name}: must be valid UTF-8")))
    } else {
        Err(type_error(ruby, format_args!("{name}: must be {wanted}, not {}", class_name(value))))
    }
}

/// A cursor that an app gives. nil is the present.
pub fn since(ruby: &Ruby, value: Value) -> Result<Since, Error> {
    Ok(Since::parse(field(ruby, "since", value)?.as_deref()))
}

/// A value that must be a String; `what` names it.
pub fn require_string(ruby: &Ruby, value: Value, what: impl FnOnce() -> String) -> Result<RString, Error> {
    match RString::from_value(value) {
        Some(string) => Ok(string),
        None => Err(type_error(ruby, format_args!("{} must be a String, not {}", what(), excerpt(value)?))),
    }
}
