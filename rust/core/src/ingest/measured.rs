//! What a range of the journal holds, for whoever gives it up.

use super::new_decoder;
use crate::journal::{JournalError, Position, Reader};

/// Batches between two positions. What is damaged or does not decode could not have been written and does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Whole batches.
    pub batches: u64,
    /// Their points.
    pub points: u64,
    /// Receipt of the first and of the last of them, microseconds since 1970; None when there is none.
    pub received_unix_us: Option<(i64, i64)>,
}

impl Measured {
    /// Reads up to a position. A place that cannot be read must not keep anybody from giving it up.
    pub(super) fn of(reader: Reader, to: Position) -> Result<Self, JournalError> {
        let mut reader = reader.surveying();
        let mut decoder = new_decoder();
        let mut found = Self::default();
        while let Some(record) = reader.next_record()? {
            if record.start >= to {
                break;
            }
            let Ok(block) = decoder.decode(record.payload) else { continue };
            found.batches += 1;
            found.points += block.len() as u64;
            let first = found.received_unix_us.map_or(block.received_unix_us, |(first, _)| first);
            found.received_unix_us = Some((first, block.received_unix_us));
        }
        Ok(found)
    }
}
