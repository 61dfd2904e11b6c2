//! Why something could not be published or subscribed.

use thiserror::Error;

/// Why an engine did not take a message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// It has taken none for as long as a publisher may wait.
    #[error("the channels' engine takes no messages for now")]
    Full,
    /// It is not reachable, and its queue is full.
    #[error("the channels' engine is away, and its queue is full")]
    Away,
}

/// Why something could not be published or subscribed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A channel needs a name.
    #[error("a channel's name must not be empty")]
    EmptyName,
    /// The name is over [`super::limits::Limits::max_name`].
    #[error("a channel's name has at most {max} bytes, not {length}")]
    LongName {
        /// The largest length, in bytes.
        max: usize,
        /// The given length, in bytes.
        length: usize,
    },
    /// The name of a member is over [`super::limits::Limits::max_name`].
    #[error("a member's name has at most {max} bytes, not {length}")]
    LongMember {
        /// The largest length, in bytes.
        max: usize,
        /// The given length, in bytes.
        length: usize,
    },
    /// The information about a member is over [`super::limits::MAX_INFO`].
    #[error("the information about a member has at most {max} bytes as JSON, not {length}")]
    LongInfo {
        /// The largest length, in bytes.
        max: usize,
        /// The given length, in bytes.
        length: usize,
    },
    /// The event's name contains a character that would end its line.
    #[error("event: must not contain CR, LF or NUL")]
    BrokenEvent,
    /// The message is larger than the whole log may be.
    #[error(
        "the message takes {size} bytes with all that encoding it may add, and channel_memory gives this process {max}"
    )]
    TooLarge {
        /// What the log may hold, in bytes.
        max: usize,
        /// What the message would take there, in bytes.
        size: usize,
    },
    /// [`super::limits::Limits::max_channels`] is reached.
    #[error("there are {0} channels already")]
    TooManyChannels(usize),
    /// [`super::limits::Limits::max_subscriptions`] is reached.
    #[error("a client subscribes to at most {0} channels")]
    TooManySubscriptions(usize),
    /// The engine did not take the message.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
