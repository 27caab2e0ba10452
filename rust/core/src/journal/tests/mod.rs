//! The journal on storages that behave and that do not.

mod corruption;
mod crash;
mod faults;
mod inspection;
mod model;
mod ordinary;
mod refusal;
mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;

/// Long enough for anything that happens at all, on any machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const SEGMENT_BYTES: u64 = SEGMENT_BYTES_MIN;

/// A record as replay, a reader or the sink showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    fn new(record: Record<'_>) -> Self {
        Self { start: record.start, end: record.end, payload: record.payload.to_vec() }
    }
}

/// What was handed over at opening.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) checkpoint: Option<(Position, Vec<u8>)>,
    pub(super) records: Vec<Seen>,
}

impl Replay for Replayed {
    fn checkpoint(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        assert!(self.records.is_empty(), "the checkpoint comes first");
        self.checkpoint = Some((position, payload.to_vec()));
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.records.push(Seen::new(record));
        Ok(())
    }
}

/// Keeps what the committer tells; items are the payloads.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) committed: Mutex<Vec<Seen>>,
    pub(super) failed: Mutex<Vec<Vec<u8>>>,
}

impl CommitSink<Vec<u8>> for Told {
    fn committed(&self, records: Vec<Appended<Vec<u8>>>) {
        let seen = |record: Appended<Vec<u8>>| Seen { start: record.start, end: record.end, payload: record.item };
        self.committed.lock().extend(records.into_iter().map(seen));
    }

    fn failed(&self, items: Vec<Vec<u8>>) {
        self.failed.lock().extend(items);
    }
}

/// An open journal with everything it has said.
pub(super) struct Opened {
    pub(super) journal: Journal<Vec<u8>>,
    pub(super) recovery: Recovery,
    pub(super) replayed: Replayed,
    pub(super) told: Arc<Told>,
}

pub(super) fn settings() -> JournalSettings {
    JournalSettings {
        segment_bytes: SEGMENT_BYTES,
        bytes_max: 16 * SEGMENT_BYTES,
        retry_interval: Duration::from_millis(1),
        unix_secs: || 1_700_000_000,
        ..JournalSettings::default()
    }
}

pub(super) fn try_open(storage: Arc<dyn Storage>, settings: JournalSettings) -> Result<Opened, JournalError> {
    let told = Arc::new(Told::default());
    let mut replayed = Replayed::default();
    let (journal, recovery) = Journal::open(storage, settings, told.clone(), &mut replayed)?;
    Ok(Opened { journal, recovery, replayed, told })
}

pub(super) fn open(storage: &Arc<impl Storage>) -> Opened {
    try_open(storage.clone(), settings()).expect("the journal opens")
}

impl Opened {
    pub(super) fn append(&self, payload: &[u8]) -> Result<Ticket, AppendError> {
        self.journal.append(payload, payload.to_vec())
    }

    /// Appends one record and waits for its outcome, until the sink and the counters know it too.
    pub(super) fn commit(&self, payload: &[u8]) -> Outcome {
        let Ok(ticket) = self.append(payload) else { return Outcome::Failed };
        assert!(self.journal.flush(PATIENCE), "every record gets its outcome");
        ticket.outcome()
    }

    /// Every committed record from a position on.
    pub(super) fn try_read_from(&self, from: Position) -> Result<Vec<Seen>, JournalError> {
        let mut reader = self.journal.reader(from);
        let mut seen = Vec::new();
        while let Some(record) = reader.next_record()? {
            seen.push(Seen::new(record));
        }
        Ok(seen)
    }

    pub(super) fn read_from(&self, from: Position) -> Vec<Seen> {
        self.try_read_from(from).expect("the journal can be read")
    }

    pub(super) fn read(&self) -> Vec<Seen> {
        self.read_from(self.journal.oldest())
    }
}

/// The name of the newest file whose name begins so.
pub(super) fn newest(storage: &dyn Storage, prefix: &str) -> String {
    storage.names().unwrap().into_iter().filter(|name| name.starts_with(prefix)).max().expect("there is one")
}

/// A payload of a length that can be told from every other.
pub(super) fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(bytes.max(8), number as u8 | 1);
    payload
}

pub(super) fn payloads(seen: &[Seen]) -> Vec<Vec<u8>> {
    seen.iter().map(|seen| seen.payload.clone()).collect()
}
