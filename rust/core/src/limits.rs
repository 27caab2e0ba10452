//! Every bound that outside data can meet, in one place. Policies stand beside the code that enforces them.

use crate::journal::CHECKPOINT_BYTES_MAX;

/// A metric's name: 1 to this many bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Effective tags of a point (its own over the batch's common ones).
pub const TAGS_MAX: usize = 64;
/// A tag's key: 1 to this many bytes.
pub const TAG_KEY_BYTES_MAX: usize = 128;
/// A tag's value: 1 to this many bytes.
pub const TAG_VALUE_BYTES_MAX: usize = 1_024;
/// A unit, which may be empty.
pub const UNIT_BYTES_MAX: usize = 63;
/// Buckets of a histogram, the open last one included.
pub const BUCKETS_MAX: usize = 1_024;
/// Quantiles of a summary.
pub const QUANTILES_MAX: usize = 64;
/// Definitions that one stream may hold; to forget ids, an agent opens a new stream.
pub const STREAM_DEFINITIONS_MAX: usize = 131_072;
/// Bytes of the names, keys, values and units of one stream's definitions.
pub const STREAM_DEFINITION_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A zstd frame that needs a larger window is malformed.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Stored sequences of one epoch are kept as at most this many ranges.
pub const RANGES_PER_EPOCH_MAX: usize = 1_024;
/// Epochs kept for an identity; the least recently used is forgotten.
pub const EPOCHS_PER_IDENTITY_MAX: usize = 16;
/// Tasks of a heartbeat that are kept: the first so many.
pub const RUNNING_TASKS_MAX: usize = 1_000;
/// Bytes of each text of a heartbeat that are kept: its worker's name and what describes its tasks.
pub const HEARTBEAT_TEXT_BYTES_MAX: usize = 1_024;
/// Batches that a stream may have unacknowledged until the collector says otherwise.
pub const CREDIT_INITIAL: u32 = 8;

/// The most series that may be active: what a checkpoint has room for. A journal that cannot be checkpointed is never
/// trimmed and becomes full, and a series' name and tags take about so many bytes there.
pub const CARDINALITY_MAX: usize = CHECKPOINT_BYTES_MAX / CHECKPOINT_SERIES_BYTES;
const CHECKPOINT_SERIES_BYTES: usize = 128;

/// What an operator may set. Defaults are those of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series that are active at a time; new ones over it are refused, known ones go on.
    pub max_cardinality: usize,
    /// A series without a point for so long is forgotten.
    pub series_idle_secs: u64,
    /// Points of one batch.
    pub max_batch_size: usize,
    /// Bytes of one frame, without its length prefix.
    pub frame_bytes_max: usize,
    /// Bytes of a compressed body when inflated.
    pub inflated_bytes_max: usize,
    /// Batches received and not yet committed, over all streams: above it windows shrink to 1, at twice it `RETRY_LATER`.
    pub backpressure_threshold: usize,
    /// Bytes received and not yet committed, over all streams: above it `RETRY_LATER`.
    pub inflight_bytes_max: usize,
    /// A point may lie so far in the past.
    pub timestamp_past_secs: u64,
    /// A point may lie so far in the future.
    pub timestamp_future_secs: u64,
}

impl Limits {
    /// How long streams may go without noting that their series have points: 1/256 of the time after which those are
    /// forgotten, at most a minute. They are forgotten so much later.
    #[must_use]
    pub fn touch_secs(&self) -> u64 {
        (self.series_idle_secs / 256).min(60)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_cardinality: 100_000,
            series_idle_secs: 86_400,
            max_batch_size: 1_000,
            frame_bytes_max: 1024 * 1024,
            inflated_bytes_max: 16 * 1024 * 1024,
            backpressure_threshold: 5_000,
            inflight_bytes_max: 256 * 1024 * 1024,
            timestamp_past_secs: 604_800,
            timestamp_future_secs: 600,
        }
    }
}
