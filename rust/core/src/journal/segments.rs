//! The segments a journal consists of now.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::format::{SEGMENT_HEADER_BYTES, SegmentCause};
use super::position::Position;

/// One segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    /// Where it ends, that is the next one's base; None for the last one.
    pub(crate) limit: Option<u64>,
    /// Bytes on disk.
    pub(crate) bytes: u64,
    pub(crate) created_unix_secs: u64,
    pub(crate) cause: SegmentCause,
}

impl Segment {
    /// Position of its first record.
    pub(crate) fn first(&self) -> u64 {
        self.base + SEGMENT_HEADER_BYTES
    }
}

/// All segments, oldest first. Each begins where the one before ends.
#[derive(Debug)]
pub(crate) struct Segments {
    list: RwLock<Vec<Segment>>,
    bytes: AtomicU64,
}

impl Segments {
    pub(crate) fn new(list: Vec<Segment>) -> Self {
        let bytes = list.iter().map(|segment| segment.bytes).sum();
        Self { list: RwLock::new(list), bytes: AtomicU64::new(bytes) }
    }

    /// Bytes on disk, with segments that are about to be begun.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Counts a segment that is about to be begun; `release` if nothing comes of it.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn count(&self) -> usize {
        self.list.read().len()
    }

    pub(crate) fn first(&self) -> Option<Segment> {
        self.list.read().first().copied()
    }

    /// The segment in which a position lies, or None before the first one and when there is none.
    pub(crate) fn containing(&self, position: Position) -> Option<Segment> {
        let list = self.list.read();
        let behind = list.partition_point(|segment| segment.base <= position.get());
        behind.checked_sub(1).map(|index| list[index])
    }

    /// Begins a segment whose bytes were reserved. The one before ends at its base and is the answer, unless that one
    /// has the same base: then it failed before its first commit, and its file was replaced.
    pub(crate) fn begin(&self, segment: Segment) -> Option<Segment> {
        let mut list = self.list.write();
        if let Some(failed) = list.pop_if(|last| last.base == segment.base) {
            self.release(failed.bytes);
            list.push(segment);
            return None;
        }
        let before = list.last_mut().map(|last| {
            last.limit = Some(segment.base);
            *last
        });
        list.push(segment);
        before
    }

    /// The last but one was cut to so many bytes.
    pub(crate) fn cut(&self, base: u64, bytes: u64) {
        let mut list = self.list.write();
        if let Some(segment) = list.iter_mut().find(|segment| segment.base == base) {
            self.release(segment.bytes - bytes);
            segment.bytes = bytes;
        }
    }

    /// The oldest segment, if it ends at or before this position.
    pub(crate) fn first_passed(&self, position: Position) -> Option<Segment> {
        self.first().filter(|first| first.limit.is_some_and(|limit| limit <= position.get()))
    }

    /// Where the oldest segments end that together have so many bytes, as far as they end at or before `passable`; None
    /// when not one of them does.
    pub(crate) fn end_of(&self, bytes: u64, passable: Position) -> Option<Position> {
        let (mut end, mut freed) = (None, 0);
        for segment in &*self.list.read() {
            let Some(limit) = segment.limit.filter(|limit| *limit <= passable.get()) else { break };
            if freed >= bytes {
                break;
            }
            freed += segment.bytes;
            end = Some(Position::new(limit));
        }
        end
    }

    /// The oldest segment was deleted.
    pub(crate) fn remove_first(&self) {
        let mut list = self.list.write();
        if !list.is_empty() {
            self.release(list.remove(0).bytes);
        }
    }
}
