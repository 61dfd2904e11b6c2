//! Questions of this process for the end of the hub's log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::channel::Cursor;
use crate::channel::engine::LogEnd;

/// Questions for the end of the hub's log. One frame asks for all that wait: an end that is known later is right for an
/// earlier question, too.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Each with its token. Tokens rise.
    open: VecDeque<(u64, Arc<LogEnd>)>,
    last: u64,
    /// Questions up to this token were asked over this connection.
    asked: u64,
}

impl Questions {
    /// Adds a question.
    pub(super) fn push(&mut self, end: Arc<LogEnd>) {
        self.forget_first();
        self.last += 1;
        self.open.push_back((self.last, end));
    }

    /// Forgets the oldest questions if no thread waits for the answer any more. Those behind them are as old at most as the wait
    /// of the first one that is held, so the questions are bounded also while there is no hub.
    fn forget_first(&mut self) {
        while self.open.front().is_some_and(|(_, end)| Arc::strong_count(end) == 1) {
            self.open.pop_front();
        }
    }

    /// The token to ask with. `None` if there is nothing to ask.
    pub(super) fn ask(&mut self) -> Option<u64> {
        self.forget_first();
        let (token, _) = self.open.back().filter(|(token, _)| *token > self.asked)?;
        self.asked = *token;
        Some(*token)
    }

    /// The hub has answered the question with this token. Returns whether anything is answered.
    pub(super) fn answer(&mut self, token: u64, cursor: Cursor) -> bool {
        let answered = self.open.partition_point(|(own, _)| *own <= token);
        self.open.drain(..answered).for_each(|(_, end)| end.answer(cursor));
        answered > 0
    }

    /// All questions that a thread waits for are to be asked over the next connection.
    pub(super) fn disconnected(&mut self) {
        self.open.retain(|(_, end)| Arc::strong_count(end) > 1);
        self.asked = 0;
    }
}
