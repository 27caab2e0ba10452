//! Blocks as one Arrow record batch, in the columns of docs/dataset.md.
//!
//! A descriptor is turned into a row of dictionary codes once; a point then costs one number, and each column is gathered
//! from the rows at the end. Codes and dictionaries live on from batch to batch, up to a bound: the fleet's series come
//! round again in every interval, though a single batch may have a small part of them.

mod dictionary;
mod distinct;
mod distributions;
mod schema;
mod tags;

use std::sync::Arc;

use arrow_array::types::{TimestampMicrosecondType, TimestampNanosecondType};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use self::dictionary::Dictionary;
use self::distinct::Distinct;
use self::distributions::{HistogramColumn, SummaryColumn};
use self::tags::TagSets;
use super::block::{Distribution, PointBlock};
use super::descriptor_table::DescriptorTable;
use crate::series::Descriptor;

pub use self::schema::{SCHEMA_VERSION, schema};

/// Tags with a column of their own, in the columns' order. The others are in the map.
pub const STANDARD_TAGS: [&str; 5] = ["node_id", "region", "zone", "service", "version"];

/// Arrow's offsets are 32-bit: bytes of the text in one column, items of the lists in one.
const COLUMN_ITEMS_MAX: usize = i32::MAX as usize;
/// Rows of codes that live on at most, and bytes of their texts. Beyond that all begin anew. A row takes about 50 bytes, and
/// twice as much where each series has standard tags of its own.
const KEPT_ROWS_MAX: usize = 262_144;
const KEPT_TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Resolution of the two time columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Microseconds; nanoseconds are rounded down.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// The points do not fit into one record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {0} of one record batch would be more than {COLUMN_ITEMS_MAX} bytes or items; read fewer points at a time"
)]
pub struct TooLarge(&'static str);

/// Assembles record batches out of blocks.
#[derive(Debug, Default)]
pub struct ArrowAssembler {
    table: DescriptorTable,
    rows: Rows,
    points: Points,
}

/// Codes of descriptors, one row each. What many of them have in common stands once, and has a number.
#[derive(Debug, Default)]
struct Rows {
    names: Dictionary,
    types: Dictionary,
    units: Dictionary,
    standard: [Dictionary; STANDARD_TAGS.len()],
    metas: Distinct<Meta>,
    /// Of the standard tags; -1 where a series has none.
    standard_sets: Distinct<[i32; STANDARD_TAGS.len()]>,
    name: Vec<i32>,
    meta: Vec<u32>,
    standard_set: Vec<u32>,
    tags: TagSets,
}

/// What is stored beside a series' name and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Meta {
    kind: i32,
    unit: i32,
    delta: bool,
}

/// Columns that have one element a point.
#[derive(Debug, Default)]
struct Points {
    rows: Vec<u32>,
    timestamps_unix_ns: Vec<i64>,
    received_unix_us: Vec<i64>,
    values: Vec<f64>,
    histograms: HistogramColumn,
    summaries: SummaryColumn,
    identities: Dictionary,
    identity: Vec<i32>,
    epochs: Vec<i64>,
    sequences: Vec<i64>,
    tag_key_bytes: usize,
    tag_value_bytes: usize,
    tag_count: usize,
}

impl ArrowAssembler {
    /// An assembler without points.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Points taken since the last batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.rows.len()
    }

    /// True without points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.rows.is_empty()
    }

    /// Makes room for so many points: what grows by itself takes up to twice as much memory, and moves.
    pub fn reserve(&mut self, points: usize) {
        self.points.reserve(points);
    }

    /// Appends the points of a block.
    ///
    /// # Errors
    /// [`TooLarge`]; the block was not taken then, and the points before it can be finished.
    pub fn push(&mut self, block: &PointBlock) -> Result<(), TooLarge> {
        let rows = self.rows_of(&block.descriptors)?;
        let first = self.points.rows.len();
        self.points.reserve_text(block, &rows, &self.rows.tags)?;
        self.points.rows.extend(block.descriptor_index.iter().map(|&index| rows[index as usize]));
        self.points.push(block, first);
        Ok(())
    }

    /// The record batch of all points taken; the assembler has none afterwards.
    ///
    /// # Errors
    /// Arrow's own, which says that this file is wrong.
    pub fn finish(&mut self, unit: TimestampUnit) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns(unit);
        self.points = Points::default();
        if self.table.len() > KEPT_ROWS_MAX || self.rows.text_bytes() > KEPT_TEXT_BYTES_MAX {
            self.table.clear();
            self.rows = Rows::default();
        }
        RecordBatch::try_new(schema(unit), columns?)
    }

    /// The rows of codes of a block's descriptors: one look-up each.
    fn rows_of(&mut self, descriptors: &[Arc<Descriptor>]) -> Result<Vec<u32>, TooLarge> {
        let mut rows = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            let (row, new) = self.table.number(descriptor);
            if new {
                self.rows.push(descriptor);
            }
            rows.push(row);
        }
        self.rows.check()?;
        Ok(rows)
    }

    fn columns(&mut self, unit: TimestampUnit) -> Result<Vec<ArrayRef>, ArrowError> {
        let points = &mut self.points;
        let rows = &self.rows;
        let length = points.rows.len();
        let metas = gather(&points.rows, &rows.meta);
        let sets = gather(&points.rows, &rows.standard_set);

        let (timestamp, received) = times(unit, &mut points.timestamps_unix_ns, &mut points.received_unix_us);
        let mut columns = vec![
            timestamp,
            received,
            rows.names.column(gather(&points.rows, &rows.name))?,
            rows.types.column(gather(&metas, &rows.metas.each(|meta| meta.kind)))?,
            rows.units.column(gather(&metas, &rows.metas.each(|meta| meta.unit)))?,
        ];
        let nulls = points.histograms.nulls_or(&points.summaries, length);
        columns.push(Arc::new(Float64Array::new(std::mem::take(&mut points.values).into(), nulls)));
        let deltas = rows.metas.each(|meta| meta.delta);
        let delta = BooleanBuffer::collect_bool(length, |point| deltas[metas[point] as usize]);
        columns.push(Arc::new(BooleanArray::from(delta)));
        for (tag, dictionary) in rows.standard.iter().enumerate() {
            columns.push(dictionary.column(gather(&sets, &rows.standard_sets.each(|set| set[tag])))?);
        }
        let sizes = (points.tag_count, points.tag_key_bytes, points.tag_value_bytes);
        columns.push(rows.tags.column(&points.rows, sizes)?);
        columns.push(points.histograms.column(length)?);
        columns.push(points.summaries.column(length)?);
        columns.push(points.identities.column(std::mem::take(&mut points.identity))?);
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut points.epochs))));
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut points.sequences))));
        Ok(columns)
    }
}

/// Of each place, what stands there.
fn gather<T: Copy>(places: &[u32], values: &[T]) -> Vec<T> {
    places.iter().map(|&place| values[place as usize]).collect()
}

impl Rows {
    fn push(&mut self, descriptor: &Descriptor) {
        self.name.push(self.names.code(descriptor.key.name()));
        self.meta.push(self.metas.number(Meta {
            kind: self.types.code(descriptor.metric_type.as_str()),
            unit: self.units.code(&descriptor.unit),
            delta: descriptor.delta,
        }));
        let mut set = [-1; STANDARD_TAGS.len()];
        for (key, value) in descriptor.key.tags() {
            match STANDARD_TAGS.iter().position(|&standard| standard == key) {
                Some(tag) => set[tag] = self.standard[tag].code(value),
                None => self.tags.push(key, value),
            }
        }
        self.standard_set.push(self.standard_sets.number(set));
        self.tags.end();
    }

    fn dictionaries(&self) -> impl Iterator<Item = &Dictionary> {
        [&self.names, &self.types, &self.units].into_iter().chain(&self.standard)
    }

    fn text_bytes(&self) -> usize {
        self.dictionaries().map(Dictionary::text_bytes).sum::<usize>() + self.tags.text_bytes()
    }

    fn check(&self) -> Result<(), TooLarge> {
        let texts = self.dictionaries().map(Dictionary::text_bytes).chain([self.tags.text_bytes()]);
        let largest = texts.max().unwrap_or(0);
        if largest > COLUMN_ITEMS_MAX { Err(TooLarge("dictionaries")) } else { Ok(()) }
    }
}

impl Points {
    fn reserve(&mut self, points: usize) {
        self.rows.reserve_exact(points);
        self.values.reserve_exact(points);
        self.identity.reserve_exact(points);
        let whole = [&mut self.timestamps_unix_ns, &mut self.received_unix_us, &mut self.epochs, &mut self.sequences];
        for column in whole {
            column.reserve_exact(points);
        }
    }

    /// Counts what the block's tags and lists add to their columns, unless that is too much.
    fn reserve_text(&mut self, block: &PointBlock, rows: &[u32], tags: &TagSets) -> Result<(), TooLarge> {
        let (mut count, mut key_bytes, mut value_bytes) = (self.tag_count, self.tag_key_bytes, self.tag_value_bytes);
        for &index in &block.descriptor_index {
            let sizes = tags.sizes(rows[index as usize]);
            count += sizes.0;
            key_bytes += sizes.1;
            value_bytes += sizes.2;
        }
        if key_bytes.max(value_bytes).max(count) > COLUMN_ITEMS_MAX {
            return Err(TooLarge("tags"));
        }
        let items: usize = block.distributions.iter().map(|(_, distribution)| distribution.items()).sum();
        if items + self.histograms.items().max(self.summaries.items()) > COLUMN_ITEMS_MAX {
            return Err(TooLarge("histograms and summaries"));
        }
        (self.tag_count, self.tag_key_bytes, self.tag_value_bytes) = (count, key_bytes, value_bytes);
        Ok(())
    }

    fn push(&mut self, block: &PointBlock, first: usize) {
        self.timestamps_unix_ns.extend_from_slice(&block.timestamps_unix_ns);
        self.values.extend_from_slice(&block.values);
        let length = self.values.len();
        self.received_unix_us.resize(length, block.received_unix_us);
        let identity = self.identities.code(&block.identity);
        self.identity.resize(length, identity);
        self.epochs.resize(length, block.epoch.cast_signed());
        self.sequences.resize(length, block.sequence.cast_signed());
        for (point, distribution) in &block.distributions {
            let place = first + *point as usize;
            match distribution {
                Distribution::Histogram(histogram) => self.histograms.push(place, histogram),
                Distribution::Summary(summary) => self.summaries.push(place, summary),
            }
        }
    }
}

impl Distribution {
    /// Elements of its longest list.
    fn items(&self) -> usize {
        match self {
            Self::Histogram(histogram) => histogram.bucket_counts.len(),
            Self::Summary(summary) => summary.quantiles.len(),
        }
    }
}

fn times(
    unit: TimestampUnit,
    timestamps_unix_ns: &mut Vec<i64>,
    received_unix_us: &mut Vec<i64>,
) -> (ArrayRef, ArrayRef) {
    let mut timestamps = std::mem::take(timestamps_unix_ns);
    let mut received = std::mem::take(received_unix_us);
    match unit {
        TimestampUnit::Microseconds => {
            for time in &mut timestamps {
                *time = time.div_euclid(1_000);
            }
            (time::<TimestampMicrosecondType>(timestamps), time::<TimestampMicrosecondType>(received))
        }
        TimestampUnit::Nanoseconds => {
            for time in &mut received {
                *time = time.saturating_mul(1_000);
            }
            (time::<TimestampNanosecondType>(timestamps), time::<TimestampNanosecondType>(received))
        }
    }
}

fn time<T>(values: Vec<i64>) -> ArrayRef
where
    T: ArrowPrimitiveType<Native = i64> + arrow_array::types::ArrowTimestampType,
{
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), None).with_timezone(schema::TIME_ZONE))
}

/// Nulls everywhere but at the places, which ascend.
fn nulls_except(places: &[u32], length: usize) -> NullBuffer {
    let mut valid = arrow_buffer::BooleanBufferBuilder::new(length);
    valid.append_n(length, false);
    for &place in places {
        valid.set_bit(place as usize, true);
    }
    NullBuffer::new(valid.finish())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
