//! The points of blocks, by series and time.

use std::sync::Arc;

use crate::columns::{DescriptorTable, Distribution, PointBlock};
use crate::series::Descriptor;

/// What a point says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datum<'a> {
    Value(f64),
    Distribution(&'a Distribution),
}

/// One point of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    pub(super) timestamp_unix_ns: i64,
    pub(super) datum: Datum<'a>,
}

/// All points of some blocks.
pub(super) struct Gathered<'a> {
    descriptors: Vec<Arc<Descriptor>>,
    /// Sorted by series, then by time; points of one time stay in the order in which they came.
    samples: Vec<(u32, Sample<'a>)>,
}

impl<'a> Gathered<'a> {
    pub(super) fn of(blocks: &'a [Arc<PointBlock>]) -> Self {
        let mut table = DescriptorTable::default();
        let mut samples = Vec::with_capacity(blocks.iter().map(|block| block.len()).sum());
        for block in blocks {
            let numbers: Vec<u32> = block.descriptors.iter().map(|descriptor| table.number(descriptor).0).collect();
            let mut distributions = block.distributions.iter().peekable();
            let points = block.descriptor_index.iter().zip(&block.values).zip(&block.timestamps_unix_ns);
            for (point, ((&index, &value), &timestamp_unix_ns)) in points.enumerate() {
                let datum = match distributions.next_if(|(place, _)| *place as usize == point) {
                    None => Datum::Value(value),
                    Some((_, distribution)) => Datum::Distribution(distribution),
                };
                samples.push((numbers[index as usize], Sample { timestamp_unix_ns, datum }));
            }
        }
        samples.sort_by_key(|(number, sample)| (*number, sample.timestamp_unix_ns));
        Self { descriptors: table.take(), samples }
    }

    /// Each series with its points.
    pub(super) fn series(&self) -> impl Iterator<Item = (&Arc<Descriptor>, &[(u32, Sample<'a>)])> {
        let runs = self.samples.chunk_by(|(number, _), (next, _)| number == next);
        runs.map(|run| (&self.descriptors[run[0].0 as usize], run))
    }
}
