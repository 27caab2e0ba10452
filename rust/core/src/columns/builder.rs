//! Building the block of one batch, point by point.

use std::sync::Arc;

use super::block::{Distribution, PointBlock, SharedSeries};
use super::series_list::SeriesList;
use crate::series::Descriptor;

/// Collects admitted points; reused from batch to batch.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    descriptors: SeriesList,
    descriptor_index: Vec<u32>,
    timestamps_unix_ns: Vec<i64>,
    values: Vec<f64>,
    distributions: Vec<(u32, Distribution)>,
}

/// What a block says of its batch as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
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
}

impl BlockBuilder {
    /// Begins a block whose series are most likely these.
    pub fn expect(&mut self, series: &SharedSeries) {
        self.clear();
        self.descriptors.expect(series);
    }

    /// The place of a descriptor in the block, which it enters if it is new.
    #[inline]
    pub fn descriptor(&mut self, descriptor: &Arc<Descriptor>) -> u32 {
        self.descriptors.number(descriptor)
    }

    /// Adds a descriptor that the caller knows to be new to the block, without looking for it: its place.
    #[inline]
    pub fn append_descriptor(&mut self, descriptor: &Arc<Descriptor>) -> u32 {
        self.descriptors.append(descriptor)
    }

    /// Adds a scalar point of the descriptor at `index`.
    #[inline]
    pub fn push(&mut self, index: u32, timestamp_unix_ns: i64, value: f64) {
        debug_assert!((index as usize) < self.descriptors.len(), "places come from descriptor()");
        self.descriptor_index.push(index);
        self.timestamps_unix_ns.push(timestamp_unix_ns);
        self.values.push(value);
    }

    /// Adds a histogram or summary of the descriptor at `index`.
    pub fn push_distribution(&mut self, index: u32, timestamp_unix_ns: i64, distribution: Distribution) {
        self.distributions.push((self.values.len() as u32, distribution));
        self.push(index, timestamp_unix_ns, 0.0);
    }

    /// Points so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True without points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Forgets what was collected.
    pub fn clear(&mut self) {
        self.descriptors.clear();
        self.descriptor_index.clear();
        self.timestamps_unix_ns.clear();
        self.values.clear();
        self.distributions.clear();
    }

    /// The block of what was collected; the builder is empty again.
    #[must_use]
    pub fn finish(&mut self, header: BatchHeader) -> PointBlock {
        // Copies of exact size: a block may stay in memory for long, the builder keeps its room for the next batch.
        let block = PointBlock {
            identity: header.identity,
            epoch: header.epoch,
            sequence: header.sequence,
            oldest_unacknowledged: header.oldest_unacknowledged,
            received_unix_us: header.received_unix_us,
            descriptors: self.descriptors.take(),
            descriptor_index: self.descriptor_index.as_slice().into(),
            timestamps_unix_ns: self.timestamps_unix_ns.as_slice().into(),
            values: self.values.as_slice().into(),
            distributions: std::mem::take(&mut self.distributions),
        };
        self.clear();
        block
    }
}
