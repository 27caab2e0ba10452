//! What the data plane counts. Relaxed atomics: each number is right, no two are read at the same instant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::latency::LatencyHistogram;
use crate::wire::{BatchAck, Outcome, Reason};

/// Counters and gauges of one [`super::Ingest`].
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that were judged.
    pub batches_received: AtomicU64,
    /// Bytes of those frames, prefixes included.
    pub frame_bytes_received: AtomicU64,
    /// Frames that are no batch as the contract has it.
    pub malformed: AtomicU64,
    /// Points in batches that were not malformed.
    pub points_received: AtomicU64,
    /// Points in journalled records, committed or about to be.
    pub points_accepted: AtomicU64,
    /// Points on stable storage.
    pub points_committed: AtomicU64,
    /// Batches whose commit failed.
    pub commits_failed: AtomicU64,
    /// Points refused, by reason; whole batches count with their points.
    pub points_refused: ByNumber<{ Reason::ALL.len() }>,
    /// Replies, by outcome.
    pub batches_answered: ByNumber<6>,
    /// Batches told to come later, by what was full.
    pub retries_asked: ByNumber<8>,
    /// Batches appended to the journal and not yet committed.
    pub inflight_batches: AtomicU64,
    /// Bytes of their frames.
    pub inflight_bytes: AtomicU64,
    /// Bytes of frames that have begun and not ended.
    pub held_bytes: AtomicU64,
    /// Points of new series that were refused because their identity has brought as many as it may; they are among those
    /// refused for a cardinality limit.
    pub quota_series_refused: AtomicU64,
    /// Points of workers, made of heartbeats, on stable storage; in none of the other counters.
    pub worker_points_committed: AtomicU64,
    /// Points of workers that were not stored, by reason.
    pub worker_points_dropped: Mutex<BTreeMap<&'static str, u64>>,
    /// From a batch's receipt to the fdatasync that covers it.
    pub stable_latency: LatencyHistogram,
}

/// A counter for each of a few numbers.
#[derive(Debug)]
pub struct ByNumber<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for ByNumber<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> ByNumber<N> {
    /// Adds to one of them.
    pub fn add(&self, number: usize, count: u64) {
        self.0[number].fetch_add(count, Ordering::Relaxed);
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        self.0[number].load(Ordering::Relaxed)
    }
}

/// Why a batch was told to come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RetryCause {
    /// Twice `limits.backpressure_threshold` batches are not committed yet.
    Batches = 0,
    /// `limits.inflight_bytes_max` bytes are not committed yet.
    Bytes = 1,
    /// The journal is full.
    JournalFull = 2,
    /// The journal cannot be written.
    JournalFailed = 3,
    /// Its name would need one range more than is kept.
    Names = 4,
    /// Its identity's quota of batches is used up.
    QuotaBatches = 5,
    /// Its identity's quota of points is.
    QuotaPoints = 6,
    /// Its identity's quota of bytes is.
    QuotaBytes = 7,
}

impl RetryCause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Batches,
        Self::Bytes,
        Self::JournalFull,
        Self::JournalFailed,
        Self::Names,
        Self::QuotaBatches,
        Self::QuotaPoints,
        Self::QuotaBytes,
    ];

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batches => "batches_in_flight",
            Self::Bytes => "bytes_in_flight",
            Self::JournalFull => "journal_full",
            Self::JournalFailed => "journal_failed",
            Self::Names => "names_full",
            Self::QuotaBatches => "quota_batches",
            Self::QuotaPoints => "quota_points",
            Self::QuotaBytes => "quota_bytes",
        }
    }
}

impl Counters {
    /// Points on stable storage, the collector's own among them: what consumers have to read.
    pub(super) fn all_points_committed(&self) -> u64 {
        self.points_committed.load(Ordering::Acquire) + self.worker_points_committed.load(Ordering::Acquire)
    }

    /// A reply leaves.
    pub(super) fn answered(&self, ack: &BatchAck) {
        self.batches_answered.add(ack.outcome as usize, 1);
    }

    /// Points were refused.
    pub(super) fn refused(&self, reason: Reason, points: u64) {
        self.points_refused.add(reason as usize, points);
    }

    /// Points of workers are not stored, for a reason of which there are few.
    pub(super) fn drop_worker_points(&self, reason: &'static str, points: u64) {
        *self.worker_points_dropped.lock().entry(reason).or_default() += points;
    }

    /// Outcomes with their counts.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.iter().map(|&outcome| (outcome, self.batches_answered.get(outcome as usize)))
    }

    /// Reasons with the points that were refused for them.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|&reason| (reason, self.points_refused.get(reason as usize)))
    }
}
