//! A journal's numbers at one moment.

use super::cursors::CursorStats;
use super::error::AppendError;
use super::position::Position;

/// Gauges, and counters since the journal was opened.
#[derive(Clone, Debug)]
pub struct JournalStats {
    /// Segment files.
    pub segments: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// What these may become.
    pub bytes_max: u64,
    /// Where the oldest record kept begins.
    pub oldest: Position,
    /// Seconds since 1970 at which the oldest segment was begun; None when there is none or its header is damaged.
    /// No record kept is older.
    pub oldest_created_unix_secs: Option<u64>,
    /// Everything before is on stable storage.
    pub committed: Position,
    /// Records appended and without an outcome.
    pub pending_records: u64,
    /// Bytes of records that the committer has not taken yet.
    pub pending_bytes: u64,
    /// Records on stable storage.
    pub records_committed: u64,
    /// Records whose commit failed.
    pub records_failed: u64,
    /// Bytes of committed records, with headers.
    pub bytes_committed: u64,
    /// Groups that were written and synchronized.
    pub syncs: u64,
    /// How long the last of them took.
    pub sync_micros_last: u64,
    /// How long all of them took.
    pub sync_micros_total: u64,
    /// Groups that failed.
    pub faults: u64,
    /// Why the last of them did.
    pub fault_last: Option<String>,
    /// Why no segment can be begun at present.
    pub trouble: Option<AppendError>,
    /// Damaged ranges met.
    pub damaged_ranges: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// The newest durable checkpoint.
    pub checkpoint: Option<Position>,
    /// Every consumer's place.
    pub cursors: Vec<CursorStats>,
}
