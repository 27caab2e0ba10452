//! A token bucket that may be overdrawn once: whoever has a token left may spend more than it has, and then waits.
//!
//! So a batch larger than the whole bucket is not refused for ever, and how long to wait does not depend on its size.

/// Tokens that come at a rate, up to so many seconds' worth. Time is the caller's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_sec: f64,
    capacity: f64,
    tokens: f64,
}

impl Bucket {
    /// A full bucket; without a rate it never empties.
    pub(super) fn new(per_sec: Option<f64>, burst_secs: f64) -> Self {
        let per_sec = per_sec.unwrap_or(f64::INFINITY);
        let capacity = per_sec * burst_secs;
        Self { per_sec, capacity, tokens: capacity }
    }

    pub(super) fn refill(&mut self, secs: f64) {
        // An unbounded one is full as it is, and no time times infinity is no number.
        if self.tokens < self.capacity {
            self.tokens = (self.tokens + secs * self.per_sec).min(self.capacity);
        }
    }

    pub(super) fn spend(&mut self, amount: f64) {
        self.tokens -= amount;
    }

    /// No more than it holds: it may be another bucket than the one that was spent from.
    pub(super) fn give_back(&mut self, amount: f64) {
        self.tokens = (self.tokens + amount).min(self.capacity);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens < 1.0
    }

    pub(super) fn is_full(&self) -> bool {
        self.tokens >= self.capacity
    }

    /// Until there is a token again; 0 when there is one.
    pub(super) fn wait_secs(&self) -> f64 {
        if self.is_empty() { (1.0 - self.tokens) / self.per_sec } else { 0.0 }
    }
}
