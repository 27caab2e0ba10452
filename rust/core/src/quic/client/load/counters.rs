//! What all agents of a load count together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::histogram::Histogram;

/// Reasons of lost agents that are kept: one is mostly like another.
const FAULTS_MAX: usize = 16;

/// Figures that only grow, but for `connected`.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) connected: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) batches_sent: AtomicU64,
    pub(super) batches_acknowledged: AtomicU64,
    pub(super) batches_refused: AtomicU64,
    pub(super) batches_retried: AtomicU64,
    pub(super) points_acknowledged: AtomicU64,
    pub(super) points_refused: AtomicU64,
    pub(super) frame_bytes_sent: AtomicU64,
    pub(super) latency: Histogram,
    faults: Mutex<Vec<String>>,
}

/// A snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Agents with a connection.
    pub connected: u64,
    /// Agents that could not connect, or whose connection ended early.
    pub lost: u64,
    /// Batches sent for the first time.
    pub batches_sent: u64,
    /// Batches answered STORED, PARTIAL or DUPLICATE.
    pub batches_acknowledged: u64,
    /// Batches answered REJECTED.
    pub batches_refused: u64,
    /// Answers `RETRY_LATER`.
    pub batches_retried: u64,
    /// Points on stable storage.
    pub points_acknowledged: u64,
    /// Points refused for good.
    pub points_refused: u64,
    /// Bytes of frames with their prefixes, of those sent again too.
    pub frame_bytes_sent: u64,
}

impl Counters {
    /// The figures now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            connected: self.connected.load(Relaxed),
            lost: self.lost.load(Relaxed),
            batches_sent: self.batches_sent.load(Relaxed),
            batches_acknowledged: self.batches_acknowledged.load(Relaxed),
            batches_refused: self.batches_refused.load(Relaxed),
            batches_retried: self.batches_retried.load(Relaxed),
            points_acknowledged: self.points_acknowledged.load(Relaxed),
            points_refused: self.points_refused.load(Relaxed),
            frame_bytes_sent: self.frame_bytes_sent.load(Relaxed),
        }
    }

    /// Time to a final answer, from when the batch was due if it had to wait for room, else from its sending; at most
    /// 1/32 too long.
    #[must_use]
    pub fn latency(&self, part: f64) -> Duration {
        self.latency.quantile(part)
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().clone()
    }

    pub(super) fn lose(&self, reason: String) {
        self.lost.fetch_add(1, Relaxed);
        let mut faults = self.faults.lock();
        if faults.len() < FAULTS_MAX {
            faults.push(reason);
        }
    }
}
