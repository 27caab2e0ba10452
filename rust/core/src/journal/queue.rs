//! Records on their way from appenders to the committer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crc32c::crc32c;
use parking_lot::{Condvar, Mutex};

use super::error::{AppendError, FullReason};
use super::format::{RECORD_HEADER_BYTES, framed_bytes};
use super::group::{Group, Ticket, deadline};
use super::settings::JournalSettings;
use super::spare::Spare;

/// An emptied buffer of more than this is given back before it is used again.
const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// Records of so many bytes are worth a commit of their own: they wait for no company.
const COMPANY_BYTES: usize = 256 * 1024;

/// After a failed commit it may be that nothing more comes, because somebody was told that nothing can be taken: so long
/// that is what is said, and then the next record is the one that finds out.
const FAULT_TOLD: Duration = Duration::from_secs(30);

/// Records that are going to be committed together.
pub(crate) struct Batch<T> {
    /// Framed records; of their headers only lengths and payload checksums are filled in.
    pub(crate) buffer: Vec<u8>,
    pub(crate) records: Vec<Waiting<T>>,
    pub(crate) group: Arc<Group>,
}

/// One of them.
pub(crate) struct Waiting<T> {
    /// With header and padding.
    pub(crate) framed_bytes: u64,
    /// What a segment must have room for that it goes to: also for those behind it that are to share its commit.
    pub(crate) wanted_bytes: u64,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    pub(crate) item: T,
}

/// Counted since the journal was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records_committed: u64,
    pub(crate) records_failed: u64,
    pub(crate) bytes_committed: u64,
    pub(crate) syncs: u64,
    pub(crate) sync_micros_last: u64,
    pub(crate) sync_micros_total: u64,
    pub(crate) faults: u64,
    pub(crate) fault_last: Option<String>,
}

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// The committer waits for work here.
    work: Condvar,
    /// `flush` waits for outcomes here.
    settled: Condvar,
    pending_bytes_max: usize,
    record_bytes_max: usize,
    /// Segments that may be begun at once when everything that can be deleted is.
    segments_max: u64,
    commit_interval: Duration,
    company_bytes: usize,
}

struct State<T> {
    batch: Batch<T>,
    layout: Layout,
    /// Taken and not settled.
    committing: Option<Arc<Group>>,
    /// When the last commit began, if it was of more than one record: as long as records come in company, they wait for
    /// each other. One that comes alone waits for nothing but its own commit.
    in_company: Option<Instant>,
    /// Somebody waits for everything that was appended before.
    hurried: bool,
    closed: bool,
    /// A record had no room in the segment that is written, and none could be begun.
    refused: bool,
    /// When a commit failed, as long as none has succeeded since.
    failed: Option<Instant>,
    appended: u64,
    settled: u64,
    counters: Counters,
}

/// Where waiting records will lie, so that only those are taken that have room.
#[derive(Clone, Copy)]
struct Layout {
    /// Bytes left in the segment that the last waiting record goes to.
    room: u64,
    /// Segments that must be begun for the records that wait.
    segments: u64,
    /// Bytes for records in a new segment.
    segment_room: u64,
}

impl Layout {
    /// Places a record of so many bytes in a segment that has room for what is wanted.
    fn place(&mut self, bytes: u64, wanted: u64, spare: &Spare) -> Result<(), AppendError> {
        if wanted > self.room {
            if spare.allowance()? <= self.segments {
                return Err(AppendError::Full(FullReason::BytesMax));
            }
            self.begin();
        }
        self.room -= bytes;
        Ok(())
    }

    fn begin(&mut self) {
        self.segments += 1;
        self.room = self.segment_room;
    }

    /// Segments that records of these sizes take where nothing else is.
    fn segments_for(self, sizes: impl Iterator<Item = u64>) -> u64 {
        let mut fresh = Self { room: 0, segments: 0, ..self };
        for bytes in sizes {
            if bytes > fresh.room {
                fresh.begin();
            }
            fresh.room = fresh.room.saturating_sub(bytes);
        }
        fresh.segments
    }
}

impl<T> State<T> {
    /// Places records of so many bytes in segments that have room for what is wanted: all, or none.
    fn place(&mut self, records: &[(u64, u64)], spare: &Spare) -> Result<(), AppendError> {
        let mut layout = self.layout;
        let placed = records.iter().try_for_each(|&(bytes, wanted)| layout.place(bytes, wanted, spare));
        self.refused |= placed.is_err();
        placed.map(|()| self.layout = layout)
    }
}

fn empty<T>(buffer: Vec<u8>) -> Batch<T> {
    Batch { buffer, records: Vec::new(), group: Arc::default() }
}

impl<T> Queue<T> {
    pub(crate) fn new(settings: &JournalSettings) -> Self {
        let state = State {
            batch: empty(Vec::new()),
            layout: Layout { room: 0, segments: 0, segment_room: settings.segment_room() },
            committing: None,
            in_company: None,
            hurried: false,
            closed: false,
            refused: false,
            failed: None,
            appended: 0,
            settled: 0,
            counters: Counters::default(),
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            settled: Condvar::new(),
            pending_bytes_max: settings.pending_bytes_max,
            record_bytes_max: settings.record_bytes_max(),
            segments_max: (settings.bytes_max / settings.segment_bytes).saturating_sub(1),
            commit_interval: settings.commit_interval,
            company_bytes: COMPANY_BYTES.min(settings.pending_bytes_max / 2),
        }
    }

    pub(crate) fn append(&self, payload: &[u8], item: T, spare: &Spare) -> Result<Ticket, AppendError> {
        if payload.len() > self.record_bytes_max {
            return Err(AppendError::TooLarge { bytes: payload.len(), max: self.record_bytes_max });
        }
        let payload_crc = crc32c(payload);
        let framed_bytes = framed_bytes(payload.len());
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.batch.buffer.len() + framed_bytes as usize > self.pending_bytes_max {
            return Err(AppendError::Full(FullReason::PendingBytes));
        }
        state.place(&[(framed_bytes, framed_bytes)], spare)?;
        Ok(self.push(state, payload, payload_crc, item, framed_bytes))
    }

    /// Appends records together: all of them are taken, one behind the other, or none is. Where a segment holds them all
    /// they go to one, so that a single write and synchronization decides about all.
    pub(crate) fn append_all(&self, records: Vec<(Vec<u8>, T)>, spare: &Spare) -> Result<Vec<Ticket>, AppendError> {
        let sizes = || records.iter().map(|(payload, _)| framed_bytes(payload.len()));
        let bytes = sizes().sum::<u64>() as usize;
        let checksums: Vec<u32> = records.iter().map(|(payload, _)| crc32c(payload)).collect();
        let largest = records.iter().map(|(payload, _)| payload.len()).max().unwrap_or(0);
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.closed {
            return Err(AppendError::Closed);
        }
        let never = largest > self.record_bytes_max
            || bytes > self.pending_bytes_max
            || state.layout.segments_for(sizes()) > self.segments_max;
        if never {
            let max = (self.segments_max * state.layout.segment_room).min(self.pending_bytes_max as u64);
            return Err(AppendError::TooLarge { bytes, max: max as usize });
        }
        if state.batch.buffer.len() + bytes > self.pending_bytes_max {
            return Err(AppendError::Full(FullReason::PendingBytes));
        }
        let together = bytes as u64;
        let in_one = together <= state.layout.segment_room;
        let wanted = |place: usize, framed_bytes| if in_one && place == 0 { together } else { framed_bytes };
        let places: Vec<_> = sizes().enumerate().map(|(place, bytes)| (bytes, wanted(place, bytes))).collect();
        state.place(&places, spare)?;
        let push = |(place, ((payload, item), checksum)): (usize, ((Vec<u8>, T), u32))| {
            self.push(state, &payload, checksum, item, wanted(place, framed_bytes(payload.len())))
        };
        Ok(records.into_iter().zip(checksums).enumerate().map(push).collect())
    }

    /// Puts a record, which has room, behind those that wait.
    fn push(&self, state: &mut State<T>, payload: &[u8], payload_crc: u32, item: T, wanted_bytes: u64) -> Ticket {
        let batch = &mut state.batch;
        let framed_bytes = framed_bytes(payload.len());
        let end = batch.buffer.len() + framed_bytes as usize;
        batch.buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        batch.buffer.extend_from_slice(payload);
        batch.buffer.resize(end, 0);
        let ticket = Ticket::new(batch.group.clone(), batch.records.len());
        let payload_bytes = payload.len() as u32;
        batch.records.push(Waiting { framed_bytes, wanted_bytes, payload_bytes, payload_crc, item });
        state.appended += 1;
        // The committer sleeps until there is one, and again until there are enough of them or it is time.
        if batch.records.len() == 1 || (end >= self.company_bytes && end - (framed_bytes as usize) < self.company_bytes)
        {
            self.work.notify_one();
        }
        ticket
    }

    /// The next records to commit; None when the queue is closed and empty. `buffer` is filled next.
    pub(crate) fn take(&self, mut buffer: Vec<u8>) -> Option<Batch<T>> {
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        let mut state = self.state.lock();
        while state.batch.records.is_empty() {
            if state.closed {
                return None;
            }
            self.work.wait(&mut state);
        }
        if let Some(begun) = state.in_company {
            let due = begun + self.commit_interval;
            while !(state.closed || state.hurried || state.batch.buffer.len() >= self.company_bytes) {
                if self.work.wait_until(&mut state, due).timed_out() {
                    break;
                }
            }
        }
        let batch = std::mem::replace(&mut state.batch, empty(buffer));
        state.committing = Some(batch.group.clone());
        state.in_company = (batch.records.len() > 1).then(Instant::now);
        state.hurried = false;
        Some(batch)
    }

    /// Runs an action if nothing was appended yet, and keeps everybody from appending meanwhile; None otherwise.
    pub(crate) fn before_first<R>(&self, action: impl FnOnce() -> R) -> Option<R> {
        let state = self.state.lock();
        (state.appended == 0).then(action)
    }

    /// A segment was begun for records that wait.
    pub(crate) fn segment_begun(&self) {
        let mut state = self.state.lock();
        state.layout.segments = state.layout.segments.saturating_sub(1);
    }

    /// Records were not committed: those that wait now will lie in another place, with so much room in the segment.
    pub(crate) fn place_again(&self, room: u64) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.layout.room = room;
        state.layout.segments = 0;
        for waiting in &state.batch.records {
            if waiting.wanted_bytes > state.layout.room {
                state.layout.begin();
            }
            state.layout.room -= waiting.framed_bytes;
        }
    }

    /// So many of the records taken have their outcome, and everybody was told.
    pub(crate) fn settle(&self, records: u64, count: impl FnOnce(&mut Counters)) {
        let mut state = self.state.lock();
        state.settled += records;
        let faults = state.counters.faults;
        count(&mut state.counters);
        let failed = state.counters.faults > faults;
        // Perhaps because no segment could be begun that had still seemed possible when they were taken.
        state.refused |= failed;
        state.failed = failed.then(Instant::now);
        self.settled.notify_all();
    }

    /// Waits until everything appended so far has its outcome; false when time ran out first.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        let mut state = self.state.lock();
        let target = state.appended;
        state.hurried = state.settled < target;
        self.work.notify_one();
        while state.settled < target {
            if self.settled.wait_until(&mut state, deadline).timed_out() {
                return state.settled >= target;
            }
        }
        true
    }

    /// Takes no more records; what waits is still committed.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// The committer is gone: nothing that waits will be committed.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.settled = state.appended;
        if let Some(group) = state.committing.take() {
            group.failed();
        }
        let abandoned = std::mem::replace(&mut state.batch, empty(Vec::new()));
        abandoned.group.failed();
        self.settled.notify_all();
    }

    /// Why nothing is taken at present, as far as that is not over in a moment; None where records are.
    ///
    /// Where no segment can be begun, small records may still fit into the one that is written: what decides is that one
    /// did not. It then holds until a segment can be begun, whether or not anybody tries.
    pub(crate) fn refusal(&self, spare: &Spare) -> Option<AppendError> {
        let mut state = self.state.lock();
        if state.closed {
            return Some(AppendError::Closed);
        }
        let trouble = match spare.allowance() {
            Err(trouble) => Some(trouble),
            Ok(segments) if segments <= state.layout.segments => Some(AppendError::Full(FullReason::BytesMax)),
            Ok(_) => None,
        };
        if let Some(trouble) = trouble {
            let nothing_fits = state.layout.room < framed_bytes(1);
            return (state.refused || nothing_fits).then_some(trouble);
        }
        state.refused = false;
        let told = state.failed.is_some_and(|failed| failed.elapsed() < FAULT_TOLD);
        told.then(|| AppendError::Failed(state.counters.fault_last.clone().unwrap_or_default()))
    }

    /// Counters, records and bytes that wait.
    pub(crate) fn stats(&self) -> (Counters, u64, u64) {
        let state = self.state.lock();
        (state.counters.clone(), state.appended - state.settled, state.batch.buffer.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::super::log::Log;
    use super::super::recovery::recover;
    use super::super::segments::Segments;
    use super::super::storage::{MemoryStorage, Storage};
    use super::super::tests::{PATIENCE, Replayed};
    use super::*;

    /// Nobody's patience ends before it, so only what is said to hurry ends a wait for company.
    const FOR_EVER: Duration = Duration::from_secs(86_400);

    /// A committer that has just taken two records, and is ready for more.
    fn in_company(commit_interval: Duration) -> (Arc<Queue<()>>, Spare, mpsc::Receiver<usize>) {
        let settings = JournalSettings { commit_interval, ..JournalSettings::default() };
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let found = recover(&storage, &mut Replayed::default()).expect("an empty storage");
        let log = Log::new(storage, found.id, Segments::new(found.segments), found.quarantine, found.end);
        let (queue, spare) = (Arc::new(Queue::new(&settings)), Spare::new(Arc::new(log), &settings));
        for _ in 0..2 {
            queue.append(b"record", (), &spare).expect("there is room");
        }
        let (taken, told) = mpsc::channel();
        let committer = Arc::clone(&queue);
        thread::spawn(move || {
            while let Some(batch) = committer.take(Vec::new()) {
                let records = batch.records.len();
                committer.settle(records as u64, |_| {});
                taken.send(records).expect("the test listens");
            }
        });
        assert_eq!(told.recv_timeout(PATIENCE), Ok(2), "nothing came before them, so they wait for nobody");
        (queue, spare, told)
    }

    #[test]
    fn a_record_behind_several_waits_for_company_unless_somebody_waits_for_it() {
        let (queue, spare, told) = in_company(FOR_EVER);
        queue.append(b"record", (), &spare).expect("there is room");
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
        queue.append(b"record", (), &spare).expect("there is room");
        assert!(queue.flush(PATIENCE));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(2));
        queue.append(b"record", (), &spare).expect("there is room");
        queue.close();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1), "closing hurries, too");
    }

    #[test]
    fn a_record_behind_a_single_one_waits_for_nobody() {
        let (queue, spare, told) = in_company(FOR_EVER);
        queue.append(b"record", (), &spare).expect("there is room");
        assert!(queue.flush(PATIENCE));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        for _ in 0..3 {
            queue.append(b"record", (), &spare).expect("there is room");
            assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        }
    }

    #[test]
    fn many_bytes_need_no_company_and_the_wait_ends_by_itself() {
        let (queue, spare, told) = in_company(FOR_EVER);
        queue.append(&vec![1; COMPANY_BYTES], (), &spare).expect("there is room");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        let (queue, spare, told) = in_company(Duration::from_millis(1));
        queue.append(b"record", (), &spare).expect("there is room");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
    }
}
