//! How many connections the process's file descriptors allow.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that are not for connections: files, listeners, what the app opens. Where there are few descriptors, at most
/// a quarter of them.
const RESERVE: usize = 128;

/// Raises the soft limit of open files towards the hard limit, as far as `wanted` connections need it. Returns how many
/// connections fit, at most `wanted`.
///
/// The soft limit is often 1024, because programs that use select(2) cannot have more. A server of streams would be full
/// with that.
pub fn raise_limit(wanted: usize) -> usize {
    // `None` stands for no limit.
    let mut limit = getrlimit(Resource::Nofile);
    let enough = wanted.saturating_add(RESERVE) as u64;
    if limit.current.is_some_and(|current| current < enough) {
        let mut raised = limit;
        raised.current = Some(limit.maximum.map_or(enough, |maximum| maximum.min(enough)));
        // The process may be forbidden to. Then the old limit holds.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    connections(limit.current.map_or(usize::MAX, |current| current as usize), wanted)
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
