//! Ruby exceptions for what an app or its arguments do wrong. [`crate::support::library`] makes those that `lib/`
//! defines.

use std::fmt::Display;

use magnus::{Error, Ruby, Value};
use push_core::channel;

use crate::support::jump::inspect;
use crate::support::library::{engine_error, server_error};

/// An `ArgumentError`.
pub fn argument_error(ruby: &Ruby, message: impl Display) -> Error {
    Error::new(ruby.exception_arg_error(), message.to_string())
}

/// A `TypeError`. If the app has returned the value, the response is a 500.
pub fn type_error(ruby: &Ruby, message: impl Display) -> Error {
    Error::new(ruby.exception_type_error(), message.to_string())
}

/// An `IOError`.
pub fn io_error(ruby: &Ruby, message: impl Display) -> Error {
    Error::new(ruby.exception_io_error(), message.to_string())
}

/// What Ruby raises when the core's channels refuse something.
pub fn channel_error(ruby: &Ruby, error: &channel::Error) -> Error {
    use channel::Error::{BrokenEvent, EmptyName, Engine, LongName, TooLarge, TooManyChannels, TooManySubscriptions};
    match error {
        EmptyName | LongName { .. } | BrokenEvent | TooLarge { .. } => argument_error(ruby, error),
        TooManyChannels(_) | TooManySubscriptions(_) => server_error(ruby, &error.to_string()),
        Engine(_) => engine_error(ruby, &error.to_string()),
    }
}

/// The beginning of what a value's `inspect` says, for a message. The error is a jump.
pub fn excerpt(value: Value) -> Result<String, Error> {
    let text = inspect(value)?;
    let short: String = text.chars().take(80).collect();
    Ok(if short.len() < text.len() { format!("{short}…") } else { short })
}
