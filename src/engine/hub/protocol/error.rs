//! What is wrong with bytes that are not a frame.

use thiserror::Error;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// The frame is longer than the reader accepts.
    #[error("a frame of {length} bytes, where {max} are allowed")]
    TooLong {
        /// Bytes of the frame.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A kind that this version does not know.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A field ends behind the frame's end, or bytes are left at its end.
    #[error("a frame of the kind {0} with the wrong length")]
    Length(u8),
    /// A value that the field does not have.
    #[error("a frame of the kind {0} with a value that does not exist")]
    Value(u8),
    /// A text that is not UTF-8.
    #[error("a frame of the kind {0} with a text that is not UTF-8")]
    Text(u8),
}
