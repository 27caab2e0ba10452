//! The journal as its owner sees it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::checkpoints::Checkpoints;
use super::committer::Committer;
use super::cursors::Cursors;
use super::error::{AppendError, FullReason, JournalError, is_no_space};
use super::group::{CommitSink, Ticket};
use super::log::Log;
use super::names;
use super::position::{JournalId, Position};
use super::publish::publish;
use super::queue::Queue;
use super::reader::Reader;
use super::recovery::{Recovery, Replay, recover};
use super::segments::Segments;
use super::settings::JournalSettings;
use super::spare::Spare;
use super::stats::JournalStats;
use super::storage::{Storage, StorageLock};

/// Room for so many more segments is to be had before any is needed: the one that is prepared, and the one after it.
const SEGMENTS_AHEAD: u64 = 2;

/// An open journal. Every method may be called from any thread; dropping it closes it.
pub struct Journal<T: Send + 'static> {
    log: Arc<Log>,
    queue: Arc<Queue<T>>,
    spare: Arc<Spare>,
    cursors: Cursors,
    checkpoints: Checkpoints,
    settings: JournalSettings,
    /// Held for reading by whatever changes the directory; None once that is no longer ours.
    lock: RwLock<Option<Arc<dyn StorageLock>>>,
    threads: Mutex<Threads>,
}

impl<T: Send + 'static> Journal<T> {
    /// Takes the directory's lock, recovers what it holds, hands it to `replay` and starts to commit.
    ///
    /// # Errors
    /// `Setting`, `Locked`, `NewerFormat`, `Foreign`, `Replay`, or `Io` with what the operating system says.
    pub fn open(
        storage: Arc<dyn Storage>,
        settings: JournalSettings,
        sink: Arc<dyn CommitSink<T>>,
        replay: &mut dyn Replay,
    ) -> Result<(Self, Recovery), JournalError> {
        let settings = settings.checked()?;
        let path = storage.describe(names::LOCK);
        let lock = storage.lock(names::LOCK).map_err(JournalError::io("lock", path.clone()))?;
        let lock: Arc<dyn StorageLock> = lock.ok_or(JournalError::Locked { path })?.into();
        let recovered = recover(&storage, replay)?;
        let segments = Segments::new(recovered.segments);
        let log = Arc::new(Log::new(storage, recovered.id, segments, recovered.quarantine, recovered.end));
        let spare = Arc::new(Spare::new(log.clone(), &settings));
        let journal = Self {
            queue: Arc::new(Queue::new(&settings)),
            spare,
            cursors: Cursors::new(recovered.id, &recovered.cursors),
            checkpoints: Checkpoints::new(recovered.id, &recovered.checkpoints),
            settings,
            lock: RwLock::new(Some(lock.clone())),
            threads: Mutex::default(),
            log,
        };
        let spare = journal.spare.clone();
        journal.threads.lock().spare = Some(start("journal-spare", move || spare.run())?);
        let (queue, spare) = (journal.queue.clone(), journal.spare.clone());
        let committer = Committer::new(journal.log.clone(), queue, spare, sink, journal.settings.clone());
        let commit = move || {
            committer.run();
            // As long as anything is committed, the directory is ours.
            drop(lock);
        };
        journal.threads.lock().committer = Some(start("journal-commit", commit)?);
        Ok((journal, recovered.report))
    }

    /// The journal's random name.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.log.id
    }

    /// Hands a record to the committer. Never waits for the storage.
    ///
    /// # Errors
    /// The record was not taken, and why.
    pub fn append(&self, payload: &[u8], item: T) -> Result<Ticket, AppendError> {
        self.queue.append(payload, item, &self.spare)
    }

    /// Hands records to the committer together: all are taken, one behind the other, or none is, and all are committed or
    /// none is, as long as a segment has room for all of them. Never waits for the storage. A crash before their commit can
    /// still leave the first of them behind.
    ///
    /// # Errors
    /// No record was taken, and why. `TooLarge` when they never will be taken together.
    pub fn append_all(&self, records: Vec<(Vec<u8>, T)>) -> Result<Vec<Ticket>, AppendError> {
        self.queue.append_all(records, &self.spare)
    }

    /// Everything before this position is on stable storage.
    #[must_use]
    pub fn committed(&self) -> Position {
        self.log.committed()
    }

    /// Lets the log go on at a position at the earliest, before anything is appended: whoever relies on what was there
    /// has it, although the log has not (any more). True when the log ended before.
    ///
    /// Positions are never given out twice: a destination that has everything up to a position would take what comes to
    /// lie before it for something that it has.
    ///
    /// # Errors
    /// `Ahead`: records were appended since the opening, perhaps at such positions.
    pub fn advance(&self, position: Position) -> Result<bool, JournalError> {
        if position <= self.log.committed() {
            return Ok(false);
        }
        let advanced = self.queue.before_first(|| self.log.publish(position.get()));
        let committed = self.log.committed();
        advanced.map(|()| true).ok_or(JournalError::Ahead { what: "a destination".to_owned(), position, committed })
    }

    /// Where the oldest record kept begins; the committed end if there is none.
    #[must_use]
    pub fn oldest(&self) -> Position {
        self.log.oldest()
    }

    /// A reader of committed records from a position on: the start or end of a record, a cursor, or `oldest`.
    #[must_use]
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(self.log.clone(), from)
    }

    /// Opens a consumer's cursor: from now on nothing it has not passed is deleted. Answers with its stored position;
    /// a new one starts at the oldest record kept, and so does one whose place was deleted while it was not open
    /// (compare with [`Recovery::cursors`] to learn what it missed). Open all cursors before the first `trim`.
    ///
    /// # Errors
    /// `CursorName`, `CursorsTooMany`.
    pub fn cursor(&self, name: &str) -> Result<Position, JournalError> {
        self.cursors.open(name, || self.log.oldest())
    }

    /// The log is no longer kept for this consumer; its stored position stays.
    pub fn close_cursor(&self, name: &str) {
        self.cursors.close(name);
    }

    /// Makes a consumer's position durable. It never moves backwards: the answer is the position that is durable now.
    ///
    /// # Errors
    /// `CursorClosed`, `Ahead`, `Closed`, or `Io`: the position before is durable then.
    pub fn store_cursor(&self, name: &str, position: Position) -> Result<Position, JournalError> {
        let lock = self.lock.read();
        self.writable(lock.as_ref(), position, || format!("cursor {name:?}"))?;
        self.cursors.store(name, position, |file, bytes| self.publish(file, bytes))
    }

    /// Makes the caller's state durable: what it became by every record that ends at or before `position` and by none
    /// behind it. The two newest are kept.
    ///
    /// # Errors
    /// `Ahead`, `CheckpointBehind`, `CheckpointTooLarge`, `Closed`, or `Io`: the checkpoint before is the newest then, or this one is and
    /// an older one could not be deleted.
    pub fn checkpoint(&self, position: Position, payload: impl Into<Vec<u8>>) -> Result<(), JournalError> {
        let lock = self.lock.read();
        self.writable(lock.as_ref(), position, || "checkpoint".to_owned())?;
        let cursors = self.cursors.stats();
        let publish = |file: &str, bytes: &[u8]| self.publish(file, bytes);
        self.checkpoints.store(position, payload.into(), &cursors, &*self.log.storage, publish)
    }

    /// Deletes the segments that every open cursor and a durable checkpoint have passed; how many.
    ///
    /// As long as there is room, that is the older of the two checkpoints, so that either of them can be started
    /// from; once half of `bytes_max` is used or the disk is full, it is the newer one. The last segment stays.
    ///
    /// # Errors
    /// `Closed`, or `Io`: segments deleted before the error stay deleted.
    pub fn trim(&self) -> Result<usize, JournalError> {
        let lock = self.lock.read();
        lock.as_ref().ok_or(JournalError::Closed)?;
        let checkpoints = self.checkpoints.positions();
        let checkpoint = if self.scarce() { checkpoints.last() } else { checkpoints.first() };
        let Some(&checkpoint) = checkpoint else { return Ok(0) };
        let storage = &self.log.storage;
        let mut deleted = 0;
        let removed = self.cursors.with_passed(|passed| {
            while let Some(segment) = self.log.segments.first_passed(passed.min(checkpoint)) {
                let name = names::segment(segment.base);
                storage.remove(&name).map_err(JournalError::io("remove", storage.describe(&name)))?;
                self.log.segments.remove_first();
                deleted += 1;
            }
            Ok(())
        });
        self.spare.room_changed();
        if deleted > 0 {
            let path = storage.describe(names::LOCK);
            storage.sync_dir().map_err(JournalError::io("synchronize the directory of", path))?;
        }
        removed.map(|()| deleted)
    }

    /// How far the oldest segments reach that must be deleted for appends to go on: none further than that, and none
    /// that does not end at or before `passable`, for whose sake it is kept. None when there is room enough, or when
    /// deleting what may go would make none.
    ///
    /// Whoever gives up what lies before the answer stores the cursors concerned there, and then has `trim` delete it.
    #[must_use]
    pub fn room_wanted(&self, passable: Position) -> Option<Position> {
        let after = self.log.segments.bytes() + SEGMENTS_AHEAD * self.settings.segment_bytes;
        let over = after.saturating_sub(self.settings.bytes_max);
        // A full disk says nothing about how much is missing: one segment, and another if that was not enough.
        let no_space = self.spare.trouble() == Some(AppendError::Full(FullReason::NoSpace));
        let wanted = over.max(u64::from(no_space));
        if wanted == 0 { None } else { self.log.segments.end_of(wanted, passable) }
    }

    /// Whether room is scarce, every open cursor has passed the oldest segment, and only a newer checkpoint is missing
    /// for it to be deleted.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        let newest = self.checkpoints.positions().last().copied().unwrap_or_default();
        let passed = self.cursors.with_passed(|passed| self.log.segments.first_passed(passed));
        self.scarce() && passed.is_some_and(|segment| segment.limit > Some(newest.get()))
    }

    /// Why no record is taken at present, and will not be in a moment; None where records are taken.
    ///
    /// Too much at a time is no such reason, and neither is a commit that failed when another succeeded after it.
    #[must_use]
    pub fn refusal(&self) -> Option<AppendError> {
        self.queue.refusal(&self.spare)
    }

    /// Waits until everything appended so far has its outcome and the sink was told; false when time ran out first.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }

    /// Bytes of all segments, and what these may become.
    #[must_use]
    pub fn room(&self) -> (u64, u64) {
        (self.log.segments.bytes(), self.settings.bytes_max)
    }

    /// The journal's numbers now.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let (counters, pending_records, pending_bytes) = self.queue.stats();
        let (damaged_ranges, damaged_bytes) = self.log.quarantine.counts();
        let created = self.log.segments.first().map(|segment| segment.created_unix_secs);
        JournalStats {
            segments: self.log.segments.count(),
            bytes: self.log.segments.bytes(),
            bytes_max: self.settings.bytes_max,
            oldest: self.log.oldest(),
            oldest_created_unix_secs: created.filter(|secs| *secs > 0),
            committed: self.log.committed(),
            pending_records,
            pending_bytes,
            records_committed: counters.records_committed,
            records_failed: counters.records_failed,
            bytes_committed: counters.bytes_committed,
            syncs: counters.syncs,
            sync_micros_last: counters.sync_micros_last,
            sync_micros_total: counters.sync_micros_total,
            faults: counters.faults,
            fault_last: counters.fault_last,
            trouble: self.spare.trouble(),
            damaged_ranges,
            damaged_bytes,
            checkpoint: self.checkpoints.positions().last().copied(),
            cursors: self.cursors.stats(),
        }
    }

    /// Takes no more records, commits those taken, stops the threads and releases the lock. Idempotent. Readers go on
    /// reading.
    pub fn close(&self) {
        self.queue.close();
        let Threads { committer, spare } = std::mem::take(&mut *self.threads.lock());
        join(committer);
        // Only now: the committer needs spares until its end.
        self.spare.close();
        join(spare);
        self.log.quarantine.close();
        *self.lock.write() = None;
    }

    fn scarce(&self) -> bool {
        self.log.segments.bytes() >= self.settings.bytes_max / 2 || self.spare.trouble().is_some()
    }

    fn writable(
        &self,
        lock: Option<&Arc<dyn StorageLock>>,
        position: Position,
        what: impl FnOnce() -> String,
    ) -> Result<(), JournalError> {
        lock.ok_or(JournalError::Closed)?;
        let committed = self.log.committed();
        if position > committed {
            return Err(JournalError::Ahead { what: what(), position, committed });
        }
        Ok(())
    }

    /// Publishes a file; on a full disk at the cost of the spare segment.
    fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
        let storage = &*self.log.storage;
        match publish(storage, name, bytes) {
            Err(JournalError::Io { action, path, source }) if is_no_space(&source) => self
                .spare
                .lend(|| publish(storage, name, bytes))
                .unwrap_or(Err(JournalError::Io { action, path, source })),
            done => done,
        }
    }
}

#[derive(Default)]
struct Threads {
    committer: Option<JoinHandle<()>>,
    spare: Option<JoinHandle<()>>,
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, JournalError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(JournalError::io("start the thread", name.to_owned()))
}

fn join(thread: Option<JoinHandle<()>>) {
    // A sink that drops the journal runs on the committer, which ends by itself afterwards.
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // The error is a sink's panic: whoever waited was told by the queue.
        let _ = thread.join();
    }
}

impl<T: Send + 'static> Drop for Journal<T> {
    fn drop(&mut self) {
        self.close();
    }
}
