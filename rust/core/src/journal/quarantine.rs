//! Damaged bytes are set aside, each range in a file of its own, so that they cost nothing but themselves.
//!
//! A quarantine file is one line of text (which journal, where, how many bytes, what is wrong) and the bytes as found.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::JournalError;
use super::names;
use super::position::{JournalId, Position};
use super::scan::Damage;
use super::storage::{Storage, StorageFile};

/// All quarantine files of a directory together. Over it damage is still reported, without a copy of its bytes.
pub const QUARANTINE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Damaged ranges that are kept and remembered in one run. Those beyond are left out of the log like the others, without
/// a copy.
pub const QUARANTINE_RANGES_MAX: usize = 4_096;
/// How the line of text begins, with the format's version.
const TITLE: &str = "telemetry journal quarantine 1 ";
const COPY_BYTES: usize = 1024 * 1024;

/// A range of the log that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it begins.
    pub position: Position,
    /// How much of the log it takes.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: Damage,
    /// The path of the file that keeps its bytes; None when there are none or they could not be kept.
    pub file: Option<String>,
    /// False when an earlier start or read has set it aside already.
    pub new: bool,
    /// Why its bytes are not kept although they exist.
    pub error: Option<String>,
}

/// The quarantine of one journal.
pub(crate) struct Quarantine {
    storage: Arc<dyn Storage>,
    id: JournalId,
    known: Mutex<Known>,
}

struct Known {
    ranges: BTreeMap<u64, u64>,
    /// Those of them that the storage does not give any more.
    unreadable: BTreeMap<u64, u64>,
    file_bytes: u64,
    damaged_bytes: u64,
    closed: bool,
}

impl Quarantine {
    /// `file_bytes` is what quarantine files of the directory have already.
    pub(crate) fn new(storage: Arc<dyn Storage>, id: JournalId, file_bytes: u64) -> Self {
        let known =
            Known { ranges: BTreeMap::new(), unreadable: BTreeMap::new(), file_bytes, damaged_bytes: 0, closed: false };
        Self { storage, id, known: Mutex::new(known) }
    }

    /// Damaged ranges met in this run, and their bytes.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let known = self.known.lock();
        (known.ranges.len() as u64, known.damaged_bytes)
    }

    /// The range around a position, or the next behind it, that was set aside because it cannot be read.
    pub(crate) fn unreadable_from(&self, position: u64) -> Option<Range<u64>> {
        let known = self.known.lock();
        let around = known.unreadable.range(..=position).next_back().filter(|(_, end)| **end > position);
        around.or_else(|| known.unreadable.range(position..).next()).map(|(start, end)| *start..*end)
    }

    /// The directory is no longer ours: nothing is written from now on.
    pub(crate) fn close(&self) {
        self.known.lock().closed = true;
    }

    /// Sets a range of the log aside. Never fails: a copy that cannot be made is said to be missing.
    pub(crate) fn set_aside(
        &self,
        source: Option<(&dyn StorageFile, u64)>,
        start: u64,
        end: u64,
        reason: Damage,
    ) -> Quarantined {
        let mut known = self.known.lock();
        let met = known.ranges.contains_key(&start);
        let many = !met && known.ranges.len() >= QUARANTINE_RANGES_MAX;
        if !met && !many {
            known.ranges.insert(start, end);
            known.damaged_bytes += end - start;
            if reason == Damage::Unreadable {
                known.unreadable.insert(start, end);
            }
        }
        let name = names::quarantine(start);
        let mut found = Quarantined {
            position: Position::new(start),
            bytes: end - start,
            reason,
            file: Some(self.storage.describe(&name)),
            new: false,
            error: None,
        };
        if self.storage.open(&name).is_ok() {
            return found;
        }
        found.new = !met;
        if reason == Damage::Unreadable {
            found.file = None;
            found.error = Some("the storage does not give its bytes any more".to_owned());
            return found;
        }
        if many {
            found.file = None;
            found.error = Some(format!("{QUARANTINE_RANGES_MAX} ranges are quarantined already"));
            return found;
        }
        match self.keep(&mut known, &name, source, start, end, reason) {
            Ok(true) => {}
            Ok(false) => found.file = None,
            Err(error) => {
                found.file = None;
                found.error = Some(error.to_string());
            }
        }
        found
    }

    /// Copies the bytes that exist; false when there are none.
    fn keep(
        &self,
        known: &mut Known,
        name: &str,
        source: Option<(&dyn StorageFile, u64)>,
        start: u64,
        end: u64,
        reason: Damage,
    ) -> Result<bool, JournalError> {
        let Some((file, base)) = source else { return Ok(false) };
        let file_end = base + file.bytes().map_err(JournalError::io("measure", self.storage.describe(name)))?;
        let bytes = end.min(file_end).saturating_sub(start);
        if bytes == 0 {
            return Ok(false);
        }
        let title = format!("{TITLE}journal={} position={start} bytes={bytes} reason={}\n", self.id, reason.name());
        let whole = title.len() as u64 + bytes;
        if known.closed {
            return Err(JournalError::Closed);
        }
        if known.file_bytes + whole > QUARANTINE_BYTES_MAX {
            let source = io::Error::other(format!("quarantine files have reached {QUARANTINE_BYTES_MAX} bytes"));
            return Err(JournalError::Io { action: "create", path: self.storage.describe(name), source });
        }
        let aside = names::unfinished(name);
        let copied = copy(&*self.storage, &aside, title.as_bytes(), file, start - base, bytes).and_then(|()| {
            self.storage.rename(&aside, name)?;
            self.storage.sync_dir()
        });
        if let Err(source) = copied {
            // Its room is needed elsewhere; when it cannot be removed either, the next start does.
            let _ = self.storage.remove(&aside);
            return Err(JournalError::Io { action: "write", path: self.storage.describe(name), source });
        }
        known.file_bytes += whole;
        Ok(true)
    }
}

fn copy(
    storage: &dyn Storage,
    name: &str,
    title: &[u8],
    from: &dyn StorageFile,
    offset: u64,
    bytes: u64,
) -> io::Result<()> {
    let to = storage.create(name, title.len() as u64 + bytes)?;
    to.write_at(title, 0)?;
    let mut buffer = vec![0; COPY_BYTES.min(bytes as usize)];
    let mut done = 0;
    while done < bytes {
        let part = (bytes - done).min(buffer.len() as u64) as usize;
        from.read_at(&mut buffer[..part], offset + done)?;
        to.write_at(&buffer[..part], title.len() as u64 + done)?;
        done += part as u64;
    }
    to.sync_data()
}

/// Position, bytes and reason in the line that a quarantine file begins with; None when there is none.
pub(crate) fn parse_title(file: &[u8]) -> Option<(Position, u64, String)> {
    let line = file.split(|byte| *byte == b'\n').next()?;
    let fields = std::str::from_utf8(line).ok()?.strip_prefix(TITLE)?;
    let field = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let position = field("position")?.parse().ok()?;
    Some((Position::new(position), field("bytes")?.parse().ok()?, field("reason")?.to_owned()))
}
