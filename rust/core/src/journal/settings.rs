//! What a developer passes to open a journal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::JournalError;
use super::format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// The smallest segment: large enough for a few records behind the header page.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// The largest segment: a record's length and its distance to the start of its group are 32-bit numbers.
pub const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// A thousand agents that send once a second would have as many commits made, each for a record or two, and a commit costs
/// the processor more than the record. Few enough milliseconds for what an answer may take on a disk.
const COMMIT_INTERVAL: Duration = Duration::from_millis(4);

/// Bounds and times of a journal. Defaults are those of the configuration file.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// Bytes of a segment file, preallocated; rounded up to whole pages of 4,096 bytes.
    pub segment_bytes: u64,
    /// Bytes of all segments together, the one prepared in advance included. Over it appends answer Full.
    pub bytes_max: u64,
    /// Bytes of records that may wait for their commit. Over it appends answer Full. Memory is at most twice this.
    pub pending_bytes_max: usize,
    /// While records come in company, commits begin no closer to each other than this. Zero for as soon as they can.
    pub commit_interval: Duration,
    /// How long to wait before a segment that could not be prepared (full disk, I/O error) is tried again.
    pub retry_interval: Duration,
    /// Seconds since 1970, for the time of a segment's creation in its header.
    pub unix_secs: fn() -> u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            bytes_max: 16 * 1024 * 1024 * 1024,
            pending_bytes_max: 32 * 1024 * 1024,
            commit_interval: COMMIT_INTERVAL,
            retry_interval: Duration::from_millis(500),
            unix_secs: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}

impl JournalSettings {
    /// The settings with `segment_bytes` in whole pages, or the first one that cannot work.
    pub(crate) fn checked(mut self) -> Result<Self, JournalError> {
        let fault = |key, value, expected| Err(JournalError::Setting { key, value, expected });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            let expected = format!("must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes");
            return fault("segment_bytes", self.segment_bytes, expected);
        }
        self.segment_bytes = self.segment_bytes.next_multiple_of(SEGMENT_HEADER_BYTES);
        if self.bytes_max < 2 * self.segment_bytes {
            let expected = format!("must be at least two segments, {} bytes", 2 * self.segment_bytes);
            return fault("bytes_max", self.bytes_max, expected);
        }
        if self.pending_bytes_max < 4096 {
            return fault("pending_bytes_max", self.pending_bytes_max as u64, "must be at least 4096 bytes".to_owned());
        }
        Ok(self)
    }

    /// Bytes of records that fit into one segment.
    pub(crate) fn segment_room(&self) -> u64 {
        self.segment_bytes - SEGMENT_HEADER_BYTES
    }

    /// The largest payload that fits into a segment and into the pending buffer.
    pub(crate) fn record_bytes_max(&self) -> usize {
        (self.segment_room() as usize).min(self.pending_bytes_max & !7) - RECORD_HEADER_BYTES
    }
}
