//! What is known of one identity's epochs, in as little memory as its state allows.
//!
//! Nearly every agent has one epoch, in which everything up to some sequence is stored and nothing is on its way: five
//! numbers. While something is pending, stored with gaps or known of another epoch, the same is kept in full; it is
//! folded again as soon as five numbers say it all.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::ranges::RangeSet;
use crate::limits::{EPOCHS_PER_IDENTITY_MAX, RANGES_PER_EPOCH_MAX};

/// What is known of a name; `T` is the ticket of a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// Not seen: it may be stored.
    New,
    /// Stored before, or below the agent's oldest unacknowledged sequence.
    Stored,
    /// A copy is waiting for this commit.
    Pending(T),
    /// Its agent has taken it back: it is not stored, and must not be.
    Withdrawn,
    /// Keeping it would need one range, epoch or identity more than is kept: try later.
    NoRoom,
}

/// The epochs of an identity, at least one. Their numbers are never 0, which names no epoch.
#[derive(Debug)]
pub(super) enum Epochs<T> {
    AtRest(AtRest),
    Unfolded(Vec<(NonZeroU64, Epoch<T>)>),
}

/// One epoch whose stored names are one range, with nothing pending. In an empty range `first` is above `last`.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtRest {
    number: NonZeroU64,
    floor: u64,
    first: u64,
    last: u64,
    last_use: u64,
}

// Dedup memory is less than 100 bytes an agent at rest: this, its text, and at most 20 in the table of identities.
const _: () = assert!(size_of::<Epochs<Box<[u8]>>>() == 40, "an agent at rest is five numbers");

/// One epoch in full.
#[derive(Debug)]
pub(super) struct Epoch<T> {
    pub(super) floor: u64,
    /// Stored or on its way: what duplicates are judged by.
    pub(super) closed: RangeSet,
    /// The same without batches that had no points.
    pub(super) durable: RangeSet,
    pub(super) pending: BTreeMap<u64, T>,
    /// Names that were taken back before they were stored.
    withdrawn: RangeSet,
    last_use: u64,
}

/// An epoch as a checkpoint keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableEpoch<'a> {
    /// Whose it is.
    pub identity: &'a [u8],
    /// Its number.
    pub number: u64,
    /// Every lower sequence is answered or abandoned.
    pub floor: u64,
    /// Sequences stored.
    pub stored: RangeSet,
}

impl<T> Epochs<T> {
    /// A first epoch, of which nothing is stored.
    pub(super) fn new(number: NonZeroU64, last_use: u64) -> Self {
        Self::AtRest(AtRest { number, floor: 0, first: 1, last: 0, last_use })
    }

    /// Makes the epoch the one used last, first of all making room for it where it is new. False when every other one
    /// has a commit under way: such an epoch is in use, however long ago its last batch came. `forgotten` counts those
    /// that went.
    pub(super) fn touch(&mut self, number: NonZeroU64, last_use: u64, forgotten: &mut u64) -> bool {
        match self {
            Self::AtRest(known) if known.number == number => known.last_use = last_use,
            _ => return self.touch_unfolded(number, last_use, forgotten),
        }
        true
    }

    fn touch_unfolded(&mut self, number: NonZeroU64, last_use: u64, forgotten: &mut u64) -> bool {
        let epochs = self.unfold();
        if let Some((_, epoch)) = epochs.iter_mut().find(|(known, _)| *known == number) {
            epoch.last_use = last_use;
            return true;
        }
        if epochs.len() >= EPOCHS_PER_IDENTITY_MAX {
            let idle = epochs.iter().enumerate().filter(|(_, (_, epoch))| epoch.pending.is_empty());
            let Some((oldest, _)) = idle.min_by_key(|(_, (_, epoch))| epoch.last_use) else { return false };
            epochs.swap_remove(oldest);
            *forgotten += 1;
        }
        epochs.push((number, Epoch { last_use, ..Epoch::default() }));
        true
    }

    /// Judges a name of a known epoch, after its floor.
    pub(super) fn judge(&mut self, number: NonZeroU64, sequence: u64, floor: u64) -> Verdict<T>
    where
        T: Clone,
    {
        match self {
            Self::AtRest(known) if known.number == number => known.judge(sequence, floor),
            // What raises the floor may leave so little that it can be folded.
            _ => self.change(number, |epoch| epoch.judge(sequence, floor)).unwrap_or(Verdict::NoRoom),
        }
    }

    /// Changes a known epoch; `None` where it is not known.
    pub(super) fn change<R>(&mut self, number: NonZeroU64, change: impl FnOnce(&mut Epoch<T>) -> R) -> Option<R> {
        let (_, epoch) = self.unfold().iter_mut().find(|(known, _)| *known == number)?;
        let changed = change(epoch);
        self.fold();
        Some(changed)
    }

    /// Number and last use of each epoch.
    pub(super) fn uses(&self) -> impl Iterator<Item = (NonZeroU64, u64)> {
        let (at_rest, unfolded) = match self {
            Self::AtRest(epoch) => (Some((epoch.number, epoch.last_use)), &[][..]),
            Self::Unfolded(epochs) => (None, &epochs[..]),
        };
        at_rest.into_iter().chain(unfolded.iter().map(|(number, epoch)| (*number, epoch.last_use)))
    }

    /// A known epoch as a checkpoint keeps it: without what is pending.
    pub(super) fn durable<'a>(&self, identity: &'a [u8], number: NonZeroU64) -> Option<DurableEpoch<'a>> {
        let (floor, stored) = match self {
            Self::AtRest(epoch) => (epoch.floor, RangeSet::of(epoch.first, epoch.last)),
            Self::Unfolded(epochs) => {
                let (_, epoch) = epochs.iter().find(|(known, _)| *known == number)?;
                let mut stored = epoch.durable.clone();
                epoch.pending.keys().for_each(|&sequence| stored.remove(sequence));
                (epoch.floor, stored)
            }
        };
        Some(DurableEpoch { identity, number: number.get(), floor, stored })
    }

    fn unfold(&mut self) -> &mut Vec<(NonZeroU64, Epoch<T>)> {
        if let Self::AtRest(known) = *self {
            *self = Self::Unfolded(vec![(known.number, known.unfolded())]);
        }
        match self {
            Self::Unfolded(epochs) => epochs,
            Self::AtRest(_) => unreachable!("it was unfolded"),
        }
    }

    fn fold(&mut self) {
        if let Self::Unfolded(epochs) = self
            && let [(number, epoch)] = &epochs[..]
            && let Some(at_rest) = epoch.at_rest(*number)
        {
            *self = Self::AtRest(at_rest);
        }
    }
}

impl AtRest {
    #[inline]
    fn judge<T>(&mut self, sequence: u64, floor: u64) -> Verdict<T> {
        if floor > self.floor {
            self.floor = floor;
            // Where nothing is left, `first` is above `last` now.
            self.first = self.first.max(floor);
        }
        let stored = sequence < self.floor || (self.first..=self.last).contains(&sequence);
        if stored { Verdict::Stored } else { Verdict::New }
    }

    fn unfolded<T>(&self) -> Epoch<T> {
        let stored = RangeSet::of(self.first, self.last);
        Epoch {
            floor: self.floor,
            closed: stored.clone(),
            durable: stored,
            last_use: self.last_use,
            ..Epoch::default()
        }
    }
}

impl<T> Default for Epoch<T> {
    fn default() -> Self {
        Self {
            floor: 0,
            closed: RangeSet::default(),
            durable: RangeSet::default(),
            pending: BTreeMap::new(),
            withdrawn: RangeSet::default(),
            last_use: 0,
        }
    }
}

impl<T> Epoch<T> {
    fn judge(&mut self, sequence: u64, floor: u64) -> Verdict<T>
    where
        T: Clone,
    {
        self.raise_floor(floor);
        match self.decided(sequence) {
            Some(verdict) => verdict,
            None if self.has_room(sequence) => Verdict::New,
            None => Verdict::NoRoom,
        }
    }

    /// Takes a name back, if that is not too late. `certain` says that what is not stored now cannot turn out to be.
    pub(super) fn withdraw(&mut self, sequence: u64, floor: u64, certain: bool) -> Verdict<T>
    where
        T: Clone,
    {
        self.raise_floor(floor);
        if let Some(decided) = self.decided(sequence) {
            return decided;
        }
        // The oldest has room whatever the others take: its agent could settle none of them before it.
        let fits = self.withdrawn.ranges() < RANGES_PER_EPOCH_MAX || !self.withdrawn.would_grow(sequence);
        if !(certain && (fits || sequence == self.floor)) {
            return Verdict::NoRoom;
        }
        self.withdrawn.insert(sequence);
        Verdict::Withdrawn
    }

    fn decided(&self, sequence: u64) -> Option<Verdict<T>>
    where
        T: Clone,
    {
        if sequence < self.floor {
            return Some(Verdict::Stored);
        }
        if let Some(ticket) = self.pending.get(&sequence) {
            return Some(Verdict::Pending(ticket.clone()));
        }
        if self.closed.contains(sequence) {
            return Some(Verdict::Stored);
        }
        self.withdrawn.contains(sequence).then_some(Verdict::Withdrawn)
    }

    pub(super) fn has_room(&self, sequence: u64) -> bool {
        let fits = |set: &RangeSet| set.ranges() < RANGES_PER_EPOCH_MAX || !set.would_grow(sequence);
        fits(&self.closed) && fits(&self.durable)
    }

    pub(super) fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.closed.forget_below(floor);
            self.durable.forget_below(floor);
            self.withdrawn.forget_below(floor);
        }
    }

    /// The same in five numbers, where they say it all.
    fn at_rest(&self, number: NonZeroU64) -> Option<AtRest> {
        if !self.pending.is_empty()
            || self.closed.ranges() > 1
            || self.closed != self.durable
            || self.withdrawn.ranges() > 0
        {
            return None;
        }
        let (first, last) = self.closed.iter().next().unwrap_or((1, 0));
        Some(AtRest { number, floor: self.floor, first, last, last_use: self.last_use })
    }
}
