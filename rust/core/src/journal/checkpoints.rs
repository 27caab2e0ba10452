//! The caller's state at a position, so that a start replays only what follows and older segments can go.

use parking_lot::Mutex;

use super::cursors::CursorStats;
use super::error::JournalError;
use super::format::{CHECKPOINT_MAGIC, Mark};
use super::names;
use super::position::{JournalId, Position};
use super::storage::Storage;

/// The caller's state at most. A journal that cannot be checkpointed is never trimmed and becomes full, so this is far above
/// what a collector of ten million series has.
pub const CHECKPOINT_BYTES_MAX: usize = 3 * 1024 * 1024 * 1024;
/// The newest ones are kept, so that one may be damaged.
const KEPT: usize = 2;

/// What a checkpoint's body holds: every consumer's place, should a cursor's own file be lost, and the caller's state.
///
/// ```text
/// cursors u32 │ cursors × (name bytes u16 │ name │ position u64) │ payload
/// ```
pub(crate) struct Checkpoint<'a> {
    pub(crate) cursors: Vec<(String, u64)>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Checkpoint<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let (count, mut rest) = body.split_first_chunk()?;
        let mut cursors = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (length, behind) = rest.split_first_chunk()?;
            let (name, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            let (position, behind) = behind.split_first_chunk()?;
            cursors.push((String::from_utf8(name.to_vec()).ok()?, u64::from_le_bytes(*position)));
            rest = behind;
        }
        Some(Self { cursors, payload: rest })
    }
}

fn encode_cursors(cursors: &[CursorStats]) -> Vec<u8> {
    let mut out = (cursors.len() as u32).to_le_bytes().to_vec();
    for cursor in cursors {
        out.extend_from_slice(&(cursor.name.len() as u16).to_le_bytes());
        out.extend_from_slice(cursor.name.as_bytes());
        out.extend_from_slice(&cursor.stored.get().to_le_bytes());
    }
    out
}

/// The checkpoints of one journal.
pub(crate) struct Checkpoints {
    id: JournalId,
    /// Positions of the durable ones, oldest first.
    positions: Mutex<Vec<Position>>,
}

impl Checkpoints {
    pub(crate) fn new(id: JournalId, positions: &[u64]) -> Self {
        Self { id, positions: Mutex::new(positions.iter().copied().map(Position::new).collect()) }
    }

    /// The durable ones that are kept, oldest first.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.positions.lock().clone()
    }

    /// Makes the caller's state at a position durable with `publish(file name, bytes)`, then deletes all but the
    /// newest ones.
    pub(crate) fn store(
        &self,
        position: Position,
        payload: Vec<u8>,
        cursors: &[CursorStats],
        storage: &dyn Storage,
        publish: impl FnOnce(&str, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        if payload.len() > CHECKPOINT_BYTES_MAX {
            return Err(JournalError::CheckpointTooLarge { bytes: payload.len(), max: CHECKPOINT_BYTES_MAX });
        }
        let mut positions = self.positions.lock();
        if let Some(&newest) = positions.last().filter(|newest| **newest > position) {
            return Err(JournalError::CheckpointBehind { position, newest });
        }
        let cursors = encode_cursors(cursors);
        let mark = Mark::encode(CHECKPOINT_MAGIC, &self.id, position.get(), &cursors, payload);
        publish(&names::checkpoint(position.get()), &mark)?;
        if positions.last() != Some(&position) {
            positions.push(position);
        }
        while positions.len() > KEPT {
            let name = names::checkpoint(positions[0].get());
            storage.remove(&name).map_err(JournalError::io("remove", storage.describe(&name)))?;
            positions.remove(0);
        }
        Ok(())
    }
}
