//! Which deadline applies to a connection.

use std::fmt;
use std::time::Duration;

use crate::base::limits::Limits;
use crate::base::stats::Stats;

/// What a connection waits for, with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For the first byte of a connection.
    FirstRequest,
    /// For the next request.
    NextRequest,
    /// For the rest of a request's head.
    Head,
    /// For more of a request's body.
    Body,
    /// For the socket to take more of the response.
    Write,
}

impl Waiting {
    /// How long it may wait.
    pub(super) fn timeout(self, limits: &Limits) -> Duration {
        match self {
            Waiting::FirstRequest | Waiting::Head => limits.head_timeout,
            Waiting::NextRequest => limits.keep_alive_timeout,
            Waiting::Body => limits.body_timeout,
            Waiting::Write => limits.write_timeout,
        }
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(self) -> bool {
        matches!(self, Waiting::FirstRequest | Waiting::NextRequest)
    }

    /// Counts that the connection has waited for too long.
    pub(super) fn count(self, stats: &Stats) {
        match self {
            Waiting::FirstRequest | Waiting::Head => stats.head_timeouts.add(),
            Waiting::NextRequest => stats.idle_timeouts.add(),
            Waiting::Body => stats.body_timeouts.add(),
            Waiting::Write => stats.write_timeouts.add(),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::FirstRequest => "a first request (head_timeout)",
            Waiting::NextRequest => "another request (keep_alive_timeout)",
            Waiting::Head => "the rest of a head (head_timeout)",
            Waiting::Body => "the rest of a body (body_timeout, body_progress)",
            Waiting::Write => "its response to be taken (write_timeout)",
        })
    }
}
