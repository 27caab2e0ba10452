//! One admitted batch in columns.

use std::sync::Arc;

use crate::series::Descriptor;

/// The series of a block, in one list that is shared by blocks that have the same: those of a stream whose agent sends
/// what it sent before, and those that a decoder found to be equal. What was worked out for a list is good for each block
/// whose list is at the same address, as long as the list is held.
pub type SharedSeries = Arc<[Arc<Descriptor>]>;

/// What one batch became after admission. Immutable once journalled; every consumer shares it.
///
/// The three point columns have equal lengths. `descriptor_index[i]` points into `descriptors`, where each distinct
/// (series, type, unit, delta) of the block stands once.
#[derive(Clone, Debug, PartialEq)]
pub struct PointBlock {
    /// Who sent it, from the peer's certificate.
    pub identity: Arc<str>,
    /// The agent's epoch; 0 for a batch without a name.
    pub epoch: u64,
    /// The batch's sequence in its epoch; 0 for a batch without a name.
    pub sequence: u64,
    /// Every lower sequence of this epoch is answered or abandoned.
    pub oldest_unacknowledged: u64,
    /// Time of receipt, microseconds since 1970.
    pub received_unix_us: i64,
    /// Distinct descriptors of the block.
    pub descriptors: SharedSeries,
    /// For each point, its place in `descriptors`.
    pub descriptor_index: Vec<u32>,
    /// For each point, nanoseconds since 1970.
    pub timestamps_unix_ns: Vec<i64>,
    /// For each point, its value; 0 where `distributions` has the point.
    pub values: Vec<f64>,
    /// Histograms and summaries with the place of their point, ascending.
    pub distributions: Vec<(u32, Distribution)>,
}

/// The data of a histogram or summary point.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Explicit buckets.
    Histogram(Histogram),
    /// Quantiles.
    Summary(Summary),
}

/// `bucket_counts` has one more element than `upper_bounds`, is not cumulative and adds up to `count`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest, where known.
    pub min: Option<f64>,
    /// The largest, where known.
    pub max: Option<f64>,
    /// Strictly ascending; the last bucket is open.
    pub upper_bounds: Vec<f64>,
    /// Observations in each bucket.
    pub bucket_counts: Vec<u64>,
}

/// A distribution as quantiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// In the order they were sent.
    pub quantiles: Vec<Quantile>,
}

/// One quantile of a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantile {
    /// 0 to 1.
    pub quantile: f64,
    /// The value there.
    pub value: f64,
}

impl PointBlock {
    /// Points in the block; a histogram or summary is one point.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps_unix_ns.len()
    }

    /// True for a block without points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps_unix_ns.is_empty()
    }

    /// Bytes that the block holds in memory, shared descriptors not counted: what a bounded cache counts.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let distributions: usize = self
            .distributions
            .iter()
            .map(|(_, distribution)| match distribution {
                Distribution::Histogram(histogram) => histogram.upper_bounds.len() * 16 + 96,
                Distribution::Summary(summary) => summary.quantiles.len() * 16 + 64,
            })
            .sum();
        size_of::<Self>() + self.descriptors.len() * 8 + self.len() * (4 + 8 + 8) + distributions
    }
}
