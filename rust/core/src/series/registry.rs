//! Which series are active: the exact registry behind the cardinality limit, for many threads at once.
//!
//! A series is its shared [`Descriptor`], which a shard's table finds by the key and which holds where the series stands.
//! Whoever remembers a descriptor needs no table: [`Registry::touch`] is a look at the descriptor itself, without a lock.
//! Shards are locked one at a time, and inside of one, the owners where a series comes or goes.
//!
//! Every operation is bounded by the size of one shard, but for [`Registry::expire`] and [`Registry::restore`], which go
//! from one to the next and hold no lock for long.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::descriptor::{Descriptor, DescriptorRef, Meta};
use super::key::KeyRef;
use super::owners::{Owner, Owners, Source};
use super::shard::{SHARDS, Shard, Shards, TOGETHER};
use super::standing::{Standing, Touched, seconds};
use super::varint;

/// Distinct units that series share. Past it, a new unit is held by its series alone.
const SHARED_UNITS_MAX: usize = 4_096;

/// The number of the next descriptor of any registry.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

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
    shards: Shards,
    owners: Mutex<Owners>,
    units: RwLock<HashSet<Arc<str>>>,
    /// The shard that expiry looks at next.
    sweep: Mutex<usize>,
    changed: AtomicU64,
    expired: AtomicU64,
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
        Self {
            hasher,
            shards: Shards::default(),
            owners: Mutex::new(Owners::new(max_cardinality)),
            units: RwLock::default(),
            sweep: Mutex::default(),
            changed: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// Active series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.lock().active()
    }

    /// True when no series is active.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most series that may be active.
    #[must_use]
    pub fn max_cardinality(&self) -> usize {
        self.owners.lock().max_cardinality
    }

    /// Another limit from now on. Series that are active stay so, also above it.
    pub fn set_max_cardinality(&self, max_cardinality: usize) {
        self.owners.lock().max_cardinality = max_cardinality;
    }

    /// Times that a series came with another type, unit or temporality than before.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changed.load(Relaxed)
    }

    /// Series that have expired so far.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// The descriptor of an active series with the type and unit seen last.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: KeyRef<'_>) -> Option<Arc<Descriptor>> {
        let hash = self.hash(key);
        self.shards.read(hash).find(hash, key).cloned()
    }

    /// The descriptor of a series, which becomes active if it was not, with a point of this type and unit.
    ///
    /// # Errors
    /// [`CardinalityLimit`] for a new series when as many as may be are active.
    #[inline]
    pub fn admit(
        &self,
        key: KeyRef<'_>,
        meta: Meta<'_>,
        source: Source<'_>,
    ) -> Result<Arc<Descriptor>, CardinalityLimit> {
        let hash = self.hash(key);
        let mut shard = self.shards.of(hash);
        if let Some(known) = shard.find(hash, key) {
            let mut series = Arc::clone(known);
            series.standing.touch(seconds(source.now_secs));
            if series.meta() != meta {
                series = self.change(&mut shard, hash, &series, meta);
            }
            self.adopt(&series, source.identity);
            return Ok(series);
        }
        let owner = self.owners.lock().bring(source)?;
        Ok(self.insert(&mut shard, hash, DescriptorRef { key, meta }, seconds(source.now_secs), owner))
    }

    /// What [`Registry::lookup`] finds for each of these keys, in their order and in the place of what was in `found`:
    /// several times as quick where there are more series than the cache of the processor holds. A series of which another
    /// thread changes the shard at this moment counts as not found, so what comes of this goes to
    /// [`Registry::admit_found`].
    pub fn lookup_together<'k>(
        &self,
        keys: impl IntoIterator<Item = KeyRef<'k>>,
        found: &mut Vec<Option<Arc<Descriptor>>>,
    ) {
        found.clear();
        let mut wanted = Vec::with_capacity(TOGETHER);
        for key in keys {
            wanted.push((self.hash(key), key));
            if wanted.len() == TOGETHER {
                self.shards.find_together(&wanted, found);
                wanted.clear();
            }
        }
        if !wanted.is_empty() {
            self.shards.find_together(&wanted, found);
        }
    }

    /// What [`Registry::admit`] does, with what [`Registry::lookup_together`] has found for the key, whatever has become
    /// of that since.
    ///
    /// # Errors
    /// [`CardinalityLimit`] for a new series when as many as may be are active.
    #[inline]
    pub fn admit_found(
        &self,
        found: Option<Arc<Descriptor>>,
        key: KeyRef<'_>,
        meta: Meta<'_>,
        source: Source<'_>,
    ) -> Result<Arc<Descriptor>, CardinalityLimit> {
        match found {
            Some(series) if series.meta() == meta && self.touch(&series, source) && series.is_current() => Ok(series),
            _ => self.admit(key, meta, source),
        }
    }

    /// Looks at series that are about to be touched, so that memory is waited for once for all of them instead of once for
    /// each: where a series' standing is, a touch goes at once.
    pub fn approach(&self, series: &[Arc<Descriptor>]) {
        let seen_secs = series.iter().fold(0, |all, series| all ^ series.standing.seen_secs());
        std::hint::black_box(seen_secs);
    }

    /// Makes a series active that was admitted before a restart, whatever the limits say by now: known series go on. Of a
    /// checkpoint's series it is not known who brought them.
    pub fn readmit(
        &self,
        descriptor: DescriptorRef<'_>,
        identity: Option<&str>,
        last_seen_secs: u64,
    ) -> Arc<Descriptor> {
        let hash = self.hash(descriptor.key);
        let mut shard = self.shards.of(hash);
        let series = if let Some(known) = shard.find(hash, descriptor.key) {
            let known = Arc::clone(known);
            known.readmit(last_seen_secs);
            if known.meta() == descriptor.meta { known } else { self.change(&mut shard, hash, &known, descriptor.meta) }
        } else {
            self.owners.lock().readmit();
            self.insert(&mut shard, hash, descriptor, seconds(last_seen_secs), Owner::NOBODY)
        };
        if let Some(identity) = identity {
            self.adopt(&series, identity);
        }
        series
    }

    /// Notes that a series had a point; false when it has expired. A descriptor whose series has changed its type or unit
    /// since goes on standing for it.
    #[inline]
    pub fn touch(&self, series: &Descriptor, source: Source<'_>) -> bool {
        match series.standing.touch(seconds(source.now_secs)) {
            Touched::Active => {
                if series.standing.owner() == Owner::NOBODY {
                    self.adopt_locking(series, source);
                }
                true
            }
            Touched::Replaced => self.adopt_locking(series, source),
            Touched::Expired => false,
        }
    }

    /// Goes on, shard by shard and round and round, until it has looked at `series_max` series or all, and forgets those
    /// that had no point for `idle_secs`; returns how many. It ends with a whole shard.
    pub fn expire(&self, now_secs: u64, idle_secs: u64, series_max: usize) -> usize {
        let Some(idle_since) = now_secs.checked_sub(idle_secs) else { return 0 };
        let mut sweep = self.sweep.lock();
        let (mut looked, mut expired) = (0, 0);
        for _ in 0..SHARDS {
            if looked >= series_max {
                break;
            }
            let mut shard = self.shards.at(*sweep);
            looked += shard.len();
            let gone = shard.expire(seconds(idle_since));
            if !gone.is_empty() {
                let mut owners = self.owners.lock();
                for series in &gone {
                    owners.give_back(series.standing.owner());
                }
            }
            drop(shard);
            expired += gone.len();
            *sweep = (*sweep + 1) % SHARDS;
        }
        self.expired.fetch_add(expired as u64, Relaxed);
        expired
    }

    /// Appends the active series of a shard with the times they were last seen. Returns the next shard, or `None` at the
    /// end; the first is 0.
    ///
    /// A snapshot may be taken in steps while batches go on being admitted: whatever changes after the first step is
    /// also in the journal after the position that the checkpoint names. The shard is locked while pointers to its series
    /// are copied, not while they are written.
    pub fn snapshot(&self, shard: usize, out: &mut Vec<u8>) -> Option<usize> {
        let series = self.shards.read_at(shard).series();
        for (seen_secs, descriptor) in series {
            varint::write(out, u64::from(seen_secs));
            descriptor.encode(out);
        }
        (shard + 1 < SHARDS).then_some(shard + 1)
    }

    /// Readmits the series of a snapshot; returns how many it held.
    ///
    /// # Errors
    /// [`DamagedSnapshot`]; what stood before the damage is active then.
    pub fn restore(&self, snapshot: &[u8]) -> Result<usize, DamagedSnapshot> {
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

    /// Half of the bits of a key's hash, which depend on all.
    #[inline]
    fn hash(&self, key: KeyRef<'_>) -> u32 {
        let hash = self.hasher.hash(key.as_bytes());
        (hash ^ hash >> 32) as u32
    }

    /// Counts a series that nobody brought since the restart as this identity's. Under the shard's lock.
    #[inline]
    fn adopt(&self, series: &Descriptor, identity: &str) {
        if series.standing.owner() == Owner::NOBODY {
            series.standing.set_owner(self.owners.lock().adopt(identity));
        }
    }

    /// Notes a point of the series that a descriptor stands for or stood for, and who brought it; false when it has
    /// expired.
    #[cold]
    fn adopt_locking(&self, series: &Descriptor, source: Source<'_>) -> bool {
        let hash = self.hash(series.key.borrowed());
        let shard = self.shards.of(hash);
        let Some(current) = shard.find(hash, series.key.borrowed()) else { return false };
        current.standing.touch(seconds(source.now_secs));
        self.adopt(current, source.identity);
        true
    }

    /// Another type or unit of an active series from now on.
    #[cold]
    fn change(&self, shard: &mut Shard, hash: u32, known: &Descriptor, meta: Meta<'_>) -> Arc<Descriptor> {
        let unit = self.unit(meta.unit);
        let seen_secs = known.standing.seen_secs();
        let standing = Standing::active(next_number(), seen_secs, known.standing.replace());
        let key = known.key.clone();
        let series = Arc::new(Descriptor { key, metric_type: meta.metric_type, unit, delta: meta.delta, standing });
        shard.exchange(hash, Arc::clone(&series));
        self.changed.fetch_add(1, Relaxed);
        series
    }

    fn insert(
        &self,
        shard: &mut Shard,
        hash: u32,
        descriptor: DescriptorRef<'_>,
        seen_secs: u32,
        owner: Owner,
    ) -> Arc<Descriptor> {
        let mut series = descriptor.to_descriptor(self.unit(descriptor.meta.unit));
        series.standing = Standing::active(next_number(), seen_secs, owner);
        let series = Arc::new(series);
        shard.insert(hash, Arc::clone(&series));
        series
    }

    fn unit(&self, unit: &str) -> Arc<str> {
        if let Some(shared) = self.units.read().get(unit) {
            return Arc::clone(shared);
        }
        let mut units = self.units.write();
        if let Some(shared) = units.get(unit) {
            return Arc::clone(shared);
        }
        let new: Arc<str> = unit.into();
        if units.len() < SHARED_UNITS_MAX {
            units.insert(Arc::clone(&new));
        }
        new
    }
}

fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Relaxed)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
