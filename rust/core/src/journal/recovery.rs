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
use super::directory::{Directory, Found, OpenSegment, Scanned, read_checkpoint};
use super::error::JournalError;
use super::format::{SegmentCause, seed};
use super::names;
use super::position::{JournalId, Position};
use super::quarantine::{QUARANTINE_RANGES_MAX, Quarantine, Quarantined};
use super::reader::Record;
use super::scan::Damage;
use super::segments::Segment;
use super::storage::Storage;

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

/// Judges a directory that is locked and hands its content over.
pub(crate) fn recover(storage: &Arc<dyn Storage>, replay: &mut dyn Replay) -> Result<Recovered, JournalError> {
    let mut directory = Directory::read(&**storage)?;
    for name in &directory.unfinished {
        storage.remove(name).map_err(JournalError::io("remove", storage.describe(name)))?;
    }
    let (id, mut damaged_files) = identity(&mut directory, &**storage)?;
    damaged_files.extend(drop_damaged_marks(&mut directory, &**storage)?);
    let quarantine_bytes = directory.quarantine.iter().map(|(_, bytes)| bytes).sum();
    let quarantine = Quarantine::new(storage.clone(), id, quarantine_bytes);
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
    let checkpoint = recovering.checkpoint(&directory, &mut cursors)?;
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
    let segments = table(&directory.segments);
    Ok(Recovered { id, segments, end, cursors, checkpoints, quarantine, report })
}

/// Which journal this is. Where no file says so any more, its segments are set aside whole and a new one begins.
fn identity(directory: &mut Directory, storage: &dyn Storage) -> Result<(JournalId, Vec<String>), JournalError> {
    if let Some(id) = directory.identity(storage)? {
        return Ok((id, Vec::new()));
    }
    let names: Vec<_> = directory.segments.drain(..).map(|found| names::segment(found.base)).collect();
    let moved = names.iter().map(|name| set_file_aside(storage, name)).collect::<Result<_, _>>()?;
    let id = JournalId::random().map_err(JournalError::io("read", "/dev/urandom".to_owned()))?;
    Ok((id, moved))
}

fn drop_damaged_marks(directory: &mut Directory, storage: &dyn Storage) -> Result<Vec<String>, JournalError> {
    let checkpoints = directory.checkpoints.iter().filter(|(_, id)| id.is_none()).map(|(at, _)| names::checkpoint(*at));
    let cursors = directory.cursors.iter().filter(|(_, mark)| mark.is_none()).map(|(name, _)| names::cursor(name));
    let moved = checkpoints.chain(cursors).map(|name| set_file_aside(storage, &name)).collect::<Result<_, _>>()?;
    directory.checkpoints.retain(|(_, id)| id.is_some());
    directory.cursors.retain(|(_, mark)| mark.is_some());
    Ok(moved)
}

fn table(segments: &[Found]) -> Vec<Segment> {
    let limits = segments.iter().skip(1).map(|found| Some(found.base)).chain([None]);
    let segment = |(found, limit): (&Found, Option<u64>)| Segment {
        base: found.base,
        limit,
        bytes: found.bytes,
        created_unix_secs: found.header.map_or(0, |header| header.created_unix_secs),
        cause: found.header.map_or(SegmentCause::Reopened, |header| header.cause),
    };
    segments.iter().zip(limits).map(segment).collect()
}

fn set_file_aside(storage: &dyn Storage, name: &str) -> Result<String, JournalError> {
    let aside = names::quarantine_file(name);
    storage.rename(name, &aside).map_err(JournalError::io("rename", storage.describe(name)))?;
    Ok(storage.describe(&aside))
}

struct Recovering<'a> {
    storage: &'a dyn Storage,
    seed: u32,
    quarantine: &'a Quarantine,
    replay: &'a mut dyn Replay,
    report: Recovery,
}

impl Recovering<'_> {
    /// Hands the newest checkpoint over; its position, or 0.
    fn checkpoint(&mut self, directory: &Directory, cursors: &mut BTreeMap<String, u64>) -> Result<u64, JournalError> {
        // The older one stands by in case this one is damaged at the next start; its content is not needed now.
        let Some((position, _)) = directory.checkpoints.first() else { return Ok(0) };
        let at = Position::new(*position);
        let path = || self.storage.describe(&names::checkpoint(*position));
        let refused = |reason| JournalError::Replay { path: path(), position: at, reason };
        let mark = read_checkpoint(self.storage, *position)?;
        let checkpoint = mark.as_ref().and_then(|mark| Checkpoint::parse(&mark.body));
        let checkpoint = checkpoint.ok_or_else(|| refused("it was whole a moment ago".to_owned()))?;
        self.replay.checkpoint(at, checkpoint.payload).map_err(refused)?;
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
            let open = found.open(self.storage)?;
            open.file.will_be_read();
            if let Some(next) = next {
                next.open(self.storage)?.file.will_be_read();
            }
            if found.header.is_none() {
                self.set_aside(Some(&open), found.base, found.first(), Damage::SegmentHeader);
            }
            // Whatever ended the life that wrote this segment may have left its last group unfinished.
            let reopened = next.and_then(|next| next.header).is_none_or(|next| next.cause == SegmentCause::Reopened);
            end = self.segment(&open, limit, found.first().max(checkpoint), reopened)?;
        }
        Ok(end)
    }

    fn segment(
        &mut self,
        open: &OpenSegment,
        limit: Option<u64>,
        from: u64,
        reopened: bool,
    ) -> Result<u64, JournalError> {
        let Scanned { end, group_start, holes } = open.scan(self.seed, from, limit, |record| {
            self.report.records += 1;
            self.report.payload_bytes += record.payload.len() as u64;
            let refused = |reason| JournalError::Replay { path: open.path.clone(), position: record.start, reason };
            self.replay.record(record).map_err(refused)
        })?;
        for (start, behind, reason) in holes {
            // Without a limit, what lies behind the last record is a torn tail.
            if limit.is_some() || start < end {
                let unfinished = reopened && start >= group_start && start < end && reason != Damage::Unreadable;
                self.set_aside(Some(open), start, behind, if unfinished { Damage::Unfinished } else { reason });
            }
        }
        let Some(limit) = limit else {
            self.report.torn_bytes += open.written_end(end)? - end;
            make_stable(open, group_start.max(from), end)?;
            return Ok(end);
        };
        Ok(limit)
    }

    fn set_aside(&mut self, open: Option<&OpenSegment>, start: u64, end: u64, reason: Damage) {
        let source = open.map(|open| (&*open.file, open.base));
        let quarantined = self.quarantine.set_aside(source, start, end, reason);
        self.report.damaged_bytes += quarantined.bytes;
        if self.report.quarantined.len() < QUARANTINE_RANGES_MAX {
            self.report.quarantined.push(quarantined);
        }
    }
}

/// Writes a range again, so that its pages are written whatever the kernel believes about them, and synchronizes.
fn make_stable(open: &OpenSegment, from: u64, to: u64) -> Result<(), JournalError> {
    open.chunks(from, to, &mut |at, bytes| {
        open.file.write_at(bytes, at - open.base).map_err(JournalError::io("write", open.path.clone()))
    })?;
    open.file.sync_data().map_err(JournalError::io("synchronize", open.path.clone()))
}
