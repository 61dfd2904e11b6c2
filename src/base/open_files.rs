//! The system's limit of open files, which each process has for itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit towards the hard limit, as far as `enough` open files need it. Returns the soft limit; `None` stands
/// for no limit.
pub fn raise_limit(enough: u64) -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < enough) {
        let raised = Rlimit { current: Some(limit.maximum.map_or(enough, |most| most.min(enough))), ..limit };
        // The process may be forbidden to. Then the old limit holds.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current
}
