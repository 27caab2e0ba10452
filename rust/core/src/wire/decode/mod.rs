//! From a frame to a batch whose structure is sound.
//!
//! One pass over the bytes fills reusable columns with numbers and with spans into the body; nothing is allocated a metric.
//! Text stays raw bytes: whether it is UTF-8 concerns the point, not the batch. Protobuf's rules for repeated occurrences
//! hold: the last scalar wins, messages merge, of a oneof the last member wins, a known number with another wire type is
//! an unknown field.
//!
//! Memory: a kept row takes a fixed 80 bytes, a point of dense columns 20 and 16 for its reference, and at most [`Limits::max_batch_size`] of each
//! are kept; everything else takes at most 8 bytes for each byte of the body. What a scratch keeps between batches is bounded too.

mod columns;
mod definition;
mod dense;
mod fault;
mod heartbeat;
mod inflate;
mod points;
mod references;
mod rows;

pub use columns::{Columns, HistogramRow, QuantileRow, RECEIPT_TIME, Row, RowData, SummaryRow, TagSpans};
pub use definition::{Definition, Tags};
pub use fault::{Fault, Malformed};
pub use heartbeat::{Heartbeat, RunningTask};
pub use references::{KeptReference, NoReferences, Reference, References};

use self::inflate::{Compressed, Inflater};
use super::proto::{FIXED64, LENGTH, Reader, Span, VARINT, key};
use crate::limits::Limits;

/// Columns and buffers that one batch after the other is decoded into.
#[derive(Debug, Default)]
pub struct DecodeScratch {
    columns: Columns,
    inflater: Inflater,
}

impl DecodeScratch {
    /// Bytes that the body of the last batch was inflated to, as far as that went; 0 when it was not compressed.
    #[must_use]
    pub fn inflated_bytes(&self) -> usize {
        self.inflater.inflated_bytes()
    }

    /// Bytes that the columns and the buffer hold now, used or not. What zstd keeps for itself, at most about its window,
    /// is not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.columns.memory_bytes() + self.inflater.buffer_bytes()
    }
}

/// A batch of sound structure, borrowed from its frame and from the scratch.
#[derive(Clone, Copy, Debug)]
pub struct DecodedBatch<'a> {
    /// Below 2^63; 0 for a batch without a name.
    pub sequence: u64,
    /// 0 for a batch without a name.
    pub epoch: u64,
    /// At most `sequence`.
    pub oldest_unacknowledged: u64,
    /// The name is not to be stored any more, if it is not yet; the rest of the batch does not count.
    pub withdraw: bool,
    /// Points of the batch, a histogram or summary being one.
    ///
    /// When there are more than `limits.max_batch_size`, `rows` and the columns may hold fewer than the batch: judge the
    /// count (after unknown series) before the rows.
    pub points: usize,
    /// What the spans are positions in: the frame, or the inflated body.
    pub body: &'a [u8],
    columns: &'a Columns,
}

/// Decodes a frame (without its length prefix) that is the first of its stream, or one of a stream that keeps no references.
///
/// # Errors
/// [`Malformed`], as [`decode_with`].
pub fn decode<'a>(
    frame: &'a [u8],
    limits: &Limits,
    scratch: &'a mut DecodeScratch,
) -> Result<DecodedBatch<'a>, Malformed> {
    decode_with(&NoReferences, frame, limits, scratch)
}

/// Decodes a frame (without its length prefix) of a stream that has these references.
///
/// # Errors
/// [`Malformed`] for what is no batch as the contract has it, as far as its bytes alone can tell. That ids are defined
/// again differently, and how many a stream may define, is for the stream's dictionary to judge.
pub fn decode_with<'a>(
    references: &dyn References,
    frame: &'a [u8],
    limits: &Limits,
    scratch: &'a mut DecodeScratch,
) -> Result<DecodedBatch<'a>, Malformed> {
    let DecodeScratch { columns, inflater } = scratch;
    columns.clear();
    inflater.clear();
    let mut header = Header::default();
    match decode_into(references, frame, limits, columns, inflater, &mut header) {
        Ok(body) => Ok(DecodedBatch {
            sequence: header.sequence,
            epoch: header.epoch,
            oldest_unacknowledged: header.oldest_unacknowledged,
            withdraw: header.withdraw,
            points: columns.rows_seen + columns.series_ids.len() + columns.points_unread,
            body,
            columns,
        }),
        Err(fault) => Err(Malformed { sequence: header.sequence, fault }),
    }
}

/// The sequence of a batch of which only the beginning is known; 0 when it does not stand there.
#[must_use]
pub fn peek_sequence(head: &[u8]) -> u64 {
    const SEQUENCE: u32 = key(1, VARINT);
    let mut reader = Reader::new(head);
    let mut sequence = 0;
    while let Ok(Some(key)) = reader.key() {
        match key {
            SEQUENCE => sequence = reader.varint().unwrap_or(sequence),
            _ if reader.skip(key).is_ok() => {}
            _ => break,
        }
    }
    sequence
}

/// What stands in a batch besides its contents.
#[derive(Debug, Default)]
struct Header {
    sequence: u64,
    epoch: u64,
    oldest_unacknowledged: u64,
    withdraw: bool,
    compressed: Option<Compressed>,
    /// A known field other than those above.
    contents: bool,
}

fn decode_into<'a>(
    references: &dyn References,
    frame: &'a [u8],
    limits: &Limits,
    columns: &mut Columns,
    inflater: &'a mut Inflater,
    header: &mut Header,
) -> Result<&'a [u8], Fault> {
    if u32::try_from(frame.len()).is_err() {
        return Err(Fault::FrameTooLong);
    }
    walk(references, frame, limits, columns, header)?;
    check_name(header)?;
    let Some(compressed) = &header.compressed else {
        check_heartbeat(columns)?;
        return Ok(frame);
    };
    if header.contents {
        return Err(Fault::CompressedBesideContents);
    }
    let body = inflater.inflate(compressed, frame, limits.inflated_bytes_max)?;
    let mut inner = Header::default();
    walk(references, body, limits, columns, &mut inner)?;
    check_heartbeat(columns)?;
    if inner.compressed.is_some() {
        return Err(Fault::CompressedTwice);
    }
    if (inner.sequence, inner.epoch, inner.oldest_unacknowledged, inner.withdraw) != (0, 0, 0, false) {
        return Err(Fault::NameInsideCompressed);
    }
    Ok(body)
}

fn check_heartbeat(columns: &Columns) -> Result<(), Fault> {
    if columns.heartbeat.is_some_and(|heartbeat| heartbeat.timestamp_unix_ns < 0) {
        return Err(Fault::TimestampOutOfRange);
    }
    Ok(())
}

fn check_name(header: &Header) -> Result<(), Fault> {
    if i64::try_from(header.sequence).is_err() {
        return Err(Fault::SequenceOutOfRange);
    }
    if header.sequence == 0 && header.epoch != 0 {
        return Err(Fault::EpochWithoutSequence);
    }
    if header.oldest_unacknowledged > header.sequence {
        return Err(Fault::OldestAboveSequence);
    }
    Ok(())
}

/// Walks a `MetricBatch`.
fn walk(
    references: &dyn References,
    body: &[u8],
    limits: &Limits,
    columns: &mut Columns,
    header: &mut Header,
) -> Result<(), Fault> {
    const SEQUENCE: u32 = key(1, VARINT);
    const EPOCH: u32 = key(2, FIXED64);
    const COMMON_TAGS: u32 = key(3, LENGTH);
    const METRICS: u32 = key(4, LENGTH);
    const SERIES: u32 = key(5, LENGTH);
    const POINTS: u32 = key(6, LENGTH);
    const HEARTBEAT: u32 = key(7, LENGTH);
    const COMPRESSED: u32 = key(8, LENGTH);
    const OLDEST_UNACKNOWLEDGED: u32 = key(9, VARINT);
    const WITHDRAW: u32 = key(10, VARINT);

    let mut reader = Reader::new(body);
    while let Some(key) = reader.key()? {
        header.contents |= matches!(key, COMMON_TAGS | METRICS | SERIES | POINTS | HEARTBEAT | WITHDRAW);
        match key {
            METRICS => {
                let row = rows::read(reader.message()?, columns)?;
                columns.take_row(row, limits.max_batch_size);
            }
            COMMON_TAGS => {
                let tag = rows::read_tag(reader.message()?)?;
                columns::push_tag(&mut columns.common_tags, 0, tag, body);
            }
            SERIES => {
                let span = reader.span()?;
                Definition::parse(body, span)?;
                columns.definitions.push(span);
            }
            POINTS => points::read(reader.message()?, columns, limits.max_batch_size, references)?,
            HEARTBEAT => heartbeat::read(reader.message()?, &mut columns.heartbeat, &mut columns.running_tasks)?,
            COMPRESSED => header.compressed.get_or_insert_default().read(reader.message()?)?,
            SEQUENCE => header.sequence = reader.varint()?,
            EPOCH => header.epoch = reader.fixed64()?,
            OLDEST_UNACKNOWLEDGED => header.oldest_unacknowledged = reader.varint()?,
            WITHDRAW => header.withdraw = reader.varint()? != 0,
            _ => reader.skip(key)?,
        }
    }
    Ok(())
}

impl<'a> DecodedBatch<'a> {
    /// The bytes of a text: not checked, it may be invalid UTF-8, empty or long.
    #[must_use]
    #[inline]
    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.body)
    }

    /// The batch's metrics in row form.
    #[must_use]
    pub fn rows(&self) -> &'a [Row] {
        &self.columns.rows
    }

    /// A row's own tags. Of a row with more than [`crate::limits::TAGS_MAX`] at least one more than that many are here,
    /// and all that name the node.
    #[must_use]
    #[inline]
    pub fn tags(&self, row: &Row) -> &'a [TagSpans] {
        row.tags.of(&self.columns.tags)
    }

    /// Tags of every point of the batch; bounded like a row's own.
    #[must_use]
    pub fn common_tags(&self) -> &'a [TagSpans] {
        &self.columns.common_tags
    }

    /// The data of a row that is a histogram.
    #[must_use]
    pub fn histogram(&self, place: u32) -> HistogramView<'a> {
        let row = &self.columns.histograms[place as usize];
        HistogramView {
            count: row.count,
            sum: row.sum,
            min: row.min,
            max: row.max,
            upper_bounds: row.upper_bounds.of(&self.columns.upper_bounds),
            bucket_counts: row.bucket_counts.of(&self.columns.bucket_counts),
        }
    }

    /// The data of a row that is a summary.
    #[must_use]
    pub fn summary(&self, place: u32) -> SummaryView<'a> {
        let row = &self.columns.summaries[place as usize];
        SummaryView { count: row.count, sum: row.sum, quantiles: row.quantiles.of(&self.columns.quantiles) }
    }

    /// Series that the batch defines, in its order.
    ///
    /// # Panics
    /// Never: decoding has parsed each of them once.
    #[must_use]
    pub fn definitions(&self) -> impl ExactSizeIterator<Item = Definition<'a>> + use<'a> {
        let body = self.body;
        self.columns.definitions.iter().map(move |&span| Definition::parse(body, span).expect("decoding has parsed it"))
    }

    /// Points that dense columns claim and that were not read, because the batch has too many with them. They took no
    /// bytes to send.
    #[must_use]
    pub fn points_unread(&self) -> usize {
        self.columns.points_unread
    }

    /// What the stream is to keep of this batch, in order, so that later ones are told by it: the last of a series counts.
    #[must_use]
    pub fn references(&self) -> &'a [KeptReference] {
        &self.columns.references
    }

    /// Values are told by references that the stream does not have, or kept beside others than it has. What stands in
    /// their place is to be refused, and nothing of the batch to be kept.
    #[must_use]
    pub fn references_unknown(&self) -> bool {
        self.columns.references_unknown
    }

    /// For each point in columns, its series' id in the stream.
    #[must_use]
    pub fn series_ids(&self) -> &'a [u32] {
        &self.columns.series_ids
    }

    /// For each point in columns, nanoseconds since 1970 (any `i64`), or [`RECEIPT_TIME`].
    #[must_use]
    pub fn timestamps_unix_ns(&self) -> &'a [i64] {
        &self.columns.timestamps_unix_ns
    }

    /// For each point in columns, its value.
    #[must_use]
    pub fn values(&self) -> &'a [f64] {
        &self.columns.values
    }

    /// The state of the worker beside the agent, where the batch has one.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        self.columns.heartbeat
    }

    /// The tasks of the batch's heartbeat: the first [`crate::limits::RUNNING_TASKS_MAX`] of them.
    #[must_use]
    pub fn running_tasks(&self) -> &'a [RunningTask] {
        &self.columns.running_tasks
    }
}

/// A histogram's data, as sent. Of too many buckets, one more than [`crate::limits::BUCKETS_MAX`] are here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramView<'a> {
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest, where sent.
    pub min: Option<f64>,
    /// The largest, where sent.
    pub max: Option<f64>,
    /// Upper bounds of all buckets but the last.
    pub upper_bounds: &'a [f64],
    /// Observations in each bucket.
    pub bucket_counts: &'a [u64],
}

/// A summary's data, as sent. Of too many quantiles, one more than [`crate::limits::QUANTILES_MAX`] are here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SummaryView<'a> {
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// In the order sent.
    pub quantiles: &'a [QuantileRow],
}
