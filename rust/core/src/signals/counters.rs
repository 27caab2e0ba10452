//! What a signal's journal counts. Relaxed atomics: each number is right, no two are read at the same instant.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ingest::counters::ByNumber;
use crate::wire::{Reason, Rejection};

/// Counters of one [`super::SignalJournal`].
#[derive(Debug, Default)]
pub struct SignalCounters {
    /// Requests that could be read.
    pub requests_received: AtomicU64,
    /// Their rows.
    pub rows_received: AtomicU64,
    /// Rows on stable storage.
    pub rows_committed: AtomicU64,
    /// Rows refused, by reason.
    pub rows_refused: ByNumber<{ Reason::ALL.len() }>,
    /// Requests told to come later.
    pub retries_asked: AtomicU64,
    /// Requests whose commit failed.
    pub commits_failed: AtomicU64,
    /// Records that a reader skipped because they do not decode.
    pub undecodable: AtomicU64,
}

impl SignalCounters {
    pub(super) fn judged(&self, rows: u64, rejections: &[Rejection]) {
        let refused: u64 = rejections.iter().map(|rejection| u64::from(rejection.points)).sum();
        self.requests_received.fetch_add(1, Relaxed);
        self.rows_received.fetch_add(rows + refused, Relaxed);
    }

    pub(super) fn refused(&self, rejections: &[Rejection]) {
        for rejection in rejections {
            self.rows_refused.add(rejection.reason.number() as usize, u64::from(rejection.points));
        }
    }

    /// Rows refused, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|reason| (*reason, self.rows_refused.get(reason.number() as usize)))
    }
}
