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
    use channel::Error::{
        BrokenEvent, EmptyName, Engine, LongInfo, LongMember, LongName, TooLarge, TooManyChannels, TooManySubscriptions,
    };
    match error {
        EmptyName | LongName { .. } | LongMember { .. } | LongInfo { .. } | BrokenEvent | TooLarge { .. } => {
            argument_error(ruby, error)
        }
        TooManyChannels(_) | TooManySubscriptions(_) => server_error(ruby, &error.to_string()),
        Engine(_) => engine_error(ruby, &error.to_string()),
    }
}

/// What Ruby raises when the server that numbers messages refuses one.
pub fn refusal(ruby: &Ruby, refusal: channel::Refusal) -> Error {
    match refusal {
        channel::Refusal::TooLong => {
            argument_error(ruby, "the message is longer than the server accepts: see channel_memory")
        }
        channel::Refusal::TooManyChannels => {
            server_error(ruby, "the server has too many channels already (max_channels)")
        }
        channel::Refusal::Broken => argument_error(
            ruby,
            "the server refuses the message: the channel's name is longer than its max_channel_name, or it is another \
             version of push_server",
        ),
    }
}

/// The beginning of what a value's `inspect` says, for a message. The error is a jump.
pub fn excerpt(value: Value) -> Result<String, Error> {
    let text = inspect(value)?;
    let short: String = text.chars().take(80).collect();
    Ok(if short.len() < text.len() { format!("{short}…") } else { short })
}
