//! The random number by which the hub knows an author of messages: a worker, or another process that publishes.

use std::time::SystemTime;

/// The author of the hub's own commands.
pub const HUB: u128 = 0;

/// The bit in which the two numbers of a worker differ.
const COMMANDS: u128 = 1 << 127;

/// The author number of a worker's commands, from that of its messages.
pub fn commands_of(author: u128) -> u128 {
    author ^ COMMANDS
}

/// A number of the process: the same for both of its author numbers.
pub fn process_of(author: u128) -> u128 {
    author & !COMMANDS
}

/// A number that no other process has.
pub fn new_author() -> u128 {
    let mut bytes = [0u8; 16];
    // The generators of the standard library and of fastrand would give the same numbers to all children of a process that
    // has used them before it forked.
    let filled = getrandom::fill(&mut bytes);
    let random = u128::from_ne_bytes(bytes);
    if filled.is_ok() && process_of(random) != HUB {
        return random;
    }
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    time << 32 | u128::from(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::{commands_of, new_author, process_of};

    #[test]
    fn authors_differ() {
        assert_ne!(new_author(), new_author());
    }

    #[test]
    fn a_worker_has_two_numbers() {
        let author = new_author();
        let commands = commands_of(author);
        assert!(commands != author && commands_of(commands) == author);
        assert_eq!(process_of(commands), process_of(author));
    }
}
