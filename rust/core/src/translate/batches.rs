//! Writes points as frames in row form, each within the limits of a batch.

use super::RequestFault;
use crate::columns::{Histogram, Summary};
use crate::limits::{Limits, NAME_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX, UNIT_BYTES_MAX};
use crate::series::MetricType;
use crate::wire::proto::{Span, put_bytes, put_fixed64, put_message_head, put_number, put_varint, varint_len};

const NAME: u32 = 1;
const TAG: u32 = 2;
const TYPE: u32 = 3;
const UNIT: u32 = 4;
const TIMESTAMP: u32 = 5;
const VALUE: u32 = 6;
const HISTOGRAM: u32 = 7;
const SUMMARY: u32 = 8;
const DELTA: u32 = 9;
/// `MetricBatch.metrics`.
const METRIC: u32 = 4;

/// How large the frames of one request may become.
///
/// Tags of a resource are written with each of its points, so a small request may become large. It has to fit as a whole:
/// were a part of it stored and the rest put off, it would be sent again and its first part be stored again, for ever.
#[derive(Clone, Copy, Debug)]
pub struct BatchesMax {
    /// Points of a frame.
    pub points: usize,
    /// Bytes of a frame. One row that is larger gets a frame of its own, for ingest to judge.
    pub frame_bytes: usize,
    /// Bytes of all frames together.
    pub request_bytes: usize,
}

/// What is in flight at a time has room for so many of the largest requests.
const REQUESTS_IN_FLIGHT: usize = 8;

impl From<&Limits> for BatchesMax {
    fn from(limits: &Limits) -> Self {
        Self {
            points: limits.max_batch_size.max(1),
            frame_bytes: limits.frame_bytes_max,
            request_bytes: limits.inflight_bytes_max / REQUESTS_IN_FLIGHT,
        }
    }
}

/// What a point is, besides its series and data.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// How its value is read.
    pub metric_type: MetricType,
    /// Its unit, not judged yet.
    pub unit: &'a [u8],
    /// It is the change since the previous point.
    pub delta: bool,
}

/// What a request had that has no place in a point: left out, and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Single observations beside a point.
    pub exemplars: u64,
    /// Points that say that there is no value.
    pub points_without_value: u64,
    /// Prometheus' native histograms.
    pub native_histograms: u64,
    /// Fields whose value is a text.
    pub text_fields: u64,
    /// Lines that break their syntax.
    pub lines: u64,
}

impl Left {
    /// Each kind by the name that operators see, with how many there were.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, u64); 5] {
        [
            ("exemplar", self.exemplars),
            ("no_value", self.points_without_value),
            ("native_histogram", self.native_histograms),
            ("text_field", self.text_fields),
            ("bad_line", self.lines),
        ]
    }
}

/// So much of a text that it is refused for its length if it is too long: what is copied for each point has a bound.
fn beginning(text: &[u8], bytes_max: usize) -> &[u8] {
    &text[..text.len().min(bytes_max + 1)]
}

/// What is wrong with a line of a request that has lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It begins with a comma or a space.
    #[error("no measurement")]
    NoMeasurement,
    /// A tag's key is empty, or no `=` stands behind it.
    #[error("a tag without a key or a value")]
    TagWithoutValue,
    /// The line ends behind its tags.
    #[error("no fields behind the measurement and its tags")]
    NoFields,
    /// A field's key is empty, or no `=` stands behind it.
    #[error("a field without a key or a value")]
    FieldWithoutValue,
    /// A quote that does not end.
    #[error("a text without its closing quote")]
    TextWithoutEnd,
    /// Neither a number nor truth nor a text.
    #[error("a field's value that is no number, no true or false and no quoted text")]
    Value,
    /// Not a name, labels in braces and a number.
    #[error("not a sample, which is a name, labels in braces, a number and perhaps a time")]
    Sample,
    /// What stands behind the fields is no whole number of 64 bits.
    #[error("a timestamp that is no whole number of 64 bits")]
    Timestamp,
}

/// A request as frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Without their length prefixes, in the request's order.
    pub frames: Vec<Vec<u8>>,
    /// Points in them.
    pub points: u64,
    /// What is not.
    pub left: Left,
    /// Of lines that were refused, the first: its number and its fault.
    pub first_fault: Option<String>,
}

/// The frames of one request, being written.
#[derive(Debug)]
pub struct Batches {
    max: BatchesMax,
    done: Translated,
    frame: Vec<u8>,
    frame_points: usize,
    /// Bytes of all rows so far, also of those that were not kept.
    bytes: usize,
    /// The name and tags of the series at hand, as they stand in a row.
    key: Vec<u8>,
    /// Where the keys of its tags stand.
    tag_keys: Vec<Span>,
    row: Vec<u8>,
}

impl Batches {
    /// No frames yet.
    #[must_use]
    pub fn new(max: BatchesMax) -> Self {
        Self {
            max,
            done: Translated::default(),
            frame: Vec::new(),
            frame_points: 0,
            bytes: 0,
            key: Vec::new(),
            tag_keys: Vec::new(),
            row: Vec::new(),
        }
    }

    /// The points that follow are of a series with this name.
    pub fn series(&mut self, name: &[u8]) {
        self.key.clear();
        self.tag_keys.clear();
        put_bytes(&mut self.key, NAME, beginning(name, NAME_BYTES_MAX));
    }

    /// A tag of the series, unless one of the same key came before: the nearest to the point is given first. An empty
    /// value is no tag, as it is in the protocols that come here. Of too many tags, as many are kept as make ingest
    /// refuse the point for it, and of a value that is too long, as much.
    pub fn tag(&mut self, key: &[u8], value: &[u8]) {
        if value.is_empty()
            || self.tag_keys.len() > TAGS_MAX
            || self.overflows()
            || self.has_tag(beginning(key, TAG_KEY_BYTES_MAX))
        {
            return;
        }
        let (key, value) = (beginning(key, TAG_KEY_BYTES_MAX), beginning(value, TAG_VALUE_BYTES_MAX));
        let field = |text: &[u8]| 1 + varint_len(text.len() as u64) + text.len();
        put_message_head(&mut self.key, TAG, field(key) + field(value));
        put_message_head(&mut self.key, 1, key.len());
        self.tag_keys.push(Span { start: self.key.len() as u32, len: key.len() as u32 });
        self.key.extend_from_slice(key);
        put_bytes(&mut self.key, 2, value);
    }

    /// Whether the series has a tag of this key already.
    #[must_use]
    pub fn has_tag(&self, key: &[u8]) -> bool {
        self.tag_keys.iter().any(|span| span.len as usize == key.len() && span.of(&self.key) == key)
    }

    /// A point with a plain value. A time of 0 is the time of receipt.
    pub fn value(&mut self, kind: Kind<'_>, timestamp_unix_ns: u64, value: f64) {
        if self.overflows() {
            return;
        }
        self.begin_row(kind, timestamp_unix_ns);
        put_fixed64(&mut self.row, VALUE, value.to_bits());
        self.end_row(kind);
    }

    /// A point that says nothing, for ingest to refuse and its sender to hear of.
    pub fn without_data(&mut self, kind: Kind<'_>, timestamp_unix_ns: u64) {
        if self.overflows() {
            return;
        }
        self.begin_row(kind, timestamp_unix_ns);
        self.end_row(kind);
    }

    /// A distribution in buckets: bounds ascend, and there is one count more.
    pub fn histogram(&mut self, kind: Kind<'_>, timestamp_unix_ns: u64, histogram: &Histogram) {
        if self.overflows() {
            return;
        }
        self.begin_row(kind, timestamp_unix_ns);
        let mut message = Vec::with_capacity(32 + 18 * histogram.bucket_counts.len());
        put_number(&mut message, 1, histogram.count);
        put_fixed64(&mut message, 2, histogram.sum.to_bits());
        for (field, extreme) in [(3, histogram.min), (4, histogram.max)] {
            if let Some(extreme) = extreme {
                put_fixed64(&mut message, field, extreme.to_bits());
            }
        }
        put_message_head(&mut message, 5, 8 * histogram.upper_bounds.len());
        message.extend(histogram.upper_bounds.iter().flat_map(|bound| bound.to_le_bytes()));
        put_message_head(&mut message, 6, histogram.bucket_counts.iter().map(|&count| varint_len(count)).sum());
        for &count in &histogram.bucket_counts {
            put_varint(&mut message, count);
        }
        put_bytes(&mut self.row, HISTOGRAM, &message);
        self.end_row(kind);
    }

    /// A distribution as quantiles, each with its value.
    pub fn summary(&mut self, kind: Kind<'_>, timestamp_unix_ns: u64, summary: &Summary) {
        if self.overflows() {
            return;
        }
        self.begin_row(kind, timestamp_unix_ns);
        let mut message = Vec::with_capacity(32 + 20 * summary.quantiles.len());
        put_number(&mut message, 1, summary.count);
        put_fixed64(&mut message, 2, summary.sum.to_bits());
        for quantile in &summary.quantiles {
            put_message_head(&mut message, 3, 18);
            put_fixed64(&mut message, 1, quantile.quantile.to_bits());
            put_fixed64(&mut message, 2, quantile.value.to_bits());
        }
        put_bytes(&mut self.row, SUMMARY, &message);
        self.end_row(kind);
    }

    /// What is left out is counted here.
    pub fn left(&mut self) -> &mut Left {
        &mut self.done.left
    }

    /// Lines are left out for a fault in the first of them, whose number is asked for where it is told.
    pub(super) fn refuse_lines(&mut self, count: u64, number: impl FnOnce() -> usize, fault: LineFault) {
        self.done.left.lines += count;
        self.done.first_fault.get_or_insert_with(|| format!("line {}: {fault}", number()));
    }

    /// The frames.
    ///
    /// # Errors
    /// [`RequestFault::BatchesTooLarge`] when they would be larger than a request's may be.
    pub fn finish(mut self) -> Result<Translated, RequestFault> {
        if self.overflows() {
            return Err(RequestFault::BatchesTooLarge { bytes_max: self.max.request_bytes });
        }
        self.end_frame();
        Ok(self.done)
    }

    fn overflows(&self) -> bool {
        self.bytes > self.max.request_bytes
    }

    /// Name and tags stand first and together: by their bytes ingest knows a series again.
    fn begin_row(&mut self, kind: Kind<'_>, timestamp_unix_ns: u64) {
        let row = &mut self.row;
        row.clear();
        row.extend_from_slice(&self.key);
        put_number(row, TYPE, kind.metric_type as u64);
        if !kind.unit.is_empty() {
            put_bytes(row, UNIT, beginning(kind.unit, UNIT_BYTES_MAX));
        }
        // A time that no signed number can tell would make the frame malformed; the last one is refused by itself.
        put_fixed64(row, TIMESTAMP, timestamp_unix_ns.min(i64::MAX as u64));
    }

    fn end_row(&mut self, kind: Kind<'_>) {
        put_number(&mut self.row, DELTA, u64::from(kind.delta));
        let bytes = 1 + varint_len(self.row.len() as u64) + self.row.len();
        self.bytes += bytes;
        if self.overflows() {
            return;
        }
        if self.frame_points >= self.max.points || self.frame.len() + bytes > self.max.frame_bytes {
            self.end_frame();
        }
        put_bytes(&mut self.frame, METRIC, &self.row);
        self.frame_points += 1;
        self.done.points += 1;
    }

    fn end_frame(&mut self) {
        if self.frame_points > 0 {
            let next = Vec::with_capacity(self.frame.len());
            self.done.frames.push(std::mem::replace(&mut self.frame, next));
            self.frame_points = 0;
        }
    }
}
