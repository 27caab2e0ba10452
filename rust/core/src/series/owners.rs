//! How many series are active and who brought how many of them: the numbers behind the cardinality limit and behind each
//! identity's quota of series. They are looked at only where a series is new, so one lock around them is enough, and makes
//! both limits exact.
//!
//! A series counts for the identity that first sent a point of it, until it expires, whoever sends its points later. After
//! a restart it is not known who brought a series of the checkpoint; the first to send a point of it then counts. Only
//! identities that brought an active series have an entry, so there are never more entries than series.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::CardinalityLimit;

/// Who brings points, and when.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// From the peer's certificate.
    pub identity: &'a str,
    /// Active series that it may have brought; those it has already go on.
    pub series_max: usize,
    /// Seconds since 1970.
    pub now_secs: u64,
}

/// Names an identity for as long as it owns a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u32);

impl Owner {
    /// Of a series that nobody has sent a point of since the restart, and of a free slot.
    pub(super) const NOBODY: Self = Self(u32::MAX);
}

/// The owners of all active series.
#[derive(Debug)]
pub(super) struct Owners {
    pub(super) max_cardinality: usize,
    active: usize,
    numbers: HashMap<Arc<str>, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    identity: Arc<str>,
    series: usize,
}

impl Owners {
    /// Nobody, who may bring so many series.
    pub(super) fn new(max_cardinality: usize) -> Self {
        Self { max_cardinality, active: 0, numbers: HashMap::new(), entries: Vec::new(), free: Vec::new() }
    }

    /// Active series.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// One series more is active and this identity's.
    pub(super) fn bring(&mut self, source: Source<'_>) -> Result<Owner, CardinalityLimit> {
        let number = self.numbers.get(source.identity).copied();
        let brought = number.map_or(0, |number| self.entries[number as usize].series);
        if self.active >= self.max_cardinality {
            return Err(CardinalityLimit::Collector);
        }
        if brought >= source.series_max {
            return Err(CardinalityLimit::Identity { series_max: source.series_max });
        }
        self.active += 1;
        Ok(self.count(number, source.identity))
    }

    /// One series more is active, whatever the limits say, and for now nobody's.
    pub(super) fn readmit(&mut self) {
        self.active += 1;
    }

    /// One of the active series that nobody owned is this identity's.
    pub(super) fn adopt(&mut self, identity: &str) -> Owner {
        self.count(self.numbers.get(identity).copied(), identity)
    }

    /// A series of this owner has expired.
    pub(super) fn give_back(&mut self, owner: Owner) {
        self.active -= 1;
        if owner == Owner::NOBODY {
            return;
        }
        let entry = &mut self.entries[owner.0 as usize];
        entry.series -= 1;
        if entry.series == 0 {
            self.numbers.remove(&entry.identity);
            self.free.push(owner.0);
        }
    }

    fn count(&mut self, number: Option<u32>, identity: &str) -> Owner {
        let number = number.unwrap_or_else(|| self.enter(identity));
        self.entries[number as usize].series += 1;
        Owner(number)
    }

    fn enter(&mut self, identity: &str) -> u32 {
        let identity: Arc<str> = identity.into();
        let entry = Entry { identity: Arc::clone(&identity), series: 0 };
        let number = if let Some(number) = self.free.pop() {
            self.entries[number as usize] = entry;
            number
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        self.numbers.insert(identity, number);
        number
    }
}
