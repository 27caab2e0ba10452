//! The consumer's place in a signal's journal, and the ranges that it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::columns::Columns;
use super::journal::SignalJournal;
use super::record::{self, Head};
use crate::columns::TimestampUnit;
use crate::ingest::Measured;
use crate::journal::{JournalError, Position, Reader};

const HOUR_US: i64 = 3_600_000_000;
/// Bytes of rows, with what surrounds them, of one read; the request that passes it still counts.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Whole requests that stand behind each other in the journal, all received in one UTC hour.
pub struct SignalBlocks {
    journal: Arc<SignalJournal>,
    /// Where the first record starts, or where a gap before it does.
    pub start: Position,
    /// Where the next read begins.
    pub end: Position,
    /// Rows.
    pub rows: usize,
    requests: Vec<(Head, Vec<u8>)>,
}

impl SignalBlocks {
    /// Requests, at least one.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Receipt of the first and of the last, microseconds since 1970.
    #[must_use]
    pub fn received_unix_us(&self) -> (i64, i64) {
        let of = |request: Option<&(Head, Vec<u8>)>| request.map_or(0, |(head, _)| head.received_unix_us);
        (of(self.requests.first()), of(self.requests.last()))
    }

    /// Hours since 1970 of the receipt.
    #[must_use]
    pub fn hour(&self) -> i64 {
        self.received_unix_us().0.div_euclid(HOUR_US)
    }

    /// The rows in the columns of docs/signals.md.
    ///
    /// # Errors
    /// [`ArrowError`] when the columns do not fit together, which is a defect.
    pub fn record_batch(&self, unit: TimestampUnit) -> Result<RecordBatch, ArrowError> {
        let mut columns = Columns::new(self.journal.signal());
        for (head, request) in &self.requests {
            columns.push(head, request)?;
        }
        columns.finish(unit)
    }
}

/// Where a cursor stands. It can be asked at any time: a read or a store that is under way holds up nobody.
pub struct SignalPlace {
    position: AtomicU64,
    stored: AtomicU64,
}

impl SignalPlace {
    pub(super) fn new(stored: Position) -> Self {
        Self { position: AtomicU64::new(stored.get()), stored: AtomicU64::new(stored.get()) }
    }

    /// Where the next read starts.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.position.load(Ordering::Acquire))
    }

    /// The durable position.
    #[must_use]
    pub fn stored(&self) -> Position {
        Position::new(self.stored.load(Ordering::Acquire))
    }
}

/// The consumer's cursor. One reader at a time.
pub struct SignalCursor {
    journal: Arc<SignalJournal>,
    consumer: String,
    place: Arc<SignalPlace>,
    /// Stands at `position`, or behind what it left out there, and is kept when it fails: it counts its tries at a place,
    /// and gives up what cannot be read only after the last.
    reader: Reader,
    /// Receipt of the oldest request that was read and not stored.
    undelivered_since_us: Option<i64>,
    /// Receipt of the request that is next on disk, at the position where it was looked for.
    next_on_disk: Option<(Position, Option<i64>)>,
}

impl SignalCursor {
    pub(super) fn open(journal: Arc<SignalJournal>, consumer: &str) -> Result<Self, JournalError> {
        let place = journal.place(consumer)?;
        let reader = journal.journal.reader(place.position());
        Ok(Self {
            consumer: consumer.to_owned(),
            place,
            reader,
            undelivered_since_us: None,
            next_on_disk: None,
            journal,
        })
    }

    /// What it reads from.
    #[must_use]
    pub fn journal(&self) -> Arc<SignalJournal> {
        Arc::clone(&self.journal)
    }

    /// Whose it is.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Where it stands, for whoever does not read.
    #[must_use]
    pub fn place(&self) -> Arc<SignalPlace> {
        Arc::clone(&self.place)
    }

    /// Age of the oldest request that was read and not stored, or else of what is still to read; 0 when there is none.
    #[must_use]
    pub fn lag_secs(&mut self) -> f64 {
        let oldest_us = self.undelivered_since_us.or_else(|| self.next_received_us());
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        oldest_us.map_or(0.0, |oldest_us| (now_us - oldest_us).max(0) as f64 / 1e6)
    }

    fn next_received_us(&mut self) -> Option<i64> {
        let position = self.place.position();
        if self.journal.lag_bytes(&self.place) == 0 {
            return None;
        }
        if let Some(known) = self.journal.shared.unread.lock().received_from(position) {
            return Some(known);
        }
        if let Some((_, received_us)) = self.next_on_disk.filter(|(looked, _)| *looked == position) {
            return received_us;
        }
        let mut reader = self.journal.journal.reader(position);
        // What cannot be read has no age; whoever reads it is told why.
        let record = reader.next_record().ok().flatten();
        let received_us =
            record.and_then(|record| record::head(record.payload).ok()).map(|(head, _)| head.received_unix_us);
        self.next_on_disk = Some((position, received_us));
        received_us
    }

    /// The next committed requests: at least one, until `rows_max` or 32 MiB is reached, all of one hour of receipt.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub fn read(&mut self, rows_max: usize) -> Result<Option<SignalBlocks>, JournalError> {
        let start = self.place.position();
        let mut blocks = SignalBlocks { journal: self.journal(), start, end: start, rows: 0, requests: Vec::new() };
        let mut bytes = 0;
        while blocks.rows < rows_max && bytes < READ_BYTES_MAX {
            let record = match self.reader.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // What lies before is handed over; the next read begins at the place and tells.
                Err(_) if !blocks.requests.is_empty() => break,
                Err(error) => return Err(error),
            };
            let read = record::head(record.payload).and_then(|(head, packed)| Ok((head, packed.unpack()?)));
            let Ok((head, request)) = read else {
                self.journal.shared.counters.undecodable.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if !blocks.requests.is_empty() && head.received_unix_us.div_euclid(HOUR_US) != blocks.hour() {
                break;
            }
            bytes += head.repeated_bytes;
            blocks.rows += head.rows as usize;
            blocks.end = record.end;
            blocks.requests.push((head, request));
        }
        if blocks.requests.is_empty() {
            return Ok(None);
        }
        // The reader may stand behind a record that was not taken.
        self.reader.seek(blocks.end);
        self.place.position.store(blocks.end.get(), Ordering::Release);
        self.undelivered_since_us.get_or_insert(blocks.received_unix_us().0);
        Ok(Some(blocks))
    }

    /// Continues at a position that a [`SignalBlocks`] had as start or end, or that the journal named for room.
    pub fn seek(&mut self, position: Position) {
        self.place.position.store(position.get(), Ordering::Release);
        self.reader.seek(position);
        self.undelivered_since_us = None;
    }

    /// The destination has everything before a position, whatever the journal has: what comes goes behind it. True when
    /// the journal ended before it.
    ///
    /// # Errors
    /// [`JournalError`] when the journal ends before it and requests were appended since it was opened.
    pub fn claim(&self, position: Position) -> Result<bool, JournalError> {
        self.journal.journal.advance(position)
    }

    /// Makes a position durable.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be written; the position on disk is then the old one.
    pub fn store(&mut self, position: Position) -> Result<(), JournalError> {
        let stored = self.journal.journal.store_cursor(&self.consumer, position)?;
        self.place.stored.store(stored.get(), Ordering::Release);
        self.journal.shared.unread.lock().forget_before(stored);
        if stored >= self.place.position() {
            self.undelivered_since_us = None;
        }
        Ok(())
    }
}

impl SignalJournal {
    /// Committed bytes still to read.
    #[must_use]
    pub fn lag_bytes(&self, place: &SignalPlace) -> u64 {
        self.journal.committed().get().saturating_sub(place.position().get())
    }

    /// Committed rows still to read: exact for what was committed since the start, else an estimate from their bytes.
    #[must_use]
    pub fn lag_rows(&self, place: &SignalPlace) -> u64 {
        self.shared.unread.lock().rows_from(place.position(), self.journal.committed())
    }

    /// Requests and rows between two positions; for whoever gives them up.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read, or begins before the oldest record kept.
    pub fn measure(&self, from: Position, to: Position) -> Result<Measured, JournalError> {
        let mut reader = self.journal.reader(from).surveying();
        let mut found = Measured::default();
        while let Some(record) = reader.next_record()? {
            if record.start >= to {
                break;
            }
            let Ok((head, _)) = record::head(record.payload) else { continue };
            found.batches += 1;
            found.points += head.rows;
            let first = found.received_unix_us.map_or(head.received_unix_us, |(first, _)| first);
            found.received_unix_us = Some((first, head.received_unix_us));
        }
        Ok(found)
    }
}
