//! Compressed messages: permessage-deflate, RFC 7692.
//!
//! The server never keeps a window from one message to the next (`server_no_context_takeover`, section 7.1.1.1). So a
//! compressed message is the same for all clients, and is made once.
//!
//! | module | subject |
//! |---|---|
//! | [`offer`] | what clients offer in their handshake, and what the server answers |
//! | [`mod@compress`] | messages that the server sends |
//! | [`inflate`] | messages that a client sends |

pub mod compress;
pub mod inflate;
pub mod offer;

pub use compress::compress;
pub use inflate::Inflater;
pub use offer::{Agreement, Offer};

/// The size of the window of a compressor, as its binary logarithm: how far back a compressed message may refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 32 KiB: the usual size.
    pub const MOST: WindowBits = WindowBits(15);

    /// How many sizes there are.
    pub const COUNT: usize = 7;

    /// 9 to 15. RFC 7692 also has 8, which zlib has not.
    pub fn new(bits: u8) -> Option<Self> {
        (9..=15).contains(&bits).then_some(WindowBits(bits))
    }

    /// The logarithm.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// A number from 0 to [`WindowBits::COUNT`] - 1.
    pub fn index(self) -> usize {
        usize::from(self.0 - 9)
    }

    /// The window with which a message of `length` bytes is compressed. A message refers back by less than its own length.
    /// So most messages are the same for all windows.
    pub fn for_length(self, length: usize) -> WindowBits {
        if length <= 1 << self.0 { WindowBits::MOST } else { self }
    }
}

/// A message of so many bytes takes about half a millisecond to compress. Other clients should not wait for longer ones.
pub const LONG: usize = 16 * 1024;

/// What ends each compressed message, and is not sent: section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
