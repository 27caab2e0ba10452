//! Heartbeats as metrics: what workers said of themselves, journalled like anybody's points.
//!
//! These are records of the collector's own, apart from the batches that brought the heartbeats: an acknowledgement counts
//! what its agent sent, and a batch of a heartbeat alone leaves nothing that a restart would remember. They have no name,
//! so whoever calls sees to it that a heartbeat is stored once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::counters::RetryCause;
use super::points::{PointJudge, Scratch};
use super::reply_to::ReplyTo;
use super::{Ingest, Pending};
use crate::columns::{BatchHeader, BlockBuilder, PointBlock};
use crate::journal::AppendError;
use crate::limits::Limits;
use crate::series::effective::NODE_ID;
use crate::series::{CommonTags, KeyBuilder, Meta, MetricType, RawTag};
use crate::wire::Reason;

/// The identity of these points' batches, where agents' have that of a certificate.
pub const IDENTITY: &str = "telemetry-collector";

const CPU: &str = "worker.cpu.usage";
const MEMORY: &str = "worker.memory.usage";
const GPU: &str = "worker.gpu.usage";
const TASKS: &str = "worker.running_tasks";

/// What becomes points of one heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// The tag `worker_id`.
    pub worker_id: String,
    /// The tag `node_id`.
    pub node_id: String,
    /// Usages become points unless they are negative, which says that they are not known.
    pub cpu_usage: f64,
    /// See `cpu_usage`.
    pub memory_usage: f64,
    /// See `cpu_usage`.
    pub gpu_usage: f64,
    /// How many there are.
    pub running_tasks: u32,
    /// The points' time, nanoseconds since 1970.
    pub timestamp_unix_ns: i64,
}

impl WorkerState {
    /// Its points: names and values.
    fn points(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let usages = [(CPU, self.cpu_usage), (MEMORY, self.memory_usage), (GPU, self.gpu_usage)];
        let known = usages.into_iter().filter(|(_, usage)| (0.0..=1.0).contains(usage));
        known.chain([(TASKS, f64::from(self.running_tasks))])
    }
}

impl Ingest {
    /// Journals the states of workers as points of the collector's own, and does not wait for the commit. Like batches they
    /// are admitted by the limits and not taken while there is too much in flight; what is not stored is counted by reason.
    pub fn store_workers(&self, states: &[WorkerState], now_unix_ns: i64) {
        let received = Instant::now();
        let policy = self.policy();
        if let Some(cause) = self.overload(&policy, 0) {
            return self.drop_points(cause.as_str(), states.iter().map(|state| state.points().count()).sum());
        }
        let mut scratch = self.scratches.take();
        let Scratch { work, encoder, record, .. } = &mut scratch;
        work.block.clear();
        self.admit_workers(states, &policy.limits, now_unix_ns, &mut work.block);
        if !work.block.is_empty() {
            let block = work.block.finish(BatchHeader {
                identity: IDENTITY.into(),
                epoch: 0,
                sequence: 0,
                oldest_unacknowledged: 0,
                received_unix_us: self.receipt(now_unix_ns),
            });
            record.clear();
            let points = block.len();
            let stored = match (self.closed.load(Relaxed), encoder.encode(&block, record)) {
                (true, _) => Err(RetryCause::JournalFailed.as_str()),
                (false, Ok(())) => self.append_workers(block, record, received),
                (false, Err(_)) => Err(Reason::BatchTooLarge.as_str()),
            };
            if let Err(reason) = stored {
                self.drop_points(reason, points);
            }
        }
        self.scratches.put(scratch);
    }

    fn admit_workers(&self, states: &[WorkerState], limits: &Limits, now_unix_ns: i64, block: &mut BlockBuilder) {
        let judge = PointJudge::new(limits, IDENTITY, usize::MAX, now_unix_ns);
        let meta = Meta { metric_type: MetricType::Gauge, unit: "1", delta: false };
        let (mut keys, common) = (KeyBuilder::default(), CommonTags::default());
        for state in states {
            let tags: [RawTag<'_>; 2] =
                [(NODE_ID, state.node_id.as_bytes()), (b"worker_id", state.worker_id.as_bytes())];
            for (name, value) in state.points() {
                let point = keys
                    .build(name.as_bytes(), &tags, &common)
                    .map_err(|_| Reason::InvalidTag)
                    .and_then(|key| Ok((key, judge.timestamp(state.timestamp_unix_ns).map_err(|(reason, _)| reason)?)))
                    .and_then(|(key, timestamp)| {
                        let series = self.registry.admit(key, meta, judge.source);
                        Ok((series.map_err(|_| Reason::CardinalityLimit)?, timestamp))
                    });
                match point {
                    Ok((series, timestamp)) => {
                        let index = block.descriptor(&series);
                        block.push(index, timestamp, value);
                    }
                    Err(reason) => self.drop_points(reason.as_str(), 1),
                }
            }
        }
    }

    fn append_workers(&self, block: PointBlock, record: &[u8], received: Instant) -> Result<(), &'static str> {
        let frame_bytes = record.len() as u64;
        let pending = Pending { block: Arc::new(block), reply_to: ReplyTo::Nobody, frame_bytes, received };
        let counters = self.counters();
        counters.inflight_batches.fetch_add(1, Relaxed);
        counters.inflight_bytes.fetch_add(frame_bytes, Relaxed);
        let Err(error) = self.journal.append(record, pending) else { return Ok(()) };
        counters.inflight_batches.fetch_sub(1, Relaxed);
        counters.inflight_bytes.fetch_sub(frame_bytes, Relaxed);
        Err(match error {
            AppendError::TooLarge { .. } => Reason::BatchTooLarge.as_str(),
            AppendError::Full { .. } => RetryCause::JournalFull.as_str(),
            _ => RetryCause::JournalFailed.as_str(),
        })
    }

    fn drop_points(&self, reason: &'static str, points: usize) {
        self.counters().drop_worker_points(reason, points as u64);
    }
}
