//! The arguments of the methods of `PushServer::Client`. The errors are an `ArgumentError` or a `TypeError`.

use std::time::Duration;

use magnus::scan_args::{get_kwargs, scan_args};
use magnus::value::ReprValue;
use magnus::{Error, Float, Integer, RHash, RString, Ruby, Value};
use push_core::websocket::close::CloseStatus;

use crate::support::errors::{argument_error, type_error};
use crate::support::fields::{field, text_of};
use crate::support::jump::{class_name, inspect, lookup};

/// The data of a write, and its keywords if there are any. This does without `scan_args`, which looks for all kinds of
/// arguments: writes are frequent.
pub fn write_arguments(ruby: &Ruby, args: &[Value]) -> Result<(RString, Option<RHash>), Error> {
    // Keywords would be a Hash.
    if let [data] = args
        && let Some(data) = RString::from_value(*data)
    {
        return Ok((data, None));
    }
    // SAFETY: this is called in a method that Ruby has called.
    let keywords = unsafe { rb_sys::rb_keyword_given_p() } != 0;
    let (data, options) = match (args, keywords) {
        ([data], false) => (*data, None),
        ([data, options], true) => (*data, RHash::from_value(*options)),
        _ => {
            let given = args.len() - usize::from(keywords).min(args.len());
            let message = format!("wrong number of arguments (given {given}, expected 1)");
            return Err(argument_error(ruby, message));
        }
    };
    let data = RString::from_value(data).ok_or_else(|| {
        let class = class_name(data);
        type_error(ruby, format_args!("client.write takes a String, not {class}: use to_s or to_json"))
    })?;
    Ok((data, options))
}

/// `compress:` of a write: true if it is not given.
pub fn compress_option(ruby: &Ruby, options: Option<RHash>) -> Result<bool, Error> {
    let Some(options) = options else { return Ok(true) };
    Ok(lookup(options, ruby.to_symbol("compress"))?.is_none_or(|compress| compress.to_bool()))
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
        type Given = (Option<Value>, Option<Value>, Option<Value>, Option<Value>);
        let names = ["event", "id", "retry", "compress"];
        let (event, id, retry, _) = get_kwargs::<_, (), Given, ()>(options, &[], &names)?.optional;
        Ok(EventOptions {
            event: event.map(|event| field(ruby, "event", event)).transpose()?,
            id: id.map(|id| field(ruby, "id", id)).transpose()?.flatten(),
            retry: retry.filter(|retry| !retry.is_nil()).map(|retry| milliseconds(ruby, retry)).transpose()?,
        })
    }
}

fn milliseconds(ruby: &Ruby, value: Value) -> Result<u64, Error> {
    let number = Integer::from_value(value).and_then(|integer| integer.to_u64().ok());
    let Some(number) = number else {
        let message = format!("retry: must be Integer milliseconds, 0 or more, not {}", inspect(value)?);
        return Err(argument_error(ruby, message));
    };
    Ok(number)
}

/// `code` and `reason` of a close; 1000 and none if they are not given.
pub fn close_status(ruby: &Ruby, args: &[Value]) -> Result<CloseStatus, Error> {
    let args = scan_args::<(), (Option<Option<Integer>>, Option<Option<RString>>), (), (), (), ()>(args)?;
    let (code, reason) = args.optional;
    let reason = match reason.flatten() {
        None => String::new(),
        Some(reason) => text_of(reason).ok_or_else(|| argument_error(ruby, "a close reason must be valid UTF-8"))?,
    };
    // A number that does not fit into an i64 is no close code either.
    let code = code.flatten().map_or(1000, |code| code.to_i64().unwrap_or(-1));
    CloseStatus::checked(code, &reason).map_err(|error| argument_error(ruby, error))
}

/// The seconds of `timeout=`; `None` for nil.
pub fn timeout(ruby: &Ruby, seconds: Value) -> Result<Option<Duration>, Error> {
    if seconds.is_nil() {
        return Ok(None);
    }
    let number = match (Integer::from_value(seconds), Float::from_value(seconds)) {
        (Some(integer), _) => integer.to_i64()? as f64,
        (_, Some(float)) => float.to_f64(),
        (None, None) => {
            let class = class_name(seconds);
            return Err(type_error(ruby, format_args!("timeout must be a number of seconds or nil, not {class}")));
        }
    };
    let valid = number.is_finite() && number > 0.0;
    if !valid {
        let message = format!("timeout must be more than 0 seconds, not {}", inspect(seconds)?);
        return Err(argument_error(ruby, message));
    }
    // Within these bounds, sums of times do not overflow.
    Ok(Some(Duration::from_secs_f64(number.clamp(0.001, 1e9))))
}
