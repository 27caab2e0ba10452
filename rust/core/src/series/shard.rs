//! One part of the registry, behind a lock of its own: a table of descriptors, searched by hash and decided by the key's
//! bytes, so two series are never taken for one whatever their hashes.
//!
//! Memory a series, beside its key: the shared descriptor (80 bytes), its place in the table (10 to 21).

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use super::descriptor::Descriptor;
use super::key::KeyRef;

/// Parts of a registry. With ten million series one has ten thousand, and whatever walks through a whole one under its
/// lock, as growing does, takes a millisecond or two.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;

/// All parts. Which one has a series, the first bits of its hash tell.
#[derive(Debug)]
pub(super) struct Shards(Box<[Line]>);

/// A line of the cache each: threads that use neighbours do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(Mutex<Shard>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Line::default()).collect())
    }
}

impl Shards {
    /// The part that has the series with this hash.
    #[inline]
    pub(super) fn of(&self, hash: u32) -> MutexGuard<'_, Shard> {
        self.at((hash >> (u32::BITS - SHARD_BITS)) as usize)
    }

    /// A part by its number.
    #[inline]
    pub(super) fn at(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.0[number].0.lock()
    }
}

/// One part.
#[derive(Debug, Default)]
pub(super) struct Shard(HashTable<Arc<Descriptor>>);

impl Shard {
    /// The descriptor of an active series.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: KeyRef<'_>) -> Option<&Arc<Descriptor>> {
        // The key's bytes are elsewhere in memory: only a series with the same hash is worth going there.
        let fits = |series: &Arc<Descriptor>| series.standing.hash() == hash && series.key.as_bytes() == key.as_bytes();
        self.0.find(place_hash(hash), fits)
    }

    /// Adds a series that is new.
    pub(super) fn insert(&mut self, series: Arc<Descriptor>) {
        self.0.insert_unique(place_hash(series.standing.hash()), series, |other| place_hash(other.standing.hash()));
    }

    /// Puts another descriptor of the same series in the place of the one it has.
    pub(super) fn exchange(&mut self, series: Arc<Descriptor>) {
        let fits = |other: &Arc<Descriptor>| other.key == series.key;
        if let Some(place) = self.0.find_mut(place_hash(series.standing.hash()), fits) {
            *place = series;
        }
    }

    /// Takes out the series that had no point since then.
    pub(super) fn expire(&mut self, idle_since_secs: u32) -> Vec<Arc<Descriptor>> {
        self.0.extract_if(|series| series.standing.expire(idle_since_secs)).collect()
    }

    /// Active series.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The active series and when each was last seen.
    pub(super) fn series(&self) -> Vec<(u32, Arc<Descriptor>)> {
        self.0.iter().map(|series| (series.standing.seen_secs(), Arc::clone(series))).collect()
    }
}

/// The hash that a table works with: its first bits, and so those that all series of a part have in common, are spread
/// over all.
#[inline]
fn place_hash(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
