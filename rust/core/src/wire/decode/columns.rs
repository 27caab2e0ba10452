//! The columns that a batch is decoded into, reused from batch to batch.

use super::heartbeat::{Heartbeat, RunningTask};
use super::references::KeptReference;
use crate::limits::{BUCKETS_MAX, QUANTILES_MAX, TAGS_MAX};
use crate::wire::proto::Span;

/// Elements that a column may keep room for between batches; what a larger batch needed is given back after it.
const RETAINED_ELEMENTS_MAX: usize = 8 * 1024;

/// Tags with this key are kept from a list however long it is: the batch speaks for the node that they name.
const NODE_ID: &[u8] = b"node_id";

/// The timestamp of a point that has none: the time of its receipt.
///
/// No other point has it: a sum of base and deltas that comes to this is moved by one nanosecond, which leaves it in the
/// first moment of 1970, where it was.
pub const RECEIPT_TIME: i64 = 0;

/// A tag: where its key and value stand in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagSpans {
    /// Its key.
    pub key: Span,
    /// Its value.
    pub value: Span,
}

/// A metric in row form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: Span,
    /// Its tags: [`super::DecodedBatch::tags`].
    pub tags: Span,
    /// Its unit.
    pub unit: Span,
    /// Where name and tags stand together, one name and then all tags, as every usual encoder writes them: rows with equal
    /// bytes here (in batches with equal common tags) are of one series, without looking any closer.
    pub key_span: Option<Span>,
    /// Type by its number on the wire, which may be unknown.
    pub metric_type: u32,
    /// The value is the change since the previous point.
    pub delta: bool,
    /// Nanoseconds since 1970, never negative, or [`RECEIPT_TIME`].
    pub timestamp_unix_ns: i64,
    /// What was measured.
    pub data: RowData,
}

/// The data of a row. Distributions stand in columns of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RowData {
    /// Nothing was sent.
    #[default]
    None,
    /// A scalar.
    Value(f64),
    /// See [`super::DecodedBatch::histogram`].
    Histogram(u32),
    /// See [`super::DecodedBatch::summary`].
    Summary(u32),
}

/// A histogram's numbers and where its buckets stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistogramRow {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) upper_bounds: Span,
    pub(super) bucket_counts: Span,
}

/// A summary's numbers and where its quantiles stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SummaryRow {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) quantiles: Span,
}

/// One quantile of a summary, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QuantileRow {
    /// 0 to 1 when valid.
    pub quantile: f64,
    /// The value there.
    pub value: f64,
}

/// Everything one batch holds.
#[derive(Debug, Default)]
pub struct Columns {
    pub(super) common_tags: Vec<TagSpans>,
    pub(super) rows: Vec<Row>,
    /// Rows of the batch, also those that were not kept.
    pub(super) rows_seen: usize,
    pub(super) tags: Vec<TagSpans>,
    pub(super) histograms: Vec<HistogramRow>,
    pub(super) upper_bounds: Vec<f64>,
    pub(super) bucket_counts: Vec<u64>,
    pub(super) summaries: Vec<SummaryRow>,
    pub(super) quantiles: Vec<QuantileRow>,
    pub(super) definitions: Vec<Span>,
    pub(super) series_ids: Vec<u32>,
    pub(super) timestamps_unix_ns: Vec<i64>,
    pub(super) values: Vec<f64>,
    pub(super) references: Vec<KeptReference>,
    /// Values are told by references that the stream does not have.
    pub(super) references_unknown: bool,
    /// Points that all dense columns claim.
    pub(super) points_dense: usize,
    /// Those of them that were not expanded, because the batch has too many with them.
    pub(super) points_unread: usize,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) running_tasks: Vec<RunningTask>,
}

impl Columns {
    /// Empties every column and gives back what a large batch needed.
    pub(super) fn clear(&mut self) {
        let Self {
            common_tags,
            rows,
            rows_seen,
            tags,
            histograms,
            upper_bounds,
            bucket_counts,
            summaries,
            quantiles,
            definitions,
            series_ids,
            timestamps_unix_ns,
            values,
            references,
            references_unknown,
            points_dense,
            points_unread,
            heartbeat,
            running_tasks,
        } = self;
        clear(common_tags);
        clear(rows);
        clear(tags);
        clear(histograms);
        clear(upper_bounds);
        clear(bucket_counts);
        clear(summaries);
        clear(quantiles);
        clear(definitions);
        clear(series_ids);
        clear(timestamps_unix_ns);
        clear(values);
        clear(references);
        clear(running_tasks);
        *rows_seen = 0;
        *references_unknown = false;
        *points_dense = 0;
        *points_unread = 0;
        *heartbeat = None;
    }

    /// Bytes that the columns have room for.
    pub(super) fn memory_bytes(&self) -> usize {
        room(&self.common_tags)
            + room(&self.rows)
            + room(&self.tags)
            + room(&self.histograms)
            + room(&self.upper_bounds)
            + room(&self.bucket_counts)
            + room(&self.summaries)
            + room(&self.quantiles)
            + room(&self.definitions)
            + room(&self.series_ids)
            + room(&self.timestamps_unix_ns)
            + room(&self.values)
            + room(&self.references)
            + room(&self.running_tasks)
    }

    /// Takes a row that was just read, or only counts it when the batch has `rows_max` already: it is refused as a whole
    /// then, so what its further rows say is of no use.
    pub(super) fn take_row(&mut self, row: Row, rows_max: usize) {
        self.rows_seen += 1;
        if self.rows.len() < rows_max {
            self.rows.push(row);
        } else {
            self.drop_data(row.data);
            self.tags.truncate(row.tags.start as usize);
        }
    }

    /// Takes back the data of the row that is being read: another member of the oneof came after it.
    #[inline]
    pub(super) fn drop_data(&mut self, data: RowData) {
        if matches!(data, RowData::Histogram(_) | RowData::Summary(_)) {
            self.drop_distribution(data);
        }
    }

    #[cold]
    fn drop_distribution(&mut self, data: RowData) {
        match data {
            RowData::None | RowData::Value(_) => {}
            RowData::Histogram(place) => {
                let histogram = self.histograms[place as usize];
                self.histograms.truncate(place as usize);
                self.upper_bounds.truncate(histogram.upper_bounds.start as usize);
                self.bucket_counts.truncate(histogram.bucket_counts.start as usize);
            }
            RowData::Summary(place) => {
                let summary = self.summaries[place as usize];
                self.summaries.truncate(place as usize);
                self.quantiles.truncate(summary.quantiles.start as usize);
            }
        }
    }
}

fn clear<T>(column: &mut Vec<T>) {
    column.clear();
    column.shrink_to(RETAINED_ELEMENTS_MAX);
}

fn room<T>(column: &Vec<T>) -> usize {
    column.capacity() * size_of::<T>()
}

/// Appends a tag to the list that began at `start`, unless that is too long already: a list over the bound is refused for
/// its length, so its surplus cannot change how a point is judged.
#[inline]
pub(super) fn push_tag(tags: &mut Vec<TagSpans>, start: usize, tag: TagSpans, body: &[u8]) {
    if tags.len() - start <= TAGS_MAX || tag.key.of(body) == NODE_ID {
        tags.push(tag);
    }
}

/// True when a list of buckets that began at `start` may still grow: one more than valid, so that it is refused.
#[inline]
pub(super) fn buckets_may_grow<T>(list: &[T], start: usize) -> bool {
    list.len() - start <= BUCKETS_MAX
}

/// The same of a list of quantiles.
#[inline]
pub(super) fn quantiles_may_grow(list: &[QuantileRow], start: usize) -> bool {
    list.len() - start <= QUANTILES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound in the module's header counts on it.
    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 80, "{}", size_of::<Row>());
    }
}
