//! Latencies, counted in buckets whose width grows with their value.

/// Each octave is cut into `1 << PRECISION` buckets: a value is known to 1/64th, and its bucket's middle to 0.8 %.
const PRECISION: u32 = 6;
const BUCKETS: usize = ((u64::BITS - PRECISION + 1) << PRECISION) as usize;

/// Counts of values. Its size is fixed.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The greatest value, exactly.
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    /// The value that the share `quantile` of all values (0 to 1) does not exceed.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let rank = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(index, count)| {
            seen += count;
            (seen >= rank).then(|| middle(index).min(self.max))
        })
    }
}

/// The bucket of a value. The first octaves, whose buckets would be narrower than 1, share one of width 1.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - PRECISION - 1).saturating_sub(value.leading_zeros());
    ((shift as usize) << PRECISION) + (value >> shift) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION).saturating_sub(1) as u32;
    let low = ((bucket - ((shift as usize) << PRECISION)) as u64) << shift;
    low + ((1_u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_empty_at_first() {
        let histogram = Histogram::new();
        assert_eq!(histogram.max(), None);
        assert_eq!(histogram.quantile(0.5), None);
    }

    #[test]
    fn keeps_small_values_exactly() {
        for value in 0..128 {
            assert_eq!(middle(bucket(value)), value);
        }
    }

    #[test]
    fn knows_every_value_to_less_than_one_percent() {
        let mut value: u64 = 1;
        while value < u64::MAX / 3 {
            for near in [value - 1, value, value + value / 3] {
                let error = middle(bucket(near)).abs_diff(near);
                assert!(error as f64 <= near as f64 * 0.008, "{near} is off by {error}");
            }
            value *= 2;
        }
    }

    #[test]
    fn has_a_bucket_for_the_greatest_value() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.max(), Some(u64::MAX));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn buckets_follow_each_other() {
        let mut last = 0;
        for value in 0..100_000 {
            let bucket = bucket(value);
            assert!(bucket == last || bucket == last + 1, "{value}");
            last = bucket;
        }
    }

    #[test]
    fn finds_quantiles() {
        let mut histogram = Histogram::new();
        for value in 1..=1000 {
            histogram.record(value * 1000);
        }
        let near = |got: Option<u64>, wanted: u64| got.unwrap().abs_diff(wanted) <= wanted / 100;
        assert!(near(histogram.quantile(0.5), 500_000));
        assert!(near(histogram.quantile(0.99), 990_000));
        assert_eq!(histogram.quantile(1.0), Some(1_000_000));
        assert_eq!(histogram.max(), Some(1_000_000));
    }
}
