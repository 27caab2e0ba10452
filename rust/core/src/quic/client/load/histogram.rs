//! How long answers took, in buckets that are at most 1/32 wide.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of each power of two, as a power of two.
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;
/// Up to 2^36 microseconds, 19 hours; what takes longer is in the last.
const BUCKETS: usize = FINE * (37 - FINE_BITS as usize);

/// Counts by duration. Recording never waits.
#[derive(Debug)]
pub(super) struct Histogram(Box<[AtomicU64]>);

impl Default for Histogram {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    pub(super) fn record(&self, took: Duration) {
        self.0[place(took.as_micros() as u64)].fetch_add(1, Relaxed);
    }

    /// The upper bound of the bucket that holds this part of the counts, 0 to 1; zero while there are none.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let wanted = ((total as f64 * part).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (place, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(bound(place));
            }
        }
        Duration::ZERO
    }
}

fn place(micros: u64) -> usize {
    let exponent = micros.max(1).ilog2();
    if exponent < FINE_BITS {
        return micros as usize;
    }
    let fine = (micros >> (exponent - FINE_BITS)) as usize - FINE;
    (FINE * (exponent - FINE_BITS + 1) as usize + fine).min(BUCKETS - 1)
}

/// The greatest duration of a bucket, in microseconds.
fn bound(place: usize) -> u64 {
    if place < FINE {
        return place as u64;
    }
    let shift = (place / FINE - 1) as u32;
    ((FINE + place % FINE + 1) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_thirty_second_above_the_truth() {
        for micros in [0, 1, 31, 32, 33, 1_000, 123_456, 60_000_000, 4_000_000_000] {
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros));
            let found = histogram.quantile(0.5).as_micros() as u64;
            assert!(found >= micros && found <= micros + micros / 32 + 1, "{micros} was told as {found}");
        }
    }

    #[test]
    fn quantiles_split_the_counts() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        (0..99).for_each(|_| histogram.record(Duration::from_micros(10)));
        histogram.record(Duration::from_secs(1));
        assert_eq!(histogram.quantile(0.99), Duration::from_micros(10));
        assert!(histogram.quantile(0.999) >= Duration::from_secs(1));
    }
}
