//! What is committed and not read yet, so that a lag is told in rows and seconds without a look at the disk.

use std::collections::VecDeque;

use crate::journal::Position;

/// Records that are known at most; of older ones the lag is estimated.
const RECORDS_MAX: usize = 65_536;
/// Journal bytes a row, for estimates.
const ROW_BYTES_ESTIMATE: u64 = 100;
/// A gap of this size is the header between two segments, not records.
const SEGMENT_HEADER_BYTES: u64 = 4_096;

/// A committed record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) rows: u64,
    pub(super) received_unix_us: i64,
}

/// The newest committed records without a gap, oldest first, with the rows that were committed before each.
#[derive(Debug, Default)]
pub(super) struct Unread {
    marks: VecDeque<(u64, Mark)>,
    rows: u64,
}

impl Unread {
    pub(super) fn push(&mut self, mark: Mark) {
        if self.marks.len() >= RECORDS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back((self.rows, mark));
        self.rows += mark.rows;
    }

    /// Everything before is stored by whoever reads.
    pub(super) fn forget_before(&mut self, position: Position) {
        while self.marks.front().is_some_and(|(_, mark)| mark.end <= position) {
            self.marks.pop_front();
        }
    }

    /// Rows from a position up to the committed end: exact as far as records are known.
    pub(super) fn rows_from(&self, position: Position, committed: Position) -> u64 {
        let at = self.marks.partition_point(|(_, mark)| mark.end <= position);
        let known = self.marks.get(at).map_or(0, |(before, _)| self.rows - before);
        let known_from = self.marks.front().map_or(committed, |(_, mark)| mark.start);
        let unknown = known_from.get().saturating_sub(position.get());
        known + unknown.saturating_sub(SEGMENT_HEADER_BYTES).div_ceil(ROW_BYTES_ESTIMATE)
    }

    /// When the record that is next at a position was received; None when it is not known.
    pub(super) fn received_from(&self, position: Position) -> Option<i64> {
        let reaches_back =
            self.marks.front().is_some_and(|(_, mark)| mark.start.get() <= position.get() + SEGMENT_HEADER_BYTES);
        let at = self.marks.partition_point(|(_, mark)| mark.end <= position);
        reaches_back.then(|| self.marks.get(at).map(|(_, mark)| mark.received_unix_us)).flatten()
    }
}
