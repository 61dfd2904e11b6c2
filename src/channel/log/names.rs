//! Channels by name.

use std::collections::HashMap;
use std::sync::Arc;

/// A table that grows moves all its entries, while other threads wait for the lock. So there are many small tables.
/// With a million names, the default maximum, each of the 256 tables has about 4096.
const TABLES: usize = 256;

/// The numbers of channels by their names.
#[derive(Debug)]
pub(crate) struct Names {
    tables: Box<[HashMap<Arc<str>, u32>]>,
}

impl Default for Names {
    fn default() -> Self {
        Names { tables: (0..TABLES).map(|_| HashMap::new()).collect() }
    }
}

/// The table of a name. If a client chooses names that all belong to one table, this table is as large as a single
/// table would be.
fn table(name: &str) -> usize {
    // FNV-1a.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // Without this multiplication, the upper bits would not depend on the whole name.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % TABLES
}

impl Names {
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.tables[table(name)].get(name).copied()
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, at: u32) {
        self.tables[table(&name)].insert(name, at);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let table = &mut self.tables[table(name)];
        table.remove(name);
        if table.capacity() > 16 && table.len() < table.capacity() / 8 {
            table.shrink_to(2 * table.len());
        }
    }
}

#[cfg(test)]
impl Names {
    pub(crate) fn footprint(&self) -> usize {
        self.tables.iter().map(HashMap::capacity).sum()
    }

    /// The size of the fullest table.
    pub(crate) fn fullest(&self) -> usize {
        self.tables.iter().map(HashMap::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_is_large() {
        let mut names = Names::default();
        for number in 0..200_000 {
            names.insert(format!("room:{number}").into(), number);
        }
        assert!(names.fullest() < 2 * 200_000 / TABLES, "{}", names.fullest());
        assert_eq!((names.get("room:7"), names.get("room:-1")), (Some(7), None));
        (0..200_000).for_each(|number| names.remove(&format!("room:{number}")));
        assert!(names.footprint() <= 16 * TABLES);
    }
}
