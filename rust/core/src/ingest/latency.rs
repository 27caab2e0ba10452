//! A latency histogram that many threads may add to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; one more bucket is open.
pub const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 1_500, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Counts a bucket, and the sum in microseconds.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl LatencyHistogram {
    /// Adds one observation.
    pub fn observe(&self, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|&bound| bound < latency_us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(latency_us, Ordering::Relaxed);
    }

    /// Observations a bucket (not cumulative), and their sum in microseconds.
    pub fn snapshot(&self) -> (Vec<u64>, u64) {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        (buckets, self.sum_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_a_bound_belongs_to_the_bucket_below_it() {
        let histogram = LatencyHistogram::default();
        for latency_us in [100, 101, 40_000_000] {
            histogram.observe(Duration::from_micros(latency_us));
        }
        let (buckets, sum_us) = histogram.snapshot();
        assert_eq!((buckets[0], buckets[1], buckets[BOUNDS_US.len()]), (1, 1, 1));
        assert_eq!(sum_us, 40_000_201);
    }
}
