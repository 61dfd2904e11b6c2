//! The floors of channels that are not open.

use std::hash::{BuildHasher, Hasher};

/// How many floors are kept. If there were one for all channels, a message without a subscriber would cause a gap for each
/// client that reconnects to another quiet channel.
pub(crate) const FLOORS: usize = 4096;

/// The highest floors of channels that are not open, by the hash of their names. A floor may be too high, because other
/// names have the same hash, but never too low.
///
/// Processes that have the same key can compare their floors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    key: u128,
    /// As many as a power of two.
    floors: Box<[u64]>,
}

impl Forgotten {
    /// The same floor for all channels, with a key that no client can foresee.
    pub fn all(floor: u64) -> Self {
        Forgotten::with(FLOORS, floor)
    }

    /// So many floors; their number must be a power of two.
    pub(crate) fn with(count: usize, floor: u64) -> Self {
        // Each state has other random keys.
        let half = || std::hash::RandomState::new().build_hasher().finish();
        Forgotten { key: u128::from(half()) << 64 | u128::from(half()), floors: vec![floor; count.max(1)].into() }
    }

    /// Floors that another process has made. `None` if their number is not a power of two.
    pub fn from_parts(key: u128, floors: Vec<u64>) -> Option<Self> {
        floors.len().is_power_of_two().then(|| Forgotten { key, floors: floors.into() })
    }

    /// The key of the hash.
    pub fn key(&self) -> u128 {
        self.key
    }

    /// All floors.
    pub fn floors(&self) -> &[u64] {
        &self.floors
    }

    /// The floor of a channel.
    pub fn floor(&self, name: &str) -> u64 {
        self.floors[self.bucket(name)]
    }

    /// Raises the floor of a channel to `floor`.
    pub fn raise(&mut self, name: &str, floor: u64) {
        let own = &mut self.floors[self.bucket(name)];
        *own = floor.max(*own);
    }

    /// The highest of all floors.
    pub fn highest(&self) -> u64 {
        self.floors.iter().copied().max().unwrap_or(0)
    }

    /// Lowers each floor to that of another table, if that one is lower. Both tables are right about the same channels, so
    /// the lower floor is right as well. Returns false and changes nothing if the tables cannot be compared.
    pub fn lower_to(&mut self, other: &Forgotten) -> bool {
        let comparable = self.key == other.key && self.floors.len() == other.floors.len();
        if comparable {
            self.floors.iter_mut().zip(&other.floors).for_each(|(own, other)| *own = (*own).min(*other));
        }
        comparable
    }

    /// Raises each floor to that of another table, if that one is higher. If the tables cannot be compared, all floors are raised
    /// to the highest of the other table.
    pub fn raise_to(&mut self, other: &Forgotten) {
        if self.key == other.key && self.floors.len() == other.floors.len() {
            self.floors.iter_mut().zip(&other.floors).for_each(|(own, other)| *own = (*own).max(*other));
        } else {
            let floor = other.highest();
            self.floors.iter_mut().for_each(|own| *own = (*own).max(floor));
        }
    }

    /// Lowers the floors that are higher than `floor`: all messages after it are there.
    pub(crate) fn lower_all(&mut self, floor: u64) {
        self.floors.iter_mut().for_each(|own| *own = (*own).min(floor));
    }

    /// The index of a channel's floor. SipHash, because clients choose names.
    pub(super) fn bucket(&self, name: &str) -> usize {
        // The successor of this type cannot be given a key.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys((self.key >> 64) as u64, self.key as u64);
        hasher.write(name.as_bytes());
        hasher.finish() as usize & (self.floors.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_raises_the_floor_of_few_names() {
        let mut forgotten = Forgotten::all(3);
        forgotten.raise("a", 7);
        forgotten.raise("a", 5);
        assert_eq!((forgotten.floor("a"), forgotten.highest()), (7, 7));
        let raised = (0..10_000).filter(|number| forgotten.floor(&format!("room:{number}")) == 7).count();
        assert!(raised < 50, "{raised}");
        assert_ne!(Forgotten::all(0).key(), Forgotten::all(0).key());
    }

    #[test]
    fn the_lower_floor_of_two_tables_holds() {
        let mut one = Forgotten::all(3);
        let mut other = Forgotten::from_parts(one.key(), one.floors().to_vec()).unwrap();
        one.raise("a", 9);
        other.raise("a", 7);
        assert!(one.lower_to(&other));
        assert_eq!((one.floor("a"), one.highest()), (7, 7));
        assert!(!one.lower_to(&Forgotten::all(0)));
        one.raise_to(&Forgotten::from_parts(one.key(), vec![4; FLOORS]).unwrap());
        assert_eq!((one.floor("a"), one.floor("b")), (7, 4));
        one.raise_to(&Forgotten::all(5));
        assert_eq!((one.floor("a"), one.floor("b")), (7, 5));
        assert_eq!(Forgotten::from_parts(1, vec![0; 3]), None);
        assert_eq!(Forgotten::from_parts(1, Vec::new()), None);
    }
}
