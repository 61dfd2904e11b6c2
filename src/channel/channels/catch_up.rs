//! Cursors that lie ahead of this process: another process may have given them out.

use std::sync::Arc;
use std::time::Duration;

use super::super::cursor::{Cursor, Since};
use super::super::engine::LogEnd;
use super::state::Channels;

/// How long a reader waits at most until this process has caught up with its cursor.
pub const CATCH_UP: Duration = Duration::from_secs(2);

/// A cursor that this process has not reached, or whose epoch it does not know, until the engine says where the log of all
/// processes ends. Only what is ahead of that end is a gap.
#[derive(Debug)]
pub struct CatchUp {
    cursor: Cursor,
    end: Arc<LogEnd>,
}

impl Channels {
    /// What a reader that starts at `since` has to wait for. `None` if it can start at once: with an engine of one process
    /// always.
    pub fn catch_up(&self, since: Since) -> Option<CatchUp> {
        match since {
            Since::After(cursor) if !self.has_reached(cursor) => Some(CatchUp { cursor, end: self.engine.ask_end()? }),
            _ => None,
        }
    }

    /// Whether this process will reach the cursor, or may, and has not yet. When that changes, the engine wakes what it
    /// wakes for events.
    pub fn is_behind(&self, CatchUp { cursor, end }: &CatchUp) -> bool {
        !self.has_reached(*cursor) && end.get().is_none_or(|end| end.epoch == cursor.epoch && cursor.seq <= end.seq)
    }

    fn has_reached(&self, cursor: Cursor) -> bool {
        let position = self.engine.position();
        position.epoch == cursor.epoch && cursor.seq <= position.seq
    }
}
