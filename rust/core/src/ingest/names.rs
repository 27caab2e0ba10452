//! Which batches are stored: the memory behind "each name once".
//!
//! A name is (identity, epoch, sequence). For each epoch the sequences that are closed (stored, or on their way to the
//! disk) stand in two sets of ranges: `closed` is what duplicates are judged by, `durable` leaves out batches without
//! points, of which nothing may outlive a restart. A sequence enters both when its record is appended; if the commit
//! fails it leaves them again. What a checkpoint takes is `durable` without the sequences that are still pending.
//!
//! Nothing is ever guessed to be a duplicate: a batch that would need one range more than the bound waits (the agent is
//! told to retry) until the agent's `oldest_unacknowledged` makes room.

use std::collections::HashMap;
use std::sync::Arc;


use super::ranges::RangeSet;
use crate::limits::{EPOCHS_PER_IDENTITY_MAX, RANGES_PER_EPOCH_MAX};

/// Identities whose names are kept. More than any certificate authority of a fleet issues; over it, batches of unknown
/// identities wait.
const IDENTITIES_MAX: usize = 1_000_000;

/// What is known of a name; `T` is the ticket of a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// Not seen: it may be stored.
    New,
    /// Stored before, or below the agent's oldest unacknowledged sequence.
    Stored,
    /// A copy is waiting for this commit.
    Pending(T),
    /// Keeping it would need one range, epoch or identity more than is kept: try later.
    NoRoom,
}

/// Names of all identities.
#[derive(Debug)]
pub struct Names<T> {
    identities: HashMap<Arc<str>, HashMap<u64, Epoch<T>>>,
    /// Counts uses, for the least recently used epoch.
    uses: u64,
    epochs_forgotten: u64,
}

#[derive(Debug)]
struct Epoch<T> {
    floor: u64,
    closed: RangeSet,
    durable: RangeSet,
    pending: HashMap<u64, T>,
    last_use: u64,
}

impl<T> Default for Epoch<T> {
    fn default() -> Self {
        Self {
            floor: 0,
            closed: RangeSet::default(),
            durable: RangeSet::default(),
            pending: HashMap::new(),
            last_use: 0,
        }
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { identities: HashMap::new(), uses: 0, epochs_forgotten: 0 }
    }
}

impl<T: Clone> Names<T> {
    /// Judges a batch that is not malformed. Its `oldest_unacknowledged` counts first, whatever becomes of the batch.
    /// Epoch 0 has no names: always new.
    pub fn judge(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64, oldest_unacknowledged: u64) -> Verdict<T> {
        if epoch == 0 {
            return Verdict::New;
        }
        let Some(epoch) = self.epoch(identity, epoch) else { return Verdict::NoRoom };
        epoch.raise_floor(oldest_unacknowledged);
        if sequence < epoch.floor {
            return Verdict::Stored;
        }
        if let Some(ticket) = epoch.pending.get(&sequence) {
            return Verdict::Pending(ticket.clone());
        }
        if epoch.closed.contains(sequence) {
            return Verdict::Stored;
        }
        let full = |set: &RangeSet| set.ranges() >= RANGES_PER_EPOCH_MAX && set.would_grow(sequence);
        if full(&epoch.closed) || full(&epoch.durable) { Verdict::NoRoom } else { Verdict::New }
    }

    /// Closes the name of a batch whose record was just appended, until its commit is known.
    pub fn reserve(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64, ticket: T) {
        if let Some(epoch) = self.existing(identity, epoch) {
            epoch.closed.insert(sequence);
            epoch.durable.insert(sequence);
            epoch.pending.insert(sequence, ticket);
        }
    }

    /// Closes the name of a batch without points, for as long as this process lives.
    pub fn close_empty(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64) {
        if let Some(epoch) = self.existing(identity, epoch) {
            epoch.closed.insert(sequence);
        }
    }

    /// The record of a reserved name is on stable storage.
    pub fn committed(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64) {
        if let Some(epoch) = self.existing(identity, epoch) {
            epoch.pending.remove(&sequence);
        }
    }

    /// The record of a reserved name did not reach stable storage: the name is open again.
    pub fn failed(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64) {
        if let Some(epoch) = self.existing(identity, epoch)
            && epoch.pending.remove(&sequence).is_some()
        {
            epoch.closed.remove(sequence);
            epoch.durable.remove(sequence);
        }
    }

    /// Takes a name from a journal record that is replayed.
    pub fn replay(&mut self, identity: &Arc<str>, epoch: u64, sequence: u64, oldest_unacknowledged: u64) {
        if epoch == 0 {
            return;
        }
        if let Some(epoch) = self.epoch(identity, epoch) {
            epoch.raise_floor(oldest_unacknowledged);
            if sequence >= epoch.floor {
                epoch.closed.insert(sequence);
                epoch.durable.insert(sequence);
            }
        }
    }

    /// What a checkpoint keeps: each epoch's identity, number, floor and stored ranges, least recently used first.
    #[must_use]
    pub fn durable(&self) -> Vec<(Arc<str>, u64, u64, RangeSet)> {
        let mut epochs: Vec<_> =
            self.identities.iter().flat_map(|(identity, epochs)| epochs.iter().map(move |e| (identity, e))).collect();
        epochs.sort_by_key(|(_, (_, epoch))| epoch.last_use);
        epochs
            .into_iter()
            .map(|(identity, (&number, epoch))| {
                let mut stored = epoch.durable.clone();
                epoch.pending.keys().for_each(|&sequence| stored.remove(sequence));
                (Arc::clone(identity), number, epoch.floor, stored)
            })
            .collect()
    }

    /// Takes one element of [`Names::durable`] back.
    pub fn restore(&mut self, identity: &Arc<str>, epoch: u64, floor: u64, stored: &RangeSet) {
        if let Some(epoch) = self.epoch(identity, epoch) {
            epoch.floor = epoch.floor.max(floor);
            for (first, last) in stored.iter() {
                epoch.closed.insert_range(first, last);
                epoch.durable.insert_range(first, last);
            }
        }
    }

    /// Epochs that were forgotten because their identity opened newer ones.
    #[must_use]
    pub fn epochs_forgotten(&self) -> u64 {
        self.epochs_forgotten
    }

    fn existing(&mut self, identity: &Arc<str>, epoch: u64) -> Option<&mut Epoch<T>> {
        self.identities.get_mut(identity)?.get_mut(&epoch)
    }

    /// The epoch, made where it is new; `None` when there is no room for it.
    fn epoch(&mut self, identity: &Arc<str>, number: u64) -> Option<&mut Epoch<T>> {
        self.uses += 1;
        if !self.identities.contains_key(identity) {
            if self.identities.len() >= IDENTITIES_MAX {
                return None;
            }
            self.identities.insert(Arc::clone(identity), HashMap::new());
        }
        let epochs = self.identities.get_mut(identity)?;
        if !epochs.contains_key(&number) && epochs.len() >= EPOCHS_PER_IDENTITY_MAX {
            // An epoch with a commit under way is in use, however long ago its last batch came.
            let oldest = epochs.iter().filter(|(_, epoch)| epoch.pending.is_empty()).min_by_key(|(_, e)| e.last_use);
            let oldest = *oldest?.0;
            epochs.remove(&oldest);
            self.epochs_forgotten += 1;
        }
        let epoch = epochs.entry(number).or_default();
        epoch.last_use = self.uses;
        Some(epoch)
    }
}

impl<T> Epoch<T> {
    fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.closed.forget_below(floor);
            self.durable.forget_below(floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (Names<u32>, Arc<str>) {
        (Names::default(), Arc::from("node-1"))
    }

    fn store(names: &mut Names<u32>, who: &Arc<str>, epoch: u64, sequence: u64) {
        assert_eq!(names.judge(who, epoch, sequence, 0), Verdict::New);
        names.reserve(who, epoch, sequence, 0);
        names.committed(who, epoch, sequence);
    }

    #[test]
    fn a_stored_name_is_a_duplicate_and_another_epoch_or_identity_is_not() {
        let (mut names, who) = names();
        store(&mut names, &who, 7, 3);
        assert_eq!(names.judge(&who, 7, 3, 0), Verdict::Stored);
        assert_eq!(names.judge(&who, 8, 3, 0), Verdict::New);
        assert_eq!(names.judge(&Arc::from("node-2"), 7, 3, 0), Verdict::New);
    }

    #[test]
    fn epoch_zero_is_never_a_duplicate() {
        let (mut names, who) = names();
        names.reserve(&who, 0, 5, 0);
        assert_eq!(names.judge(&who, 0, 5, 0), Verdict::New);
    }

    #[test]
    fn a_copy_of_a_pending_batch_gets_its_ticket_and_a_failed_commit_opens_the_name() {
        let (mut names, who) = names();
        names.judge(&who, 7, 1, 0);
        names.reserve(&who, 7, 1, 42);
        assert_eq!(names.judge(&who, 7, 1, 0), Verdict::Pending(42));
        names.failed(&who, 7, 1);
        assert_eq!(names.judge(&who, 7, 1, 0), Verdict::New);
    }

    #[test]
    fn everything_below_the_oldest_unacknowledged_is_a_duplicate() {
        let (mut names, who) = names();
        store(&mut names, &who, 7, 1);
        assert_eq!(names.judge(&who, 7, 20, 10), Verdict::New);
        assert_eq!(names.judge(&who, 7, 9, 0), Verdict::Stored);
        assert_eq!(names.judge(&who, 7, 10, 0), Verdict::New);
    }

    #[test]
    fn one_range_too_many_waits_until_the_agent_makes_room() {
        let (mut names, who) = names();
        for place in 0..RANGES_PER_EPOCH_MAX as u64 {
            store(&mut names, &who, 7, 2 * place + 1);
        }
        let next = 2 * RANGES_PER_EPOCH_MAX as u64 + 1;
        assert_eq!(names.judge(&who, 7, next, 0), Verdict::NoRoom);
        assert_eq!(names.judge(&who, 7, 2, 0), Verdict::New, "a batch that closes a gap needs no range");
        assert_eq!(names.judge(&who, 7, next, 5), Verdict::New);
    }

    #[test]
    fn the_least_recently_used_epoch_is_forgotten_and_counted() {
        let (mut names, who) = names();
        for epoch in 1..=EPOCHS_PER_IDENTITY_MAX as u64 {
            store(&mut names, &who, epoch, 1);
        }
        assert_eq!(names.judge(&who, 1, 1, 0), Verdict::Stored);
        store(&mut names, &who, 99, 1);
        assert_eq!(names.epochs_forgotten(), 1);
        assert_eq!(names.judge(&who, 1, 1, 0), Verdict::Stored, "it was used later than epoch 2");
        assert_eq!(names.judge(&who, 2, 1, 0), Verdict::New);
    }

    #[test]
    fn a_checkpoint_keeps_what_is_stored_and_nothing_pending_or_empty() {
        let (mut names, who) = names();
        store(&mut names, &who, 7, 1);
        names.judge(&who, 7, 2, 0);
        names.close_empty(&who, 7, 2);
        names.judge(&who, 7, 3, 0);
        names.reserve(&who, 7, 3, 0);
        let mut restored = Names::<u32>::default();
        for (identity, epoch, floor, stored) in names.durable() {
            restored.restore(&identity, epoch, floor, &stored);
        }
        assert_eq!(restored.judge(&who, 7, 1, 0), Verdict::Stored);
        assert_eq!(restored.judge(&who, 7, 2, 0), Verdict::New);
        assert_eq!(restored.judge(&who, 7, 3, 0), Verdict::New);
        assert_eq!(names.judge(&who, 7, 2, 0), Verdict::Stored);
    }
}
