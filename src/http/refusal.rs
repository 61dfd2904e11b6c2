//! Heads of requests that are refused before the app is called.

use http::StatusCode;

use crate::base::stats::Stats;
use crate::net::Peer;

/// Counts a refusal, and logs why the request of `peer` gets this status.
pub(super) fn record(status: StatusCode, peer: Peer, stats: &Stats) {
    let (counter, why) = match status {
        StatusCode::URI_TOO_LONG => (&stats.uri_too_long, "the target is too long (max_uri_size)"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            (&stats.head_too_large, "the head is too large (max_head_size), or has too many headers (max_headers)")
        }
        _ => (&stats.refused_heads, "the head is not acceptable"),
    };
    counter.add();
    log::debug!("{status} to {peer}: {why}");
}
