//! Judging the points of a batch, one by one, and gathering those that pass into a block.

use std::sync::Arc;

use parking_lot::Mutex;

use super::StreamState;
use super::row_cache::RowCache;
use crate::columns::{BlockBuilder, BlockEncoder};
use crate::limits::Limits;
use crate::series::{CardinalityLimit, Descriptor, InvalidSeries, KeyBatch, KeyBuilder, Place, Refusal};
use crate::series::{Registry, Rule, Source};
use crate::wire::decode::RECEIPT_TIME;
use crate::wire::{DecodeScratch, DecodedBatch, Reason, Rejection, validate};

/// Scratches that wait for the next batch; more are dropped. One a thread that judges is enough.
const SCRATCHES_MAX: usize = 64;
/// A record buffer larger than this is given back after its batch.
const RECORD_BYTES_KEPT: usize = 1024 * 1024;
/// An example in a rejection is cut to this many bytes.
const EXAMPLE_BYTES_MAX: usize = 256;

/// Buffers that one batch after the other is judged in.
pub(super) struct Scratch {
    pub(super) decode: DecodeScratch,
    pub(super) work: Work,
    pub(super) encoder: BlockEncoder,
    pub(super) record: Vec<u8>,
}

impl Scratch {
    fn new() -> Self {
        Self {
            decode: DecodeScratch::default(),
            work: Work::default(),
            encoder: BlockEncoder::new().expect("the compression library gets its memory or nothing works"),
            record: Vec::new(),
        }
    }
}

/// What judging needs besides the decoded columns.
#[derive(Default)]
pub(super) struct Work {
    pub(super) keys: KeyBuilder,
    pub(super) rows: RowCache,
    /// Keys of rows whose series are looked up together, and what was found.
    pub(super) unadmitted: KeyBatch,
    pub(super) found: Vec<Option<Arc<Descriptor>>>,
    /// For each point in columns, the place of its series in the stream's dictionary.
    pub(super) places: Vec<Place>,
    /// Points that passed.
    pub(super) block: BlockBuilder,
}

/// Scratches that are not in use.
#[derive(Default)]
pub(super) struct ScratchPool(Mutex<Vec<Scratch>>);

impl ScratchPool {
    pub(super) fn take(&self) -> Scratch {
        self.0.lock().pop().unwrap_or_else(Scratch::new)
    }

    pub(super) fn put(&self, mut scratch: Scratch) {
        scratch.record.clear();
        scratch.record.shrink_to(RECORD_BYTES_KEPT);
        let mut pool = self.0.lock();
        if pool.len() < SCRATCHES_MAX {
            pool.push(scratch);
        }
    }
}

/// The rules that points are judged by at one moment.
pub(super) struct PointJudge<'a> {
    now_unix_ns: i64,
    touch_secs: u64,
    pub(super) source: Source<'a>,
    earliest_unix_ns: i64,
    latest_unix_ns: i64,
}

impl<'a> PointJudge<'a> {
    /// `identity` brings the points, and may have brought `series_max` series.
    pub(super) fn new(limits: &Limits, identity: &'a str, series_max: usize, now_unix_ns: i64) -> Self {
        let span = |secs: u64| i64::try_from(u128::from(secs) * 1_000_000_000).unwrap_or(i64::MAX);
        Self {
            now_unix_ns,
            touch_secs: limits.touch_secs(),
            source: Source { identity, series_max, now_secs: (now_unix_ns / 1_000_000_000).max(0) as u64 },
            earliest_unix_ns: now_unix_ns.saturating_sub(span(limits.timestamp_past_secs)),
            latest_unix_ns: now_unix_ns.saturating_add(span(limits.timestamp_future_secs)),
        }
    }

    /// Judges every point; those that pass are in `work.block` then, the others in the rejections.
    /// `over_limit` is told the metric's name of each point refused for a cardinality limit.
    pub(super) fn judge(
        &self,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
        registry: &Registry,
        over_limit: impl FnMut(&str, CardinalityLimit),
    ) -> Vec<Rejection> {
        let mut refusals = Refusals { rejections: Vec::new(), over_limit };
        work.block.expect(&stream.series);
        self.judge_rows(batch, &stream.common, work, registry, &mut refusals);
        stream.dictionary.trust(self.source.now_secs, self.touch_secs);
        if work.places.first().is_some_and(|place| !stream.dictionary.is_trusted(*place)) {
            // Most likely the columns are of these series again, or of some of them.
            let series = &stream.series[..stream.series.len().min(work.places.len())];
            registry.approach(series);
        }
        self.judge_columns(batch, stream, work, registry, &mut refusals);
        refusals.rejections
    }

    fn judge_columns(
        &self,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
        registry: &Registry,
        refusals: &mut Refusals<impl FnMut(&str, CardinalityLimit)>,
    ) {
        let points = work.places.iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
        for ((&place, &timestamp), &value) in points {
            let own = match validate::check_scalar(value) {
                Ok(()) => self.timestamp(timestamp),
                Err(fault) => Err((Reason::InvalidValue, fault.into())),
            };
            // Nearly every point is valid and of a series that the batch has had before.
            if let (Ok(timestamp), Some(index)) = (own, stream.dictionary.index(place)) {
                work.block.push(index, timestamp, value);
                continue;
            }
            let series = self.resolve(place, own.is_ok(), stream, &mut work.keys, &mut work.block, registry);
            // A point is refused by the first rule it breaks, and its series' rules come before its own.
            match series.and_then(|index| own.map(|timestamp| (index, timestamp))) {
                Ok((index, timestamp)) => work.block.push(index, timestamp, value),
                Err((reason, fault)) => refusals.add(reason, stream.dictionary.name(place), fault),
            }
        }
    }

    /// The place in the block of a defined series, which is admitted only for a point that is itself `valid`; for
    /// another, whether the series' name and tags are valid.
    fn resolve(
        &self,
        place: Place,
        valid: bool,
        stream: &mut StreamState,
        keys: &mut KeyBuilder,
        block: &mut BlockBuilder,
        registry: &Registry,
    ) -> Result<u32, (Reason, Fault)> {
        let StreamState { dictionary, common, .. } = stream;
        if !valid {
            return dictionary.check(place, common, keys).map(|()| 0).map_err(invalid);
        }
        match dictionary.resolve(place, common, keys, registry, self.source) {
            Ok(descriptor) => {
                // The dictionary remembers the place, so each definition comes here once a batch.
                let index = block.append_descriptor(descriptor);
                dictionary.set_index(place, index);
                Ok(index)
            }
            Err(Refusal::Invalid(fault)) => Err(invalid(fault)),
            Err(Refusal::CardinalityLimit(limit)) => Err(over_limit(limit)),
        }
    }

    /// The point's time; the time of receipt where it has none.
    #[inline]
    pub(super) fn timestamp(&self, timestamp_unix_ns: i64) -> Result<i64, (Reason, Fault)> {
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
pub(super) enum Fault {
    #[error(transparent)]
    Series(#[from] InvalidSeries),
    #[error(transparent)]
    Value(#[from] validate::InvalidValue),
    #[error("timestamp {0} ns is too far in the past")]
    TooOld(i64),
    #[error("timestamp {0} ns is too far in the future")]
    TooNew(i64),
    #[error(transparent)]
    CardinalityLimit(#[from] CardinalityLimit),
}

pub(super) fn invalid(fault: InvalidSeries) -> (Reason, Fault) {
    let reason = match fault.rule() {
        Rule::Name => Reason::InvalidName,
        Rule::Tag => Reason::InvalidTag,
        Rule::Value => Reason::InvalidValue,
    };
    (reason, Fault::Series(fault))
}

pub(super) fn over_limit(limit: CardinalityLimit) -> (Reason, Fault) {
    (Reason::CardinalityLimit, Fault::CardinalityLimit(limit))
}

/// Refusals so far, one a reason.
pub(super) struct Refusals<F> {
    rejections: Vec<Rejection>,
    over_limit: F,
}

impl<F: FnMut(&str, CardinalityLimit)> Refusals<F> {
    #[cold]
    pub(super) fn add(&mut self, reason: Reason, name: &[u8], fault: Fault) {
        if let Fault::CardinalityLimit(limit) = fault {
            (self.over_limit)(&String::from_utf8_lossy(name), limit);
        }
        if let Some(rejection) = self.rejections.iter_mut().find(|rejection| rejection.reason == reason) {
            rejection.points += 1;
            return;
        }
        let mut example = format!("{}: {fault}", String::from_utf8_lossy(&name[..name.len().min(EXAMPLE_BYTES_MAX)]));
        example.retain(|character| !character.is_control());
        self.rejections.push(Rejection { reason, points: 1, example });
    }
}
