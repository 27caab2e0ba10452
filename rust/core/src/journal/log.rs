//! What the committer, readers and retention share: the segments and how far they count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format;
use super::position::{JournalId, Position};
use super::quarantine::Quarantine;
use super::segments::Segments;
use super::storage::Storage;

pub(crate) struct Log {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) id: JournalId,
    /// What the journal's checksums start from.
    pub(crate) seed: u32,
    pub(crate) segments: Segments,
    pub(crate) quarantine: Quarantine,
    committed: AtomicU64,
}

impl Log {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        id: JournalId,
        segments: Segments,
        quarantine: Quarantine,
        committed: u64,
    ) -> Self {
        Self { storage, id, seed: format::seed(&id), segments, quarantine, committed: AtomicU64::new(committed) }
    }

    /// Everything before this position is on stable storage.
    pub(crate) fn committed(&self) -> Position {
        Position::new(self.committed.load(Ordering::Acquire))
    }

    pub(crate) fn publish(&self, committed: u64) {
        self.committed.store(committed, Ordering::Release);
    }

    /// Where the oldest record kept begins, or the next one if there is none.
    pub(crate) fn oldest(&self) -> Position {
        self.segments
            .first()
            .map_or_else(|| self.committed(), |first| Position::new(first.first()).min(self.committed()))
    }
}
