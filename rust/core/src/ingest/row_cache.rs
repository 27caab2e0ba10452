//! Rows whose name and tags came before in the same bytes: judging, sorting and merging them once is enough.
//!
//! A row's bytes name its series only together with the common tags of its batch and the node of its peer, so those are
//! numbered, and a number is part of what must be equal. Everything is compared byte by byte; the hash only finds. Two
//! generations bound the memory. Where rows hardly ever come again (more series than fit, or ever new ones), the cache
//! costs more than it saves: it watches how often it helps, and rests when that is seldom.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::columns::Generations;
use crate::series::Descriptor;

/// Bytes of each of the two generations.
const GENERATION_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Memory of an entry besides its bytes.
const ENTRY_BYTES: usize = 64;
/// Lists of common tags that are numbered, and their bytes; over either, everything is forgotten.
const COMMONS_MAX: usize = 16_384;
const COMMONS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After so many rows it is judged whether the cache helps.
const TRIAL_ROWS: u32 = 65_536;
/// So many rows go by without it when it did not help half of them.
const REST_ROWS: u32 = 1_048_576;

/// The cache of one judging thread.
pub(super) struct RowCache {
    commons: HashMap<Box<[u8]>, u32>,
    commons_bytes: usize,
    /// The number of the common tags of the batch at hand.
    common: u32,
    entries: Generations<Known>,
    seed: u64,
    asked: u32,
    found: u32,
    resting: u32,
}

struct Known {
    common: u32,
    row: Box<[u8]>,
    series: Arc<Descriptor>,
}

/// What is known of a row: its series, or where to keep it.
pub(super) enum Lookup<'a> {
    /// The series that these bytes named the last time.
    Known(&'a Arc<Descriptor>),
    /// Unknown; to be given to [`RowCache::keep`].
    Unknown(u64),
    /// The cache rests.
    Resting,
}

impl Default for RowCache {
    fn default() -> Self {
        Self {
            commons: HashMap::new(),
            commons_bytes: 0,
            common: 0,
            entries: Generations::new(GENERATION_BYTES_MAX),
            // Peers cannot know it, so nobody can send rows that collide on purpose.
            seed: std::hash::RandomState::new().build_hasher().finish(),
            asked: 0,
            found: 0,
            resting: 0,
        }
    }
}

impl RowCache {
    /// Begins a batch with these common tags and node, as canonical bytes.
    pub(super) fn begin(&mut self, common: &[u8]) {
        if let Some(&number) = self.commons.get(common) {
            self.common = number;
            return;
        }
        if self.commons.len() >= COMMONS_MAX || self.commons_bytes + common.len() > COMMONS_BYTES_MAX {
            self.commons.clear();
            self.commons_bytes = 0;
            self.entries = Generations::new(GENERATION_BYTES_MAX);
        }
        self.commons_bytes += common.len();
        self.common = self.commons.len() as u32;
        self.commons.insert(common.into(), self.common);
    }

    /// Looks for the bytes of a row's name and tags. A series that has expired or changed its type or unit since was never
    /// seen.
    #[inline]
    pub(super) fn find(&mut self, row: &[u8]) -> Lookup<'_> {
        if self.resting > 0 {
            self.resting -= 1;
            return Lookup::Resting;
        }
        if self.asked >= TRIAL_ROWS {
            if self.found < TRIAL_ROWS / 2 {
                self.resting = REST_ROWS;
            }
            (self.asked, self.found) = (0, 0);
        }
        self.asked += 1;
        let hash = xxh3_64_with_seed(row, self.seed ^ u64::from(self.common));
        let common = self.common;
        let fits = |known: &Known| known.common == common && *known.row == *row && known.series.is_current();
        match self.entries.find(hash, fits) {
            Some(known) => {
                self.found += 1;
                Lookup::Known(&known.series)
            }
            None => Lookup::Unknown(hash),
        }
    }

    /// Whether the cache rests for so many rows, which then have gone by.
    pub(super) fn rests_for(&mut self, rows: usize) -> bool {
        let rests = self.resting as usize >= rows;
        if rests {
            self.resting -= rows as u32;
        }
        rests
    }

    /// Rests from now on, or works.
    #[cfg(test)]
    pub(super) fn set_resting(&mut self, resting: bool) {
        self.resting = if resting { REST_ROWS } else { 0 };
    }

    /// Keeps the series of a row that was found valid.
    pub(super) fn keep(&mut self, hash: u64, row: &[u8], series: &Arc<Descriptor>) {
        let known = Known { common: self.common, row: row.into(), series: Arc::clone(series) };
        self.entries.insert(hash, row.len() + ENTRY_BYTES, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::descriptor::Meta;
    use crate::series::{KeyRef, MetricType, Registry, Source};

    fn admit(registry: &Registry, name: &[u8]) -> Arc<Descriptor> {
        let meta = Meta { metric_type: MetricType::Gauge, unit: "", delta: false };
        let key = [&[name.len() as u8], name].concat();
        let key = KeyRef::from_canonical(&key).expect("a name is a key");
        registry
            .admit(key, meta, Source { identity: "node-1", series_max: usize::MAX, now_secs: 0 })
            .expect("there is room")
    }

    fn two() -> (Arc<Descriptor>, Arc<Descriptor>) {
        let registry = Registry::new(10);
        (admit(&registry, b"a"), admit(&registry, b"b"))
    }

    fn found(cache: &mut RowCache, row: &[u8]) -> Option<Arc<Descriptor>> {
        match cache.find(row) {
            Lookup::Known(series) => Some(Arc::clone(series)),
            Lookup::Unknown(_) | Lookup::Resting => None,
        }
    }

    fn keep(cache: &mut RowCache, row: &[u8], series: &Arc<Descriptor>) {
        let Lookup::Unknown(hash) = cache.find(row) else { panic!("the row was not kept yet") };
        cache.keep(hash, row, series);
    }

    #[test]
    fn equal_rows_under_other_common_tags_are_other_rows() {
        let (first, second) = two();
        let mut cache = RowCache::default();
        cache.begin(b"node-1");
        keep(&mut cache, b"row", &first);
        cache.begin(b"node-2");
        assert_eq!(found(&mut cache, b"row"), None);
        keep(&mut cache, b"row", &second);
        assert_eq!(found(&mut cache, b"row"), Some(second));
        cache.begin(b"node-1");
        assert_eq!(found(&mut cache, b"row"), Some(first));
    }

    #[test]
    fn a_series_that_expired_is_forgotten_and_can_be_kept_anew() {
        let registry = Registry::new(10);
        let mut cache = RowCache::default();
        cache.begin(b"");
        keep(&mut cache, b"row", &admit(&registry, b"a"));
        assert_eq!(registry.expire(100, 10, usize::MAX), 1);
        let new = admit(&registry, b"a");
        keep(&mut cache, b"row", &new);
        assert!(found(&mut cache, b"row").is_some_and(|series| Arc::ptr_eq(&series, &new)));
    }

    #[test]
    fn too_many_lists_of_common_tags_empty_it() {
        let (series, _) = two();
        let mut cache = RowCache::default();
        cache.begin(b"first");
        keep(&mut cache, b"row", &series);
        for number in 0..COMMONS_MAX as u32 {
            cache.begin(&number.to_le_bytes());
        }
        assert!(cache.commons.len() <= COMMONS_MAX);
        cache.begin(b"first");
        assert_eq!(found(&mut cache, b"row"), None);
    }

    #[test]
    fn long_lists_of_common_tags_empty_it_before_they_are_many() {
        let mut cache = RowCache::default();
        let mut common = vec![b'x'; 70_000];
        for number in 0..500_u32 {
            common[..4].copy_from_slice(&number.to_le_bytes());
            cache.begin(&common);
            let held: usize = cache.commons.keys().map(|common| common.len()).sum();
            assert!(held <= COMMONS_BYTES_MAX && held == cache.commons_bytes, "{held} bytes");
        }
    }

    #[test]
    fn it_rests_where_it_does_not_help_and_tries_again() {
        let mut cache = RowCache::default();
        cache.begin(b"");
        for row in 0..=TRIAL_ROWS {
            assert!(matches!(cache.find(&row.to_le_bytes()), Lookup::Unknown(_)));
        }
        for row in 0..REST_ROWS {
            assert!(matches!(cache.find(&row.to_le_bytes()), Lookup::Resting));
        }
        assert!(matches!(cache.find(b"row"), Lookup::Unknown(_)));
    }
}
