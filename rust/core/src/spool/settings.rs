//! What a developer passes to open a spool.

use crate::journal::{JournalError, JournalSettings, SEGMENT_BYTES_MIN};

/// Batches that a spool holds at most: each takes about 60 bytes of memory, wherever its points are.
pub const BATCHES_MAX: usize = 1 << 20;
/// The smallest bound for what a spool takes on disk.
pub const BYTES_MIN: u64 = 16 * SEGMENT_BYTES_MIN;
/// Small segments give room back soon.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Segments that the bound has room for, at least: dropping the oldest one must leave most of the others.
const SEGMENTS_MIN: u64 = 16;

/// Whose the names are that a spool gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// What tells this machine from a copy of its disk; empty: unknown.
    pub machine_id: String,
    /// The certificate's identity; empty: unknown.
    pub identity: String,
    /// The node that the certificate names.
    pub node: String,
}

/// Bounds of a spool.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// Bytes of all segments together.
    pub bytes_max: u64,
    /// Memory for batches: those without a record, and those that are kept to be sent without reading them back.
    pub memory_bytes_max: usize,
    /// Whose it is now.
    pub owner: Owner,
    /// When this life begins, microseconds since 1970; 0 where that is unknown. Sequences go on from there.
    pub started_unix_us: u64,
}

impl SpoolSettings {
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / SEGMENTS_MIN).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES)
    }

    pub(super) fn journal(&self) -> Result<JournalSettings, JournalError> {
        if self.bytes_max < BYTES_MIN {
            let expected = format!("must be at least {BYTES_MIN} bytes");
            return Err(JournalError::Setting { key: "spool bytes_max", value: self.bytes_max, expected });
        }
        let segment_bytes = self.segment_bytes();
        let pending_bytes_max = 2 * segment_bytes as usize;
        Ok(JournalSettings {
            segment_bytes,
            bytes_max: self.bytes_max,
            pending_bytes_max,
            ..JournalSettings::default()
        })
    }
}
