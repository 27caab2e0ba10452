//! Which batches are stored: the memory behind "each name once".
//!
//! A name is (identity, epoch, sequence). For each epoch the sequences that are closed (stored, or on their way to the
//! disk) stand in two sets of ranges: `closed` is what duplicates are judged by, `durable` leaves out batches without
//! points, of which nothing may outlive a restart. A sequence enters both when its record is appended; if the commit
//! fails it leaves them again. What a checkpoint takes is `durable` without the sequences that are still pending.
//!
//! A name that its agent takes back before it is stored stays so for as long as this process lives, or until the agent has
//! settled it: a copy of its batch that comes late, on a connection that the agent has given up, is not stored. Connections
//! end with the process, so no checkpoint need say it.
//!
//! Nothing is ever guessed to be a duplicate: a batch that would need one range more than the bound waits (the agent is
//! told to retry) until the agent's `oldest_unacknowledged` makes room.

use std::num::NonZeroU64;

pub use super::epochs::{DurableEpoch, Verdict};
use super::epochs::{Epoch, Epochs};
use super::identities::Identities;
use super::ranges::RangeSet;

/// Identities whose names are kept. More than any certificate authority of a fleet issues; over it, batches of unknown
/// identities wait.
const IDENTITIES_MAX: usize = 1_000_000;

/// Names of all identities.
#[derive(Debug)]
pub struct Names<T> {
    identities: Identities<Epochs<T>>,
    /// Counts uses, for the least recently used epoch.
    uses: u64,
    epochs_forgotten: u64,
    /// A commit has failed since the last that did not: what it was to store may be found after a crash.
    uncertain: bool,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { identities: Identities::default(), uses: 0, epochs_forgotten: 0, uncertain: false }
    }
}

impl<T: Clone> Names<T> {
    /// Judges a batch that is not malformed. Its `oldest_unacknowledged` counts first, whatever becomes of the batch.
    /// Epoch 0 has no names: always new.
    pub fn judge(&mut self, identity: &str, epoch: u64, sequence: u64, oldest_unacknowledged: u64) -> Verdict<T> {
        let Some(epoch) = NonZeroU64::new(epoch) else { return Verdict::New };
        match self.touched(identity, epoch) {
            Some(epochs) => epochs.judge(epoch, sequence, oldest_unacknowledged),
            None => Verdict::NoRoom,
        }
    }

    /// Takes a name back: from now on it is [`Verdict::Withdrawn`], unless it is stored or on its way, which is told
    /// instead. [`Verdict::NoRoom`] where that cannot be promised now.
    pub fn withdraw(&mut self, identity: &str, epoch: u64, sequence: u64, oldest_unacknowledged: u64) -> Verdict<T> {
        let certain = !self.uncertain;
        let mut verdict = Verdict::NoRoom;
        self.touch_and_change(identity, epoch, |epoch| {
            verdict = epoch.withdraw(sequence, oldest_unacknowledged, certain);
        });
        verdict
    }

    /// Closes the name of a batch whose record was just appended, until its commit is known.
    pub fn reserve(&mut self, identity: &str, epoch: u64, sequence: u64, ticket: T) {
        self.change(identity, epoch, |epoch| {
            epoch.closed.insert(sequence);
            epoch.durable.insert(sequence);
            epoch.pending.insert(sequence, ticket);
        });
    }

    /// Closes the name of a batch without points, for as long as this process lives.
    pub fn close_empty(&mut self, identity: &str, epoch: u64, sequence: u64) {
        self.change(identity, epoch, |epoch| {
            // Another stream may have taken the room since the batch was judged; a name of no points is not worth more.
            if epoch.has_room(sequence) {
                epoch.closed.insert(sequence);
            }
        });
    }

    /// The record of a reserved name is on stable storage.
    pub fn committed(&mut self, identity: &str, epoch: u64, sequence: u64) {
        self.uncertain = false; // the segment ends in front of what failed
        self.change(identity, epoch, |epoch| epoch.pending.remove(&sequence));
    }

    /// The record of a reserved name did not reach stable storage: the name is open again.
    pub fn failed(&mut self, identity: &str, epoch: u64, sequence: u64) {
        self.uncertain = true;
        self.change(identity, epoch, |epoch| {
            if epoch.pending.remove(&sequence).is_some() {
                epoch.closed.remove(sequence);
                epoch.durable.remove(sequence);
            }
        });
    }

    /// Takes a name from a journal record that is replayed.
    pub fn replay(&mut self, identity: &str, epoch: u64, sequence: u64, oldest_unacknowledged: u64) {
        self.touch_and_change(identity, epoch, |epoch| {
            epoch.raise_floor(oldest_unacknowledged);
            if sequence >= epoch.floor {
                epoch.closed.insert(sequence);
                epoch.durable.insert(sequence);
            }
        });
    }

    /// What a checkpoint keeps: each epoch's identity, number, floor and stored ranges, least recently used first.
    ///
    /// # Panics
    /// Never: what is listed is looked up again before anything can change.
    #[must_use]
    pub fn durable(&self) -> impl ExactSizeIterator<Item = DurableEpoch<'_>> {
        let all = self.identities.iter();
        let mut order: Vec<_> = all
            .flat_map(|(identity, epochs)| {
                epochs.uses().map(move |(number, last_use)| (last_use, number, identity, epochs))
            })
            .collect();
        order.sort_unstable_by_key(|(last_use, ..)| *last_use);
        order.into_iter().map(|(_, number, identity, epochs)| {
            epochs.durable(identity, number).expect("an epoch that was listed is known")
        })
    }

    /// Takes one element of [`Names::durable`] back.
    pub fn restore(&mut self, identity: &str, epoch: u64, floor: u64, stored: &RangeSet) {
        self.touch_and_change(identity, epoch, |epoch| {
            epoch.floor = epoch.floor.max(floor);
            for (first, last) in stored.iter() {
                epoch.closed.insert_range(first, last);
                epoch.durable.insert_range(first, last);
            }
        });
    }

    /// Epochs that were forgotten because their identity opened newer ones.
    #[must_use]
    pub fn epochs_forgotten(&self) -> u64 {
        self.epochs_forgotten
    }

    /// Changes an epoch where it is known.
    fn change<R>(&mut self, identity: &str, epoch: u64, change: impl FnOnce(&mut Epoch<T>) -> R) {
        if let Some(epoch) = NonZeroU64::new(epoch)
            && let Some(number) = self.identities.find(identity)
        {
            self.identities.at(number).change(epoch, change);
        }
    }

    /// Changes an epoch, which is made where it is new and there is room for it.
    fn touch_and_change(&mut self, identity: &str, epoch: u64, change: impl FnOnce(&mut Epoch<T>)) {
        if let Some(epoch) = NonZeroU64::new(epoch)
            && let Some(epochs) = self.touched(identity, epoch)
        {
            epochs.change(epoch, change);
        }
    }

    /// The epochs of an identity with this one among them, used last; `None` when there is no room for it.
    fn touched(&mut self, identity: &str, epoch: NonZeroU64) -> Option<&mut Epochs<T>> {
        self.uses += 1;
        let number = match self.identities.find(identity) {
            Some(number) => number,
            None if self.identities.len() >= IDENTITIES_MAX => return None,
            None => self.identities.insert(identity, Epochs::new(epoch, self.uses)),
        };
        let epochs = self.identities.at(number);
        epochs.touch(epoch, self.uses, &mut self.epochs_forgotten).then_some(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{EPOCHS_PER_IDENTITY_MAX, RANGES_PER_EPOCH_MAX};

    fn names() -> (Names<u32>, &'static str) {
        (Names::default(), "node-1")
    }

    fn store(names: &mut Names<u32>, who: &str, epoch: u64, sequence: u64) {
        assert_eq!(names.judge(who, epoch, sequence, 0), Verdict::New);
        names.reserve(who, epoch, sequence, 0);
        names.committed(who, epoch, sequence);
    }

    #[test]
    fn a_stored_name_is_a_duplicate_and_another_epoch_or_identity_is_not() {
        let (mut names, who) = names();
        store(&mut names, who, 7, 3);
        assert_eq!(names.judge(who, 7, 3, 0), Verdict::Stored);
        assert_eq!(names.judge(who, 8, 3, 0), Verdict::New);
        assert_eq!(names.judge("node-2", 7, 3, 0), Verdict::New);
    }

    #[test]
    fn epoch_zero_is_never_a_duplicate() {
        let (mut names, who) = names();
        names.reserve(who, 0, 5, 0);
        assert_eq!(names.judge(who, 0, 5, 0), Verdict::New);
    }

    #[test]
    fn a_copy_of_a_pending_batch_gets_its_ticket_and_a_failed_commit_opens_the_name() {
        let (mut names, who) = names();
        names.judge(who, 7, 1, 0);
        names.reserve(who, 7, 1, 42);
        assert_eq!(names.judge(who, 7, 1, 0), Verdict::Pending(42));
        names.failed(who, 7, 1);
        assert_eq!(names.judge(who, 7, 1, 0), Verdict::New);
    }

    #[test]
    fn a_name_that_was_taken_back_is_stored_no_more_until_its_agent_has_settled_it() {
        let (mut names, who) = names();
        assert_eq!(names.withdraw(who, 7, 5, 3), Verdict::Withdrawn);
        assert_eq!(names.judge(who, 7, 5, 3), Verdict::Withdrawn, "it came late");
        assert_eq!(names.withdraw(who, 7, 5, 3), Verdict::Withdrawn, "and may be asked about again");
        assert_eq!(names.judge(who, 8, 5, 3), Verdict::New, "another epoch's");
        names.judge(who, 7, 4, 0);
        names.reserve(who, 7, 4, 42);
        assert_eq!(names.withdraw(who, 7, 4, 3), Verdict::Pending(42));
        names.committed(who, 7, 4);
        assert_eq!(names.withdraw(who, 7, 4, 3), Verdict::Stored);
        assert_eq!(names.judge(who, 7, 6, 6), Verdict::New);
        assert_eq!(names.judge(who, 7, 5, 0), Verdict::Stored, "forgotten with everything below");
    }

    #[test]
    fn nothing_is_promised_while_a_record_that_failed_may_come_back() {
        let (mut names, who) = names();
        names.judge(who, 7, 1, 0);
        names.reserve(who, 7, 1, 42);
        names.failed(who, 7, 1);
        assert_eq!(names.withdraw(who, 7, 1, 0), Verdict::NoRoom);
        store(&mut names, "node-2", 9, 1);
        assert_eq!(names.withdraw(who, 7, 1, 0), Verdict::Withdrawn);
    }

    #[test]
    fn names_that_were_taken_back_are_bounded_and_the_oldest_always_can_be() {
        let (mut names, who) = names();
        for place in 1..=RANGES_PER_EPOCH_MAX as u64 {
            assert_eq!(names.withdraw(who, 7, 2 * place + 2, 2), Verdict::Withdrawn);
        }
        let next = 2 * RANGES_PER_EPOCH_MAX as u64 + 4;
        assert_eq!(names.withdraw(who, 7, next, 2), Verdict::NoRoom);
        assert_eq!(names.judge(who, 7, next, 2), Verdict::New, "it may be sent");
        assert_eq!(names.withdraw(who, 7, 2, 2), Verdict::Withdrawn);
        assert_eq!(names.withdraw(who, 7, next, 5), Verdict::Withdrawn);
    }

    #[test]
    fn everything_below_the_oldest_unacknowledged_is_a_duplicate() {
        let (mut names, who) = names();
        store(&mut names, who, 7, 1);
        assert_eq!(names.judge(who, 7, 20, 10), Verdict::New);
        assert_eq!(names.judge(who, 7, 9, 0), Verdict::Stored);
        assert_eq!(names.judge(who, 7, 10, 0), Verdict::New);
    }

    #[test]
    fn one_range_too_many_waits_until_the_agent_makes_room() {
        let (mut names, who) = names();
        for place in 0..RANGES_PER_EPOCH_MAX as u64 {
            store(&mut names, who, 7, 2 * place + 1);
        }
        let next = 2 * RANGES_PER_EPOCH_MAX as u64 + 1;
        assert_eq!(names.judge(who, 7, next, 0), Verdict::NoRoom);
        assert_eq!(names.judge(who, 7, 2, 0), Verdict::New, "a batch that closes a gap needs no range");
        assert_eq!(names.judge(who, 7, next, 5), Verdict::New);
    }

    #[test]
    fn empty_batches_take_no_more_ranges_than_others() {
        let (mut names, who) = names();
        for place in 0..=RANGES_PER_EPOCH_MAX as u64 {
            names.judge(who, 7, 2 * place + 1, 0);
            names.close_empty(who, 7, 2 * place + 1);
        }
        let last = 2 * RANGES_PER_EPOCH_MAX as u64 + 1;
        assert_eq!(names.judge(who, 7, last, 0), Verdict::NoRoom);
        assert_eq!(names.judge(who, 7, last - 2, 0), Verdict::Stored);
        assert_eq!(names.judge(who, 7, last, 3), Verdict::New);
    }

    #[test]
    fn the_least_recently_used_epoch_is_forgotten_and_counted() {
        let (mut names, who) = names();
        for epoch in 1..=EPOCHS_PER_IDENTITY_MAX as u64 {
            store(&mut names, who, epoch, 1);
        }
        assert_eq!(names.judge(who, 1, 1, 0), Verdict::Stored);
        store(&mut names, who, 99, 1);
        assert_eq!(names.epochs_forgotten(), 1);
        assert_eq!(names.judge(who, 1, 1, 0), Verdict::Stored, "it was used later than epoch 2");
        assert_eq!(names.judge(who, 2, 1, 0), Verdict::New);
    }

    #[test]
    fn a_checkpoint_keeps_what_is_stored_and_nothing_pending_or_empty() {
        let (mut names, who) = names();
        store(&mut names, who, 7, 1);
        names.judge(who, 7, 2, 0);
        names.close_empty(who, 7, 2);
        names.judge(who, 7, 3, 0);
        names.reserve(who, 7, 3, 0);
        let mut restored = Names::<u32>::default();
        for epoch in names.durable() {
            assert_eq!(epoch.identity, who.as_bytes());
            restored.restore(who, epoch.number, epoch.floor, &epoch.stored);
        }
        assert_eq!(restored.judge(who, 7, 1, 0), Verdict::Stored);
        assert_eq!(restored.judge(who, 7, 2, 0), Verdict::New);
        assert_eq!(restored.judge(who, 7, 3, 0), Verdict::New);
        assert_eq!(names.judge(who, 7, 2, 0), Verdict::Stored);
    }
}

#[cfg(test)]
#[path = "names_model.rs"]
mod model;
