//! Judging the points of a batch, one by one, and gathering those that pass into a block.

use std::sync::Arc;

use parking_lot::Mutex;

use super::StreamState;
use crate::columns::{Distribution, Histogram, PointBlock, Quantile, Summary};
use crate::limits::Limits;
use crate::series::{Descriptor, Handle, InvalidSeries, KeyBuilder, Meta, MetricType, Place, RawTag, Refusal, Registry};
use crate::series::{Rule, check_unit, scalar_type};
use crate::wire::decode::{RECEIPT_TIME, Row, RowData};
use crate::wire::{DecodeScratch, DecodedBatch, Reason, Rejection, validate};

/// Scratches that wait for the next batch; more are dropped. One a thread that judges is enough.
const SCRATCHES_MAX: usize = 64;
/// A record buffer larger than this is given back after its batch.
const RECORD_BYTES_KEPT: usize = 1024 * 1024;
/// An example in a rejection is cut to this many bytes.
const EXAMPLE_BYTES_MAX: usize = 256;
/// Places in the table that finds a series' descriptor in the block; batches larger than half of it get a larger one.
const INDEX_PLACES_MIN: usize = 2_048;

/// Buffers that one batch after the other is judged in.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) decode: DecodeScratch,
    pub(super) work: Work,
    pub(super) record: Vec<u8>,
}

/// What judging needs besides the decoded columns.
#[derive(Default)]
pub(super) struct Work {
    keys: KeyBuilder,
    /// For each point in columns, the place of its series in the stream's dictionary.
    pub(super) places: Vec<Place>,
    index: BlockIndex,
}

/// Scratches that are not in use.
#[derive(Default)]
pub(super) struct ScratchPool(Mutex<Vec<Box<Scratch>>>);

impl ScratchPool {
    pub(super) fn take(&self) -> Box<Scratch> {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut scratch: Box<Scratch>) {
        scratch.record.clear();
        scratch.record.shrink_to(RECORD_BYTES_KEPT);
        let mut pool = self.0.lock();
        if pool.len() < SCRATCHES_MAX {
            pool.push(scratch);
        }
    }
}

/// A batch's points after judging. The block's name and receipt are filled in by whoever journals it.
pub(super) struct JudgedPoints {
    pub(super) block: PointBlock,
    pub(super) rejections: Vec<Rejection>,
}

/// The rules that points are judged by at one moment.
pub(super) struct PointJudge {
    now_unix_ns: i64,
    now_secs: u64,
    earliest_unix_ns: i64,
    latest_unix_ns: i64,
}

impl PointJudge {
    pub(super) fn new(limits: &Limits, now_unix_ns: i64) -> Self {
        let span = |secs: u64| i64::try_from(u128::from(secs) * 1_000_000_000).unwrap_or(i64::MAX);
        Self {
            now_unix_ns,
            now_secs: (now_unix_ns / 1_000_000_000).max(0) as u64,
            earliest_unix_ns: now_unix_ns.saturating_sub(span(limits.timestamp_past_secs)),
            latest_unix_ns: now_unix_ns.saturating_add(span(limits.timestamp_future_secs)),
        }
    }

    /// Judges every point. `over_limit` is told the metric's name of points refused for the cardinality limit.
    pub(super) fn judge(
        &self,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
        registry: &mut Registry,
        over_limit: impl FnMut(&str, u64),
    ) -> JudgedPoints {
        let mut gathered = Gathered::new(batch.points, over_limit);
        work.index.begin(batch.points);
        let mut tags = Vec::with_capacity(8);
        for row in batch.rows() {
            if let Err((reason, fault)) = self.judge_row(batch, row, stream, work, registry, &mut tags, &mut gathered) {
                gathered.refuse(reason, batch.text(row.name), fault);
            }
        }
        self.judge_columns(batch, stream, work, registry, &mut gathered);
        gathered.finish()
    }

    #[allow(clippy::too_many_arguments)] // one row needs all that the batch has; a struct would only rename it
    fn judge_row<'a>(
        &self,
        batch: &DecodedBatch<'a>,
        row: &Row,
        stream: &StreamState,
        work: &mut Work,
        registry: &mut Registry,
        tags: &mut Vec<RawTag<'a>>,
        gathered: &mut Gathered<impl FnMut(&str, u64)>,
    ) -> Result<(), (Reason, Fault)> {
        tags.clear();
        tags.extend(batch.tags(row).iter().map(|tag| (batch.text(tag.key), batch.text(tag.value))));
        let key = work.keys.build(batch.text(row.name), tags, &stream.common).map_err(invalid)?;
        let unit = check_unit(batch.text(row.unit)).map_err(invalid)?;
        let (metric_type, data) = typed(batch, row).map_err(|fault| (Reason::InvalidValue, fault))?;
        let timestamp = self.timestamp(row.timestamp_unix_ns)?;
        let meta = Meta { metric_type, unit, delta: row.delta };
        let handle = registry.admit(key, meta, self.now_secs).map_err(|_| over_limit())?;
        let Some(descriptor) = registry.get(handle) else { return Err(over_limit()) };
        let index = work.index.find(handle, descriptor, &mut gathered.block.descriptors);
        gathered.push(index, timestamp, data);
        Ok(())
    }

    fn judge_columns(
        &self,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
        registry: &mut Registry,
        gathered: &mut Gathered<impl FnMut(&str, u64)>,
    ) {
        let StreamState { dictionary, common } = stream;
        let points = work.places.iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
        for ((&place, &timestamp), &value) in points {
            let own = if value.is_finite() {
                self.timestamp(timestamp)
            } else {
                Err((Reason::InvalidValue, Fault::NotFinite))
            };
            let judged = match (own, dictionary.index(place)) {
                (Ok(timestamp), Some(index)) => Ok((index, timestamp)),
                (Ok(timestamp), None) => {
                    let resolved = dictionary.resolve(place, common, &mut work.keys, registry, self.now_secs);
                    match resolved {
                        Ok((handle, descriptor)) => {
                            let index = work.index.find(handle, descriptor, &mut gathered.block.descriptors);
                            dictionary.set_index(place, index);
                            Ok((index, timestamp))
                        }
                        Err(Refusal::Invalid(fault)) => Err(invalid(fault)),
                        Err(Refusal::CardinalityLimit(_)) => Err(over_limit()),
                    }
                }
                // A point is refused by the first rule it breaks, and its series' rules come before its own.
                (Err(own), Some(_)) => Err(own),
                (Err(own), None) => match dictionary.check(place, common, &mut work.keys) {
                    Ok(()) => Err(own),
                    Err(fault) => Err(invalid(fault)),
                },
            };
            match judged {
                Ok((index, timestamp)) => gathered.push(index, timestamp, Data::Value(value)),
                Err((reason, fault)) => gathered.refuse(reason, dictionary.name(place), fault),
            }
        }
    }

    /// The point's time; the time of receipt where it has none.
    #[inline]
    fn timestamp(&self, timestamp_unix_ns: i64) -> Result<i64, (Reason, Fault)> {
        if timestamp_unix_ns == RECEIPT_TIME {
            Ok(self.now_unix_ns)
        } else if timestamp_unix_ns < self.earliest_unix_ns {
            Err((Reason::InvalidTimestamp, Fault::TooOld(timestamp_unix_ns)))
        } else if timestamp_unix_ns > self.latest_unix_ns {
            Err((Reason::InvalidTimestamp, Fault::TooNew(timestamp_unix_ns)))
        } else {
            Ok(timestamp_unix_ns)
        }
    }
}

/// What was wrong with a point, in words for the agent's developer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Series(#[from] InvalidSeries),
    #[error("the value is NaN or infinite")]
    NotFinite,
    #[error("there is no value")]
    NoData,
    #[error("the type does not fit the data or is unknown")]
    Type,
    #[error(transparent)]
    Distribution(#[from] validate::InvalidValue),
    #[error("timestamp {0} ns is too far in the past")]
    TooOld(i64),
    #[error("timestamp {0} ns is too far in the future")]
    TooNew(i64),
    #[error("Cardinality limit exceeded")]
    CardinalityLimit,
}

fn invalid(fault: InvalidSeries) -> (Reason, Fault) {
    let reason = match fault.rule() {
        Rule::Name => Reason::InvalidName,
        Rule::Tag => Reason::InvalidTag,
        Rule::Value => Reason::InvalidValue,
    };
    (reason, Fault::Series(fault))
}

fn over_limit() -> (Reason, Fault) {
    (Reason::CardinalityLimit, Fault::CardinalityLimit)
}

enum Data {
    Value(f64),
    Distribution(Distribution),
}

/// A row's type together with its data, where the two agree and the data is valid.
fn typed(batch: &DecodedBatch<'_>, row: &Row) -> Result<(MetricType, Data), Fault> {
    match row.data {
        RowData::None => Err(Fault::NoData),
        RowData::Value(value) => {
            let metric_type = scalar_type(u64::from(row.metric_type)).map_err(|_| Fault::Type)?;
            if value.is_finite() { Ok((metric_type, Data::Value(value))) } else { Err(Fault::NotFinite) }
        }
        RowData::Histogram(place) => {
            expect(row.metric_type, MetricType::Histogram)?;
            let sent = batch.histogram(place);
            validate::check_histogram(&sent)?;
            let histogram = Histogram {
                count: sent.count,
                sum: sent.sum,
                min: sent.min,
                max: sent.max,
                upper_bounds: sent.upper_bounds.to_vec(),
                bucket_counts: sent.bucket_counts.to_vec(),
            };
            Ok((MetricType::Histogram, Data::Distribution(Distribution::Histogram(histogram))))
        }
        RowData::Summary(place) => {
            expect(row.metric_type, MetricType::Summary)?;
            let sent = batch.summary(place);
            validate::check_summary(&sent)?;
            let quantiles = sent.quantiles.iter().map(|q| Quantile { quantile: q.quantile, value: q.value }).collect();
            let summary = Summary { count: sent.count, sum: sent.sum, quantiles };
            Ok((MetricType::Summary, Data::Distribution(Distribution::Summary(summary))))
        }
    }
}

/// The type that the data implies, or none said.
fn expect(number: u32, implied: MetricType) -> Result<(), Fault> {
    if number == 0 || number == implied as u32 { Ok(()) } else { Err(Fault::Type) }
}

/// The block under construction and the refusals.
struct Gathered<F> {
    block: PointBlock,
    rejections: Vec<Rejection>,
    over_limit: F,
}

impl<F: FnMut(&str, u64)> Gathered<F> {
    fn new(points: usize, over_limit: F) -> Self {
        let block = PointBlock {
            identity: Arc::default(),
            epoch: 0,
            sequence: 0,
            oldest_unacknowledged: 0,
            received_unix_us: 0,
            descriptors: Vec::with_capacity(points.min(256)),
            descriptor_index: Vec::with_capacity(points),
            timestamps_unix_ns: Vec::with_capacity(points),
            values: Vec::with_capacity(points),
            distributions: Vec::new(),
        };
        Self { block, rejections: Vec::new(), over_limit }
    }

    #[inline]
    fn push(&mut self, index: u32, timestamp_unix_ns: i64, data: Data) {
        let value = match data {
            Data::Value(value) => value,
            Data::Distribution(distribution) => {
                self.block.distributions.push((self.block.timestamps_unix_ns.len() as u32, distribution));
                0.0
            }
        };
        self.block.descriptor_index.push(index);
        self.block.timestamps_unix_ns.push(timestamp_unix_ns);
        self.block.values.push(value);
    }

    #[cold]
    fn refuse(&mut self, reason: Reason, name: &[u8], fault: Fault) {
        if reason == Reason::CardinalityLimit {
            (self.over_limit)(&String::from_utf8_lossy(name), 1);
        }
        if let Some(rejection) = self.rejections.iter_mut().find(|rejection| rejection.reason == reason) {
            rejection.points += 1;
            return;
        }
        let mut example = format!("{}: {fault}", String::from_utf8_lossy(&name[..name.len().min(EXAMPLE_BYTES_MAX)]));
        example.retain(|character| !character.is_control());
        self.rejections.push(Rejection { reason, points: 1, example });
    }

    fn finish(self) -> JudgedPoints {
        JudgedPoints { block: self.block, rejections: self.rejections }
    }
}

/// Finds the place of a series' descriptor in the block under construction: a small open table, emptied by a new stamp.
#[derive(Default)]
struct BlockIndex {
    places: Vec<IndexPlace>,
    stamp: u32,
}

#[derive(Clone, Copy, Default)]
struct IndexPlace {
    stamp: u32,
    slot: u32,
    index: u32,
}

impl BlockIndex {
    /// Empties the table and makes it large enough for so many series.
    fn begin(&mut self, series_max: usize) {
        let wanted = (series_max * 2).next_power_of_two().max(INDEX_PLACES_MIN);
        if self.places.len() < wanted || self.stamp == u32::MAX {
            self.places = vec![IndexPlace::default(); wanted.max(self.places.len())];
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    /// The descriptor's place, appended where the block lacks it. A series that changed its type or unit within the batch
    /// has more than one descriptor, and the table knows the latest.
    #[inline]
    fn find(&mut self, handle: Handle, descriptor: &Arc<Descriptor>, descriptors: &mut Vec<Arc<Descriptor>>) -> u32 {
        let mask = self.places.len() - 1;
        let slot = handle.slot();
        let mut at = slot.wrapping_mul(0x9E37_79B1) as usize & mask;
        loop {
            let place = &mut self.places[at];
            if place.stamp != self.stamp {
                *place = IndexPlace { stamp: self.stamp, slot, index: descriptors.len() as u32 };
                descriptors.push(Arc::clone(descriptor));
                return place.index;
            }
            if place.slot == slot {
                if !Arc::ptr_eq(&descriptors[place.index as usize], descriptor) {
                    place.index = descriptors.len() as u32;
                    descriptors.push(Arc::clone(descriptor));
                }
                return place.index;
            }
            at = (at + 1) & mask;
        }
    }
}
