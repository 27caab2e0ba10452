//! The spool as its owner sees it.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::journal::{Journal, JournalError, JournalStats, Position, Reader, Storage};
use crate::wire::OutgoingBatch;

use super::checkpoint::Checkpoint;
use super::commits::{Entry, Shared};
use super::drops::{DropReason, Drops};
use super::record::{self, Recorder};
use super::recovery::{Opening, Replaying};
use super::settings::{BATCHES_MAX, SpoolSettings};
use super::state::{Kept, Slot, State, Told};

const NODE_TAG: &str = "node_id";

/// An open spool. Every method may be called from any thread; only `open`, `maintain` and `close` wait for the storage to
/// write, and `batch` may read.
pub struct Spool {
    pub(super) journal: Journal<Entry>,
    pub(super) shared: Arc<Shared>,
    pub(super) recorder: Mutex<Recorder>,
    reader: Mutex<Reader>,
    /// One at a time changes the checkpoint.
    pub(super) keeping: Mutex<()>,
    pub(super) segment_bytes: u64,
}

/// A spool's numbers now.
#[derive(Clone, Debug)]
pub struct SpoolStats {
    /// Batches without an answer.
    pub batches: u64,
    /// Their points.
    pub points: u64,
    /// Batches and points given up since the spool was made.
    pub drops: Drops,
    /// Batches and points that were handed out without a record, since it was opened.
    pub unspooled: (u64, u64),
    /// Why the last of them had none.
    pub trouble: Option<String>,
    /// The journal's.
    pub journal: JournalStats,
}

impl Spool {
    /// Takes the directory's lock and reads what still waits. `wake` is called, on another thread, whenever batches can be
    /// handed out that could not before, or there is something to be told.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open(
        storage: Arc<dyn Storage>,
        settings: &SpoolSettings,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<(Self, Opening), JournalError> {
        let path = storage.describe("");
        let mut replaying = Replaying::default();
        // The state is there before the first commit, and is filled in when the journal has told what it holds.
        let empty = State::new(Checkpoint::default(), settings);
        let shared = Arc::new(Shared { state: Mutex::new(empty), wake });
        let (journal, recovery) = Journal::open(storage, settings.journal()?, shared.clone(), &mut replaying)?;
        let epoch = random_epoch().map_err(JournalError::io("read", "/dev/urandom".to_owned()))?;
        let (state, opening) = replaying.finish(settings, recovery, epoch);
        *shared.state.lock() = state;
        let recorder = Recorder::new().map_err(JournalError::io("begin to compress for", path))?;
        let reader = Mutex::new(journal.reader(journal.oldest()));
        let recorder = Mutex::new(recorder);
        let segment_bytes = settings.segment_bytes();
        let spool = Self { journal, shared, recorder, reader, keeping: Mutex::new(()), segment_bytes };
        if let Err(error) = spool.maintain() {
            // A full or failing disk: `maintain` tries again, and until then the batches stay in memory.
            spool.state().trouble = Some(error.to_string());
        }
        Ok((spool, opening))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Names this spool's life on this machine: random and not 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// What collectors may be told: every lower sequence is answered or abandoned, and stays so.
    #[must_use]
    pub fn oldest_unacknowledged(&self) -> u64 {
        self.state().floor
    }

    /// What the next batch will be called.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.state().next
    }

    /// Batches and points without an answer.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        let state = self.state();
        (state.slots.len() as u64, state.points)
    }

    /// Whether a batch of so many points can be put without dropping anything.
    #[must_use]
    pub fn has_room(&self, points: usize) -> bool {
        let state = self.state();
        state.slots.is_empty() || (state.held.is_empty() && state.has_memory(64 * points) && !self.tight())
    }

    /// Takes a batch and names it.
    pub fn put(&self, batch: OutgoingBatch) -> u64 {
        let mut state = self.state();
        let points = batch.len() as u32; // places in it are 32 bits as well
        while !state.has_memory(batch.memory_bytes()) {
            let Some(oldest) = state.oldest_unstored() else { break };
            state.drop_batch(oldest, DropReason::OutboxFull);
        }
        while state.slots.len() >= BATCHES_MAX {
            let oldest = state.lowest();
            state.drop_batch(oldest, DropReason::OutboxFull);
        }
        let sequence = state.next;
        state.next += 1;
        state.insert(sequence, Slot { kept: Kept::Held, position: None, first: 0, points });
        state.keep_resident(sequence, batch);
        state.held.push_back(sequence);
        self.append_held(&mut state);
        sequence
    }

    /// Points of a batch without an answer; None when it has one or was dropped, and while halves are to take its place.
    #[must_use]
    pub fn points_of(&self, sequence: u64) -> Option<u32> {
        self.state().slots.get(&sequence).filter(|slot| slot.kept != Kept::Splitting).map(|slot| slot.points)
    }

    /// Whether a batch is on stable storage, or is settled.
    #[must_use]
    pub fn durable(&self, sequence: u64) -> bool {
        let kept = self.state().slots.get(&sequence).map(|slot| slot.kept);
        kept.is_none_or(|kept| matches!(kept, Kept::Stored | Kept::Splitting))
    }

    /// The lowest sequence above another that can be handed out. None where there is none, or the next is not ready.
    #[must_use]
    pub fn next_after(&self, sequence: u64) -> Option<u64> {
        let state = self.state();
        let mut above = state.slots.range(sequence.checked_add(1)?..).filter(|(_, slot)| slot.kept != Kept::Splitting);
        let (&sequence, slot) = above.next()?;
        match slot.kept {
            Kept::Volatile => Some(sequence),
            Kept::Stored => Some(sequence).filter(|_| state.epoch_durable),
            Kept::Held | Kept::Pending | Kept::Splitting => None,
        }
    }

    /// A batch that waits, read back from the disk if need be. None when it is gone, and also while the disk fails to read
    /// it: it still has its points then, and the caller asks again later. One whose record is damaged, or cannot be read
    /// after a few calls, is dropped.
    #[must_use]
    pub fn batch(&self, sequence: u64) -> Option<OutgoingBatch> {
        let (slot, former_nodes, node) = {
            let state = self.state();
            if let Some(batch) = state.resident(sequence) {
                return Some(batch.clone());
            }
            (*state.slots.get(&sequence)?, state.former_nodes.clone(), state.owner.node.clone())
        };
        let read = match slot.position.map_or(Ok(None), |position| self.read(position)) {
            Ok(read) => read,
            Err(error) => {
                self.state().trouble = Some(error.to_string());
                return None;
            }
        };
        let Some(whole) = read else {
            self.state().drop_batch(sequence, DropReason::Damaged);
            (self.shared.wake)();
            return None;
        };
        let batch = whole.slice(slot.first as usize, slot.points as usize);
        let renamed = |key: &str, value: &str| key == NODE_TAG && former_nodes.iter().any(|node| **node == *value);
        Some(batch.with_common_tag(renamed, &node))
    }

    /// The batch of the record that begins there; None when there is none any more. An error may pass: the reader sets
    /// aside what it could not read at the same place for a few times.
    fn read(&self, position: u64) -> Result<Option<OutgoingBatch>, JournalError> {
        let mut reader = self.reader.lock();
        if reader.position().get() != position {
            reader.seek(Position::new(position));
        }
        match reader.next_record() {
            Ok(Some(record)) if record.start.get() == position => {
                Ok(record::batch(record.payload).ok().map(|(_, batch)| batch))
            }
            Ok(_) | Err(JournalError::Trimmed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets a batch that has its answer.
    pub fn acknowledge(&self, sequence: u64) {
        self.state().settle(sequence);
    }

    /// Gives a batch up; it is told like the others.
    pub fn abandon(&self, sequence: u64, reason: DropReason) {
        self.state().drop_batch(sequence, reason);
        (self.shared.wake)();
    }

    /// Puts halves in a batch's place, as one step, under the sequence of the answer and the next. None when that is not
    /// possible now, or never: a batch of one point.
    pub fn split(&self, sequence: u64) -> Option<u64> {
        let mut state = self.state();
        let state = &mut *state;
        let whole = *state.slots.get(&sequence).filter(|slot| slot.points > 1)?;
        let kept = match whole.kept {
            // Should its record come back after a crash, it would be there beside its halves.
            Kept::Volatile if state.uncertain.contains(&sequence) => return None,
            Kept::Volatile => Kept::Volatile,
            Kept::Stored => Kept::Pending,
            Kept::Held | Kept::Pending | Kept::Splitting => return None,
        };
        let first = state.next;
        if kept == Kept::Pending {
            let mut recorder = self.recorder.lock();
            let payload = recorder.split(state.epoch, sequence, first);
            self.journal.append(payload, Entry::Split { sequence, first }).ok()?;
        }
        state.next += 2;
        let resident = state.resident(sequence).cloned();
        let middle = whole.points / 2;
        for (half, start, points) in [(first, 0, middle), (first + 1, middle, whole.points - middle)] {
            state.insert(half, Slot { kept, first: whole.first + start, points, ..whole });
            state.displaced.insert(half);
            if let (Some(batch), Kept::Volatile) = (&resident, kept) {
                state.keep_resident(half, batch.slice(start as usize, points as usize));
            }
        }
        if kept == Kept::Volatile {
            state.settle(sequence);
        } else {
            state.slots.entry(sequence).and_modify(|whole| whole.kept = Kept::Splitting);
        }
        Some(first)
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.state().told)
    }

    /// The numbers now.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let journal = self.journal.stats();
        let state = self.state();
        SpoolStats {
            batches: state.slots.len() as u64,
            points: state.points,
            drops: state.drops.clone(),
            unspooled: state.unspooled,
            trouble: state.trouble.clone(),
            journal,
        }
    }
}

fn random_epoch() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}
