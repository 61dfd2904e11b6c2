//! Ids of clients, and how processes that share an engine keep theirs apart.

/// Bits of an id that count the clients of one process start. The bits above are that start's number.
const COUNT_BITS: u32 = 44;

/// The id of the client that is the `count`th of a process whose number is `process`: see [`super::Engine::process`].
/// In a server of one process, whose number is 0, it is `count`.
pub fn client_id(process: u32, count: u64) -> u64 {
    u64::from(process) << COUNT_BITS | (count & ((1 << COUNT_BITS) - 1))
}

/// The number of the process that a client is connected to.
pub fn process_of(client: u64) -> u32 {
    (client >> COUNT_BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_two_processes_differ() {
        assert_eq!((client_id(0, 7), process_of(7)), (7, 0));
        let last = (1 << 20) - 1;
        assert_eq!((process_of(client_id(last, 7)), process_of(client_id(last, u64::MAX))), (last, last));
        assert_ne!(client_id(1, 7), client_id(2, 7));
    }
}
