//! Who brought how many of the active series: the numbers behind each identity's quota of series.
//!
//! A series counts for the identity that first sent a point of it, until it expires, whoever sends its points later. After
//! a restart it is not known who brought a series of the checkpoint; the first to send a point of it then counts. Only
//! identities that brought an active series have an entry, so there are never more entries than series.

use std::collections::HashMap;
use std::sync::Arc;

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
pub(super) struct Owner(u32);

impl Owner {
    /// Of a series that nobody has sent a point of since the restart, and of a free slot.
    pub(super) const NOBODY: Self = Self(u32::MAX);
}

/// The owners of all active series.
#[derive(Debug, Default)]
pub(super) struct Owners {
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
    /// Series that an identity has brought.
    pub(super) fn series(&self, identity: &str) -> usize {
        self.numbers.get(identity).map_or(0, |&number| self.entries[number as usize].series)
    }

    /// One series more is this identity's.
    pub(super) fn take(&mut self, identity: &str) -> Owner {
        let number = self.numbers.get(identity).copied().unwrap_or_else(|| self.enter(identity));
        self.entries[number as usize].series += 1;
        Owner(number)
    }

    /// A series of this owner has expired.
    pub(super) fn give_back(&mut self, owner: Owner) {
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
