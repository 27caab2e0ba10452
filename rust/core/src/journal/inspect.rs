//! Looks into a journal without touching it: what it holds, and what is wrong with it.
//!
//! No lock is taken and nothing is changed, so the journal may be open, damaged, or on a disk that cannot be written.
//! While a collector writes, files come and go and the last group may be half there. So a listing in which a file was
//! gone is done again, the last segment is read again when it turns out that another follows, and what looks damaged is
//! read once more before it is called so.

use std::io;

use super::checkpoints::Checkpoint;
use super::directory::{Directory, Found, Scanned, read_checkpoint};
use super::error::JournalError;
use super::format::{FORMAT_VERSION, SegmentCause, seed};
use super::names;
use super::position::{JournalId, Position};
use super::reader::Record;
use super::scan::Damage;
use super::storage::Storage;

/// Damaged places that are listed; those beyond are counted.
pub const DAMAGE_MAX: usize = 4_096;
/// A directory that changes more often than this while it is listed is given up.
const TRIES_MAX: usize = 20;
/// Of a quarantine file, where its line of text is.
const TITLE_BYTES_MAX: u64 = 512;

/// Takes what is found, to look at what only its owner understands.
pub trait Examine {
    /// A segment is read from its beginning, perhaps not for the first time: what was counted of it is void.
    fn segment(&mut self, base: Position);

    /// A whole record of that segment.
    ///
    /// # Errors
    /// Why its contents cannot be read.
    fn record(&mut self, record: Record<'_>) -> Result<(), String>;

    /// The owner's state in a checkpoint.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn checkpoint(&mut self, position: Position, payload: &[u8]) -> Result<(), String>;

    /// So many of all bytes were read. Called after each segment.
    fn progress(&mut self, bytes: u64, of: u64);
}

/// What a journal's directory holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// None when no file says any more which journal this is; no record can be told from noise then.
    pub journal_id: Option<JournalId>,
    /// Of the files. Newer ones are refused.
    pub format_version: u32,
    /// Oldest first.
    pub segments: Vec<SegmentFile>,
    /// Behind the last whole record. What a collector has committed may end before, by the group it is writing.
    pub end: Position,
    /// Bytes behind `end` that are not zero: being written, or torn by a crash, and cut at the next start.
    pub tail_bytes: u64,
    /// By name.
    pub cursors: Vec<CursorFile>,
    /// The newest first.
    pub checkpoints: Vec<CheckpointFile>,
    /// By name.
    pub quarantine: Vec<QuarantineFile>,
    /// In the journal's order, at most [`DAMAGE_MAX`].
    pub damage: Vec<Damaged>,
    /// How many there are.
    pub damaged: u64,
    /// Bytes of all of them.
    pub damaged_bytes: u64,
}

/// One segment.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// Position of its first byte.
    pub base: Position,
    /// Where the next one begins; None for the last one.
    pub limit: Option<Position>,
    /// Behind its last whole record.
    pub end: Position,
    /// Of the file.
    pub bytes: u64,
    /// Whole ones.
    pub records: u64,
    /// Of those records.
    pub payload_bytes: u64,
    /// When and why it was begun; None when neither copy of its header is valid.
    pub begun: Option<(u64, SegmentCause)>,
}

/// How far a consumer is.
#[derive(Clone, Debug)]
pub struct CursorFile {
    /// The consumer.
    pub consumer: String,
    /// None when the file is damaged.
    pub position: Option<Position>,
}

/// A state that a start begins with.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    /// As in its name.
    pub position: Position,
    /// Of the owner's state; None when the file is damaged.
    pub bytes: Option<u64>,
}

/// What was set aside.
#[derive(Clone, Debug)]
pub struct QuarantineFile {
    /// The file.
    pub name: String,
    /// Of the file.
    pub bytes: u64,
    /// Position, bytes and reason, as its first line has them; None for whole files that were set aside.
    pub range: Option<(Position, u64, String)>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// In which file.
    pub file: String,
    /// Where in the log.
    pub position: Position,
    /// How much of it.
    pub bytes: u64,
    /// What is wrong.
    pub reason: Damage,
    /// In words, where there is more to say.
    pub detail: Option<String>,
}

/// Reads a whole journal.
///
/// # Errors
/// [`JournalError`] when the directory cannot be read, holds files of two journals, or of a newer format.
pub fn inspect(storage: &dyn Storage, examine: &mut dyn Examine) -> Result<Inspection, JournalError> {
    let mut directory = settled(storage)?;
    let id = directory.identity(storage)?;
    let mut inspecting = Inspecting {
        storage,
        examine,
        found: Inspection {
            journal_id: id,
            format_version: FORMAT_VERSION,
            segments: Vec::new(),
            end: Position::new(0),
            tail_bytes: 0,
            cursors: Vec::new(),
            checkpoints: Vec::new(),
            quarantine: Vec::new(),
            damage: Vec::new(),
            damaged: 0,
            damaged_bytes: 0,
        },
    };
    inspecting.marks(&directory)?;
    inspecting.segments(&mut directory, id)?;
    directory.quarantine.sort_unstable();
    for (name, bytes) in &directory.quarantine {
        inspecting.quarantined(name, *bytes);
    }
    Ok(inspecting.found)
}

/// The directory as it was at one time: everything that was listed could be read.
fn settled(storage: &dyn Storage) -> Result<Directory, JournalError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match Directory::read(storage) {
            Err(error) if is_gone(&error) && tries < TRIES_MAX => {}
            // Segments are deleted when a newer checkpoint is there: an older listing of checkpoints is no damage.
            Ok(directory) if begins_late(&directory).is_some() && tries < 2 => {}
            read => return read,
        }
    }
}

fn is_gone(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// What lies between the newest checkpoint and the oldest segment, and is needed at the next start.
fn begins_late(directory: &Directory) -> Option<(u64, u64)> {
    let checkpoint = directory.checkpoints.iter().find(|(_, id)| id.is_some()).map_or(0, |(position, _)| *position);
    let first = directory.segments.first()?.base;
    (first > checkpoint).then_some((checkpoint, first))
}

struct Inspecting<'a> {
    storage: &'a dyn Storage,
    examine: &'a mut dyn Examine,
    found: Inspection,
}

/// What one reading of a segment has shown.
struct Reading {
    scanned: Scanned,
    records: u64,
    payload_bytes: u64,
    tail_bytes: u64,
    undecodable: Vec<(u64, u64, String)>,
}

impl Inspecting<'_> {
    fn marks(&mut self, directory: &Directory) -> Result<(), JournalError> {
        for (position, _) in &directory.checkpoints {
            let at = Position::new(*position);
            let mark = match read_checkpoint(self.storage, *position) {
                // A newer one was written meanwhile.
                Err(error) if is_gone(&error) => continue,
                read => read?,
            };
            let checkpoint = mark.as_ref().and_then(|mark| Checkpoint::parse(&mark.body));
            let bytes = checkpoint.as_ref().map(|checkpoint| checkpoint.payload.len() as u64);
            self.found.checkpoints.push(CheckpointFile { position: at, bytes });
            let name = names::checkpoint(*position);
            match checkpoint.map(|checkpoint| self.examine.checkpoint(at, checkpoint.payload)) {
                None => self.damaged(name, at.get(), 0, Damage::Header, Some("the checkpoint is damaged".to_owned())),
                Some(Err(reason)) => self.damaged(name, at.get(), 0, Damage::Undecodable, Some(reason)),
                Some(Ok(())) => {}
            }
        }
        for (consumer, mark) in &directory.cursors {
            let position = mark.as_ref().map(|mark| Position::new(mark.position));
            self.found.cursors.push(CursorFile { consumer: consumer.clone(), position });
            if position.is_none() {
                let detail = Some("the cursor is damaged".to_owned());
                self.damaged(names::cursor(consumer), 0, 0, Damage::Header, detail);
            }
        }
        self.found.cursors.sort_unstable_by(|one, other| one.consumer.cmp(&other.consumer));
        Ok(())
    }

    fn segments(&mut self, directory: &mut Directory, id: Option<JournalId>) -> Result<(), JournalError> {
        let Some(id) = id else {
            for found in &directory.segments {
                let detail = Some("no file says which journal this is".to_owned());
                self.damaged(names::segment(found.base), found.base, found.bytes, Damage::SegmentHeader, detail);
            }
            return Ok(());
        };
        if let Some((checkpoint, first)) = begins_late(directory) {
            self.damaged(names::segment(checkpoint), checkpoint, first - checkpoint, Damage::Missing, None);
        }
        let mut index = 0;
        while index < directory.segments.len() {
            let limit = directory.segments.get(index + 1).map(|next| next.base);
            let reading = match self.segment(&directory.segments[index], limit, seed(&id)) {
                Err(error) if is_gone(&error) && index + 1 < directory.segments.len() => {
                    // Every consumer has passed it meanwhile.
                    index += 1;
                    continue;
                }
                reading => reading?,
            };
            if limit.is_none() {
                let base = directory.segments[index].base;
                let mut newer = settled(self.storage)?;
                newer.segments.retain(|found| found.base > base);
                if !newer.segments.is_empty() {
                    // It was not the last any more: how much of it counts is known now.
                    directory.segments.append(&mut newer.segments);
                    continue;
                }
            }
            let next = directory.segments.get(index + 1).and_then(|next| next.header);
            self.show(&directory.segments[index], limit, next.map(|next| next.cause), reading);
            let total = directory.segments.iter().map(|found| found.bytes).sum();
            let read = directory.segments[..=index].iter().map(|found| found.bytes).sum();
            self.examine.progress(read, total);
            index += 1;
        }
        Ok(())
    }

    /// Reads a segment; once more where it seems to be damaged.
    fn segment(&mut self, found: &Found, limit: Option<u64>, seed: u32) -> Result<Reading, JournalError> {
        match self.read(found, limit, seed) {
            Ok(reading) if reading.scanned.holes.is_empty() => Ok(reading),
            // The file was cut at its committed end while it was read.
            Err(JournalError::Io { source, .. }) if source.kind() != io::ErrorKind::UnexpectedEof => {
                Err(JournalError::Io {
                    action: "read",
                    path: self.storage.describe(&names::segment(found.base)),
                    source,
                })
            }
            _ => self.read(found, limit, seed),
        }
    }

    fn read(&mut self, found: &Found, limit: Option<u64>, seed: u32) -> Result<Reading, JournalError> {
        let mut open = found.open(self.storage)?;
        // It may have grown, or been cut at its committed end, since it was listed.
        let bytes = open.file.bytes().map_err(JournalError::io("measure", open.path.clone()))?;
        open.end = open.base + bytes;
        self.examine.segment(Position::new(found.base));
        let (mut records, mut payload_bytes, mut undecodable) = (0, 0, Vec::new());
        let scanned = open.scan(seed, found.first(), limit, |record| {
            records += 1;
            payload_bytes += record.payload.len() as u64;
            if let Err(reason) = self.examine.record(record)
                && undecodable.len() < DAMAGE_MAX
            {
                undecodable.push((record.start.get(), record.end.get(), reason));
            }
            Ok(())
        })?;
        let tail_bytes = if limit.is_none() { open.written_end(scanned.end)? - scanned.end } else { 0 };
        Ok(Reading { scanned, records, payload_bytes, tail_bytes, undecodable })
    }

    fn show(&mut self, found: &Found, limit: Option<u64>, next: Option<SegmentCause>, reading: Reading) {
        let Reading { scanned, records, payload_bytes, tail_bytes, undecodable } = reading;
        let name = names::segment(found.base);
        if found.header.is_none() {
            self.damaged(name.clone(), found.base, found.first() - found.base, Damage::SegmentHeader, None);
        }
        let reopened = next.is_none_or(|cause| cause == SegmentCause::Reopened);
        let mut damage: Vec<_> = undecodable
            .into_iter()
            .map(|(start, end, reason)| (start, end, Damage::Undecodable, Some(reason)))
            .collect();
        for (start, end, reason) in scanned.holes {
            if limit.is_some() || start < scanned.end {
                let unfinished =
                    reopened && start >= scanned.group_start && start < scanned.end && reason != Damage::Unreadable;
                damage.push((start, end, if unfinished { Damage::Unfinished } else { reason }, None));
            }
        }
        damage.sort_unstable_by_key(|(start, ..)| *start);
        for (start, end, reason, detail) in damage {
            self.damaged(name.clone(), start, end - start, reason, detail);
        }
        self.found.segments.push(SegmentFile {
            base: Position::new(found.base),
            limit: limit.map(Position::new),
            end: Position::new(scanned.end),
            bytes: found.bytes,
            records,
            payload_bytes,
            begun: found.header.map(|header| (header.created_unix_secs, header.cause)),
        });
        self.found.end = Position::new(scanned.end);
        self.found.tail_bytes = tail_bytes;
    }

    fn quarantined(&mut self, name: &str, bytes: u64) {
        let mut title = vec![0; bytes.min(TITLE_BYTES_MAX) as usize];
        let read = self.storage.open(name).and_then(|file| file.read_at(&mut title, 0));
        let range = read.ok().and_then(|()| super::quarantine::parse_title(&title));
        self.found.quarantine.push(QuarantineFile { name: name.to_owned(), bytes, range });
    }

    fn damaged(&mut self, file: String, start: u64, bytes: u64, reason: Damage, detail: Option<String>) {
        self.found.damaged += 1;
        self.found.damaged_bytes += bytes;
        if self.found.damage.len() < DAMAGE_MAX {
            self.found.damage.push(Damaged { file, position: Position::new(start), bytes, reason, detail });
        }
    }
}
