//! Opening a journal: what the disk holds, judged and handed to the caller before anything new is taken.
//!
//! 1. Unfinished files go. Headers, checkpoints and cursors say which journal this is; a newer format is refused.
//! 2. The newest valid checkpoint is handed over, then every whole record behind it, oldest first.
//! 3. What is damaged is set aside. In the last segment, what lies behind the last whole record is a torn tail: it is
//!    cut by beginning the next segment there.
//! 4. The last group may have reached no disk yet, or (after a failed fdatasync) count as clean and never reach it. It
//!    is written again in place and synchronized. All groups before it were stable before it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoints::Checkpoint;
use super::error::JournalError;
use super::format::{
    CHECKPOINT_MAGIC, CURSOR_MAGIC, FORMAT_VERSION, Magic, Mark, SEGMENT_HEADER_BYTES, SegmentCause, SegmentHeader,
    seed,
};
use super::names::{self, Name};
use super::position::{JournalId, Position};
use super::publish;
use super::quarantine::{QUARANTINE_RANGES_MAX, Quarantine, Quarantined};
use super::reader::Record;
use super::scan::{Damage, Scanner, Step};
use super::segments::Segment;
use super::storage::{Storage, StorageFile};

/// Copied at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Takes what a journal holds when it is opened: at most one checkpoint, then records in order.
///
/// An error ends the opening. It is for content of a later version, not for damage: damaged bytes never get here.
pub trait Replay {
    /// The caller's state at a position; only records behind it follow.
    ///
    /// # Errors
    /// Why this state cannot be taken.
    fn checkpoint(&mut self, position: Position, payload: &[u8]) -> Result<(), String>;

    /// The next record.
    ///
    /// # Errors
    /// Why this record cannot be taken.
    fn record(&mut self, record: Record<'_>) -> Result<(), String>;
}

/// What opening a journal found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The journal's random name.
    pub journal_id: JournalId,
    /// Where the checkpoint that was handed over stands.
    pub checkpoint: Option<Position>,
    /// Records replayed.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Bytes of a torn tail that was cut.
    pub torn_bytes: u64,
    /// Damaged ranges behind the checkpoint, at most [`QUARANTINE_RANGES_MAX`] of them.
    pub quarantined: Vec<Quarantined>,
    /// Bytes of all damaged ranges behind the checkpoint.
    pub damaged_bytes: u64,
    /// Paths of damaged checkpoints, cursors and whole segments, as they are called now.
    pub damaged_files: Vec<String>,
    /// Every consumer's stored position.
    pub cursors: Vec<(String, Position)>,
    /// Where the next record may begin.
    pub end: Position,
}

/// Everything a journal is made from.
pub(crate) struct Recovered {
    pub(crate) id: JournalId,
    pub(crate) segments: Vec<Segment>,
    pub(crate) end: u64,
    pub(crate) cursors: BTreeMap<String, u64>,
    pub(crate) checkpoints: Vec<u64>,
    pub(crate) quarantine: Quarantine,
    pub(crate) report: Recovery,
}

/// A segment file with what its header says; None when that is damaged.
struct Found {
    base: u64,
    file: Arc<dyn StorageFile>,
    bytes: u64,
    header: Option<SegmentHeader>,
}

#[derive(Default)]
struct Directory {
    segments: Vec<Found>,
    checkpoints: Vec<(u64, Option<Mark>)>,
    cursors: Vec<(String, Option<Mark>)>,
    quarantine_bytes: u64,
}

/// Judges a directory that is locked and hands its content over.
pub(crate) fn recover(storage: &Arc<dyn Storage>, replay: &mut dyn Replay) -> Result<Recovered, JournalError> {
    let mut directory = Directory::read(&**storage)?;
    let (id, mut damaged_files) = directory.identity(&**storage)?;
    damaged_files.extend(directory.drop_damaged_marks(&**storage)?);
    let quarantine = Quarantine::new(storage.clone(), id, directory.quarantine_bytes);
    let report = Recovery {
        journal_id: id,
        checkpoint: None,
        records: 0,
        payload_bytes: 0,
        torn_bytes: 0,
        quarantined: Vec::new(),
        damaged_bytes: 0,
        damaged_files,
        cursors: Vec::new(),
        end: Position::new(0),
    };
    let mut cursors = BTreeMap::new();
    let mut recovering = Recovering { storage: &**storage, seed: seed(&id), quarantine: &quarantine, replay, report };
    let checkpoint = recovering.checkpoint(&mut directory, &mut cursors)?;
    for (name, mark) in directory.cursors.iter().filter_map(|(name, mark)| Some((name, mark.as_ref()?))) {
        cursors.insert(name.clone(), mark.position);
    }
    let tail = recovering.segments(&directory.segments, checkpoint)?;
    let mut report = recovering.report;
    storage.sync_dir().map_err(JournalError::io("synchronize the directory of", storage.describe(names::LOCK)))?;
    // A position that somebody relies on is never given out again, whatever became of the bytes before it.
    let end = cursors.values().copied().fold(tail.max(checkpoint), u64::max);
    report.end = Position::new(end);
    report.cursors = cursors.iter().map(|(name, position)| (name.clone(), Position::new(*position))).collect();
    let mut checkpoints: Vec<_> = directory.checkpoints.iter().map(|(position, _)| *position).collect();
    checkpoints.sort_unstable();
    let segments = directory.table();
    Ok(Recovered { id, segments, end, cursors, checkpoints, quarantine, report })
}

impl Directory {
    fn read(storage: &dyn Storage) -> Result<Self, JournalError> {
        let mut directory = Self::default();
        let names =
            storage.names().map_err(JournalError::io("list the directory of", storage.describe(names::LOCK)))?;
        for name in names {
            match Name::parse(&name) {
                Name::Segment(base) => directory.segments.push(Found::read(storage, &name, base)?),
                Name::Checkpoint(position) => {
                    let mark = read_mark(storage, &name, CHECKPOINT_MAGIC)?;
                    let mark = mark.filter(|mark| mark.position == position);
                    directory.checkpoints.push((position, mark.filter(|mark| Checkpoint::parse(&mark.body).is_some())));
                }
                Name::Cursor(consumer) => {
                    let mark = read_mark(storage, &name, CURSOR_MAGIC)?;
                    let mark = mark.filter(|mark| mark.body == consumer.as_bytes());
                    directory.cursors.push((consumer, mark));
                }
                Name::Quarantine => {
                    let file = storage.open(&name).map_err(JournalError::io("open", storage.describe(&name)))?;
                    directory.quarantine_bytes +=
                        file.bytes().map_err(JournalError::io("measure", storage.describe(&name)))?;
                }
                Name::Unfinished => {
                    storage.remove(&name).map_err(JournalError::io("remove", storage.describe(&name)))?;
                }
                Name::Other => {}
            }
        }
        directory.segments.sort_unstable_by_key(|found| found.base);
        directory.checkpoints.sort_unstable_by_key(|(position, _)| std::cmp::Reverse(*position));
        Ok(directory)
    }

    /// Which journal this is. Where no file says so any more, its segments are set aside whole and a new one begins.
    fn identity(&mut self, storage: &dyn Storage) -> Result<(JournalId, Vec<String>), JournalError> {
        let segments =
            self.segments.iter().rev().filter_map(|found| Some((names::segment(found.base), found.header?.id)));
        let checkpoints =
            self.checkpoints.iter().filter_map(|(at, mark)| Some((names::checkpoint(*at), mark.as_ref()?.id)));
        let cursors = self.cursors.iter().filter_map(|(name, mark)| Some((names::cursor(name), mark.as_ref()?.id)));
        let mut all = segments.chain(checkpoints).chain(cursors);
        let Some((_, id)) = all.next() else {
            let names: Vec<_> = self.segments.drain(..).map(|found| names::segment(found.base)).collect();
            let moved = names.iter().map(|name| set_file_aside(storage, name)).collect::<Result<_, _>>()?;
            let id = JournalId::random().map_err(JournalError::io("read", "/dev/urandom".to_owned()))?;
            return Ok((id, moved));
        };
        match all.find(|(_, other)| *other != id) {
            Some((name, found)) => Err(JournalError::Foreign { path: storage.describe(&name), found, expected: id }),
            None => Ok((id, Vec::new())),
        }
    }

    fn drop_damaged_marks(&mut self, storage: &dyn Storage) -> Result<Vec<String>, JournalError> {
        let checkpoints =
            self.checkpoints.iter().filter(|(_, mark)| mark.is_none()).map(|(at, _)| names::checkpoint(*at));
        let cursors = self.cursors.iter().filter(|(_, mark)| mark.is_none()).map(|(name, _)| names::cursor(name));
        let moved = checkpoints.chain(cursors).map(|name| set_file_aside(storage, &name)).collect::<Result<_, _>>()?;
        self.checkpoints.retain(|(_, mark)| mark.is_some());
        self.cursors.retain(|(_, mark)| mark.is_some());
        Ok(moved)
    }

    fn table(&self) -> Vec<Segment> {
        let limits = self.segments.iter().skip(1).map(|found| Some(found.base)).chain([None]);
        let segment = |(found, limit): (&Found, Option<u64>)| Segment {
            base: found.base,
            limit,
            bytes: found.bytes,
            created_unix_secs: found.header.map_or(0, |header| header.created_unix_secs),
            cause: found.header.map_or(SegmentCause::Reopened, |header| header.cause),
        };
        self.segments.iter().zip(limits).map(segment).collect()
    }
}

fn set_file_aside(storage: &dyn Storage, name: &str) -> Result<String, JournalError> {
    let aside = names::quarantine_file(name);
    storage.rename(name, &aside).map_err(JournalError::io("rename", storage.describe(name)))?;
    Ok(storage.describe(&aside))
}

fn newer(storage: &dyn Storage, name: &str) -> impl FnOnce(u32) -> JournalError {
    let path = storage.describe(name);
    move |found| JournalError::NewerFormat { path, found, supported: FORMAT_VERSION }
}

fn read_mark(storage: &dyn Storage, name: &str, magic: Magic) -> Result<Option<Mark>, JournalError> {
    Mark::parse(magic, &publish::read(storage, name)?).map_err(newer(storage, name))
}

impl Found {
    fn read(storage: &dyn Storage, name: &str, base: u64) -> Result<Self, JournalError> {
        let path = || storage.describe(name);
        let file = storage.open(name).map_err(JournalError::io("open", path()))?;
        let bytes = file.bytes().map_err(JournalError::io("measure", path()))?;
        let mut page = vec![0; bytes.min(SEGMENT_HEADER_BYTES) as usize];
        file.read_at(&mut page, 0).map_err(JournalError::io("read", path()))?;
        let header = SegmentHeader::parse(&page).map_err(newer(storage, name))?;
        Ok(Self { base, file, bytes, header: header.filter(|header| header.base == base) })
    }

    fn end(&self) -> u64 {
        self.base + self.bytes
    }

    fn first(&self) -> u64 {
        self.base + SEGMENT_HEADER_BYTES
    }
}

struct Recovering<'a> {
    storage: &'a dyn Storage,
    seed: u32,
    quarantine: &'a Quarantine,
    replay: &'a mut dyn Replay,
    report: Recovery,
}

/// What was found in one segment.
struct Scanned {
    /// Behind the last whole record.
    end: u64,
    /// Where the last group begins that a whole header told of.
    group_start: u64,
    holes: Vec<(u64, u64, Damage)>,
}

impl Recovering<'_> {
    /// Hands the newest checkpoint over; its position, or 0.
    fn checkpoint(
        &mut self,
        directory: &mut Directory,
        cursors: &mut BTreeMap<String, u64>,
    ) -> Result<u64, JournalError> {
        // The older one stands by in case this one is damaged at the next start; its content is not needed now.
        let Some((position, Some(mark))) = directory.checkpoints.first() else { return Ok(0) };
        let checkpoint = Checkpoint::parse(&mark.body).expect("damaged checkpoints were dropped");
        let at = Position::new(*position);
        self.replay.checkpoint(at, checkpoint.payload).map_err(|reason| JournalError::Replay {
            path: self.storage.describe(&names::checkpoint(*position)),
            position: at,
            reason,
        })?;
        cursors.extend(checkpoint.cursors);
        self.report.checkpoint = Some(at);
        Ok(*position)
    }

    /// Replays what lies behind the checkpoint; the end of the last whole record.
    fn segments(&mut self, segments: &[Found], checkpoint: u64) -> Result<u64, JournalError> {
        if let Some(first) = segments.first().filter(|first| first.base > checkpoint) {
            // Deleted once a newer checkpoint was durable, which is damaged now.
            self.set_aside(None, checkpoint, first.base, Damage::Missing);
        }
        let mut end = checkpoint;
        for (index, found) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            let limit = next.map(|next| next.base);
            if limit.is_some_and(|limit| limit <= checkpoint) {
                continue;
            }
            // The disk reads the next one while this one is judged.
            found.file.will_be_read();
            if let Some(next) = next {
                next.file.will_be_read();
            }
            if found.header.is_none() {
                self.set_aside(Some(found), found.base, found.first(), Damage::SegmentHeader);
            }
            // Whatever ended the life that wrote this segment may have left its last group unfinished.
            let reopened = next.and_then(|next| next.header).is_none_or(|next| next.cause == SegmentCause::Reopened);
            end = self.segment(found, limit, found.first().max(checkpoint), reopened)?;
        }
        Ok(end)
    }

    fn segment(&mut self, found: &Found, limit: Option<u64>, from: u64, reopened: bool) -> Result<u64, JournalError> {
        let Scanned { end, group_start, holes } = self.scan(found, limit, from)?;
        for (start, behind, reason) in holes {
            // Without a limit, what lies behind the last record is a torn tail.
            if limit.is_some() || start < end {
                let unfinished = reopened && start >= group_start && start < end;
                self.set_aside(Some(found), start, behind, if unfinished { Damage::Unfinished } else { reason });
            }
        }
        let Some(limit) = limit else {
            self.report.torn_bytes += self.written_end(found, end)? - end;
            self.make_stable(found, group_start.max(from), end)?;
            return Ok(end);
        };
        Ok(limit)
    }

    fn scan(&mut self, found: &Found, limit: Option<u64>, from: u64) -> Result<Scanned, JournalError> {
        let path = self.storage.describe(&names::segment(found.base));
        let upper = limit.unwrap_or(u64::MAX).min(found.end());
        let mut scanner = Scanner::new(found.file.clone(), found.base, self.seed, from, upper);
        let mut seen = Scanned { end: from, group_start: from, holes: Vec::new() };
        loop {
            match scanner.step().map_err(JournalError::io("read", path.clone()))? {
                Step::Record { start, end, group_start, payload } => {
                    let position = Position::new(start);
                    let payload = scanner.payload(payload);
                    let record = Record { start: position, end: Position::new(end), payload };
                    self.report.records += 1;
                    self.report.payload_bytes += payload.len() as u64;
                    let refused = |reason| JournalError::Replay { path: path.clone(), position, reason };
                    self.replay.record(record).map_err(refused)?;
                    seen.end = end;
                    seen.group_start = seen.group_start.max(group_start);
                }
                Step::Damaged { start, end, reason, group_start } => {
                    seen.holes.push((start, end, reason));
                    seen.group_start = seen.group_start.max(group_start.unwrap_or(0));
                }
                Step::End { start } => {
                    let behind = limit.unwrap_or(start);
                    if start < behind {
                        let reason = if start >= found.end() { Damage::Missing } else { Damage::Header };
                        seen.holes.push((start, behind, reason));
                    }
                    return Ok(seen);
                }
            }
        }
    }

    /// Position behind the last byte of a segment that is not zero, at least `from`.
    fn written_end(&self, found: &Found, from: u64) -> Result<u64, JournalError> {
        let mut written = from;
        self.chunks(found, from, found.end(), |at, bytes| {
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                written = at + last as u64 + 1;
            }
            Ok(())
        })?;
        Ok(written)
    }

    /// Writes a range again, so that its pages are written whatever the kernel believes about them, and synchronizes.
    fn make_stable(&self, found: &Found, from: u64, to: u64) -> Result<(), JournalError> {
        let path = || self.storage.describe(&names::segment(found.base));
        self.chunks(found, from, to, |at, bytes| {
            found.file.write_at(bytes, at - found.base).map_err(JournalError::io("write", path()))
        })?;
        found.file.sync_data().map_err(JournalError::io("synchronize", path()))
    }

    fn chunks(
        &self,
        found: &Found,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut buffer = vec![0; to.saturating_sub(from).min(CHUNK_BYTES) as usize];
        let mut at = from;
        while at < to {
            let part = &mut buffer[..(to - at).min(CHUNK_BYTES) as usize];
            let read = found.file.read_at(part, at - found.base);
            read.map_err(JournalError::io("read", self.storage.describe(&names::segment(found.base))))?;
            each(at, part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn set_aside(&mut self, found: Option<&Found>, start: u64, end: u64, reason: Damage) {
        let source = found.map(|found| (&*found.file, found.base));
        let quarantined = self.quarantine.set_aside(source, start, end, reason);
        self.report.damaged_bytes += quarantined.bytes;
        if self.report.quarantined.len() < QUARANTINE_RANGES_MAX {
            self.report.quarantined.push(quarantined);
        }
    }
}
