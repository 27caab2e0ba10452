//! The one thread that writes segments: takes what waits, writes it with one call, synchronizes once, tells everybody.
//!
//! It starts on the next group as soon as it is done with the last: under load groups grow by themselves, and a single
//! record waits for nothing but its own fdatasync. Where records come in company and a commit is quickly done, it leaves
//! `commit_interval` between the beginnings of two: what many agents send within it shares one.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::error::AppendError;
use super::format::{RecordHeader, SEGMENT_HEADER_BYTES, SegmentCause, SegmentHeader};
use super::group::{Appended, CommitSink, Group};
use super::log::Log;
use super::names;
use super::position::Position;
use super::queue::{Batch, Queue, Waiting};
use super::segments::Segment;
use super::settings::JournalSettings;
use super::spare::{Prepared, Spare};
use super::storage::StorageFile;

pub(crate) struct Committer<T> {
    log: Arc<Log>,
    queue: Arc<Queue<T>>,
    spare: Arc<Spare>,
    sink: Arc<dyn CommitSink<T>>,
    settings: JournalSettings,
    /// The segment that is written to; None until the first record and after a fault.
    active: Option<Active>,
    /// Why the next segment will be begun.
    cause: SegmentCause,
    /// A segment failed, and no header says yet where it ends.
    unsealed: bool,
}

struct Active {
    file: Arc<dyn StorageFile>,
    base: u64,
    cause: SegmentCause,
    /// Where the next record goes, from the file's beginning.
    offset: u64,
}

/// Records that were written and synchronized together.
struct Part {
    records: usize,
    start: u64,
    end: u64,
    sync_micros: u64,
}

impl<T: Send + 'static> Committer<T> {
    pub(crate) fn new(
        log: Arc<Log>,
        queue: Arc<Queue<T>>,
        spare: Arc<Spare>,
        sink: Arc<dyn CommitSink<T>>,
        settings: JournalSettings,
    ) -> Self {
        let cause = if log.segments.count() == 0 { SegmentCause::First } else { SegmentCause::Reopened };
        Self { log, queue, spare, sink, settings, active: None, cause, unsealed: false }
    }

    /// Commits until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        // Also when a sink panics: nobody may wait for a committer that is gone.
        let _abandon = Abandon(self.queue.clone());
        let mut buffer = Vec::new();
        while let Some(batch) = self.queue.take(buffer) {
            buffer = self.commit(batch);
        }
        if self.unsealed {
            // The last chance to say in a header where the segment before ends; the next start does it otherwise.
            let _ = self.begin_segment();
        }
    }

    fn commit(&mut self, batch: Batch<T>) -> Vec<u8> {
        let Batch { mut buffer, records, group } = batch;
        let mut rest = records.into_iter();
        let mut at = 0;
        while !rest.as_slice().is_empty() {
            match self.commit_part(&mut buffer[at..], rest.as_slice()) {
                Ok(part) => {
                    at += (part.end - part.start) as usize;
                    let records = rest.by_ref().take(part.records);
                    self.committed(&part, records, &group);
                }
                Err(fault) => {
                    self.failed(rest, &group, fault);
                    break;
                }
            }
        }
        buffer
    }

    /// Writes and synchronizes as many records as the segment has room for, at least one.
    fn commit_part(&mut self, bytes: &mut [u8], records: &[Waiting<T>]) -> Result<Part, String> {
        if self.room() < records[0].wanted_bytes {
            self.begin_segment().map_err(|error| error.to_string())?;
            self.queue.segment_begun();
        }
        let room = self.room();
        let active = self.active.as_mut().expect("a segment with room for the first record was begun");
        let start = active.base + active.offset;
        let mut end = start;
        let mut count = 0;
        for record in records {
            if end + record.wanted_bytes > start + room {
                break;
            }
            let header = RecordHeader {
                position: end,
                payload_bytes: record.payload_bytes,
                payload_crc: record.payload_crc,
                group_bytes: (end - start) as u32,
            };
            header.put(&mut bytes[(end - start) as usize..], self.log.seed);
            end += record.framed_bytes;
            count += 1;
        }
        let begun = Instant::now();
        let written = active.file.write_at(&bytes[..(end - start) as usize], active.offset);
        if let Err(error) = written.and_then(|()| active.file.sync_data()) {
            return Err(self.seal(&error));
        }
        active.offset += end - start;
        Ok(Part { records: count, start, end, sync_micros: begun.elapsed().as_micros() as u64 })
    }

    fn room(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.settings.segment_bytes - active.offset)
    }

    /// Nothing written since the last success can be relied on, nor anything written to this file later: it ends at
    /// its last committed record, and the next segment's header says so before anything else is committed.
    fn seal(&mut self, error: &io::Error) -> String {
        let Some(active) = self.active.take() else { return error.to_string() };
        // One that failed before its first commit is replaced, and the one before it still ends for the same reason.
        self.cause = if active.offset == SEGMENT_HEADER_BYTES { active.cause } else { SegmentCause::Fault };
        self.unsealed = true;
        let mut fault =
            format!("cannot commit to {}: {error}", self.log.storage.describe(&names::segment(active.base)));
        // Should no segment be begun before a crash, then what failed is at least not there to be found.
        if let Err(error) = active.file.truncate(active.offset) {
            let _ = write!(fault, "; it cannot be cut: {error}");
        }
        if let Err(error) = self.begin_segment() {
            let _ = write!(fault, "; no new segment: {error}");
        }
        fault
    }

    /// Makes the spare the segment that is written to, from the committed end on.
    fn begin_segment(&mut self) -> Result<(), AppendError> {
        let prepared = self.spare.take()?;
        let header = SegmentHeader {
            id: self.log.id,
            base: self.log.committed().get(),
            bytes: self.settings.segment_bytes,
            created_unix_secs: (self.settings.unix_secs)(),
            cause: self.cause,
        };
        let name = names::segment(header.base);
        if let Err(error) = self.name_segment(&prepared, &header, &name) {
            // The new name may be there or come back, and with it the end of the segment before.
            self.active = None;
            self.spare.discard(&prepared.name);
            return Err(AppendError::Failed(format!("cannot begin {}: {error}", self.log.storage.describe(&name))));
        }
        let before = self.log.segments.begin(Segment {
            base: header.base,
            limit: None,
            bytes: header.bytes,
            created_unix_secs: header.created_unix_secs,
            cause: header.cause,
        });
        let (base, cause) = (header.base, header.cause);
        self.active = Some(Active { file: prepared.file, base, cause, offset: SEGMENT_HEADER_BYTES });
        self.cause = SegmentCause::Full;
        self.unsealed = false;
        if let Some(before) = before {
            self.cut(&before, header.base);
        }
        Ok(())
    }

    /// The header is stable before the name, and the name before the first record.
    fn name_segment(&self, prepared: &Prepared, header: &SegmentHeader, name: &str) -> io::Result<()> {
        prepared.file.write_at(&header.page(), 0)?;
        prepared.file.sync_data()?;
        self.log.storage.rename(&prepared.name, name)?;
        self.log.storage.sync_dir()
    }

    /// Gives back the room behind a segment's end.
    fn cut(&self, segment: &Segment, limit: u64) {
        let bytes = limit - segment.base;
        if bytes < segment.bytes {
            let file = self.log.storage.open(&names::segment(segment.base));
            // Only room is at stake: where it cannot be had back now, the whole file goes when it is deleted.
            if file.and_then(|file| file.truncate(bytes)).is_ok() {
                self.log.segments.cut(segment.base, bytes);
                self.spare.room_changed();
            }
        }
    }

    /// The committed end moves first, then waiters learn it, then the sink: whoever hears of a record can read it from the log.
    fn committed(&self, part: &Part, records: impl Iterator<Item = Waiting<T>>, group: &Group) {
        self.log.publish(part.end);
        group.committed(part.records);
        let mut start = part.start;
        let appended = records.map(|record| {
            let end = start + record.framed_bytes;
            let appended = Appended { start: Position::new(start), end: Position::new(end), item: record.item };
            start = end;
            appended
        });
        self.sink.committed(appended.collect());
        self.queue.settle(part.records as u64, |counters| {
            counters.records_committed += part.records as u64;
            counters.bytes_committed += part.end - part.start;
            counters.syncs += 1;
            counters.sync_micros_last = part.sync_micros;
            counters.sync_micros_total += part.sync_micros;
        });
    }

    fn failed(&self, records: std::vec::IntoIter<Waiting<T>>, group: &Group, fault: String) {
        self.queue.place_again(self.room());
        group.failed();
        let count = records.len() as u64;
        self.sink.failed(records.map(|record| record.item).collect());
        self.queue.settle(count, |counters| {
            counters.records_failed += count;
            counters.faults += 1;
            counters.fault_last = Some(fault);
        });
    }
}

struct Abandon<T>(Arc<Queue<T>>);

impl<T> Drop for Abandon<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
