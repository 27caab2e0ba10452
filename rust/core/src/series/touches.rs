//! How a stream gets by without looking at its series in each batch.
//!
//! That a series had a point is noted in its descriptor, and with millions of series each look there is a wait for memory.
//! But series expire after hours. So a stream looks at them once in a while, and for as long as that while lasts it takes
//! those that it has looked at for active, which they are: a series expires so much later than it would otherwise.

/// Since when series that a stream uses are known to be active.
#[derive(Debug)]
pub(super) struct Touches {
    since_batch: u32,
    since_secs: u64,
}

impl Default for Touches {
    /// Of a stream that looks at each series in each batch.
    fn default() -> Self {
        Self { since_batch: u32::MAX, since_secs: 0 }
    }
}

impl Touches {
    /// From this batch on every series is looked at again, if `touch_secs` have passed since that was last so.
    pub(super) fn renew(&mut self, batch: u32, now_secs: u64, touch_secs: u64) {
        let recent = |passed_secs| passed_secs < touch_secs;
        // A clock that was put back says nothing about what has passed.
        if self.since_batch == u32::MAX || !now_secs.checked_sub(self.since_secs).is_some_and(recent) {
            *self = Self { since_batch: batch, since_secs: now_secs };
        }
    }

    /// True for a series that was last used in this batch: it was looked at then or since.
    #[inline]
    pub(super) fn cover(&self, batch: u32) -> bool {
        batch >= self.since_batch
    }
}
