//! Which batches wait, where their points are, and what has become of the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::ingest::ranges::RangeSet;
use crate::wire::OutgoingBatch;

use super::checkpoint::Checkpoint;
use super::drops::{DropReason, Drops};
use super::settings::{Owner, SpoolSettings};

/// What the owner of a spool learns afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A batch was given up.
    Dropped {
        /// Its sequence.
        sequence: u64,
        /// Its points.
        points: u32,
        /// Why.
        reason: DropReason,
    },
    /// A split did not reach the storage, and certainly never will: the whole batch is there again.
    Unsplit {
        /// Its sequence.
        sequence: u64,
    },
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In memory; the journal has no room for it yet.
    Held,
    /// In memory; its record, or that of the split it comes from, waits for its commit.
    Pending,
    /// On stable storage.
    Stored,
    /// In memory alone, because the storage fails: handed out all the same, and lost with the process.
    Volatile,
    /// On stable storage; its halves wait for theirs. Where that failed, it waits itself until the record of the split can
    /// no longer be found after a crash: neither it nor they may be handed out before.
    Splitting,
}

/// A batch without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) kept: Kept,
    /// Where the record begins that has its points, if it is in the journal.
    pub(super) position: Option<u64>,
    /// The place of its first point in that record.
    pub(super) first: u32,
    pub(super) points: u32,
}

/// Everything that is known of the batches.
pub(super) struct State {
    pub(super) epoch: u64,
    pub(super) owner: Owner,
    pub(super) former_nodes: Vec<String>,
    /// The epoch is in a checkpoint or in a record. Until then nothing goes to the journal or comes from it.
    pub(super) epoch_durable: bool,
    pub(super) next: u64,
    /// The durable promise that no later life uses a lower sequence.
    pub(super) reserved: u64,
    /// The durable floor: see `Spool::oldest_unacknowledged`.
    pub(super) floor: u64,
    pub(super) slots: BTreeMap<u64, Slot>,
    /// Those of them whose record does not lie in the order of sequences: halves, which share that of a batch that is
    /// gone, and what was written at the second attempt.
    pub(super) displaced: BTreeSet<u64>,
    pub(super) points: u64,
    pub(super) answered: RangeSet,
    pub(super) drops: Drops,
    pub(super) told: Vec<Told>,
    /// Waiting for room in the journal, in order.
    pub(super) held: VecDeque<u64>,
    /// Batches whose commit failed after the last that did not: a crash may bring their records back.
    pub(super) uncertain: BTreeSet<u64>,
    /// Batches whose split failed after the last commit that did not: a crash may bring its record back.
    pub(super) failed_splits: Vec<u64>,
    /// A record is on its way that only has to be committed.
    pub(super) sealing: bool,
    /// The end of the last record whose outcome is in here.
    pub(super) applied: u64,
    /// Counts what the next checkpoint would say anew.
    pub(super) changes: u64,
    /// Batches and points handed out from memory alone, and why the last of them was.
    pub(super) unspooled: (u64, u64),
    pub(super) trouble: Option<String>,
    resident: HashMap<u64, OutgoingBatch>,
    /// Of these, the stored ones.
    cached: BTreeSet<u64>,
    cached_bytes: usize,
    unstored_bytes: usize,
    memory_bytes_max: usize,
}

impl State {
    pub(super) fn new(checkpoint: Checkpoint, settings: &SpoolSettings) -> Self {
        let Checkpoint { epoch, owner, former_nodes, reserved, floor, answered, drops } = checkpoint;
        Self {
            epoch,
            owner,
            former_nodes,
            epoch_durable: false,
            next: reserved.max(1),
            reserved,
            floor,
            slots: BTreeMap::new(),
            displaced: BTreeSet::new(),
            points: 0,
            answered,
            drops,
            told: Vec::new(),
            held: VecDeque::new(),
            uncertain: BTreeSet::new(),
            failed_splits: Vec::new(),
            sealing: false,
            applied: 0,
            changes: 0,
            unspooled: (0, 0),
            trouble: None,
            resident: HashMap::new(),
            cached: BTreeSet::new(),
            cached_bytes: 0,
            unstored_bytes: 0,
            memory_bytes_max: settings.memory_bytes_max,
        }
    }

    pub(super) fn insert(&mut self, sequence: u64, slot: Slot) {
        self.points += u64::from(slot.points);
        self.slots.insert(sequence, slot);
    }

    /// Takes a batch out, whatever the reason; None when it is gone already. It stays out once a checkpoint says so.
    pub(super) fn settle(&mut self, sequence: u64) -> Option<Slot> {
        let slot = self.remove(sequence)?;
        self.answered.insert(sequence);
        self.changes += 1;
        Some(slot)
    }

    /// Takes a batch out that others stand for from now on.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Slot> {
        let slot = self.slots.remove(&sequence)?;
        self.points -= u64::from(slot.points);
        self.displaced.remove(&sequence);
        self.uncertain.remove(&sequence);
        self.forget_resident(sequence);
        Some(slot)
    }

    /// Gives a batch up.
    pub(super) fn drop_batch(&mut self, sequence: u64, reason: DropReason) {
        if let Some(Slot { points, .. }) = self.settle(sequence) {
            self.drops.add(reason, 1, u64::from(points));
            self.told.push(Told::Dropped { sequence, points, reason });
        }
    }

    /// What could not be split is whole again.
    pub(super) fn unsplit(&mut self) {
        for sequence in std::mem::take(&mut self.failed_splits) {
            if let Some(slot) = self.slots.get_mut(&sequence) {
                slot.kept = Kept::Stored;
                self.told.push(Told::Unsplit { sequence });
            }
        }
    }

    /// Every lower sequence is answered or abandoned.
    pub(super) fn lowest(&self) -> u64 {
        self.slots.keys().next().map_or(self.next, |first| *first)
    }

    /// Where the oldest record begins that is still needed.
    pub(super) fn position(&self) -> u64 {
        let in_order = |(sequence, slot): (&u64, &Slot)| slot.position.filter(|_| !self.displaced.contains(sequence));
        let first = self.slots.iter().find_map(in_order);
        let displaced = self.displaced.iter().filter_map(|sequence| self.slots.get(sequence)?.position).min();
        first.into_iter().chain(displaced).min().unwrap_or(self.applied).min(self.applied)
    }

    // ---- memory

    /// Keeps a batch's points in memory until they are stored, and longer where there is room.
    pub(super) fn keep_resident(&mut self, sequence: u64, batch: OutgoingBatch) {
        self.unstored_bytes += batch.memory_bytes();
        self.resident.insert(sequence, batch);
        self.shrink_cache();
    }

    /// A resident batch is on stable storage now.
    pub(super) fn cache_resident(&mut self, sequence: u64) {
        if let Some(batch) = self.resident.get(&sequence)
            && self.cached.insert(sequence)
        {
            self.unstored_bytes -= batch.memory_bytes();
            self.cached_bytes += batch.memory_bytes();
        }
        self.shrink_cache();
    }

    pub(super) fn resident(&self, sequence: u64) -> Option<&OutgoingBatch> {
        self.resident.get(&sequence)
    }

    pub(super) fn forget_resident(&mut self, sequence: u64) {
        if let Some(batch) = self.resident.remove(&sequence) {
            let of = if self.cached.remove(&sequence) { &mut self.cached_bytes } else { &mut self.unstored_bytes };
            *of -= batch.memory_bytes();
        }
    }

    /// Whether so many more bytes fit into the memory for batches without a record.
    pub(super) fn has_memory(&self, bytes: usize) -> bool {
        self.unstored_bytes == 0 || self.unstored_bytes + bytes <= self.memory_bytes_max
    }

    /// The oldest batch that is in memory alone.
    pub(super) fn oldest_unstored(&self) -> Option<u64> {
        self.resident.keys().filter(|sequence| !self.cached.contains(sequence)).min().copied()
    }

    #[cfg(test)]
    pub(super) fn resident_counts(&self) -> (usize, usize) {
        (self.resident.len(), self.cached_bytes + self.unstored_bytes)
    }

    /// The newest stored batches are the next to be sent; older ones are read back when their turn comes.
    fn shrink_cache(&mut self) {
        while self.cached_bytes > self.memory_bytes_max.saturating_sub(self.unstored_bytes) / 2 {
            let Some(&oldest) = self.cached.first() else { return };
            self.forget_resident(oldest);
        }
    }
}
