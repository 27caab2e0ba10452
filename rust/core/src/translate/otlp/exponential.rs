//! Exponential histograms as explicit buckets.
//!
//! At scale `s`, bucket `i` of the positive range holds what is above `b^i` and at most `b^(i+1)`, where `b` is 2 to the
//! power of `2^-s`; the negative range is its mirror image, and between both stand the values that count as zero. Where
//! that makes more buckets than a histogram may have, neighbours are joined, which is the same histogram at a lower scale.

use crate::columns::Histogram;
use crate::limits::BUCKETS_MAX;
use crate::wire::proto::{LENGTH, Reader, VARINT, WireFault, key, unzigzag};

/// Scales beyond this are none that a double can tell apart, and none that clients make.
const SCALE_MAX: i32 = 24;
/// After so many halvings every bucket there can be is one of the two around 1, and another changes nothing.
const HALVINGS_MAX: i32 = 64;
/// Buckets of a range that are read; what a client counts in more does not add up, and its point is refused for that.
const COUNTS_MAX: usize = 65_536;

/// One range of an exponential histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    offset: i32,
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
                OFFSET => self.offset = unzigzag(buckets.varint()? & u64::from(u32::MAX)) as i32,
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
        self.offset = self.offset.saturating_add(empty as i32);
    }

    /// Joins neighbours: the range at a scale lower by one.
    fn halve(&mut self) {
        let offset = self.offset >> 1;
        let mut counts = Vec::with_capacity(self.counts.len() / 2 + 1);
        for (place, &count) in self.counts.iter().enumerate() {
            let joined = (((i64::from(self.offset) + place as i64) >> 1) - i64::from(offset)) as usize;
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
        // Two more bounds than buckets: below the first of each range; and the last bucket, which is open.
        while self.positive.counts.len() + self.negative.counts.len() + 3 > BUCKETS_MAX {
            self.halve();
            self.scale = self.scale.saturating_sub(1);
        }
        let Histogram { upper_bounds, bucket_counts, .. } = histogram;
        upper_bounds.clear();
        bucket_counts.clear();
        let mut buckets = Buckets { upper_bounds, bucket_counts, waiting: 0 };
        for (place, &count) in self.negative.counts.iter().enumerate().rev() {
            // The range is mirrored: its bucket `i` ends at -b^i, and begins where the one before it ended.
            let index = i64::from(self.negative.offset) + place as i64;
            if place + 1 == self.negative.counts.len() {
                buckets.end_at(-bound(index + 1, self.scale), 0);
            }
            buckets.end_at(-bound(index, self.scale), count);
        }
        if self.positive.counts.is_empty() {
            if self.zero_count > 0 {
                buckets.end_at(self.zero_threshold.max(0.0), self.zero_count);
            }
        } else {
            // What counts as zero lies below the first positive bucket, or the client would have put it there.
            buckets.end_at(bound(i64::from(self.positive.offset), self.scale), self.zero_count);
        }
        for (place, &count) in self.positive.counts.iter().enumerate() {
            buckets.end_at(bound(i64::from(self.positive.offset) + place as i64 + 1, self.scale), count);
        }
        buckets.finish();
    }

    fn halve(&mut self) {
        self.positive.halve();
        self.negative.halve();
    }
}

/// `b^index`, where `b` is 2 to the power of `2^-scale`.
fn bound(index: i64, scale: i32) -> f64 {
    (index as f64 * (-f64::from(scale)).exp2()).exp2()
}

/// Buckets whose bounds ascend strictly: what lies between bounds that are the same double waits for the next.
struct Buckets<'a> {
    upper_bounds: &'a mut Vec<f64>,
    bucket_counts: &'a mut Vec<u64>,
    waiting: u64,
}

impl Buckets<'_> {
    fn end_at(&mut self, upper_bound: f64, count: u64) {
        let count = self.waiting.saturating_add(count);
        let ascends = self.upper_bounds.last().is_none_or(|&last| last < upper_bound);
        if ascends && upper_bound.is_finite() {
            self.upper_bounds.push(upper_bound);
            self.bucket_counts.push(count);
            self.waiting = 0;
        } else {
            self.waiting = count;
        }
    }

    /// The last bucket is open.
    fn finish(self) {
        self.bucket_counts.push(self.waiting);
    }
}
