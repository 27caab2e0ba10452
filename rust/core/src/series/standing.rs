//! Where a descriptor stands with the registry that gave it out: whether its series is active, since when it had no
//! point, and who brought it.
//!
//! It stands in the descriptor, which a batch needs anyway, and is read and written without a lock: a series that is known
//! costs a batch one look at memory that it touches in any case, whatever other threads do. Only the registry, under the
//! lock of the series' shard, ends a standing; from then on no touch succeeds.
//!
//! It is no part of what a descriptor says. Two descriptors are equal whatever stands here, and a copy is nobody's.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::owners::Owner;

/// In the place of a time: the series has expired, or no registry has the descriptor.
const EXPIRED: u32 = u32::MAX;
/// In the place of a time: the series goes on under a descriptor of another type or unit.
const REPLACED: u32 = u32::MAX - 1;
/// The last second that can be told: good until 2106.
const LAST_SECS: u32 = REPLACED - 1;

/// What a touch has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// The series is active, and its point is noted.
    Active,
    /// The series may be active, under another descriptor.
    Replaced,
    /// The series is not active.
    Expired,
}

/// The standing of one descriptor.
#[derive(Debug)]
pub(super) struct Standing {
    number: u64,
    seen_secs: AtomicU32,
    owner: AtomicU32,
}

impl Default for Standing {
    /// Of a descriptor that no registry has.
    fn default() -> Self {
        let nobody = AtomicU32::new(Owner::NOBODY.0);
        Self { number: 0, seen_secs: AtomicU32::new(EXPIRED), owner: nobody }
    }
}

impl Standing {
    /// Of a series that becomes active.
    pub(super) fn active(number: u64, seen_secs: u32, owner: Owner) -> Self {
        let seen_secs = AtomicU32::new(seen_secs);
        Self { number, seen_secs, owner: AtomicU32::new(owner.0) }
    }

    /// See [`super::Descriptor::number`].
    pub(super) fn number(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.number)
    }

    /// The series is active under this descriptor.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.seen_secs.load(Relaxed) <= LAST_SECS
    }

    /// When the series had its last point.
    pub(super) fn seen_secs(&self) -> u32 {
        self.seen_secs.load(Relaxed).min(LAST_SECS)
    }

    /// Notes a point received at `now_secs`.
    #[inline]
    pub(super) fn touch(&self, now_secs: u32) -> Touched {
        let mut seen = self.seen_secs.load(Relaxed);
        loop {
            match seen {
                EXPIRED => return Touched::Expired,
                REPLACED => return Touched::Replaced,
                _ if seen == now_secs => return Touched::Active,
                _ => {}
            }
            // A store could bring back what another thread lets expire at this moment.
            match self.seen_secs.compare_exchange_weak(seen, now_secs, Relaxed, Relaxed) {
                Ok(_) => return Touched::Active,
                Err(other) => seen = other,
            }
        }
    }

    /// Ends the standing of a series that had no point since `idle_since_secs`, or at that time; false for another. Under
    /// the shard's lock.
    pub(super) fn expire(&self, idle_since_secs: u32) -> bool {
        let idle = |seen| (seen <= idle_since_secs).then_some(EXPIRED);
        self.seen_secs.fetch_update(Relaxed, Relaxed, idle).is_ok()
    }

    /// Ends the standing because another descriptor takes its place, and leaves its owner to that one. Under the shard's
    /// lock.
    pub(super) fn replace(&self) -> Owner {
        self.seen_secs.store(REPLACED, Relaxed);
        Owner(self.owner.swap(Owner::NOBODY.0, Relaxed))
    }

    /// Who brought the series.
    #[inline]
    pub(super) fn owner(&self) -> Owner {
        Owner(self.owner.load(Relaxed))
    }

    /// Changes who brought it. Under the shard's lock.
    pub(super) fn set_owner(&self, owner: Owner) {
        self.owner.store(owner.0, Relaxed);
    }
}

/// Seconds since 1970 as they are kept.
#[inline]
pub(super) fn seconds(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(LAST_SECS).min(LAST_SECS)
}

impl Clone for Standing {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Standing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Standing {}

impl Hash for Standing {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
