//! Reads committed records in order.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::error::JournalError;
use super::log::Log;
use super::names;
use super::position::Position;
use super::scan::{Damage, Scanner, Step};
use super::segments::Segment;
use super::storage::StorageFile;

/// How often reading a place may fail before what cannot be read there is set aside: a loose cable is not a loss yet.
const READ_TRIES_MAX: u32 = 5;

/// A committed record, or one that recovery replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins. This may lie behind the end of the record before: segments have headers, damage is skipped.
    pub start: Position,
    /// Where the next one may begin: the position to store when this record is done.
    pub end: Position,
    /// What was appended.
    pub payload: &'a [u8],
}

/// A place in the committed log. Independent of other readers; may move to another thread.
pub struct Reader {
    log: Arc<Log>,
    at: u64,
    open: Option<Open>,
    skipped_bytes: u64,
    /// Readings that failed since one succeeded at `failed_at` or behind it. Whoever goes back and comes again has not
    /// succeeded by what lies before.
    failures: u32,
    failed_at: u64,
    /// Was tried often enough: what cannot be read there is left out without asking again.
    given_up: Range<u64>,
    surveys: bool,
}

struct Open {
    base: u64,
    file: Arc<dyn StorageFile>,
    /// Position of the file's end.
    end: u64,
    scanner: Scanner,
}

impl Reader {
    pub(crate) fn new(log: Arc<Log>, from: Position) -> Self {
        Self {
            log,
            at: from.get(),
            open: None,
            skipped_bytes: 0,
            failures: 0,
            failed_at: 0,
            given_up: 0..0,
            surveys: false,
        }
    }

    /// Leaves out at once what cannot be read, and does not set it aside: for whoever only looks at what a range holds.
    /// Those who need its records still ask again.
    #[must_use]
    pub fn surveying(mut self) -> Self {
        self.surveys = true;
        self
    }

    /// Where the next read starts looking.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.at)
    }

    /// Bytes of damaged ranges that this reader has met and left out.
    #[must_use]
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Continues at another position: the start or end of a record. Places that could not be read stay known.
    pub fn seek(&mut self, position: Position) {
        if self.at == position.get() {
            return;
        }
        self.at = position.get();
        self.open = None;
    }

    /// The next committed record, or None at the committed end. What is damaged is set aside and left out.
    ///
    /// # Errors
    /// `Trimmed` when the place no longer exists, `Io` when a segment cannot be read; the place stays as it was. What
    /// still cannot be read after a few calls is set aside like damage.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, JournalError> {
        let (Some((start, end, payload)), Some(open)) = (self.find()?, &self.open) else { return Ok(None) };
        let (start, end) = (Position::new(start), Position::new(end));
        Ok(Some(Record { start, end, payload: open.scanner.payload(payload) }))
    }

    fn find(&mut self) -> Result<Option<(u64, u64, Range<usize>)>, JournalError> {
        loop {
            let committed = self.log.committed().get();
            if self.at >= committed {
                return Ok(None);
            }
            let Some(segment) = self.log.segments.containing(Position::new(self.at)) else {
                let oldest = self.log.oldest();
                return Err(JournalError::Trimmed { position: Position::new(self.at), oldest });
            };
            let upper = segment.limit.unwrap_or(u64::MAX).min(committed);
            if self.at.max(segment.first()) >= upper {
                match segment.limit {
                    Some(limit) if limit <= committed => self.at = limit,
                    _ => return Ok(None),
                }
                continue;
            }
            self.at = self.at.max(segment.first());
            // Readings are larger than records, so they must end before what another has given up.
            let upper = match self.log.quarantine.unreadable_from(self.at) {
                Some(known) if known.start <= self.at => {
                    self.skipped_bytes += known.end - self.at;
                    self.at = known.end;
                    self.open = None;
                    continue;
                }
                Some(known) => upper.min(known.start),
                None => upper,
            };
            match self.step(&segment, upper)? {
                Step::Record { start, end, payload, .. } => {
                    self.at = end;
                    return Ok(Some((start, end, payload)));
                }
                Step::Damaged { start, end, reason, .. } => self.skip(start, end, reason),
                Step::End { start } => {
                    let open = self.open.as_ref().expect("the segment was just read");
                    let seems = if open.end <= start { Damage::Missing } else { Damage::Header };
                    let reason = open.scanner.cause(start, upper, seems);
                    self.skip(start, upper, reason);
                    self.open = None;
                }
            }
        }
    }

    fn step(&mut self, segment: &Segment, upper: u64) -> Result<Step, JournalError> {
        let path = || self.log.storage.describe(&names::segment(segment.base));
        if self.open.as_ref().is_none_or(|open| open.base != segment.base) {
            let file = match self.log.storage.open(&names::segment(segment.base)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (position, oldest) = (Position::new(self.at), self.log.oldest());
                    return Err(JournalError::Trimmed { position, oldest });
                }
                opened => opened.map_err(JournalError::io("open", path()))?,
            };
            let end = segment.base + file.bytes().map_err(JournalError::io("measure", path()))?;
            let scanner = Scanner::new(file.clone(), segment.base, self.log.seed, self.at, upper.min(end));
            self.open = Some(Open { base: segment.base, file, end, scanner });
        }
        let open = self.open.as_mut().expect("opened above");
        open.scanner.extend(upper.min(open.end));
        let last_try = self.failures + 1 >= READ_TRIES_MAX && self.at >= self.failed_at;
        open.scanner.read_around(self.surveys || last_try || self.given_up.contains(&self.at));
        let step = open.scanner.step();
        if step.is_err() {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = self.at;
        } else if self.at >= self.failed_at {
            self.failures = 0;
            if let Some(end) = open.scanner.unreadable_behind(self.at).filter(|_| last_try) {
                self.given_up = self.at..end;
            }
        }
        step.map_err(JournalError::io("read", path()))
    }

    fn skip(&mut self, start: u64, end: u64, reason: Damage) {
        let source = self.open.as_ref().map(|open| (&*open.file, open.base));
        if !(self.surveys && reason == Damage::Unreadable) {
            self.log.quarantine.set_aside(source, start, end, reason);
        }
        self.skipped_bytes += end - start;
        self.at = end;
    }
}
