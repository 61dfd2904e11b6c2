//! What a poll of this process hears of its session in another one.

use super::wire::Piece;
use crate::base::peers::Unreachable;

/// What a poll hears of its session.
#[derive(Debug)]
pub(super) enum Heard {
    /// It goes on, and will answer.
    Accepted,
    /// There is none.
    NoSession,
    /// A part of the answer.
    Piece(Piece),
    /// The question has not arrived.
    Unreachable(Unreachable),
    /// The answer cannot come any more.
    Parted,
    /// This server restarts: the client should poll another process.
    Leaving,
}
