//! The keys of TLS session tickets, in memory that processes share.
//!
//! A client that comes back shows a ticket, and needs no whole handshake. Any worker may get it, also one that was started
//! after a restart. So the keys lie in a memory file that outlives all of these processes. One process, the owner, makes new
//! keys; all others read them.
//!
//! ```text
//! header   the layout, a number that is odd while the keys are being changed
//! key …    the newest first: its name, the secret, when it was made (seconds since 1970; 0: there is no key)
//! ```

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{SystemTime, UNIX_EPOCH};

use super::shared_memory::SharedMemory;

/// The version of what this file says, and what tells its memory from others.
const LAYOUT: u64 = 0x7469_636b_6574_0001;

/// How many keys are known: tickets that were made with an older one are still accepted.
const KEYS: usize = 3;

/// Seconds from one key to the next.
const PERIOD: u64 = 6 * 3600;

/// Seconds for which a ticket is accepted: a key is there at least that long after it was used for the last time.
pub const LIFETIME: u32 = PERIOD as u32 * (KEYS as u32 - 1);

const HEADER: usize = 2;
const LAYOUT_AT: usize = 0;
const VERSION_AT: usize = 1;

const NAME: usize = 2;
const SECRET: usize = 4;
const KEY: usize = NAME + SECRET + 1;

/// How often a reader looks again while the keys are being changed: this takes microseconds, unless the owner was killed.
const ATTEMPTS: usize = 1000;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// What tickets say of it.
    pub name: [u8; NAME * 8],
    /// The secret.
    pub secret: [u8; SECRET * 8],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The keys. Any thread of any process may read them; one process changes them, one thread at a time.
#[derive(Debug)]
pub struct TicketKeys(SharedMemory);

impl TicketKeys {
    /// Bytes of memory that they need.
    pub const SIZE: usize = (HEADER + KEYS * KEY) * size_of::<AtomicU64>();

    /// The keys in a memory file with [`TicketKeys::SIZE`] bytes. A file that is all 0 has none.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the file is too short. `InvalidData`: it has another layout. Others: it cannot be mapped.
    pub fn open(file: impl AsFd) -> io::Result<Self> {
        Self::over(SharedMemory::map(file, HEADER + KEYS * KEY)?)
    }

    /// Keys in the memory of this process alone. There are none yet.
    pub fn anonymous() -> io::Result<Self> {
        Self::over(SharedMemory::anonymous(HEADER + KEYS * KEY)?)
    }

    fn over(memory: SharedMemory) -> io::Result<Self> {
        let found = memory[LAYOUT_AT].compare_exchange(0, LAYOUT, Ordering::AcqRel, Ordering::Acquire);
        if found.is_err_and(|found| found != LAYOUT) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the ticket keys of another version"));
        }
        Ok(TicketKeys(memory))
    }

    // ---- the owner -------------------------------------------------------------------------

    /// Makes a new key, if it is time for one. To be called by the owner, every few minutes at least.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes. The keys stay as they are.
    pub fn renew(&self) -> io::Result<()> {
        self.renew_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1)))
    }

    /// The same at this time, in seconds since 1970.
    pub(crate) fn renew_at(&self, now: u64) -> io::Result<()> {
        let version = self.0[VERSION_AT].load(Ordering::Acquire);
        let newest = self.made_at(0);
        // A clock that was set back must not keep a key for ever. An owner that was killed amid a change has left half a key.
        let due = newest == 0 || newest + PERIOD <= now || newest > now + PERIOD || version % 2 == 1;
        if !due {
            return Ok(());
        }
        let mut random = [0; KEY - 1];
        for number in &mut random {
            *number = getrandom::u64().map_err(io::Error::from)?;
        }
        self.0[VERSION_AT].store(version | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for place in (1..KEYS).rev() {
            let (older, newer) = (self.key(place), self.key(place - 1));
            older.iter().zip(newer).for_each(|(to, from)| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed));
        }
        for (to, number) in self.key(0).iter().zip(random.into_iter().chain([now])) {
            to.store(number, Ordering::Relaxed);
        }
        self.0[VERSION_AT].store((version | 1) + 1, Ordering::Release);
        Ok(())
    }

    // ---- readers ---------------------------------------------------------------------------

    /// Another number if the keys have changed.
    pub fn version(&self) -> u64 {
        self.0[VERSION_AT].load(Ordering::Acquire)
    }

    /// The keys, the newest first, and their version.
    pub fn read(&self) -> (u64, Vec<Key>) {
        for _ in 0..ATTEMPTS {
            let before = self.version();
            let keys = self.look();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.0[VERSION_AT].load(Ordering::Relaxed) == before {
                return (before, keys);
            }
            std::thread::yield_now();
        }
        // The owner was killed amid a change. Its successor makes a new key.
        (self.version(), Vec::new())
    }

    fn look(&self) -> Vec<Key> {
        let made = (0..KEYS).filter(|place| self.made_at(*place) != 0);
        made.map(|place| {
            let numbers = self.key(place);
            Key { name: bytes(&numbers[..NAME]), secret: bytes(&numbers[NAME..]) }
        })
        .collect()
    }

    fn key(&self, place: usize) -> &[AtomicU64] {
        &self.0[HEADER + place * KEY..HEADER + (place + 1) * KEY]
    }

    fn made_at(&self, place: usize) -> u64 {
        self.key(place)[KEY - 1].load(Ordering::Relaxed)
    }
}

fn bytes<const N: usize>(numbers: &[AtomicU64]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&number.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &TicketKeys) -> Vec<[u8; 16]> {
        keys.read().1.iter().map(|key| key.name).collect()
    }

    #[test]
    fn a_key_is_accepted_until_no_ticket_of_it_is_valid() {
        let keys = TicketKeys::anonymous().unwrap();
        assert!(names(&keys).is_empty());
        let mut seen = Vec::new();
        for period in 1..6 {
            for within in [0, 1, PERIOD - 1] {
                keys.renew_at(period * PERIOD + within).unwrap();
            }
            let known = names(&keys);
            assert_eq!(known.len(), KEYS.min(period as usize));
            assert!(!seen.contains(&known[0]), "a new one");
            assert_eq!(known[1..], seen[..known.len() - 1], "and those before it");
            seen.insert(0, known[0]);
        }
        let secrets: Vec<_> = keys.read().1.into_iter().map(|key| key.secret).collect();
        assert!(secrets.iter().all(|secret| *secret != [0; 32]) && secrets[0] != secrets[1]);
    }

    #[test]
    fn all_processes_read_the_same() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(TicketKeys::SIZE as u64).unwrap();
        let (owner, reader) = (TicketKeys::open(&file).unwrap(), TicketKeys::open(&file).unwrap());
        let before = reader.version();
        owner.renew().unwrap();
        assert_ne!(reader.version(), before);
        assert_eq!((reader.read(), reader.read().1.len()), (owner.read(), 1));
        owner.renew().unwrap();
        assert_eq!(reader.read().1.len(), 1, "not yet");
        drop(owner);
        assert_eq!(TicketKeys::open(&file).unwrap().read(), reader.read(), "they outlive their owner");
    }

    #[test]
    fn an_owner_that_was_killed_amid_a_change_is_followed() {
        let keys = TicketKeys::anonymous().unwrap();
        keys.renew_at(PERIOD).unwrap();
        keys.0[VERSION_AT].fetch_or(1, Ordering::Relaxed);
        assert!(names(&keys).is_empty(), "no half key is used");
        keys.renew_at(PERIOD + 1).unwrap();
        assert_eq!(names(&keys).len(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let keys = TicketKeys::anonymous().unwrap();
        keys.renew_at(100 * PERIOD).unwrap();
        keys.renew_at(99 * PERIOD + 1).unwrap();
        assert_eq!(names(&keys).len(), 1, "an hour is no reason");
        keys.renew_at(PERIOD).unwrap();
        assert_eq!(names(&keys).len(), 2);
    }

    #[test]
    fn memory_of_another_layout_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(TicketKeys::SIZE as u64).unwrap();
        SharedMemory::map(&file, 1).unwrap()[LAYOUT_AT].store(7, Ordering::Relaxed);
        assert_eq!(TicketKeys::open(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
