//! Reads `Metric` messages, the row form.

use super::columns::{Columns, HistogramRow, QuantileRow, Row, RowData, SummaryRow, TagSpans};
use super::columns::{buckets_may_grow, push_tag, quantiles_may_grow};
use super::fault::Fault;
use crate::wire::proto::{FIXED64, LENGTH, Reader, Span, VARINT, WireFault, key};

/// Reads one metric; its tags and data go to the ends of their columns.
#[inline]
pub(super) fn read(mut reader: Reader<'_>, columns: &mut Columns) -> Result<Row, Fault> {
    const NAME: u32 = key(1, LENGTH);
    const TAGS: u32 = key(2, LENGTH);
    const TYPE: u32 = key(3, VARINT);
    const UNIT: u32 = key(4, LENGTH);
    const TIMESTAMP: u32 = key(5, FIXED64);
    const VALUE: u32 = key(6, FIXED64);
    const HISTOGRAM: u32 = key(7, LENGTH);
    const SUMMARY: u32 = key(8, LENGTH);
    const DELTA: u32 = key(9, VARINT);

    let tags_start = columns.tags.len();
    let mut row = Row {
        name: Span::default(),
        tags: Span::default(),
        unit: Span::default(),
        key_span: None,
        metric_type: 0,
        delta: false,
        timestamp_unix_ns: 0,
        data: RowData::None,
    };
    let mut timestamp = 0;
    let mut key_place = KeyPlace::Unseen;
    let mut at = reader.position();
    while let Some(key) = reader.key()? {
        match key {
            TAGS => {
                let tag = read_tag(reader.message()?)?;
                push_tag(&mut columns.tags, tags_start, tag, reader.body());
                key_place.tag(at, reader.position());
            }
            NAME => {
                row.name = reader.span()?;
                key_place.name(at, reader.position());
            }
            TYPE => row.metric_type = reader.varint()? as u32,
            UNIT => row.unit = reader.span()?,
            TIMESTAMP => timestamp = reader.fixed64()?,
            VALUE => {
                columns.drop_data(row.data);
                row.data = RowData::Value(reader.double()?);
            }
            HISTOGRAM => row.data = read_histogram(reader.message()?, row.data, columns)?,
            SUMMARY => row.data = read_summary(reader.message()?, row.data, columns)?,
            DELTA => row.delta = reader.varint()? != 0,
            _ => reader.skip(key)?,
        }
        at = reader.position();
    }
    row.tags = Span::between(tags_start, columns.tags.len());
    row.timestamp_unix_ns = i64::try_from(timestamp).map_err(|_| Fault::TimestampOutOfRange)?;
    if let KeyPlace::Together { start, end } = key_place {
        row.key_span = Some(Span::between(start, end));
    }
    Ok(row)
}

/// Whether name and tags stand together so far.
enum KeyPlace {
    Unseen,
    Together { start: usize, end: usize },
    Scattered,
}

impl KeyPlace {
    #[inline]
    fn name(&mut self, start: usize, end: usize) {
        *self = match self {
            Self::Unseen => Self::Together { start, end },
            _ => Self::Scattered,
        };
    }

    #[inline]
    fn tag(&mut self, at: usize, after: usize) {
        match self {
            Self::Together { end, .. } if *end == at => *end = after,
            _ => *self = Self::Scattered,
        }
    }
}

/// Reads a `Tag`.
#[inline]
pub(super) fn read_tag(mut reader: Reader<'_>) -> Result<TagSpans, WireFault> {
    const KEY: u32 = key(1, LENGTH);
    const VALUE: u32 = key(2, LENGTH);

    if let Some(tag) = read_plain_tag(&reader) {
        return Ok(tag);
    }
    let mut tag = TagSpans::default();
    while let Some(key) = reader.key()? {
        match key {
            KEY => tag.key = reader.span()?,
            VALUE => tag.value = reader.span()?,
            _ => reader.skip(key)?,
        }
    }
    Ok(tag)
}

/// The form that nearly every tag has: key, then value, both shorter than 128 bytes, and nothing else.
#[inline]
fn read_plain_tag(reader: &Reader<'_>) -> Option<TagSpans> {
    let bytes = reader.rest();
    let [0x0a, key_len @ 0..0x80, after_key @ ..] = bytes else { return None };
    let [0x12, value_len @ 0..0x80, value @ ..] = after_key.get(usize::from(*key_len)..)? else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let key_start = reader.position() as u32 + 2;
    let (key_len, value_len) = (u32::from(*key_len), u32::from(*value_len));
    Some(TagSpans {
        key: Span { start: key_start, len: key_len },
        value: Span { start: key_start + key_len + 2, len: value_len },
    })
}

/// Reads a `Histogram` and merges it into the one that the row has already, if any.
fn read_histogram(mut reader: Reader<'_>, before: RowData, columns: &mut Columns) -> Result<RowData, WireFault> {
    const COUNT: u32 = key(1, VARINT);
    const SUM: u32 = key(2, FIXED64);
    const MIN: u32 = key(3, FIXED64);
    const MAX: u32 = key(4, FIXED64);
    const UPPER_BOUNDS: u32 = key(5, FIXED64);
    const UPPER_BOUNDS_PACKED: u32 = key(5, LENGTH);
    const BUCKET_COUNTS: u32 = key(6, VARINT);
    const BUCKET_COUNTS_PACKED: u32 = key(6, LENGTH);

    let place = if let RowData::Histogram(place) = before {
        place
    } else {
        columns.drop_data(before);
        columns.histograms.push(HistogramRow {
            upper_bounds: Span::between(columns.upper_bounds.len(), columns.upper_bounds.len()),
            bucket_counts: Span::between(columns.bucket_counts.len(), columns.bucket_counts.len()),
            ..HistogramRow::default()
        });
        columns.histograms.len() as u32 - 1
    };
    let Columns { histograms, upper_bounds, bucket_counts, .. } = columns;
    let histogram = &mut histograms[place as usize];
    let (bounds_start, counts_start) = (histogram.upper_bounds.start as usize, histogram.bucket_counts.start as usize);
    let mut push_bound = |bound| {
        if buckets_may_grow(upper_bounds, bounds_start) {
            upper_bounds.push(bound);
        }
    };
    let mut push_count = |count| {
        if buckets_may_grow(bucket_counts, counts_start) {
            bucket_counts.push(count);
        }
    };
    while let Some(key) = reader.key()? {
        match key {
            COUNT => histogram.count = reader.varint()?,
            SUM => histogram.sum = reader.double()?,
            MIN => histogram.min = Some(reader.double()?),
            MAX => histogram.max = Some(reader.double()?),
            UPPER_BOUNDS => push_bound(reader.double()?),
            UPPER_BOUNDS_PACKED => {
                let mut packed = reader.message()?;
                while !packed.at_end() {
                    push_bound(packed.double()?);
                }
            }
            BUCKET_COUNTS => push_count(reader.varint()?),
            BUCKET_COUNTS_PACKED => {
                let mut packed = reader.message()?;
                while !packed.at_end() {
                    push_count(packed.varint()?);
                }
            }
            _ => reader.skip(key)?,
        }
    }
    histogram.upper_bounds = Span::between(bounds_start, upper_bounds.len());
    histogram.bucket_counts = Span::between(counts_start, bucket_counts.len());
    Ok(RowData::Histogram(place))
}

/// Reads a `Summary` and merges it into the one that the row has already, if any.
fn read_summary(mut reader: Reader<'_>, before: RowData, columns: &mut Columns) -> Result<RowData, WireFault> {
    const COUNT: u32 = key(1, VARINT);
    const SUM: u32 = key(2, FIXED64);
    const QUANTILES: u32 = key(3, LENGTH);

    let place = if let RowData::Summary(place) = before {
        place
    } else {
        columns.drop_data(before);
        let quantiles = Span::between(columns.quantiles.len(), columns.quantiles.len());
        columns.summaries.push(SummaryRow { quantiles, ..SummaryRow::default() });
        columns.summaries.len() as u32 - 1
    };
    let summary = &mut columns.summaries[place as usize];
    let start = summary.quantiles.start as usize;
    while let Some(key) = reader.key()? {
        match key {
            COUNT => summary.count = reader.varint()?,
            SUM => summary.sum = reader.double()?,
            QUANTILES => {
                let quantile = read_quantile(reader.message()?)?;
                if quantiles_may_grow(&columns.quantiles, start) {
                    columns.quantiles.push(quantile);
                }
            }
            _ => reader.skip(key)?,
        }
    }
    summary.quantiles = Span::between(start, columns.quantiles.len());
    Ok(RowData::Summary(place))
}

fn read_quantile(mut reader: Reader<'_>) -> Result<QuantileRow, WireFault> {
    const QUANTILE: u32 = key(1, FIXED64);
    const VALUE: u32 = key(2, FIXED64);

    let mut row = QuantileRow::default();
    while let Some(key) = reader.key()? {
        match key {
            QUANTILE => row.quantile = reader.double()?,
            VALUE => row.value = reader.double()?,
            _ => reader.skip(key)?,
        }
    }
    Ok(row)
}
