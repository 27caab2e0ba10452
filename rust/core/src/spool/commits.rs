//! What becomes of records: told by the journal's committer, on its thread.

use parking_lot::Mutex;

use crate::journal::{Appended, CommitSink};

use super::state::{Kept, State};

/// What a record in the journal is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Batch(u64),
    Split {
        sequence: u64,
        first: u64,
    },
    /// Nothing: it is there to be committed.
    Seal,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
}

impl State {
    /// Lets a batch go without a record, if its sequence cannot be used again after a crash.
    pub(super) fn release(&mut self, sequence: u64) -> bool {
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
        // The segment ends in front of what failed: nothing of it is there to be found.
        state.uncertain.clear();
        state.unsplit();
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
                Entry::Seal => state.sealing = false,
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
                    state.failed_splits.push(sequence);
                }
                Entry::Seal => {
                    state.sealing = false;
                }
            }
        }
        drop(state);
        (self.wake)();
    }
}
