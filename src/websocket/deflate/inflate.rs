//! Messages that a client sends compressed: RFC 7692 sections 6.2 and 7.2.2.

use std::cell::Cell;

use bytes::BytesMut;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::TAIL;

/// How much is inflated at once.
const PIECE: usize = 8 * 1024;

thread_local! {
    /// One of the inflaters that keep no window, for the next message of any client.
    static SPARE: Cell<Option<Inflate>> = const { Cell::new(None) };
}

/// Inflates the messages of one client. It has memory, about 48 KiB, while a message is coming; and between messages only
/// if the client keeps its window.
pub struct Inflater {
    keeps_window: bool,
    /// `None` before the first message that the client refers to.
    state: Option<Inflate>,
    /// Whether something of the current message has come.
    begun: bool,
}

/// Why a message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It is longer than the most that was given.
    TooLong,
    /// It is not deflated data.
    Broken,
}

impl Inflater {
    /// `keeps_window` says that a message may refer to those before it.
    pub fn new(keeps_window: bool) -> Self {
        Inflater { keeps_window, state: None, begun: false }
    }

    /// Appends to `out` what a part of a message holds. `out` has what the message held before, and may become at most
    /// `most` bytes long (or a little longer, with an error).
    pub fn inflate(&mut self, mut input: &[u8], out: &mut BytesMut, most: usize) -> Result<(), InflateError> {
        if input.is_empty() {
            return Ok(());
        }
        self.begun = true;
        let state = self.state.get_or_insert_with(|| SPARE.take().unwrap_or_else(|| Inflate::new(false, 15)));
        let mut piece = [0; PIECE];
        loop {
            let (taken, given) = (state.total_in(), state.total_out());
            let status =
                state.decompress(input, &mut piece, InflateFlush::SyncFlush).map_err(|_| InflateError::Broken)?;
            let (taken, given) = ((state.total_in() - taken) as usize, (state.total_out() - given) as usize);
            input = &input[taken..];
            out.extend_from_slice(&piece[..given]);
            if out.len() > most {
                return Err(InflateError::TooLong);
            }
            if status == Status::StreamEnd {
                // Section 7.2.3.4: a block may say that it is the last one. Others may follow, which do not refer to it.
                state.reset(false);
            }
            if input.is_empty() && given < PIECE {
                return Ok(());
            }
            if taken == 0 && given == 0 {
                return Err(InflateError::Broken);
            }
        }
    }

    /// The message has come whole. Appends the last of it.
    pub fn finish(&mut self, out: &mut BytesMut, most: usize) -> Result<(), InflateError> {
        // A message without a single byte is empty, although section 7.2.3.6 says how to send that.
        let finished = if std::mem::take(&mut self.begun) { self.inflate(&TAIL, out, most) } else { Ok(()) };
        self.begun = false;
        if !self.keeps_window
            && let Some(mut state) = self.state.take()
        {
            state.reset(false);
            SPARE.set(Some(state));
        }
        finished
    }

    /// Whether it holds memory.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.state.is_none()
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").field("keeps_window", &self.keeps_window).finish_non_exhaustive()
    }
}
