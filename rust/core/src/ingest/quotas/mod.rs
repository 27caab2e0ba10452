//! What one identity may send: batches, points and bytes a second, and series.
//!
//! ```text
//! Quotas (the rules: a default, overrides by pattern) ─► Accounts (a few token buckets an identity)
//!   arrive    before anything is decoded: batches and bytes; an identity that heeds no RETRY_LATER is out here
//!   inflated  what a compressed body cost beyond its frame
//!   admit     in the contract's place: put the batch off, or take its points
//! ```
//!
//! The number of an identity's series is counted by the registry, which knows who brought which.

mod accounts;
mod bucket;
mod pattern;

pub use self::accounts::{Accounts, Excess, Standing};
pub use self::pattern::Pattern;

/// What one identity may send. `None` is without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Batches a second.
    pub batches_per_sec: Option<u64>,
    /// Points a second.
    pub points_per_sec: Option<u64>,
    /// Bytes a second: of frames, or of what they inflate to where that is more.
    pub bytes_per_sec: Option<u64>,
    /// Series that it brought and that are active.
    pub series: Option<u64>,
}

impl Quota {
    fn bounds_rates(&self) -> bool {
        self.batches_per_sec.is_some() || self.points_per_sec.is_some() || self.bytes_per_sec.is_some()
    }

    /// The bound of series as a number to compare with.
    #[must_use]
    pub fn series_max(&self) -> usize {
        self.series.map_or(usize::MAX, |series| usize::try_from(series).unwrap_or(usize::MAX))
    }
}

/// Whose quota is another than the default.
#[derive(Clone, Debug)]
pub struct Override {
    /// Patterns of identities; one that fits is enough.
    pub identities: Vec<Pattern>,
    /// What they may send.
    pub quota: Quota,
}

/// Everybody's quota. The default one has no bounds.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    /// Of identities that no override fits.
    pub default: Quota,
    /// The first that fits wins.
    pub overrides: Vec<Override>,
}

impl Quotas {
    /// The quota of an identity.
    #[must_use]
    pub fn of(&self, identity: &str) -> Quota {
        let fits = |one: &&Override| one.identities.iter().any(|pattern| pattern.fits(identity));
        self.overrides.iter().find(fits).map_or(self.default, |found| found.quota)
    }

    /// Whether nobody's rates or series are bounded, so that nothing need be counted.
    fn unbounded(&self) -> bool {
        let all = self.overrides.iter().map(|one| &one.quota).chain([&self.default]);
        all.into_iter().all(|quota| *quota == Quota::default())
    }
}
