//! One part of the registry, behind a lock of its own: a table of descriptors, searched by hash and decided by the key's
//! bytes, so two series are never taken for one whatever their hashes.
//!
//! Memory a series, beside its key: the shared descriptor (80 bytes), its place in the table (16 to 24). The hash stands
//! there too, so that a table that grows need not go to each of its descriptors.

use std::array::from_fn;
use std::hint::black_box;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::descriptor::Descriptor;
use super::key::KeyRef;
use super::table::Table;

/// Parts of a registry. With ten million series one has ten thousand, and whatever walks through a whole one under its
/// lock, as growing does, takes a millisecond or two.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;

/// Series that are looked for together, at most: more than a processor can wait for at once, and few enough that what
/// was fetched is still near when it is used, and that parts are not kept from others for long.
pub(super) const TOGETHER: usize = 32;

/// All parts. Which one has a series, the first bits of its hash tell.
#[derive(Debug)]
pub(super) struct Shards(Box<[Line]>);

/// A line of the cache each: threads that use neighbours do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(RwLock<Shard>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Line::default()).collect())
    }
}

impl Shards {
    /// The part that has the series with this hash, to change it.
    #[inline]
    pub(super) fn of(&self, hash: u32) -> RwLockWriteGuard<'_, Shard> {
        self.at(shard_of(hash))
    }

    /// A part by its number, to change it.
    #[inline]
    pub(super) fn at(&self, number: usize) -> RwLockWriteGuard<'_, Shard> {
        self.0[number].0.write()
    }

    /// The part that has the series with this hash, to read it.
    #[inline]
    pub(super) fn read(&self, hash: u32) -> RwLockReadGuard<'_, Shard> {
        self.read_at(shard_of(hash))
    }

    /// A part by its number, to read it.
    #[inline]
    pub(super) fn read_at(&self, number: usize) -> RwLockReadGuard<'_, Shard> {
        self.0[number].0.read()
    }

    /// Appends the descriptors of [`TOGETHER`] series at most. A series counts as not found, too, while its part is being
    /// changed: nobody waits here, because several parts are held at once.
    ///
    /// In a large registry nearly all time goes into waiting for memory: a table's line, then the descriptor found there,
    /// then its key. So this asks for the first of all series, then for the second of all, and the waiting
    /// for one is that for many. Between two questions nothing may be locked, not even a count: that ends all waiting
    /// before it begins.
    pub(super) fn find_together(&self, wanted: &[(u32, KeyRef<'_>)], found: &mut Vec<Option<Arc<Descriptor>>>) {
        let parts: [_; TOGETHER] = from_fn(|index| {
            let (hash, _) = wanted.get(index)?;
            self.0[shard_of(*hash)].0.try_read_recursive()
        });
        let mut fetched = 0;
        for (part, (hash, _)) in parts.iter().zip(wanted) {
            fetched ^= part.as_ref().map_or(0, |part| part.fetch(*hash));
        }
        let series: [_; TOGETHER] = from_fn(|index| parts[index].as_ref()?.first_with(wanted[index].0));
        let keys: [&[u8]; TOGETHER] = from_fn(|index| match series[index] {
            // A descriptor's other end: it takes two lines of the cache.
            Some(series) => {
                fetched ^= series.standing.seen_secs();
                series.key.as_bytes()
            }
            None => &[],
        });
        for key in &keys {
            if let [first, .., last] = key {
                fetched ^= u32::from(*first) ^ u32::from(key[key.len() / 2]) ^ u32::from(*last);
            }
        }
        black_box(fetched);
        found.extend(wanted.iter().enumerate().map(|(index, (_, key))| {
            // No key is empty.
            if keys[index] == key.as_bytes() { series[index].cloned() } else { None }
        }));
    }
}

#[inline]
fn shard_of(hash: u32) -> usize {
    (hash >> (u32::BITS - SHARD_BITS)) as usize
}

/// One part.
#[derive(Debug, Default)]
pub(super) struct Shard(Table<Arc<Descriptor>>);

impl Shard {
    /// The descriptor of an active series.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: KeyRef<'_>) -> Option<&Arc<Descriptor>> {
        self.0.find(place_hash(hash), |series| series.key.as_bytes() == key.as_bytes())
    }

    /// The descriptor of a series with this hash, if there is one.
    #[inline]
    fn first_with(&self, hash: u32) -> Option<&Arc<Descriptor>> {
        self.0.find(place_hash(hash), |_| true)
    }

    /// Reads where the series with this hash would stand.
    #[inline]
    fn fetch(&self, hash: u32) -> u32 {
        self.0.fetch(place_hash(hash))
    }

    /// Adds a series that is new.
    pub(super) fn insert(&mut self, hash: u32, series: Arc<Descriptor>) {
        self.0.insert(place_hash(hash), series);
    }

    /// Puts another descriptor of the same series in the place of the one it has.
    pub(super) fn exchange(&mut self, hash: u32, series: Arc<Descriptor>) {
        if let Some(place) = self.0.find_mut(place_hash(hash), |other| other.key == series.key) {
            *place = series;
        }
    }

    /// Takes out the series that had no point since then.
    pub(super) fn expire(&mut self, idle_since_secs: u32) -> Vec<Arc<Descriptor>> {
        self.0.extract(|series| series.standing.expire(idle_since_secs))
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

/// The hash that a table works with: the bits that all series of a part have in common are the last.
#[inline]
fn place_hash(hash: u32) -> u32 {
    hash.rotate_left(SHARD_BITS)
}
