//! Looks into the journal of a collector: besides files and records, the batches and points that they hold.

use std::collections::BTreeMap;
use std::collections::HashSet;

use super::checkpoint::Replaying;
use super::new_decoder;
use crate::columns::BlockDecoder;
use crate::journal::{self, DAMAGE_MAX, Damage, Damaged, Examine, Inspection, JournalError, Position, Record, Storage};
use crate::series::Registry;

/// What the records of a journal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// There are none.
    Empty,
    /// Blocks of points.
    Blocks,
    /// Something else, such as what an agent's spool holds: records are checked, and not decoded.
    Foreign,
}

/// A segment's blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentContents {
    /// Batches.
    pub batches: u64,
    /// Points of those batches.
    pub points: u64,
}

/// A checkpoint's names and series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointContents {
    /// Active series.
    pub series: u64,
    /// Identities that stored something.
    pub identities: u64,
    /// Epochs of all identities.
    pub epochs: u64,
}

/// A journal's files, and what they hold.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The files.
    pub journal: Inspection,
    /// What the records are.
    pub payload: Payload,
    /// By the segment's base.
    pub segments: BTreeMap<Position, SegmentContents>,
    /// By position.
    pub checkpoints: BTreeMap<Position, CheckpointContents>,
}

/// Reads a whole journal, open or not, and changes nothing. `progress` is told the bytes read and the bytes there are.
///
/// # Errors
/// [`JournalError`] when the directory cannot be read, holds files of two journals, or of a newer format.
pub fn inspect(storage: &dyn Storage, progress: &mut dyn FnMut(u64, u64)) -> Result<Inspected, JournalError> {
    let mut contents = Contents {
        decoder: new_decoder(),
        progress,
        base: Position::default(),
        segments: BTreeMap::new(),
        checkpoints: BTreeMap::new(),
        undecoded: Vec::new(),
        any_undecoded: false,
    };
    let mut journal = journal::inspect(storage, &mut contents)?;
    let decoded = contents.segments.values().any(|segment| segment.batches > 0);
    if decoded {
        // Other records of this journal are blocks, so these should be, too.
        journal.damaged += contents.undecoded.len() as u64;
        journal.damaged_bytes += contents.undecoded.iter().map(|damaged| damaged.bytes).sum::<u64>();
        journal.damage.append(&mut contents.undecoded);
        journal.damage.sort_by_key(|damaged| damaged.position);
        journal.damage.truncate(DAMAGE_MAX);
    }
    let payload = match (decoded, contents.any_undecoded) {
        (true, _) => Payload::Blocks,
        (false, true) => Payload::Foreign,
        (false, false) => Payload::Empty,
    };
    Ok(Inspected { journal, payload, segments: contents.segments, checkpoints: contents.checkpoints })
}

struct Contents<'a> {
    decoder: BlockDecoder,
    progress: &'a mut dyn FnMut(u64, u64),
    base: Position,
    segments: BTreeMap<Position, SegmentContents>,
    checkpoints: BTreeMap<Position, CheckpointContents>,
    /// Records met before any that is a block: damaged ones, or those of a journal that holds something else.
    undecoded: Vec<Damaged>,
    any_undecoded: bool,
}

impl Examine for Contents<'_> {
    fn segment(&mut self, base: Position) {
        self.base = base;
        self.segments.insert(base, SegmentContents::default());
        self.undecoded.retain(|damaged| damaged.position < base);
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        let error = match self.decoder.decode(record.payload) {
            Ok(block) => {
                let segment = self.segments.entry(self.base).or_default();
                segment.batches += 1;
                segment.points += block.len() as u64;
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        self.any_undecoded = true;
        if self.segments.values().any(|segment| segment.batches > 0) {
            return Err(error);
        }
        if self.undecoded.len() < DAMAGE_MAX {
            self.undecoded.push(Damaged {
                file: format!("segment-{:016x}", self.base.get()),
                position: record.start,
                bytes: record.end.get() - record.start.get(),
                reason: Damage::Undecodable,
                detail: Some(error),
            });
        }
        Ok(())
    }

    fn checkpoint(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let mut state = Replaying::new(Registry::new(usize::MAX), new_decoder());
        state.restore(payload).ok_or_else(|| "its names or series cannot be read".to_owned())?;
        let epochs = state.names.durable();
        let count = epochs.len() as u64;
        let identities: HashSet<_> = epochs.map(|epoch| epoch.identity).collect();
        let contents = CheckpointContents {
            series: state.registry.len() as u64,
            identities: identities.len() as u64,
            epochs: count,
        };
        self.checkpoints.insert(position, contents);
        Ok(())
    }

    fn progress(&mut self, bytes: u64, of: u64) {
        (self.progress)(bytes, of);
    }
}
