//! Log lines about events that repeat.

use std::fmt;
use std::time::{Duration, Instant};

use super::lock::Lock;

/// Limits how often a log line is written: at most one in a while. Counts the lines that it holds back.
///
/// Mostly a `static` beside the line. Any thread; not in a forked child.
#[derive(Debug)]
pub struct LogThrottle {
    pause: Duration,
    state: Lock<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    last: Option<Instant>,
    held_back: u64,
}

/// How many lines were held back since the last one that was written. Made for the end of the line: it displays as
/// ` (3 more since the last such line)`, or as nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldBack(u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more since the last such line)"),
        }
    }
}

impl LogThrottle {
    /// At most one line in a minute.
    pub const fn once_a_minute() -> Self {
        LogThrottle::new(Duration::from_secs(60))
    }

    /// At most one line in `pause`.
    pub const fn new(pause: Duration) -> Self {
        LogThrottle { pause, state: Lock::new(ThrottleState { last: None, held_back: 0 }) }
    }

    /// `Some` if the line is to be written now.
    pub fn allows(&self) -> Option<HeldBack> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.pause) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(HeldBack(std::mem::take(&mut state.held_back)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_holds_back() {
        let seldom = LogThrottle::once_a_minute();
        let allowed = || seldom.allows().map(|held_back| held_back.to_string());
        assert_eq!([allowed(), allowed(), allowed()], [Some(String::new()), None, None]);
        seldom.state.lock().last = None;
        assert_eq!([allowed(), allowed()], [Some(" (2 more since the last such line)".to_owned()), None]);
    }
}
