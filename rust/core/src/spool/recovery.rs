//! Opening a spool: from a checkpoint and the records behind it to the batches that still wait, and whose they are.

use std::collections::{BTreeMap, HashMap};

use crate::journal::{Position, Record, Recovery, Replay};

use super::checkpoint::Checkpoint;
use super::drops::{DropReason, Drops};
use super::record::{self, Event, Head, RecordError};
use super::settings::{Owner, SpoolSettings};
use super::state::{Kept, Slot, State};

/// Sequences that a life may use without a record of each: they are handed out while the storage fails.
pub(super) const RESERVED: u64 = 1 << 20;
/// A later time is none: it would leave too few sequences.
const STARTED_UNIX_US_MAX: u64 = 1 << 62;
/// Names of this machine that are remembered.
const FORMER_NODES_MAX: usize = 16;
/// A record takes 40 bytes at least, and uses two sequences at most.
const BYTES_PER_SEQUENCE: u64 = 16;

/// Why a spool got a new epoch when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is a new one.
    Fresh,
    /// The machine-id differs: what it held is the other machine's to send, and was given up here.
    AnotherMachine,
    /// The certificate's identity differs: what it held is sent under new names.
    AnotherIdentity,
}

/// What opening a spool found.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Why the epoch is a new one.
    pub renewal: Option<Renewal>,
    /// What had been given up before. What opening itself gives up is told like the rest.
    pub drops: Drops,
    /// Batches that still waited.
    pub batches: u64,
    /// Their points.
    pub points: u64,
    /// Records that another program wrote: left out.
    pub undecodable: u64,
    /// What the journal found.
    pub journal: Recovery,
}

/// Takes what the journal hands over.
#[derive(Default)]
pub(super) struct Replaying {
    checkpoint: Option<Checkpoint>,
    slots: BTreeMap<u64, Slot>,
    /// Batches that are settled: their halves may not be.
    settled: HashMap<u64, Slot>,
    displaced: Vec<u64>,
    last: u64,
    epoch: Option<u64>,
    undecodable: u64,
}

impl Replaying {
    fn place(&mut self, sequence: u64, slot: Slot) {
        let settled = self.checkpoint.as_ref().is_some_and(|known| {
            // A later sequence than the checkpoint knew of is never below its floor, nor among its answers.
            sequence < known.floor || known.answered.contains(sequence)
        });
        if settled {
            self.settled.insert(sequence, slot);
        } else {
            self.slots.insert(sequence, slot);
        }
        if sequence < self.last {
            self.displaced.push(sequence);
        }
        self.last = self.last.max(sequence);
    }

    fn split(&mut self, sequence: u64, first: u64) {
        let whole = self.slots.remove(&sequence).or_else(|| self.settled.get(&sequence).copied());
        // Without the whole its halves are lost as well; damage has been reported by the journal then.
        let Some(whole) = whole else { return };
        let middle = whole.points / 2;
        for (sequence, first, points) in
            [(first, whole.first, middle), (first + 1, whole.first + middle, whole.points - middle)]
        {
            self.displaced.push(sequence);
            self.place(sequence, Slot { first, points, ..whole });
        }
    }

    /// The state to go on with, and why its epoch is a new one.
    pub(super) fn finish(self, settings: &SpoolSettings, journal: Recovery, new_epoch: u64) -> (State, Opening) {
        let known = self.checkpoint.is_some();
        let fresh = !known && self.epoch.is_none();
        let mut checkpoint = self.checkpoint.unwrap_or_else(|| Checkpoint {
            epoch: self.epoch.unwrap_or(new_epoch),
            owner: settings.owner.clone(),
            ..Checkpoint::default()
        });
        let renewal = if fresh { Some(Renewal::Fresh) } else { checkpoint.renew(&settings.owner, new_epoch) };
        let reserved = checkpoint.reserved;
        let mut state = State::new(checkpoint, settings);
        state.next = state.next.max(self.last + 1);
        if !fresh {
            // The disk may have been put back to an earlier state, and names used since that nothing here knows of. No life
            // uses a million a second, so they are all below the time.
            state.next = state.next.max(settings.started_unix_us.min(STARTED_UNIX_US_MAX));
        }
        if !journal.damaged_files.is_empty() || journal.damaged_bytes > 0 || (!known && !fresh) {
            // The newest checkpoint may be lost, and records that tell of the last sequences too.
            let span = journal.end.get() - journal.checkpoint.map_or(0, Position::get);
            state.next += RESERVED + span / BYTES_PER_SEQUENCE;
        }
        // A new epoch that is not durable is gone after a crash: whatever its sequences, nobody uses them again.
        state.epoch_durable = renewal.is_none();
        state.reserved = if renewal.is_some() { u64::MAX >> 1 } else { reserved };
        state.applied = journal.end.get();
        state.changes = 1;
        for (sequence, slot) in self.slots {
            state.insert(sequence, slot);
        }
        state.displaced = self.displaced.into_iter().filter(|sequence| state.slots.contains_key(sequence)).collect();
        let opening = Opening {
            renewal,
            drops: state.drops.clone(),
            batches: state.slots.len() as u64,
            points: state.points,
            undecodable: self.undecodable,
            journal,
        };
        if renewal == Some(Renewal::AnotherMachine) {
            let sequences: Vec<_> = state.slots.keys().copied().collect();
            for sequence in sequences {
                state.drop_batch(sequence, DropReason::AnotherMachine);
            }
        }
        (state, opening)
    }
}

impl Checkpoint {
    /// Takes a new epoch if the spool has come to another machine or identity. What is unknown does not differ.
    fn renew(&mut self, owner: &Owner, new_epoch: u64) -> Option<Renewal> {
        let differs = |before: &str, now: &str| !before.is_empty() && !now.is_empty() && before != now;
        let renewal = if differs(&self.owner.machine_id, &owner.machine_id) {
            self.drops = Drops::default(); // they are the other machine's
            self.former_nodes.clear();
            Some(Renewal::AnotherMachine)
        } else if differs(&self.owner.identity, &owner.identity) {
            self.former_nodes.retain(|node| *node != self.owner.node);
            self.former_nodes.push(self.owner.node.clone());
            let over = self.former_nodes.len().saturating_sub(FORMER_NODES_MAX);
            self.former_nodes.drain(..over);
            Some(Renewal::AnotherIdentity)
        } else {
            None
        };
        if renewal.is_some() {
            self.epoch = new_epoch;
        }
        let known = |now: &String, before: &String| if now.is_empty() { before.clone() } else { now.clone() };
        self.owner = Owner {
            machine_id: known(&owner.machine_id, &self.owner.machine_id),
            identity: known(&owner.identity, &self.owner.identity),
            node: known(&owner.node, &self.owner.node),
        };
        renewal
    }
}

impl Replay for Replaying {
    fn checkpoint(&mut self, _position: Position, payload: &[u8]) -> Result<(), String> {
        self.checkpoint = Some(Checkpoint::decode(payload)?);
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        let head = match record::head(record.payload) {
            Ok((head, _)) => head,
            Err(error @ RecordError::UnknownVersion(_)) => return Err(error.to_string()),
            Err(RecordError::Damaged(_)) => {
                self.undecodable += 1;
                return Ok(());
            }
        };
        let Head { epoch, sequence, event } = head;
        self.epoch = Some(epoch);
        match event {
            Event::Batch { points } => {
                let slot = Slot { kept: Kept::Stored, position: Some(record.start.get()), first: 0, points };
                self.place(sequence, slot);
            }
            Event::Split { first } => self.split(sequence, first),
        }
        Ok(())
    }
}
