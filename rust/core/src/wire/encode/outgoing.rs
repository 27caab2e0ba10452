//! Points with everything that is needed to send them on any stream.

use std::ops::Range;
use std::sync::Arc;

use super::EncodeError;
use super::encoder::put_packed;
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, put_text, text_len};

/// Memory of a batch without points, series and tags.
const BATCH_BYTES: usize = 192;
/// Memory of a point: its place, time and value.
const POINT_BYTES: usize = 20;
/// Memory of a row besides its message.
const ROW_BYTES: usize = 16;
/// Number of the type on the wire.
const HISTOGRAM: u32 = 3;

/// A tag: key and value.
pub type OutgoingTag = (Box<str>, Box<str>);

/// A series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingSeries {
    /// The metric's name.
    pub name: Box<str>,
    /// Its own tags.
    pub tags: Vec<OutgoingTag>,
    /// Number of the type: 0, 1 (counter), 2 (gauge) or 5 (meter).
    pub metric_type: u32,
    /// UCUM unit, possibly empty.
    pub unit: Box<str>,
    /// Values are changes since the previous point.
    pub delta: bool,
}

/// A histogram at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingHistogram {
    /// What it is of; the type is not looked at.
    pub series: OutgoingSeries,
    /// Nanoseconds since 1970, or 0.
    pub timestamp_unix_ns: i64,
    /// Of all observations.
    pub sum: f64,
    /// The smallest, where known.
    pub min: Option<f64>,
    /// The largest, where known.
    pub max: Option<f64>,
    /// Ascending; the last bucket is open.
    pub upper_bounds: Vec<f64>,
    /// One more than bounds, not cumulative.
    pub bucket_counts: Vec<u64>,
}

/// Points, self-contained and immutable: plain ones in columns, and behind them rows, which are `Metric` messages as they
/// are sent, of distributions. Copies and halves share what they hold.
#[derive(Clone, Debug)]
pub struct OutgoingBatch {
    contents: Arc<Contents>,
    /// The points of `contents` that are this batch's, its rows counted on from its columns.
    points: Range<usize>,
}

#[derive(Debug)]
struct Contents {
    common_tags: Vec<OutgoingTag>,
    series: Vec<OutgoingSeries>,
    series_index: Vec<u32>,
    timestamps_unix_ns: Vec<i64>,
    values: Vec<f64>,
    rows: Vec<Box<[u8]>>,
}

impl OutgoingBatch {
    /// A batch of points: `series_index[i]` is the place in `series` of point `i`, whose timestamp is in nanoseconds since
    /// 1970, 0 for the time of its receipt. Names, tags and values are for the collector to judge, point by point.
    ///
    /// # Errors
    /// [`EncodeError`] when columns are unequal, an index, type or timestamp is out of range.
    pub fn new(
        common_tags: Vec<OutgoingTag>,
        series: Vec<OutgoingSeries>,
        series_index: Vec<u32>,
        timestamps_unix_ns: Vec<i64>,
        values: Vec<f64>,
    ) -> Result<Self, EncodeError> {
        let points = series_index.len();
        if timestamps_unix_ns.len() != points || values.len() != points {
            return Err(EncodeError::UnequalColumns {
                series_index: points,
                timestamps: timestamps_unix_ns.len(),
                values: values.len(),
            });
        }
        if let Some(point) = series_index.iter().position(|&index| index as usize >= series.len()) {
            return Err(EncodeError::SeriesIndex { point, index: series_index[point], series: series.len() });
        }
        if let Some(place) = series.iter().position(|one| !matches!(one.metric_type, 0 | 1 | 2 | 5)) {
            return Err(EncodeError::SeriesType { series: place, metric_type: series[place].metric_type });
        }
        if let Some(&timestamp) = timestamps_unix_ns.iter().find(|&&timestamp| timestamp < 0) {
            return Err(EncodeError::NegativeTimestamp { argument: "timestamps_unix_ns", timestamp });
        }
        let contents = Contents { common_tags, series, series_index, timestamps_unix_ns, values, rows: Vec::new() };
        Ok(Self { contents: Arc::new(contents), points: 0..points })
    }

    /// The batch with these rows behind its points. Each is the body of a `Metric` message, a point like any other.
    #[must_use]
    pub fn with_rows(self, rows: Vec<Box<[u8]>>) -> Self {
        if rows.is_empty() {
            return self;
        }
        let before = self.rows().to_vec();
        let mut contents = Arc::try_unwrap(self.contents).unwrap_or_else(|shared| shared.sliced(&self.points));
        contents.rows = before;
        contents.rows.extend(rows);
        let points = 0..contents.series_index.len() + contents.rows.len();
        Self { contents: Arc::new(contents), points }
    }

    /// Points of the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// True for a batch without points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The first and the second half, in order.
    ///
    /// # Errors
    /// [`EncodeError::NotDivisible`] with fewer than two points.
    pub fn split(&self) -> Result<(Self, Self), EncodeError> {
        if self.len() < 2 {
            return Err(EncodeError::NotDivisible { points: self.len() });
        }
        let middle = self.points.start + self.len() / 2;
        let half = |points| Self { contents: Arc::clone(&self.contents), points };
        Ok((half(self.points.start..middle), half(middle..self.points.end)))
    }

    /// The batch of some of its points, so many from the `first` on; of all that there are where these are fewer.
    pub(crate) fn slice(&self, first: usize, points: usize) -> Self {
        let start = self.points.end.min(self.points.start.saturating_add(first));
        let end = self.points.end.min(start.saturating_add(points));
        Self { contents: Arc::clone(&self.contents), points: start..end }
    }

    /// The batch with another value for those common tags that are to be changed.
    pub(crate) fn with_common_tag(self, changed: impl Fn(&str, &str) -> bool, value: &str) -> Self {
        if !self.common_tags().iter().any(|(key, value)| changed(key, value)) {
            return self;
        }
        let common_tags = self.common_tags().iter().map(|(key, before)| {
            let value = if changed(key, before) { value.into() } else { before.clone() };
            (key.clone(), value)
        });
        let common_tags = common_tags.collect();
        let contents = Contents { common_tags, ..self.contents.sliced(&self.points) };
        Self { contents: Arc::new(contents), points: 0..self.len() }
    }

    /// Memory that the batch takes, about, and that of its series and tags in full.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tag_bytes =
            |tags: &[OutgoingTag]| tags.iter().map(|(key, value)| 32 + key.len() + value.len()).sum::<usize>();
        let series = self.series().iter().map(|one| 64 + one.name.len() + one.unit.len() + tag_bytes(&one.tags));
        let points = self.series_index().len() * POINT_BYTES + self.row_bytes();
        BATCH_BYTES + points + tag_bytes(self.common_tags()) + series.sum::<usize>()
    }

    /// Memory that the points behind the plain ones take.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.rows().iter().map(|row| ROW_BYTES + row.len()).sum()
    }

    /// Tags of every point.
    #[must_use]
    pub fn common_tags(&self) -> &[OutgoingTag] {
        &self.contents.common_tags
    }

    /// Series that points may be of; halves list those of the whole.
    #[must_use]
    pub fn series(&self) -> &[OutgoingSeries] {
        &self.contents.series
    }

    /// For each plain point, its place in [`Self::series`].
    #[must_use]
    pub fn series_index(&self) -> &[u32] {
        &self.contents.series_index[self.contents.columns(&self.points)]
    }

    /// For each plain point, nanoseconds since 1970, or 0.
    #[must_use]
    pub fn timestamps_unix_ns(&self) -> &[i64] {
        &self.contents.timestamps_unix_ns[self.contents.columns(&self.points)]
    }

    /// For each plain point, its value.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.contents.values[self.contents.columns(&self.points)]
    }

    /// The points behind the plain ones, each the body of a `Metric` message.
    #[must_use]
    pub fn rows(&self) -> &[Box<[u8]>] {
        &self.contents.rows[self.contents.row_places(&self.points)]
    }
}

impl Contents {
    /// Those of these points that are in columns.
    fn columns(&self, points: &Range<usize>) -> Range<usize> {
        let columns = self.series_index.len();
        points.start.min(columns)..points.end.min(columns)
    }

    /// Places of those of these points that are rows.
    fn row_places(&self, points: &Range<usize>) -> Range<usize> {
        let columns = self.series_index.len();
        points.start.saturating_sub(columns)..points.end.saturating_sub(columns)
    }

    /// A copy that holds these points alone.
    fn sliced(&self, points: &Range<usize>) -> Self {
        let columns = self.columns(points);
        Self {
            common_tags: self.common_tags.clone(),
            series: self.series.clone(),
            series_index: self.series_index[columns.clone()].to_vec(),
            timestamps_unix_ns: self.timestamps_unix_ns[columns.clone()].to_vec(),
            values: self.values[columns].to_vec(),
            rows: self.rows[self.row_places(points)].to_vec(),
        }
    }
}

impl OutgoingHistogram {
    /// The body of its `Metric` message.
    ///
    /// # Errors
    /// [`EncodeError::NegativeTimestamp`]. Numbers are for the collector to judge.
    pub fn row(&self) -> Result<Box<[u8]>, EncodeError> {
        if self.timestamp_unix_ns < 0 {
            let timestamp = self.timestamp_unix_ns;
            return Err(EncodeError::NegativeTimestamp { argument: "histograms", timestamp });
        }
        let mut histogram = Vec::new();
        put_number(&mut histogram, 1, self.bucket_counts.iter().fold(0, |sum: u64, &count| sum.saturating_add(count)));
        put_fixed64(&mut histogram, 2, self.sum.to_bits());
        for (field, bound) in [(3, self.min), (4, self.max)] {
            if let Some(bound) = bound {
                put_fixed64(&mut histogram, field, bound.to_bits());
            }
        }
        put_message_head(&mut histogram, 5, self.upper_bounds.len() * 8);
        histogram.extend(self.upper_bounds.iter().flat_map(|bound| bound.to_le_bytes()));
        put_packed(&mut histogram, 6, self.bucket_counts.iter().copied());
        let mut row = Vec::new();
        OutgoingSeries { metric_type: HISTOGRAM, ..self.series.clone() }.put_metric(&mut row);
        if self.timestamp_unix_ns != 0 {
            put_fixed64(&mut row, 5, self.timestamp_unix_ns as u64);
        }
        put_bytes(&mut row, 7, &histogram);
        Ok(row.into())
    }
}

impl OutgoingSeries {
    /// Appends the fields of a definition but its id: equal bytes are equal definitions. Common tags that it is to hold
    /// stand behind its own, whose keys win.
    pub(super) fn put_definition(&self, common_tags: &[OutgoingTag], out: &mut Vec<u8>) {
        put_text(out, 2, &self.name);
        put_tags(out, 3, &self.tags);
        put_tags(out, 3, self.taken(common_tags));
        put_number(out, 4, u64::from(self.metric_type));
        put_text(out, 5, &self.unit);
        put_number(out, 6, u64::from(self.delta));
    }

    /// Appends the fields of a metric but its timestamp and value.
    pub(crate) fn put_metric(&self, out: &mut Vec<u8>) {
        put_text(out, 1, &self.name);
        put_tags(out, 2, &self.tags);
        put_number(out, 3, u64::from(self.metric_type));
        put_text(out, 4, &self.unit);
        put_number(out, 9, u64::from(self.delta));
    }

    /// Bytes that count against the bound of a stream's definitions.
    pub(super) fn text_bytes(&self, common_tags: &[OutgoingTag]) -> usize {
        let tags = self.tags.iter().chain(self.taken(common_tags));
        self.name.len() + tags.map(|(key, value)| key.len() + value.len()).sum::<usize>() + self.unit.len()
    }

    /// The common tags whose keys are none of the series' own.
    fn taken<'a>(&'a self, common_tags: &'a [OutgoingTag]) -> impl Iterator<Item = &'a OutgoingTag> {
        common_tags.iter().filter(|(key, _)| self.tags.iter().all(|(own, _)| own != key))
    }
}

/// Appends tags as messages in a repeated field.
pub(super) fn put_tags<'a>(out: &mut Vec<u8>, field: u32, tags: impl IntoIterator<Item = &'a OutgoingTag>) {
    for (key, value) in tags {
        put_message_head(out, field, text_len(key) + text_len(value));
        put_text(out, 1, key);
        put_text(out, 2, value);
    }
}

/// A worker's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutgoingHeartbeat {
    /// Which worker.
    pub worker_id: String,
    /// 0 to 1 of all cores.
    pub cpu_usage: f64,
    /// 0 to 1 of physical memory.
    pub memory_usage: f64,
    /// 0 to 1 of the busiest device; negative: no device.
    pub gpu_usage: f64,
    /// Nanoseconds since 1970; 0: the time of receipt.
    pub timestamp_unix_ns: i64,
    /// Tasks that run.
    pub running_tasks: Vec<OutgoingTask>,
}

/// A task that a worker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingTask {
    /// Which task.
    pub task_id: String,
    /// What it is called.
    pub name: String,
    /// How it is.
    pub status: String,
    /// Nanoseconds since 1970.
    pub started_unix_ns: i64,
}

impl OutgoingHeartbeat {
    /// Says whether every timestamp can be sent.
    ///
    /// # Errors
    /// [`EncodeError::NegativeTimestamp`].
    pub fn check(&self) -> Result<(), EncodeError> {
        let refuse = |argument, timestamp| Err(EncodeError::NegativeTimestamp { argument, timestamp });
        if self.timestamp_unix_ns < 0 {
            return refuse("heartbeat.timestamp_unix_ns", self.timestamp_unix_ns);
        }
        match self.running_tasks.iter().find(|task| task.started_unix_ns < 0) {
            Some(task) => refuse("heartbeat.running_tasks", task.started_unix_ns),
            None => Ok(()),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let put_nonzero = |out: &mut Vec<u8>, field, bits| {
            if bits != 0 {
                put_fixed64(out, field, bits);
            }
        };
        let mut message = Vec::new();
        let mut task_message = Vec::new();
        put_text(&mut message, 1, &self.worker_id);
        put_nonzero(&mut message, 2, self.cpu_usage.to_bits());
        put_nonzero(&mut message, 3, self.memory_usage.to_bits());
        put_nonzero(&mut message, 4, self.gpu_usage.to_bits());
        for task in &self.running_tasks {
            task_message.clear();
            put_text(&mut task_message, 1, &task.task_id);
            put_text(&mut task_message, 2, &task.name);
            put_text(&mut task_message, 3, &task.status);
            put_nonzero(&mut task_message, 4, task.started_unix_ns as u64);
            put_bytes(&mut message, 5, &task_message);
        }
        put_nonzero(&mut message, 6, self.timestamp_unix_ns as u64);
        put_bytes(out, 7, &message);
    }
}
