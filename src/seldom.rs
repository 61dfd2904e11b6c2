//! Log lines about what happens again and again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a log line through at most once in a while, and counts those it holds back.
///
/// Meant to be a `static` beside the line. Any thread; not in a forked child.
#[derive(Debug)]
pub struct Seldom {
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    /// At most one line in a minute.
    pub const fn once_a_minute() -> Self {
        Seldom::new(Duration::from_secs(60))
    }

    /// At most one line in `pause`.
    pub const fn new(pause: Duration) -> Self {
        Seldom { pause, state: Mutex::new(State { last: None, held_back: 0 }) }
    }

    /// Whether to write the line now: `Some`, with the number of lines held back since the last one.
    pub fn allows(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.pause) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_holds_back() {
        let seldom = Seldom::once_a_minute();
        assert_eq!([seldom.allows(), seldom.allows(), seldom.allows()], [Some(0), None, None]);
        seldom.state.lock().unwrap().last = None;
        assert_eq!([seldom.allows(), seldom.allows()], [Some(2), None]);
    }
}
