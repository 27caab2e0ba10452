//! The spool as its owner sees it.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::journal::{
    AppendError, Appended, CommitSink, FullReason, Journal, JournalError, JournalStats, Position, Reader, Storage,
};
use crate::wire::OutgoingBatch;

use super::checkpoint::Checkpoint;
use super::record::{self, Recorder};
use super::recovery::{Opening, RESERVED, Replaying};
use super::settings::{BATCHES_MAX, SpoolSettings};
use super::state::{DropReason, Drops, Kept, Slot, State, Told};

/// Segments that may have to be dropped for one new one, more than ever happens: batches in memory may come at any time.
const DROPS_A_ROUND: usize = 16;
/// How long closing waits for what is being written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const NODE_TAG: &str = "node_id";

/// An open spool. Every method may be called from any thread; only `open`, `maintain` and `close` wait for the storage to
/// write, and `batch` may read.
pub struct Spool {
    journal: Journal<Entry>,
    shared: Arc<Shared>,
    recorder: Mutex<Recorder>,
    reader: Mutex<Reader>,
    /// One at a time changes the checkpoint.
    keeping: Mutex<()>,
    segment_bytes: u64,
}

/// What a record in the journal is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Batch(u64),
    Split { sequence: u64, first: u64 },
}

struct Shared {
    state: Mutex<State>,
    wake: Box<dyn Fn() + Send + Sync>,
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

    fn state(&self) -> MutexGuard<'_, State> {
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
        let points = u32::try_from(batch.len()).expect("a batch's points are counted by 32 bits on the wire too");
        while !state.has_memory(batch.memory_bytes()) {
            let oldest = state.oldest_unstored().expect("memory is taken by one at least");
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

    /// Points of a batch without an answer; None when it has one or was dropped.
    #[must_use]
    pub fn points_of(&self, sequence: u64) -> Option<u32> {
        self.state().slots.get(&sequence).map(|slot| slot.points)
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

    /// A batch that waits, read back from the disk if need be; None when it is gone. One that cannot be read is dropped.
    #[must_use]
    pub fn batch(&self, sequence: u64) -> Option<OutgoingBatch> {
        let (slot, former_nodes, node) = {
            let state = self.state();
            if let Some(batch) = state.resident(sequence) {
                return Some(batch.clone());
            }
            (*state.slots.get(&sequence)?, state.former_nodes.clone(), state.owner.node.clone())
        };
        let read = slot.position.and_then(|position| self.read(position));
        let Some(whole) = read else {
            self.state().drop_batch(sequence, DropReason::Damaged);
            (self.shared.wake)();
            return None;
        };
        let batch = whole.slice(slot.first as usize, slot.points as usize);
        let renamed = |key: &str, value: &str| key == NODE_TAG && former_nodes.iter().any(|node| **node == *value);
        Some(batch.with_common_tag(renamed, &node))
    }

    fn read(&self, position: u64) -> Option<OutgoingBatch> {
        let mut reader = self.reader.lock();
        if reader.position().get() != position {
            reader.seek(Position::new(position));
        }
        let record = reader.next_record().ok()??;
        let payload = if record.start.get() == position { record.payload } else { return None };
        record::batch(payload).ok().map(|(_, batch)| batch)
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
            state.slots.get_mut(&sequence).expect("found above").kept = Kept::Splitting;
        }
        Some(first)
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.state().told)
    }

    /// Hands waiting batches to the journal, in order, as far as it takes them.
    fn append_held(&self, state: &mut State) {
        while let Some(&sequence) = state.held.front() {
            let Some(slot) = state.slots.get(&sequence).filter(|slot| slot.kept == Kept::Held) else {
                state.held.pop_front();
                continue;
            };
            let batch = state.resident(sequence).expect("what is held is in memory").clone();
            let appended = if state.epoch_durable {
                let mut recorder = self.recorder.lock();
                let payload = recorder.batch(state.epoch, sequence, &batch);
                self.journal.append(payload, Entry::Batch(sequence)).map(|_| ())
            } else {
                Err(AppendError::Failed("no checkpoint could be written yet".to_owned()))
            };
            debug_assert_eq!(slot.points as usize, batch.len());
            match appended {
                Ok(()) => state.slots.get_mut(&sequence).expect("found above").kept = Kept::Pending,
                // It has room again as soon as `maintain` has made some, or the committer is done.
                Err(AppendError::Full(FullReason::BytesMax | FullReason::PendingBytes) | AppendError::Closed) => return,
                Err(error) => {
                    state.trouble = Some(error.to_string());
                    if !state.release(sequence) {
                        return;
                    }
                }
            }
            state.held.pop_front();
        }
    }

    /// Makes answers durable, gives room back, drops the oldest batches where there is too little, and takes up what was
    /// held back. For a thread of its own, every second or so and when `pressed`.
    ///
    /// # Errors
    /// What the storage says; the next call tries again.
    pub fn maintain(&self) -> Result<(), JournalError> {
        let _one = self.keeping.lock();
        let kept = self.keep(RESERVED);
        self.append_held(&mut self.state());
        (self.shared.wake)();
        kept
    }

    fn keep(&self, reserve: u64) -> Result<(), JournalError> {
        self.checkpoint(reserve)?;
        for _ in 0..DROPS_A_ROUND {
            if !self.tight() || !self.drop_oldest_segment() {
                break;
            }
            self.checkpoint(reserve)?;
        }
        Ok(())
    }

    /// Whether `maintain` has something to do that should not wait.
    #[must_use]
    pub fn pressed(&self) -> bool {
        !self.state().held.is_empty() || self.tight()
    }

    /// The journal will soon have no room for a new segment.
    fn tight(&self) -> bool {
        let stats = self.journal.room();
        stats.0 + 2 * self.segment_bytes > stats.1
    }

    fn drop_oldest_segment(&self) -> bool {
        let end = self.journal.oldest().get() + self.segment_bytes;
        let mut state = self.state();
        let in_segment = |slot: &Slot| slot.position.is_some_and(|position| position < end);
        let dropped: Vec<_> = state.slots.iter().filter(|(_, slot)| in_segment(slot)).map(|(key, _)| *key).collect();
        dropped.iter().for_each(|&sequence| state.drop_batch(sequence, DropReason::OutboxFull));
        !dropped.is_empty()
    }

    /// Writes a checkpoint if there is something new, and deletes what nobody needs any more.
    fn checkpoint(&self, reserve: u64) -> Result<(), JournalError> {
        let (position, checkpoint, changes) = {
            let mut state = self.state();
            if state.changes == 0 && state.reserved >= state.next + reserve / 2 {
                return Ok(());
            }
            let floor = state.lowest();
            state.answered.forget_below(floor);
            let checkpoint = Checkpoint {
                epoch: state.epoch,
                owner: state.owner.clone(),
                former_nodes: state.former_nodes.clone(),
                reserved: state.next + reserve,
                floor,
                answered: state.answered.clone(),
                drops: state.drops.clone(),
            };
            (state.position(), checkpoint, state.changes)
        };
        self.journal.checkpoint(Position::new(position), &checkpoint.encode())?;
        {
            let mut state = self.state();
            state.reserved = checkpoint.reserved;
            state.floor = checkpoint.floor;
            state.epoch_durable = true;
            state.changes -= changes;
        }
        self.journal.trim().map(drop)
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

    /// Makes everything durable that can be, and releases the lock. What is in memory alone is dropped. Idempotent.
    ///
    /// # Errors
    /// What the storage says; a later start then finds what the last checkpoint said.
    pub fn close(&self) -> Result<(), JournalError> {
        let _one = self.keeping.lock();
        for _ in 0..DROPS_A_ROUND {
            self.append_held(&mut self.state());
            // What is not written by then counts as lost, and comes back if it was.
            let written = self.journal.flush(CLOSE_TIMEOUT);
            if !written || self.state().held.is_empty() || self.keep(RESERVED).is_err() {
                break;
            }
        }
        let closing = {
            let mut state = self.state();
            let lost = |slot: &Slot| matches!(slot.kept, Kept::Held | Kept::Pending | Kept::Volatile);
            let lost: Vec<_> = state.slots.iter().filter(|(_, slot)| lost(slot)).map(|(key, _)| *key).collect();
            lost.into_iter().for_each(|sequence| state.drop_batch(sequence, DropReason::SpoolFailed));
            state.changes += 1;
            drop(state);
            self.checkpoint(0)
        };
        self.journal.close();
        match closing {
            Err(JournalError::Closed) => Ok(()),
            closed => closed,
        }
    }
}

#[cfg(test)]
impl Spool {
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        self.journal.flush(timeout)
    }

    pub(super) fn kept(&self, sequence: u64) -> Option<Kept> {
        self.state().slots.get(&sequence).map(|slot| slot.kept)
    }

    pub(super) fn resident(&self) -> (usize, usize) {
        self.state().resident_counts()
    }

    pub(super) fn append_raw(&self, payload: &[u8]) {
        self.journal.append(payload, Entry::Batch(u64::MAX)).expect("there is room");
        assert!(self.flush(CLOSE_TIMEOUT));
    }

    /// Ends as a killed process does: without a word to the disk.
    pub(super) fn abandon_handle(self) {
        self.journal.close();
    }
}

impl State {
    /// Lets a batch go without a record, if its sequence cannot be used again after a crash.
    fn release(&mut self, sequence: u64) -> bool {
        let reserved = sequence < self.reserved;
        if let Some(slot) = self.slots.get_mut(&sequence).filter(|_| reserved) {
            slot.kept = Kept::Volatile;
            self.unspooled.0 += 1;
            self.unspooled.1 += u64::from(slot.points);
        }
        reserved
    }
}

impl CommitSink<Entry> for Shared {
    fn committed(&self, records: Vec<Appended<Entry>>) {
        let mut state = self.state.lock();
        state.uncertain.clear(); // the segment ends in front of what failed
        for record in records {
            state.applied = record.end.get();
            match record.item {
                Entry::Batch(sequence) => {
                    if let Some(slot) = state.slots.get_mut(&sequence) {
                        slot.kept = Kept::Stored;
                        slot.position = Some(record.start.get());
                        state.cache_resident(sequence);
                    }
                }
                Entry::Split { sequence, first } => {
                    state.remove(sequence);
                    state.changes += 1;
                    for half in [first, first + 1] {
                        if let Some(slot) = state.slots.get_mut(&half) {
                            slot.kept = Kept::Stored;
                        }
                    }
                }
            }
        }
        drop(state);
        (self.wake)();
    }

    fn failed(&self, items: Vec<Entry>) {
        let mut state = self.state.lock();
        state.trouble = Some("the spool's journal could not be written".to_owned());
        for item in items {
            match item {
                Entry::Batch(sequence) => {
                    state.uncertain.insert(sequence);
                    if state.slots.contains_key(&sequence) && !state.release(sequence) {
                        state.slots.get_mut(&sequence).expect("just found").kept = Kept::Held;
                        state.displaced.insert(sequence);
                        state.held.push_back(sequence);
                    }
                }
                Entry::Split { sequence, first } => {
                    state.remove(first);
                    state.remove(first + 1);
                    if let Some(slot) = state.slots.get_mut(&sequence) {
                        slot.kept = Kept::Stored;
                        state.told.push(Told::Unsplit { sequence });
                    }
                }
            }
        }
        drop(state);
        (self.wake)();
    }
}

fn random_epoch() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}
