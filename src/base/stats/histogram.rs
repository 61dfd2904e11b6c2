//! How long things took: how many of them were at most so long.

use super::Counter;

/// The upper bounds of the buckets, in microseconds. What is longer than the last one is in one bucket more.
pub const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Durations, by length. Any thread.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    /// How many were longer than the bound before and at most as long as this one.
    buckets: [Counter; BOUNDS.len() + 1],
    sum: Counter,
}

impl Histogram {
    /// One more, which took so many microseconds.
    pub fn observe(&self, microseconds: u64) {
        // Most are short.
        let bucket = BOUNDS.iter().position(|bound| microseconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].add();
        self.sum.add_many(microseconds);
    }

    /// How many there were. Of several threads, it may or may not have the newest.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// How long all of them took together, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// For each bound how many took at most so long; at last, all of them.
    pub fn cumulated(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.get();
            sum
        })
    }

    /// Adds all of another one.
    pub fn merge(&self, other: &Histogram) {
        self.buckets.iter().zip(&other.buckets).for_each(|(own, other)| own.add_many(other.get()));
        self.sum.add_many(other.sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_long_enough() {
        let histogram = Histogram::default();
        for microseconds in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.observe(microseconds);
        }
        let cumulated = histogram.cumulated();
        assert_eq!((cumulated[0], cumulated[1], cumulated[14], cumulated[15], cumulated[16]), (2, 3, 3, 4, 5));
        assert_eq!((histogram.count(), histogram.sum()), (5, 20_000_202));
    }
}
