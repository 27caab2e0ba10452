//! A consumer's place in the journal, and the ranges it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::recent::Committed;
use super::{Ingest, new_decoder};
use crate::columns::{BlockDecoder, PointBlock};
use crate::journal::{JournalError, Position, Reader};

const HOUR_US: i64 = 3_600_000_000;
/// A gap of this size is the header between two segments, not records.
const SEGMENT_HEADER_BYTES: u64 = 4_096;
/// Journal bytes a point, for estimates of what is only on disk.
const POINT_BYTES_ESTIMATE: u64 = 10;

/// Memory that the blocks of one read may take; the block that passes it still counts.
const READ_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whole batches that stand behind each other in the journal, all received in one UTC hour.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Where the first record starts, or where a gap before it does.
    pub start: Position,
    /// Where the next read begins.
    pub end: Position,
    /// The batches, at least one.
    pub blocks: Vec<Arc<PointBlock>>,
    /// Their points.
    pub points: usize,
}

impl Blocks {
    /// Hours since 1970 of the receipt.
    #[must_use]
    pub fn hour(&self) -> i64 {
        self.blocks.first().map_or(0, |block| hour(block))
    }
}

/// Bytes from one position to another; 0 when the other comes first.
fn distance(from: Position, to: Position) -> u64 {
    to.get().saturating_sub(from.get())
}

fn hour(block: &PointBlock) -> i64 {
    block.received_unix_us.div_euclid(HOUR_US)
}

/// Where a cursor stands. It can be asked at any time: a read or a store that is under way holds up nobody.
pub struct CursorPlace {
    ingest: Arc<Ingest>,
    position: AtomicU64,
    stored: AtomicU64,
    /// Once so many points are committed since the start, each commit wakes whoever waits.
    wanted: AtomicU64,
}

impl CursorPlace {
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

    /// Committed bytes still to read.
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        distance(self.position(), self.ingest.journal.committed())
    }

    /// Committed points still to read: exact while they are in memory, else estimated from their bytes.
    #[must_use]
    pub fn lag_points(&self) -> u64 {
        let recent = self.ingest.shared.recent.lock();
        let in_memory = recent.points_from(self.position());
        let on_disk = match recent.begin() {
            Some(begin) => distance(self.position(), begin),
            None => self.lag_bytes(),
        };
        in_memory + on_disk.saturating_sub(SEGMENT_HEADER_BYTES).div_ceil(POINT_BYTES_ESTIMATE)
    }

    /// From now on only commits wake whoever waits that leave so many points to read, or more. What is there already does
    /// not wake, so the caller looks at it afterwards. Until the first call every commit wakes.
    pub fn want(&self, points: u64) {
        // Asked first: what is committed in between then counts twice, and the call comes too early rather than never.
        let committed = self.ingest.counters().all_points_committed();
        let missing = points.saturating_sub(self.lag_points());
        self.wanted.store(committed.saturating_add(missing), Ordering::SeqCst);
    }

    /// Whether it wants to be told of a commit after which so many points are committed since the start.
    pub(super) fn wants(&self, committed: u64) -> bool {
        committed >= self.wanted.load(Ordering::SeqCst)
    }
}

/// A consumer's cursor. One reader at a time.
pub struct BlockCursor {
    ingest: Arc<Ingest>,
    consumer: String,
    place: Arc<CursorPlace>,
    /// Reads what memory no longer has. It stands at `position`, or behind what it left out there, and is kept when it
    /// fails: it counts its tries at a place, and gives up what cannot be read only after the last.
    disk: Option<Reader>,
    decoder: BlockDecoder,
    /// Receipt of the oldest batch that was read and not stored.
    undelivered_since_us: Option<i64>,
    /// Receipt of the batch that is next on disk, at the position where it was looked for.
    next_on_disk: Option<(Position, Option<i64>)>,
    /// Records that were skipped because their contents do not decode.
    undecodable: u64,
}

impl BlockCursor {
    pub(super) fn open(ingest: Arc<Ingest>, consumer: &str) -> Result<Self, JournalError> {
        let stored = ingest.journal.cursor(consumer)?;
        let at = || AtomicU64::new(stored.get());
        let place = Arc::new(CursorPlace {
            ingest: Arc::clone(&ingest),
            position: at(),
            stored: at(),
            wanted: AtomicU64::new(0),
        });
        ingest.shared.readers.add(consumer, &place);
        Ok(Self {
            ingest,
            consumer: consumer.to_owned(),
            place,
            disk: None,
            decoder: new_decoder(),
            undelivered_since_us: None,
            next_on_disk: None,
            undecodable: 0,
        })
    }

    /// What it reads from.
    #[must_use]
    pub fn ingest(&self) -> Arc<Ingest> {
        Arc::clone(&self.ingest)
    }

    /// Whose it is.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Where the next read starts.
    #[must_use]
    pub fn position(&self) -> Position {
        self.place.position()
    }

    /// The durable position.
    #[must_use]
    pub fn stored(&self) -> Position {
        self.place.stored()
    }

    /// Records skipped because their contents do not decode.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Where it stands, for whoever does not read.
    #[must_use]
    pub fn place(&self) -> Arc<CursorPlace> {
        Arc::clone(&self.place)
    }

    /// See [`CursorPlace::lag_bytes`].
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        self.place.lag_bytes()
    }

    /// See [`CursorPlace::lag_points`].
    #[must_use]
    pub fn lag_points(&self) -> u64 {
        self.place.lag_points()
    }

    /// Age of the oldest batch that was read and not stored, or else of what is still to read; 0 when there is none.
    #[must_use]
    pub fn lag_secs(&mut self) -> f64 {
        let oldest_us = self.undelivered_since_us.or_else(|| self.next_received_us());
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        oldest_us.map_or(0.0, |oldest_us| (now_us - oldest_us).max(0) as f64 / 1e6)
    }

    /// Receipt of the batch that is read next.
    fn next_received_us(&mut self) -> Option<i64> {
        if let Some(mut blocks) = self.ingest.shared.recent.lock().from(self.position()) {
            return blocks.next().map(|next| next.block.received_unix_us);
        }
        if self.lag_bytes() == 0 {
            return None;
        }
        if let Some((_, received_us)) = self.next_on_disk.filter(|(position, _)| *position == self.position()) {
            return received_us;
        }
        let mut reader = self.ingest.journal.reader(self.position());
        // What cannot be read has no age; whoever reads it is told why.
        let record = reader.next_record().ok().flatten();
        let block = record.and_then(|record| self.decoder.decode_shared(record.payload, &self.ingest.registry).ok());
        let received_us = block.map(|block| block.received_unix_us);
        self.next_on_disk = Some((self.position(), received_us));
        received_us
    }

    /// The next committed batches: at least one, until `points_max` or 64 MiB is reached, all of one hour of receipt.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub fn read(&mut self, points_max: usize) -> Result<Option<Blocks>, JournalError> {
        let mut gathering = Gathering { points_max, bytes: 0, blocks: None };
        if !self.read_recent(&mut gathering) {
            self.read_disk(&mut gathering)?;
        }
        let Some(blocks) = gathering.blocks else { return Ok(None) };
        let blocks = Blocks { start: self.position(), ..blocks };
        self.place.position.store(blocks.end.get(), Ordering::Release);
        self.ingest.shared.forget_read();
        if let (None, Some(first)) = (self.undelivered_since_us, blocks.blocks.first()) {
            self.undelivered_since_us = Some(first.received_unix_us);
        }
        Ok(Some(blocks))
    }

    /// Continues at a position that a [`Blocks`] had as start or end, or that the journal named for room.
    pub fn seek(&mut self, position: Position) {
        self.place.position.store(position.get(), Ordering::Release);
        if let Some(reader) = &mut self.disk {
            reader.seek(position);
        }
        self.undelivered_since_us = None;
    }

    /// The destination has everything before a position, whatever the journal has: what comes goes behind it. True when
    /// the journal ended before it.
    ///
    /// # Errors
    /// [`JournalError`] when the journal ends before it and batches were appended since it was opened.
    pub fn claim(&self, position: Position) -> Result<bool, JournalError> {
        self.ingest.journal.advance(position)
    }

    /// Makes a position durable.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be written; the position on disk is then the old one.
    pub fn store(&mut self, position: Position) -> Result<(), JournalError> {
        let stored = self.ingest.journal.store_cursor(&self.consumer, position)?;
        self.place.stored.store(stored.get(), Ordering::Release);
        if stored >= self.position() {
            self.undelivered_since_us = None;
        }
        Ok(())
    }

    /// True when memory reaches back to the position, whether or not there is something to read.
    fn read_recent(&mut self, gathering: &mut Gathering) -> bool {
        let recent = self.ingest.shared.recent.lock();
        let Some(blocks) = recent.from(self.position()) else { return false };
        for committed in blocks {
            if !gathering.take(committed.clone()) {
                break;
            }
        }
        self.disk = None;
        true
    }

    fn read_disk(&mut self, gathering: &mut Gathering) -> Result<(), JournalError> {
        if self.lag_bytes() == 0 {
            return Ok(());
        }
        let reader = self.disk.get_or_insert_with(|| self.ingest.journal.reader(self.place.position()));
        loop {
            let record = match reader.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                // What lies before is handed over; the next read begins at the place and tells.
                Err(_) if gathering.blocks.is_some() => return Ok(()),
                Err(error) => return Err(error),
            };
            let Ok(block) = self.decoder.decode_shared(record.payload, &self.ingest.registry) else {
                self.undecodable += 1;
                continue;
            };
            if !gathering.take(Committed { start: record.start, end: record.end, block: Arc::new(block) }) {
                break;
            }
        }
        // The reader stands behind a record that was not taken.
        if let Some(blocks) = &gathering.blocks {
            reader.seek(blocks.end);
        }
        Ok(())
    }
}

struct Gathering {
    points_max: usize,
    bytes: usize,
    blocks: Option<Blocks>,
}

impl Gathering {
    /// Takes the next block unless it is of another hour or enough points are there already.
    fn take(&mut self, committed: Committed) -> bool {
        let bytes = committed.block.memory_bytes();
        let Some(blocks) = &mut self.blocks else {
            self.bytes = bytes;
            self.blocks = Some(Blocks {
                start: committed.start,
                end: committed.end,
                points: committed.block.len(),
                blocks: vec![committed.block],
            });
            return true;
        };
        let enough = blocks.points >= self.points_max || self.bytes >= READ_BYTES_MAX;
        if enough || hour(&committed.block) != blocks.hour() {
            return false;
        }
        self.bytes += bytes;
        blocks.end = committed.end;
        blocks.points += committed.block.len();
        blocks.blocks.push(committed.block);
        true
    }
}
