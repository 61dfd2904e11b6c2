//! Ids of clients. Two processes that share an engine never use the same id.

/// The lower bits of an id count the clients of one process. The bits above are the number of that process.
const COUNT_BITS: u32 = 44;

/// The id of a client: the client is the `count`th of the process with the number `process`, see
/// [`super::Engine::process`]. A server of one process has the number 0, so its ids equal `count`.
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
