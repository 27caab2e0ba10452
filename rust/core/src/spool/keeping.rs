//! What a spool does beside taking and handing out: checkpoints, room, batches that had to wait, the end.

use std::time::Duration;

use crate::journal::{AppendError, FullReason, JournalError, Position};

use super::checkpoint::Checkpoint;
use super::commits::Entry;
use super::drops::DropReason;
use super::record;
use super::recovery::RESERVED;
use super::spool::Spool;
use super::state::{Kept, Slot, State};

/// Segments that may have to be dropped for one new one, more than ever happens: batches in memory may come at any time.
const DROPS_A_ROUND: usize = 16;
/// How long closing waits for what is being written.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

impl Spool {
    /// Makes answers durable, gives room back, drops the oldest batches where there is too little, and takes up what was
    /// held back. For a thread of its own, every second or so and when `pressed`.
    ///
    /// # Errors
    /// What the storage says; the next call tries again.
    pub fn maintain(&self) -> Result<(), JournalError> {
        let _one = self.keeping.lock();
        let kept = self.keep(RESERVED);
        let mut state = self.state();
        self.append_held(&mut state);
        self.seal(&mut state);
        drop(state);
        (self.shared.wake)();
        kept
    }

    fn keep(&self, reserve: u64) -> Result<(), JournalError> {
        self.checkpoint(reserve)?;
        if self.tight() {
            // While there was room, segments were kept for the older checkpoint as well.
            self.journal.trim()?;
        }
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
    pub(super) fn tight(&self) -> bool {
        let stats = self.journal.room();
        stats.0 + 2 * self.segment_bytes > stats.1
    }

    /// Gives up what lies in the oldest segment, or in the oldest few where these are short. False when that makes no room.
    fn drop_oldest_segment(&self) -> bool {
        let Some(end) = self.journal.room_wanted(self.journal.committed()).map(Position::get) else { return false };
        let mut state = self.state();
        let in_segment = |slot: &Slot| slot.position.is_some_and(|position| position < end);
        let dropped: Vec<_> = state.slots.iter().filter(|(_, slot)| in_segment(slot)).map(|(key, _)| *key).collect();
        for &sequence in &dropped {
            state.drop_batch(sequence, DropReason::OutboxFull);
        }
        if state.position() < end {
            return false;
        }
        state.changes += 1; // the next checkpoint stands further on, even if nothing was dropped
        true
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
        self.journal.checkpoint(Position::new(position), checkpoint.encode())?;
        {
            let mut state = self.state();
            state.reserved = checkpoint.reserved;
            state.floor = checkpoint.floor;
            state.epoch_durable = true;
            state.changes -= changes;
        }
        self.journal.trim().map(drop)
    }

    /// Hands waiting batches to the journal, in order, as far as it takes them.
    pub(super) fn append_held(&self, state: &mut State) {
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

    /// Where a split has failed, writes a record that says nothing: once any is committed, the split's is certainly not
    /// there, and the batch need not wait for one that happens to come.
    fn seal(&self, state: &mut State) {
        if state.failed_splits.is_empty() || state.sealing {
            return;
        }
        let mut recorder = self.recorder.lock();
        let payload = recorder.split(state.epoch, record::NOTHING, record::NOTHING);
        state.sealing = self.journal.append(payload, Entry::Seal).is_ok();
    }

    /// As `append_held`, and makes room for as long as that helps.
    fn append_all(&self) {
        let mut left = usize::MAX;
        loop {
            self.append_held(&mut self.state());
            // What is not written by then counts as lost.
            let written = self.journal.flush(CLOSE_TIMEOUT);
            let held = self.state().held.len();
            if !written || held == 0 || held >= left || self.keep(RESERVED).is_err() {
                return;
            }
            left = held;
        }
    }

    /// Makes everything durable that can be, and releases the lock. What is in memory alone is dropped. Idempotent.
    ///
    /// # Errors
    /// What the storage says; a later start then finds what the last checkpoint said.
    pub fn close(&self) -> Result<(), JournalError> {
        let _one = self.keeping.lock();
        self.append_all();
        let closing = {
            let mut state = self.state();
            let lost = |slot: &Slot| matches!(slot.kept, Kept::Held | Kept::Pending | Kept::Volatile);
            let lost: Vec<_> = state.slots.iter().filter(|(_, slot)| lost(slot)).map(|(key, _)| *key).collect();
            for sequence in lost {
                state.drop_batch(sequence, DropReason::SpoolFailed);
            }
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
