//! Which series are active: the exact registry behind the cardinality limit.
//!
//! A table of slot numbers is searched by hash and decided by the key's bytes, so two series never share a slot whatever
//! their hashes. A slot's generation grows when its series expires: a [`Handle`] of the expired one fits no other.
//! Every operation but [`Registry::snapshot`] is bounded: expiry sweeps a given number of slots a call.
//!
//! Memory a series, beside its key: a slot (32 bytes), its number in the table (up to 12), the shared descriptor (64).

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::descriptor::{Descriptor, DescriptorRef, Meta};
use super::key::KeyRef;
use super::owners::{Owner, Owners, Source};
use super::varint;

/// Room made for series at the start, so that the table does not have to grow while batches wait. Pages that are not
/// used cost no memory.
const RESERVED_SERIES_MAX: usize = 1 << 20;
/// Distinct units that series share. Past it, a new unit is held by its series alone.
const SHARED_UNITS_MAX: usize = 4_096;

/// Names an active series for as long as it is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

impl Handle {
    /// Place of the series in tables of one entry a series; another series may have it later.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot
    }
}

/// A new series would be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardinalityLimit {
    /// For the whole collector.
    #[error("Cardinality limit exceeded")]
    Collector,
    /// For the identity that brings it.
    #[error("Cardinality limit exceeded: this identity has brought the {series_max} series of its quota")]
    Identity {
        /// What it may bring.
        series_max: usize,
    },
}

/// Bytes that are no snapshot of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the series of the checkpoint are damaged at byte {offset}")]
pub struct DamagedSnapshot {
    /// Where the first entry begins that cannot be read.
    pub offset: usize,
}

/// How keys are hashed. Tests force collisions with it.
pub trait KeyHasher {
    /// The hash of canonical bytes.
    fn hash(&self, key: &[u8]) -> u64;
}

/// XXH3 with a seed that peers cannot know, so that nobody can send keys that collide on purpose.
#[derive(Clone, Copy, Debug)]
pub struct SeededXxh3(u64);

impl Default for SeededXxh3 {
    fn default() -> Self {
        Self(std::hash::RandomState::new().build_hasher().finish())
    }
}

impl KeyHasher for SeededXxh3 {
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.0)
    }
}

/// The active series.
#[derive(Debug)]
pub struct Registry<H = SeededXxh3> {
    hasher: H,
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    units: HashSet<Arc<str>>,
    owners: Owners,
    max_cardinality: usize,
    sweep: usize,
    changed: u64,
    expired: u64,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    descriptor: Option<Arc<Descriptor>>,
    generation: u32,
    last_seen_secs: u32,
    owner: Owner,
}

impl Registry {
    /// An empty registry for at most `max_cardinality` series.
    #[must_use]
    pub fn new(max_cardinality: usize) -> Self {
        Self::with_hasher(max_cardinality, SeededXxh3::default())
    }
}

impl<H: KeyHasher> Registry<H> {
    /// An empty registry with another hash.
    #[must_use]
    pub fn with_hasher(max_cardinality: usize, hasher: H) -> Self {
        let max_cardinality = max_cardinality.min(u32::MAX as usize);
        let reserved = max_cardinality.min(RESERVED_SERIES_MAX);
        Self {
            hasher,
            table: HashTable::with_capacity(reserved),
            slots: Vec::with_capacity(reserved),
            free: Vec::new(),
            units: HashSet::new(),
            owners: Owners::default(),
            max_cardinality,
            sweep: 0,
            changed: 0,
            expired: 0,
        }
    }

    /// Active series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when no series is active.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The most series that may be active.
    #[must_use]
    pub fn max_cardinality(&self) -> usize {
        self.max_cardinality
    }

    /// Another limit from now on. Series that are active stay so, also above it.
    pub fn set_max_cardinality(&mut self, max_cardinality: usize) {
        self.max_cardinality = max_cardinality.min(u32::MAX as usize);
    }

    /// Times that a series came with another type, unit or temporality than before.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Series that have expired so far.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// The handle of an active series.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: KeyRef<'_>) -> Option<Handle> {
        self.find(self.hasher.hash(key.as_bytes()), key).map(|slot| self.handle(slot))
    }

    /// The handle of a series, which becomes active if it was not, with a point received at `now_secs` (since 1970).
    ///
    /// # Errors
    /// [`CardinalityLimit`] for a new series when as many as may be are active.
    #[inline]
    pub fn admit(&mut self, key: KeyRef<'_>, meta: Meta<'_>, source: Source<'_>) -> Result<Handle, CardinalityLimit> {
        let hash = self.hasher.hash(key.as_bytes());
        if let Some(slot) = self.find(hash, key) {
            self.visit(slot, meta, source);
            return Ok(self.handle(slot));
        }
        if self.len() >= self.max_cardinality {
            return Err(CardinalityLimit::Collector);
        }
        if self.owners.series(source.identity) >= source.series_max {
            return Err(CardinalityLimit::Identity { series_max: source.series_max });
        }
        let handle = self.insert(hash, DescriptorRef { key, meta }, seconds(source.now_secs));
        self.adopt(handle.slot, source.identity);
        Ok(handle)
    }

    /// Makes a series active that was admitted before a restart, whatever the limits say by now: known series go on. Of a
    /// checkpoint's series it is not known who brought them.
    pub fn readmit(&mut self, descriptor: DescriptorRef<'_>, identity: Option<&str>, last_seen_secs: u64) -> Handle {
        let hash = self.hasher.hash(descriptor.key.as_bytes());
        let handle = if let Some(slot) = self.find(hash, descriptor.key) {
            let seen = self.slots[slot as usize].last_seen_secs.max(seconds(last_seen_secs));
            self.note(slot, descriptor.meta, seen);
            self.handle(slot)
        } else {
            self.insert(hash, descriptor, seconds(last_seen_secs))
        };
        if let Some(identity) = identity
            && self.slots[handle.slot as usize].owner == Owner::NOBODY
        {
            self.adopt(handle.slot, identity);
        }
        handle
    }

    /// The same for a series that has just been made active and has not changed since.
    #[inline]
    pub(crate) fn readmit_known(&mut self, handle: Handle, last_seen_secs: u64) {
        if let Some(slot) = self.slots.get_mut(handle.slot as usize) {
            slot.last_seen_secs = slot.last_seen_secs.max(seconds(last_seen_secs));
        }
    }

    /// Notes that a series had a point; false when it has expired.
    #[inline]
    pub fn touch(&mut self, handle: Handle, source: Source<'_>) -> bool {
        match self.slots.get_mut(handle.slot as usize) {
            Some(slot) if slot.generation == handle.generation && slot.descriptor.is_some() => {
                slot.last_seen_secs = seconds(source.now_secs);
                if slot.owner == Owner::NOBODY {
                    self.adopt(handle.slot, source.identity);
                }
                true
            }
            _ => false,
        }
    }

    /// Notes another point of a series that was admitted before, as [`Registry::admit`] does; `None` when it has expired.
    #[inline]
    pub fn revisit(&mut self, handle: Handle, meta: Meta<'_>, source: Source<'_>) -> Option<&Arc<Descriptor>> {
        self.get(handle)?;
        self.visit(handle.slot, meta, source);
        self.get(handle)
    }

    /// The descriptor of a series with the type and unit seen last; `None` when it has expired.
    #[must_use]
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&Arc<Descriptor>> {
        let slot = self.slots.get(handle.slot as usize)?;
        if slot.generation == handle.generation { slot.descriptor.as_ref() } else { None }
    }

    /// Looks at the next `slots_max` slots, round and round, and forgets the series that had no point for `idle_secs`;
    /// returns how many.
    pub fn expire(&mut self, now_secs: u64, idle_secs: u64, slots_max: usize) -> usize {
        let mut expired = 0;
        for _ in 0..slots_max.min(self.slots.len()) {
            if self.sweep >= self.slots.len() {
                self.sweep = 0;
            }
            let slot = &self.slots[self.sweep];
            if slot.descriptor.is_some() && now_secs.saturating_sub(u64::from(slot.last_seen_secs)) >= idle_secs {
                self.remove(self.sweep as u32);
                expired += 1;
            }
            self.sweep += 1;
        }
        self.expired += expired as u64;
        expired
    }

    /// Appends the active series of at most `slots_max` slots from `first_slot` on, with the times they were last seen.
    /// Returns where to go on, or `None` at the end.
    ///
    /// A snapshot may be taken in steps while batches go on being admitted: whatever changes after the first step is
    /// also in the journal after the position that the checkpoint names.
    pub fn snapshot(&self, first_slot: usize, slots_max: usize, out: &mut Vec<u8>) -> Option<usize> {
        let end = first_slot.saturating_add(slots_max).min(self.slots.len());
        for slot in self.slots.get(first_slot..end).unwrap_or_default() {
            if let Some(descriptor) = &slot.descriptor {
                varint::write(out, u64::from(slot.last_seen_secs));
                descriptor.encode(out);
            }
        }
        (end < self.slots.len()).then_some(end)
    }

    /// Readmits the series of a snapshot; returns how many it held.
    ///
    /// # Errors
    /// [`DamagedSnapshot`]; what stood before the damage is active then.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<usize, DamagedSnapshot> {
        let mut rest = snapshot;
        let mut restored = 0;
        while !rest.is_empty() {
            let offset = snapshot.len() - rest.len();
            let seen = varint::read(&mut rest).ok_or(DamagedSnapshot { offset })?;
            let descriptor = DescriptorRef::decode(&mut rest).ok_or(DamagedSnapshot { offset })?;
            self.readmit(descriptor, None, seen);
            restored += 1;
        }
        Ok(restored)
    }

    #[inline]
    fn find(&self, hash: u64, key: KeyRef<'_>) -> Option<u32> {
        let fits = |&slot: &u32| {
            let slot = &self.slots[slot as usize];
            slot.hash == hash
                && slot.descriptor.as_ref().is_some_and(|descriptor| descriptor.key.as_bytes() == key.as_bytes())
        };
        self.table.find(hash, fits).copied()
    }

    #[inline]
    fn handle(&self, slot: u32) -> Handle {
        Handle { slot, generation: self.slots[slot as usize].generation }
    }

    /// Notes a point of a known series and who brought it.
    #[inline]
    fn visit(&mut self, slot: u32, meta: Meta<'_>, source: Source<'_>) {
        self.note(slot, meta, seconds(source.now_secs));
        if self.slots[slot as usize].owner == Owner::NOBODY {
            self.adopt(slot, source.identity);
        }
    }

    /// Counts a series as brought by this identity.
    #[cold]
    fn adopt(&mut self, slot: u32, identity: &str) {
        self.slots[slot as usize].owner = self.owners.take(identity);
    }

    /// Notes a point of a known series, and its type and unit where they have changed.
    #[inline]
    fn note(&mut self, slot: u32, meta: Meta<'_>, seen_secs: u32) {
        let known = &mut self.slots[slot as usize];
        known.last_seen_secs = seen_secs;
        if known.descriptor.as_ref().is_some_and(|descriptor| descriptor.meta() != meta) {
            self.change(slot, meta);
        }
    }

    #[cold]
    fn change(&mut self, slot: u32, meta: Meta<'_>) {
        let unit = self.unit(meta.unit);
        if let Some(descriptor) = &mut self.slots[slot as usize].descriptor {
            let key = descriptor.key.clone();
            *descriptor = Arc::new(Descriptor { key, metric_type: meta.metric_type, unit, delta: meta.delta });
            self.changed += 1;
        }
    }

    fn insert(&mut self, hash: u64, descriptor: DescriptorRef<'_>, seen_secs: u32) -> Handle {
        let unit = self.unit(descriptor.meta.unit);
        let descriptor = Some(Arc::new(descriptor.to_descriptor(unit)));
        let slot = if let Some(slot) = self.free.pop() {
            let reused = &mut self.slots[slot as usize];
            (reused.hash, reused.descriptor, reused.last_seen_secs) = (hash, descriptor, seen_secs);
            slot
        } else {
            self.slots.push(Slot { hash, descriptor, generation: 0, last_seen_secs: seen_secs, owner: Owner::NOBODY });
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.table.insert_unique(hash, slot, |&other| slots[other as usize].hash);
        self.handle(slot)
    }

    fn remove(&mut self, slot: u32) {
        let gone = &mut self.slots[slot as usize];
        gone.descriptor = None;
        self.owners.give_back(std::mem::replace(&mut gone.owner, Owner::NOBODY));
        if let Ok(entry) = self.table.find_entry(gone.hash, |&other| other == slot) {
            entry.remove();
        }
        // A slot whose generations are used up stays empty for ever, rather than let an ancient handle fit again.
        if let Some(next) = gone.generation.checked_add(1) {
            gone.generation = next;
            self.free.push(slot);
        }
    }

    fn unit(&mut self, unit: &str) -> Arc<str> {
        if let Some(shared) = self.units.get(unit) {
            return Arc::clone(shared);
        }
        let new: Arc<str> = unit.into();
        if self.units.len() < SHARED_UNITS_MAX {
            self.units.insert(Arc::clone(&new));
        }
        new
    }
}

/// Seconds since 1970 as they are kept: good until 2106.
#[inline]
fn seconds(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
