//! How many connections the process's file descriptors allow.

use crate::base::open_files;

/// Descriptors that are not for connections: files, listeners, what the app opens. Where there are few descriptors, at most
/// a quarter of them.
const RESERVE: usize = 128;

/// Raises the soft limit of open files towards the hard limit, as far as `wanted` connections need it. Returns how many
/// connections fit, at most `wanted`.
///
/// The soft limit is often 1024, because programs that use select(2) cannot have more. A server of streams would be full
/// with that.
pub fn raise_limit(wanted: usize) -> usize {
    let limit = open_files::raise_limit(wanted.saturating_add(RESERVE) as u64);
    connections(limit.map_or(usize::MAX, |limit| limit as usize), wanted)
}

fn connections(descriptors: usize, wanted: usize) -> usize {
    wanted.min(descriptors - RESERVE.min(descriptors / 4)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_left_for_others() {
        assert_eq!(connections(100_000, 65_536), 65_536);
        assert_eq!(connections(1024, 65_536), 896);
        assert_eq!(connections(64, 65_536), 48);
        assert_eq!(connections(0, 65_536), 1);
    }
}
