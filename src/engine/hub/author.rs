//! The random number by which the hub knows an author of messages: a worker, or another process that publishes.

use std::time::SystemTime;

/// A number that no other process has.
pub fn new_author() -> u128 {
    let mut bytes = [0u8; 16];
    // The generators of the standard library and of fastrand would give the same numbers to all children of a process that
    // has used them before it forked.
    let filled = getrandom::fill(&mut bytes);
    let random = u128::from_ne_bytes(bytes);
    if filled.is_ok() && random != 0 {
        return random;
    }
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    time << 32 | u128::from(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::new_author;

    #[test]
    fn authors_differ() {
        assert_ne!(new_author(), new_author());
    }
}
