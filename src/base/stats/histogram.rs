//! How long things took: how many of them were at most so long.

use super::Counter;

/// The upper bounds of the buckets, in microseconds. What is longer than the last one is in one bucket more.
pub const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The bounds, and one that all are below.
const LIMITS: [u64; BOUNDS.len() + 1] = {
    let mut limits = [u64::MAX; BOUNDS.len() + 1];
    let mut bucket = 0;
    while bucket < BOUNDS.len() {
        limits[bucket] = BOUNDS[bucket];
        bucket += 1;
    }
    limits
};

/// For each length of a number in bits the first bucket that the shortest such number fits in. A bound is at least twice the
/// one before, so the longest one fits in that bucket or the next.
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits < first.len() {
        let mut bucket = 0;
        while LIMITS[bucket] < 1 << (bits - 1) {
            bucket += 1;
        }
        first[bits] = bucket as u8;
        bits += 1;
    }
    first
};

/// Durations, by length. Any thread may read; one at a time may add.
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
        self.observe_many(microseconds, 1);
    }

    /// So many more, each of which took so many microseconds.
    pub fn observe_many(&self, microseconds: u64, count: u64) {
        let first = usize::from(FIRST[(u64::BITS - microseconds.leading_zeros()) as usize]);
        let bucket = first + usize::from(microseconds > LIMITS[first]);
        self.buckets[bucket].add_alone(count);
        self.sum.add_alone(microseconds.wrapping_mul(count));
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
        self.buckets.iter().zip(&other.buckets).for_each(|(own, other)| own.add_alone(other.get()));
        self.sum.add_alone(other.sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_long_enough() {
        for microseconds in
            BOUNDS.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).chain([0, 1, 63, 64, u64::MAX])
        {
            let histogram = Histogram::default();
            histogram.observe(microseconds);
            let short = BOUNDS.iter().filter(|bound| **bound < microseconds).count();
            assert_eq!(histogram.cumulated().iter().position(|count| *count == 1), Some(short), "{microseconds}");
        }
        let histogram = Histogram::default();
        for microseconds in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.observe(microseconds);
        }
        let cumulated = histogram.cumulated();
        assert_eq!((cumulated[0], cumulated[1], cumulated[14], cumulated[15], cumulated[16]), (2, 3, 3, 4, 5));
        assert_eq!((histogram.count(), histogram.sum()), (5, 20_000_202));
        histogram.observe_many(300, 5);
        let cumulated = histogram.cumulated();
        assert_eq!((cumulated[1], cumulated[2], histogram.sum()), (3, 8, 20_001_702));
    }
}
