//! What lies in a journal's directory: every file judged by its beginning, and segments by their records.
//!
//! Nothing is changed here. Recovery acts on what this finds, and inspection shows it.

use std::io;
use std::sync::Arc;

use super::checkpoints::Checkpoint;
use super::error::{JournalError, is_unreadable};
use super::format::{CHECKPOINT_MAGIC, CURSOR_MAGIC, FORMAT_VERSION, Magic, Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::names::{self, Name};
use super::position::{JournalId, Position};
use super::publish;
use super::reader::Record;
use super::scan::{Damage, PAGE_BYTES, Scanner, Step};
use super::storage::{Storage, StorageFile};

/// Takes a position and the bytes there.
type Chunk<'a> = dyn FnMut(u64, &[u8]) -> Result<(), JournalError> + 'a;

/// Read at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// The files of one directory at one time. Of a damaged checkpoint the journal, and of a damaged cursor the mark, is None.
#[derive(Default)]
pub(crate) struct Directory {
    /// Ascending.
    pub(crate) segments: Vec<Found>,
    /// The newest first. Their content is read when it is needed: each has everything that the journal's owner knows, so
    /// that two in memory would be one too many.
    pub(crate) checkpoints: Vec<(u64, Option<JournalId>)>,
    pub(crate) cursors: Vec<(String, Option<Mark>)>,
    /// Names of quarantine files, and their bytes.
    pub(crate) quarantine: Vec<(String, u64)>,
    /// Names of files that were not finished.
    pub(crate) unfinished: Vec<String>,
}

/// A segment file with what its header says; None when that is damaged or cannot be read.
pub(crate) struct Found {
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    pub(crate) header: Option<SegmentHeader>,
    unreadable: Option<io::Error>,
}

/// What was found in one segment.
pub(crate) struct Scanned {
    /// Behind the last whole record.
    pub(crate) end: u64,
    /// Where the last group begins that a whole header told of.
    pub(crate) group_start: u64,
    pub(crate) holes: Vec<(u64, u64, Damage)>,
}

impl Directory {
    pub(crate) fn read(storage: &dyn Storage) -> Result<Self, JournalError> {
        let mut directory = Self::default();
        let names =
            storage.names().map_err(JournalError::io("list the directory of", storage.describe(names::LOCK)))?;
        for name in names {
            match Name::parse(&name) {
                Name::Segment(base) => directory.segments.push(Found::read(storage, &name, base)?),
                Name::Checkpoint(position) => {
                    let mark = read_checkpoint(storage, position)?;
                    directory.checkpoints.push((position, mark.map(|mark| mark.id)));
                }
                Name::Cursor(consumer) => {
                    let mark = read_mark(storage, &name, CURSOR_MAGIC)?;
                    let mark = mark.filter(|mark| mark.body == consumer.as_bytes());
                    directory.cursors.push((consumer, mark));
                }
                Name::Quarantine => {
                    let file = storage.open(&name).map_err(JournalError::io("open", storage.describe(&name)))?;
                    let bytes = file.bytes().map_err(JournalError::io("measure", storage.describe(&name)))?;
                    directory.quarantine.push((name, bytes));
                }
                Name::Unfinished => directory.unfinished.push(name),
                Name::Other => {}
            }
        }
        directory.segments.sort_unstable_by_key(|found| found.base);
        directory.checkpoints.sort_unstable_by_key(|(position, _)| std::cmp::Reverse(*position));
        Ok(directory)
    }

    /// Which journal this is, or None where no file says so any more. An error when one may, and cannot be read.
    pub(crate) fn identity(&mut self, storage: &dyn Storage) -> Result<Option<JournalId>, JournalError> {
        let segments =
            self.segments.iter().rev().filter_map(|found| Some((names::segment(found.base), found.header?.id)));
        let checkpoints = self.checkpoints.iter().filter_map(|(at, id)| Some((names::checkpoint(*at), (*id)?)));
        let cursors = self.cursors.iter().filter_map(|(name, mark)| Some((names::cursor(name), mark.as_ref()?.id)));
        let mut all = segments.chain(checkpoints).chain(cursors);
        let Some((_, id)) = all.next() else {
            drop(all);
            let unreadable = self.segments.iter_mut().find_map(|found| Some((found.base, found.unreadable.take()?)));
            return unreadable.map_or(Ok(None), |(base, error)| {
                Err(JournalError::io("read", storage.describe(&names::segment(base)))(error))
            });
        };
        match all.find(|(_, other)| *other != id) {
            Some((name, found)) => Err(JournalError::Foreign { path: storage.describe(&name), found, expected: id }),
            None => Ok(Some(id)),
        }
    }
}

fn newer(storage: &dyn Storage, name: &str) -> impl FnOnce(u32) -> JournalError {
    let path = storage.describe(name);
    move |found| JournalError::NewerFormat { path, found, supported: FORMAT_VERSION }
}

fn read_mark(storage: &dyn Storage, name: &str, magic: Magic) -> Result<Option<Mark>, JournalError> {
    Mark::parse(magic, publish::read(storage, name)?).map_err(newer(storage, name))
}

/// A checkpoint's mark, whose body `Checkpoint::parse` takes; None when it is damaged.
pub(crate) fn read_checkpoint(storage: &dyn Storage, position: u64) -> Result<Option<Mark>, JournalError> {
    let mark = read_mark(storage, &names::checkpoint(position), CHECKPOINT_MAGIC)?;
    Ok(mark.filter(|mark| mark.position == position && Checkpoint::parse(&mark.body).is_some()))
}

impl Found {
    fn read(storage: &dyn Storage, name: &str, base: u64) -> Result<Self, JournalError> {
        let path = || storage.describe(name);
        let file = storage.open(name).map_err(JournalError::io("open", path()))?;
        let bytes = file.bytes().map_err(JournalError::io("measure", path()))?;
        let mut page = vec![0; bytes.min(SEGMENT_HEADER_BYTES) as usize];
        let unreadable = match file.read_at(&mut page, 0) {
            Ok(()) => None,
            Err(error) if is_unreadable(&error) => Some(error),
            Err(error) => return Err(JournalError::io("read", path())(error)),
        };
        let header = SegmentHeader::parse(&page).map_err(newer(storage, name))?;
        Ok(Self { base, bytes, header: header.filter(|header| header.base == base), unreadable })
    }

    /// Opened when it is needed: a journal may have more segments than a process may have open files.
    pub(crate) fn open(&self, storage: &dyn Storage) -> Result<OpenSegment, JournalError> {
        let name = names::segment(self.base);
        let path = storage.describe(&name);
        let file = storage.open(&name).map_err(JournalError::io("open", path.clone()))?;
        Ok(OpenSegment { base: self.base, end: self.end(), file, path })
    }

    /// Position behind the file's last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes
    }

    /// Position of the first record.
    pub(crate) fn first(&self) -> u64 {
        self.base + SEGMENT_HEADER_BYTES
    }
}

/// A segment that is being read.
pub(crate) struct OpenSegment {
    pub(crate) base: u64,
    /// Position behind the file's last byte.
    pub(crate) end: u64,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) path: String,
}

impl OpenSegment {
    /// Hands over every whole record from a position on. `limit` is where the segment ends; None for the last one.
    pub(crate) fn scan(
        &self,
        seed: u32,
        from: u64,
        limit: Option<u64>,
        mut each: impl FnMut(Record<'_>) -> Result<(), JournalError>,
    ) -> Result<Scanned, JournalError> {
        let upper = limit.unwrap_or(u64::MAX).min(self.end);
        let mut scanner = Scanner::new(self.file.clone(), self.base, seed, from, upper);
        scanner.read_around(true);
        let mut found = Scanned { end: from, group_start: from, holes: Vec::new() };
        loop {
            match scanner.step().map_err(JournalError::io("read", self.path.clone()))? {
                Step::Record { start, end, group_start, payload } => {
                    let payload = scanner.payload(payload);
                    each(Record { start: Position::new(start), end: Position::new(end), payload })?;
                    found.end = end;
                    found.group_start = found.group_start.max(group_start);
                }
                Step::Damaged { start, end, reason, group_start } => {
                    found.holes.push((start, end, reason));
                    found.group_start = found.group_start.max(group_start.unwrap_or(0));
                }
                Step::End { start } => {
                    // Behind the last record there may be others that cannot be read: not a torn tail, but a loss.
                    let behind = limit.or_else(|| scanner.unreadable_behind(start)).unwrap_or(start);
                    if start < behind {
                        let seems = if start >= self.end { Damage::Missing } else { Damage::Header };
                        found.holes.push((start, behind, scanner.cause(start, behind, seems)));
                        found.end = if limit.is_none() { behind } else { found.end };
                    }
                    return Ok(found);
                }
            }
        }
    }

    /// Position behind the last byte that is not zero, at least `from`.
    pub(crate) fn written_end(&self, from: u64) -> Result<u64, JournalError> {
        let mut written = from;
        self.chunks(from, self.end, &mut |at, bytes| {
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                written = at + last as u64 + 1;
            }
            Ok(())
        })?;
        Ok(written)
    }

    /// Hands over the bytes of a range, piece by piece, without pages that cannot be read.
    pub(crate) fn chunks(&self, from: u64, to: u64, each: &mut Chunk<'_>) -> Result<(), JournalError> {
        let mut buffer = vec![0; to.saturating_sub(from).min(CHUNK_BYTES) as usize];
        let mut at = from;
        while at < to {
            let part = &mut buffer[..(to - at).min(CHUNK_BYTES) as usize];
            match self.file.read_at(part, at - self.base) {
                Ok(()) => each(at, part)?,
                Err(error) if is_unreadable(&error) && part.len() as u64 > PAGE_BYTES => {
                    // Pages stand where the file has them.
                    let end = at + part.len() as u64;
                    let mut page = at;
                    while page < end {
                        let behind = (self.base + (page - self.base + 1).next_multiple_of(PAGE_BYTES)).min(end);
                        self.chunks(page, behind, each)?;
                        page = behind;
                    }
                }
                Err(error) if is_unreadable(&error) => {}
                Err(error) => return Err(JournalError::io("read", self.path.clone())(error)),
            }
            at += (to - at).min(CHUNK_BYTES);
        }
        Ok(())
    }
}
