//! Blocks that were just committed, kept in memory until every consumer has read them, so that who keeps up never decodes
//! from disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::columns::PointBlock;
use crate::journal::Position;

/// A committed block and its place in the journal.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    /// Where its record starts.
    pub(super) start: Position,
    /// Where the next record starts.
    pub(super) end: Position,
    /// The points.
    pub(super) block: Arc<PointBlock>,
}

/// The newest committed blocks without a gap, oldest first, up to a bound in bytes. The oldest go first, and earlier when
/// nobody is to read them any more.
#[derive(Debug)]
pub(super) struct Recent {
    /// Each with the points that were pushed before it.
    blocks: VecDeque<(u64, Committed)>,
    bytes: usize,
    bytes_max: usize,
    points_pushed: u64,
    /// Every record from here on is in memory; `None` before the first.
    begin: Option<Position>,
}

impl Recent {
    /// Keeps up to `bytes_max` bytes of blocks.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { blocks: VecDeque::new(), bytes: 0, bytes_max, points_pushed: 0, begin: None }
    }

    /// Whatever is committed from now on comes here: what begins at this position need not be looked for on disk, also
    /// when its record does not, because a segment's header comes first.
    pub(super) fn begin_at(&mut self, position: Position) {
        self.begin = Some(position);
    }

    /// Adds the next committed block.
    pub(super) fn push(&mut self, committed: Committed) {
        self.bytes += committed.block.memory_bytes();
        let points_before = self.points_pushed;
        self.points_pushed += committed.block.len() as u64;
        self.begin.get_or_insert(committed.start);
        self.blocks.push_back((points_before, committed));
        while self.bytes > self.bytes_max && self.forget_oldest() {}
    }

    /// Forgets what lies before a position.
    pub(super) fn forget_before(&mut self, position: Position) {
        while self.blocks.front().is_some_and(|(_, oldest)| oldest.end <= position) && self.forget_oldest() {}
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.blocks.pop_front() else { return false };
        self.bytes -= oldest.block.memory_bytes();
        self.begin = Some(oldest.end);
        true
    }

    /// Blocks from `position` on, or `None` when the memory does not reach back that far.
    pub(super) fn from(&self, position: Position) -> Option<impl Iterator<Item = &Committed>> {
        let covers = self.begin.is_some_and(|begin| begin <= position);
        covers.then(|| self.blocks.range(self.place(position)..).map(|(_, committed)| committed))
    }

    /// Points held at `position` and after it.
    pub(super) fn points_from(&self, position: Position) -> u64 {
        self.blocks.get(self.place(position)).map_or(0, |(points_before, _)| self.points_pushed - points_before)
    }

    /// Where the memory begins; `None` before the first block.
    pub(super) fn begin(&self) -> Option<Position> {
        self.begin
    }

    fn place(&self, position: Position) -> usize {
        self.blocks.partition_point(|(_, committed)| committed.end <= position)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
