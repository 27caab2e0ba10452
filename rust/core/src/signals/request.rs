//! A request that was taken, and its answer after the commit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::counters::SignalCounters;
use crate::ingest::Answer;
use crate::journal::{Outcome, Ticket};
use crate::wire::Rejection;

/// What a sender is told to wait when a commit failed.
const RETRY_AFTER_MS: u32 = 1_000;

/// A request that waits for its commit, if there is anything to commit.
pub struct SignalRequest {
    id: u64,
    waits_for: Option<Ticket>,
    answer: Answer,
    counters: Arc<SignalCounters>,
}

impl SignalRequest {
    /// `rows` are stored once the ticket says so.
    pub(super) fn stored(
        id: u64,
        ticket: Option<Ticket>,
        rows: u64,
        rejections: Vec<Rejection>,
        counters: Arc<SignalCounters>,
    ) -> Self {
        counters.refused(&rejections);
        let rejected_points = rejections.iter().map(|rejection| u64::from(rejection.points)).sum();
        let answer = Answer { accepted_points: rows, rejected_points, rejections, retry_after_ms: None };
        Self { id, waits_for: ticket, answer, counters }
    }

    /// All of it is to be sent again.
    pub(super) fn put_off(id: u64, retry_after_ms: u32, counters: Arc<SignalCounters>) -> Self {
        counters.retries_asked.fetch_add(1, Relaxed);
        let answer = Answer { retry_after_ms: Some(retry_after_ms.max(1)), ..Answer::default() };
        Self { id, waits_for: None, answer, counters }
    }

    /// Names it in [`super::SignalJournal::take_ready`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Rows that were judged.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.answer.accepted_points + self.answer.rejected_points
    }

    /// The answer, once the commit is known.
    pub fn answer(&mut self) -> Option<&Answer> {
        match self.waits_for.as_ref().map(Ticket::outcome) {
            Some(Outcome::Pending) => return None,
            Some(Outcome::Failed) => {
                let retry_after_ms = Some(RETRY_AFTER_MS);
                self.answer = Answer { accepted_points: 0, retry_after_ms, ..std::mem::take(&mut self.answer) };
                self.counters.retries_asked.fetch_add(1, Relaxed);
            }
            Some(Outcome::Committed) | None => {}
        }
        self.waits_for = None;
        Some(&self.answer)
    }
}
