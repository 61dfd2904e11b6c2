//! How many connections the process's file descriptors allow.

/// Descriptors that are not for connections: files, listeners, what the app opens. A quarter of
/// them at most, where there are few.
const RESERVE: usize = 128;

/// Raises the soft limit of open files to the hard one, as the process may, and returns how many
/// connections fit, at most `wanted`.
///
/// The soft limit is often 1024, for the sake of programs that use select(2); a server of streams
/// would be full with it.
pub fn raise_limit(wanted: usize) -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills the struct it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return wanted;
    }
    let enough = wanted.saturating_add(RESERVE) as libc::rlim_t;
    if limit.rlim_cur < enough {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max.min(enough), rlim_max: limit.rlim_max };
        // SAFETY: reads the struct it is given.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    connections(limit.rlim_cur as usize, wanted)
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
