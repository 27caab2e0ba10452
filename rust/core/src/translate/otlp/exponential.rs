//! Exponential histograms as explicit buckets.
//!
//! At scale `s`, bucket `i` of the positive range holds what is above `b^i` and at most `b^(i+1)`, where `b` is 2 to the
//! power of `2^-s`; the negative range is its mirror image, and between both stand the values that count as zero, in a
//! bucket from the threshold below zero to that above it. Where that makes more buckets than a histogram may have, neighbours are joined, which is the same histogram at a lower scale.

use crate::columns::Histogram;
use crate::limits::BUCKETS_MAX;
use crate::wire::proto::{LENGTH, Reader, VARINT, WireFault, key, unzigzag};

/// Scales beyond this are none that a double can tell apart, and none that clients make.
const SCALE_MAX: i32 = 24;
/// After so many halvings every bucket there can be is one of the two around 1, and another changes nothing.
const HALVINGS_MAX: i32 = 64;
/// Buckets of a range that are read; what a client counts in more does not add up, and its point is refused for that.
const COUNTS_MAX: usize = 65_536;
/// The smallest double above 0. A bucket that holds 0 and what is above its negative begins behind that, so it holds 0 alone.
const SMALLEST: f64 = f64::from_bits(1);

/// One range of an exponential histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    /// That of the first bucket; joined with its place beyond what 32 bits hold.
    offset: i64,
    counts: Vec<u64>,
}

impl Range {
    /// Reads a `Buckets`.
    pub(super) fn read(&mut self, mut buckets: Reader<'_>) -> Result<(), WireFault> {
        const OFFSET: u32 = key(1, VARINT);
        const COUNTS: u32 = key(2, VARINT);
        const COUNTS_PACKED: u32 = key(2, LENGTH);

        while let Some(field) = buckets.key()? {
            match field {
                OFFSET => self.offset = unzigzag(buckets.varint()? & u64::from(u32::MAX)),
                COUNTS => self.push(buckets.varint()?),
                COUNTS_PACKED => {
                    let mut packed = buckets.message()?;
                    while !packed.at_end() {
                        self.push(packed.varint()?);
                    }
                }
                _ => buckets.skip(field)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, count: u64) {
        if self.counts.len() < COUNTS_MAX {
            self.counts.push(count);
        }
    }

    /// Takes away empty buckets at both ends.
    fn trim(&mut self) {
        let filled = self.counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        self.counts.truncate(filled);
        let empty = self.counts.iter().position(|&count| count > 0).unwrap_or(0);
        self.counts.drain(..empty);
        self.offset += empty as i64;
    }

    /// Joins neighbours: the range at a scale lower by one.
    fn halve(&mut self) {
        let offset = self.offset >> 1;
        let mut counts = Vec::with_capacity(self.counts.len() / 2 + 1);
        for (place, &count) in self.counts.iter().enumerate() {
            let joined = (((self.offset + place as i64) >> 1) - offset) as usize;
            counts.resize(joined + 1, 0_u64);
            counts[joined] = counts[joined].saturating_add(count);
        }
        *self = Self { offset, counts };
    }
}

/// What an exponential histogram says besides count, sum and extremes.
#[derive(Clone, Debug, Default)]
pub(super) struct Exponential {
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Range,
    pub(super) negative: Range,
}

impl Exponential {
    /// Fills in the buckets of a histogram.
    pub(super) fn write(mut self, histogram: &mut Histogram) {
        self.positive.trim();
        self.negative.trim();
        for _ in 0..self.scale.saturating_sub(SCALE_MAX).min(HALVINGS_MAX) {
            self.halve();
        }
        self.scale = self.scale.min(SCALE_MAX);
        // Four more bounds than buckets: where each range begins, and both ends of zero; and the last bucket, which is open.
        while self.positive.counts.len() + self.negative.counts.len() + 5 > BUCKETS_MAX {
            self.halve();
            self.scale = self.scale.saturating_sub(1);
        }
        let Histogram { upper_bounds, bucket_counts, .. } = histogram;
        upper_bounds.clear();
        bucket_counts.clear();
        let mut buckets = Buckets { upper_bounds, bucket_counts, waiting: 0 };
        for part in self.parts() {
            buckets.end_at(part.lower, 0);
            buckets.end_at(part.upper, part.count);
        }
        buckets.finish();
    }

    /// What the buckets lie between, ascending, without overlaps.
    fn parts(&self) -> Vec<Part> {
        let positive = &self.positive;
        let above = positive.counts.iter().enumerate().map(|(place, &count)| {
            let index = positive.offset + place as i64;
            Part { lower: self.bound(index), upper: self.bound(index + 1), count }
        });
        let negative = &self.negative;
        let below = negative.counts.iter().enumerate().rev().map(|(place, &count)| {
            let index = negative.offset + place as i64;
            let [lower, upper] = [index + 1, index].map(|index| -self.bound(index).max(SMALLEST));
            Part { lower, upper, count }
        });
        let mut parts: Vec<_> = below.collect();
        let mut above = above.peekable();
        if self.zero_count > 0 {
            let threshold = self.zero_threshold.max(0.0);
            let lower = if parts.is_empty() { f64::NEG_INFINITY } else { -threshold.max(SMALLEST) };
            let mut zero = Part { lower, upper: threshold, count: self.zero_count };
            // What counts as zero may reach into buckets only where a client is at odds with itself. Of what they hold
            // nothing tells on which side of the threshold it lies, so they are one bucket with it.
            while let Some(part) = parts.pop_if(|part| part.upper > zero.lower) {
                zero = zero.joined(part);
            }
            while let Some(part) = above.next_if(|part| part.lower < zero.upper) {
                zero = zero.joined(part);
            }
            parts.push(zero);
        }
        parts.extend(above);
        parts
    }

    fn halve(&mut self) {
        self.positive.halve();
        self.negative.halve();
    }

    /// `b^index`, where `b` is 2 to the power of `2^-scale`.
    fn bound(&self, index: i64) -> f64 {
        // At the lowest scales `b` is infinite, and its power of 0 is 1 all the same.
        if index == 0 { 1.0 } else { (index as f64 * (-f64::from(self.scale)).exp2()).exp2() }
    }
}

/// A bucket with both of its bounds.
#[derive(Clone, Copy, Debug)]
struct Part {
    lower: f64,
    upper: f64,
    count: u64,
}

impl Part {
    fn joined(self, other: Self) -> Self {
        Self {
            lower: self.lower.min(other.lower),
            upper: self.upper.max(other.upper),
            count: self.count.saturating_add(other.count),
        }
    }
}

/// Buckets whose bounds ascend strictly: what lies between bounds that are the same double is in the bucket that ends
/// there, and what ends beyond the largest double waits for the last.
struct Buckets<'a> {
    upper_bounds: &'a mut Vec<f64>,
    bucket_counts: &'a mut Vec<u64>,
    waiting: u64,
}

impl Buckets<'_> {
    fn end_at(&mut self, upper_bound: f64, count: u64) {
        if self.upper_bounds.last().is_some_and(|&last| last >= upper_bound)
            && let Some(last) = self.bucket_counts.last_mut()
        {
            *last = last.saturating_add(count);
            return;
        }
        self.waiting = self.waiting.saturating_add(count);
        if upper_bound.is_finite() {
            self.upper_bounds.push(upper_bound);
            self.bucket_counts.push(std::mem::take(&mut self.waiting));
        }
    }

    /// The last bucket is open.
    fn finish(self) {
        self.bucket_counts.push(self.waiting);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(exponential: &Exponential) -> Histogram {
        let mut histogram = Histogram::default();
        exponential.clone().write(&mut histogram);
        histogram
    }

    /// The buckets of an exponential histogram that hold anything: between what, and how much.
    fn buckets(exponential: &Exponential) -> Vec<(f64, f64, u64)> {
        let bound = |index| exponential.bound(index);
        let indexed = |range: &Range| -> Vec<(i64, u64)> {
            let offset = range.offset;
            range.counts.iter().enumerate().map(|(place, &count)| (offset + place as i64, count)).collect()
        };
        let positive = indexed(&exponential.positive).into_iter();
        let mut buckets: Vec<_> = positive.map(|(index, count)| (bound(index), bound(index + 1), count)).collect();
        for (index, count) in indexed(&exponential.negative) {
            buckets.push((-bound(index + 1).max(SMALLEST), -bound(index).max(SMALLEST), count));
        }
        let threshold = exponential.zero_threshold.max(0.0);
        buckets.push((-threshold, threshold, exponential.zero_count));
        buckets.retain(|&(_, _, count)| count > 0);
        buckets
    }

    fn ranges() -> impl Strategy<Value = Range> {
        let offset = prop_oneof![
            4 => -40_i64..40,
            1 => -2_000_i64..2_000,
            1 => prop::sample::select(vec![i64::from(i32::MIN), i64::from(i32::MAX), -1_075, -1_074, 1_023, 1_024]),
        ];
        let counts = prop_oneof![
            4 => prop::collection::vec(0..4_u64, 0..12),
            1 => prop::collection::vec(0..2_u64, 0..3_000),
        ];
        (offset, counts).prop_map(|(offset, counts)| Range { offset, counts })
    }

    fn exponentials() -> impl Strategy<Value = Exponential> {
        let scale = prop_oneof![4 => -11..9, 1 => prop::sample::select(vec![i32::MIN, -1_100, -1_024, 20, 24])];
        let threshold = prop_oneof![
            2 => Just(0.0),
            2 => 1e-6..2.0,
            1 => prop::sample::select(vec![SMALLEST, f64::MIN_POSITIVE, 1.0, 0.5, 1e300, f64::INFINITY, f64::NAN, -1.0]),
        ];
        (scale, 0..3_u64, threshold, ranges(), ranges()).prop_map(
            |(scale, zero_count, zero_threshold, positive, negative)| Exponential {
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
            },
        )
    }

    proptest! {
        /// Of what lies below any bound as many are counted as were, because no bound divides a bucket.
        #[test]
        fn each_bucket_lies_in_one_of_those_that_are_stored(exponential in exponentials()) {
            let histogram = written(&exponential);
            let Histogram { upper_bounds, bucket_counts, .. } = &histogram;
            let told = buckets(&exponential);
            prop_assert!(upper_bounds.iter().all(|bound| bound.is_finite()));
            prop_assert!(upper_bounds.is_sorted_by(|lower, upper| lower < upper), "{upper_bounds:?}");
            prop_assert_eq!(bucket_counts.len(), upper_bounds.len() + 1);
            prop_assert!(bucket_counts.len() <= BUCKETS_MAX);
            prop_assert_eq!(bucket_counts.iter().sum::<u64>(), told.iter().map(|&(_, _, count)| count).sum::<u64>());
            let mut below = 0;
            for (&bound, count) in upper_bounds.iter().zip(bucket_counts) {
                below += count;
                let divided = told.iter().find(|&&(lower, upper, _)| lower < bound && bound < upper);
                prop_assert_eq!(divided, None, "by {}", bound);
                let (mut least, mut most) = (0, 0);
                for &(lower, upper, count) in told.iter().filter(|&&(_, upper, _)| upper <= bound) {
                    most += count;
                    // What a double cannot tell from the bound may stand on either side of it.
                    least += if upper < bound || lower < upper { count } else { 0 };
                }
                prop_assert!((least..=most).contains(&below), "{} below {}, {} to {}", below, bound, least, most);
            }
        }

        /// However far the others are, quantiles near zero are as near as the client has told.
        #[test]
        fn zero_has_a_bucket_of_its_own(threshold in prop_oneof![Just(0.0), 1e-9..0.9], offset in 0_i64..60) {
            let range = Range { offset, counts: vec![1] };
            let exponential = Exponential {
                scale: 0, zero_count: 5, zero_threshold: threshold, positive: range.clone(), negative: range,
            };
            let Histogram { upper_bounds, bucket_counts, .. } = written(&exponential);
            let place = bucket_counts.iter().position(|&count| count == 5).expect("it stands alone");
            prop_assert_eq!((upper_bounds[place - 1], upper_bounds[place]), (-threshold.max(SMALLEST), threshold));
        }
    }
}
