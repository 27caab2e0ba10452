//! A signal's journal: requests in, group commits, and what a restart finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Signal;
use super::counters::SignalCounters;
use super::cursor::{SignalCursor, SignalPlace};
use super::judge::judge;
use super::record::{self, Head, Unreadable};
use super::request::SignalRequest;
use super::unread::{Mark, Unread};
use crate::ingest::quotas::Standing;
use crate::ingest::{Ingest, Peer, Wake};
use crate::journal::{
    AppendError, Appended, CommitSink, FullReason, Journal, JournalError, JournalSettings, Position, Record, Replay,
    Storage, Ticket,
};
use crate::translate::otlp::json;
use crate::translate::{Encoding, RequestFault};

/// What a sender is told to wait while the journal has no room.
const RETRY_AFTER_FULL_MS: u32 = 1_000;
/// And while more comes in than the disk commits.
const RETRY_AFTER_BUSY_MS: u32 = 100;
/// The state at a checkpoint, which says nothing: records are all that there is.
const CHECKPOINT: &[u8] = &[1];

/// One signal's requests on their way to its dataset. It shares limits, quotas and the binding of nodes with the points'
/// ingest.
pub struct SignalJournal {
    signal: Signal,
    ingest: Arc<Ingest>,
    pub(super) journal: Journal<Pending>,
    settings: JournalSettings,
    pub(super) shared: Arc<Shared>,
    requests: AtomicU64,
    /// Receipt of the record appended last: times and records have one order.
    received_unix_us: Mutex<i64>,
    checkpointed: Mutex<Position>,
    closed: AtomicBool,
    recovered: SignalRecovered,
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct SignalRecovered {
    /// Requests behind the last checkpoint.
    pub records: u64,
    /// Their rows.
    pub rows: u64,
    /// Records whose checksum holds and that do not decode.
    pub undecodable: u64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// Damaged ranges and files that were set aside.
    pub quarantined: usize,
    /// How long opening took.
    pub elapsed: Duration,
}

/// What travels with a record to its commit.
pub(super) struct Pending {
    id: u64,
    rows: u64,
    received_unix_us: i64,
}

/// What the commit's sink touches.
pub(super) struct Shared {
    pub(super) unread: Mutex<Unread>,
    ready: Mutex<Vec<u64>>,
    pub(super) counters: Arc<SignalCounters>,
    wake: Wake,
}

impl SignalJournal {
    /// Opens a journal in a storage and recovers it.
    ///
    /// # Errors
    /// [`JournalError`] when it is held by another process, of a newer format, or cannot be read or written.
    pub fn open(
        signal: Signal,
        storage: Arc<dyn Storage>,
        settings: JournalSettings,
        ingest: Arc<Ingest>,
        wake: Wake,
    ) -> Result<Arc<Self>, JournalError> {
        let begun = Instant::now();
        let shared =
            Arc::new(Shared { unread: Mutex::default(), ready: Mutex::default(), counters: Arc::default(), wake });
        let mut replay = Replaying::default();
        let sink = Arc::clone(&shared) as Arc<dyn CommitSink<Pending>>;
        let (journal, recovery) = Journal::open(storage, settings.clone(), sink, &mut replay)?;
        let mut recovered = replay.0;
        recovered.torn_bytes = recovery.torn_bytes;
        recovered.quarantined = recovery.quarantined.len() + recovery.damaged_files.len();
        recovered.elapsed = begun.elapsed();
        Ok(Arc::new(Self {
            signal,
            ingest,
            journal,
            settings,
            shared,
            requests: AtomicU64::new(1),
            received_unix_us: Mutex::new(i64::MIN),
            checkpointed: Mutex::new(recovery.checkpoint.unwrap_or_default()),
            closed: AtomicBool::new(false),
            recovered,
        }))
    }

    /// Takes a request as its body came. Its id is among those of [`Self::take_ready`] when its commit is known.
    ///
    /// # Errors
    /// [`RequestFault`]: the request is refused whole.
    pub fn take(
        &self,
        as_json: bool,
        encoding: Encoding,
        body: &[u8],
        peer: &Peer,
        now_unix_ns: i64,
    ) -> Result<SignalRequest, RequestFault> {
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        let put_off = |retry_ms| SignalRequest::put_off(id, retry_ms, Arc::clone(&self.shared.counters));
        let accounts = self.ingest.accounts();
        let standing = accounts.arrive(&peer.identity, 1, body.len(), now_unix_ns);
        if standing == Standing::Out {
            return Ok(put_off(RETRY_AFTER_FULL_MS));
        }
        let policy = self.ingest.policy();
        let unpacked = encoding.unpack(body, policy.limits.inflated_bytes_max)?;
        accounts.inflated(&peer.identity, standing, unpacked.len().saturating_sub(body.len()), now_unix_ns);
        let from_json;
        let request = match (as_json, self.signal) {
            (false, _) => &*unpacked,
            (true, Signal::Traces) => {
                from_json = json::traces_request(&unpacked)?;
                &from_json
            }
            (true, Signal::Logs) => {
                from_json = json::logs_request(&unpacked)?;
                &from_json
            }
        };
        let bound_to = (policy.bind_node_id && !peer.relay).then_some(&*peer.node);
        let judged = judge(self.signal, request, bound_to)
            .map_err(|fault| RequestFault::Wire { what: self.signal.message(), fault })?;
        self.shared.counters.judged(judged.rows, &judged.rejections);
        let rows = judged.rows;
        let stored =
            |ticket| SignalRequest::stored(id, ticket, rows, judged.rejections, Arc::clone(&self.shared.counters));
        if rows == 0 {
            return Ok(stored(None));
        }
        if let Err(excess) = accounts.admit(&peer.identity, standing, rows as usize, now_unix_ns) {
            return Ok(put_off(excess.retry_after_ms));
        }
        let head = Head {
            received_unix_us: 0,
            rows,
            repeated_bytes: judged.repeated_bytes,
            identity: (&*peer.identity).into(),
            node: (&*peer.node).into(),
            refused: judged.refused,
        };
        let appended = record::encode(&head, request)
            .map_err(|error| AppendError::Failed(error.to_string()))
            .and_then(|mut record| self.append(id, rows, &mut record, now_unix_ns));
        if appended.is_err() {
            accounts.give_back(&peer.identity, rows as usize, now_unix_ns);
        }
        match appended {
            Ok(ticket) => Ok(stored(Some(ticket))),
            Err(AppendError::TooLarge { max, .. }) => Err(RequestFault::TooLargePacked { bytes_max: max }),
            Err(AppendError::Full(FullReason::PendingBytes)) => Ok(put_off(RETRY_AFTER_BUSY_MS)),
            Err(_) => Ok(put_off(RETRY_AFTER_FULL_MS)),
        }
    }

    fn append(&self, id: u64, rows: u64, packed: &mut [u8], now_unix_ns: i64) -> Result<Ticket, AppendError> {
        let mut last = self.received_unix_us.lock();
        // Never back: whoever reads cuts files at the hour.
        let received_unix_us = (*last).max(now_unix_ns.div_euclid(1_000));
        record::set_received(packed, received_unix_us);
        let ticket = self.journal.append(packed, Pending { id, rows, received_unix_us })?;
        *last = received_unix_us;
        Ok(ticket)
    }

    /// Requests whose commits became known since the last call.
    #[must_use]
    pub fn take_ready(&self) -> Vec<u64> {
        std::mem::take(&mut *self.shared.ready.lock())
    }

    /// The cursor of the consumer, of which there is one: what it has not stored is kept.
    ///
    /// # Errors
    /// [`JournalError`] when its file cannot be read or written.
    pub fn cursor(self: &Arc<Self>, consumer: &str) -> Result<SignalCursor, JournalError> {
        SignalCursor::open(Arc::clone(self), consumer)
    }

    /// Writes a checkpoint when a segment's worth was committed since the last one or when only that makes room, and
    /// deletes segments that the consumer has passed.
    ///
    /// # Errors
    /// [`JournalError`] when the checkpoint cannot be written; nothing is lost then, and the next call tries again.
    pub fn maintain(&self) -> Result<(), JournalError> {
        let behind = self.journal.committed().get().saturating_sub(self.checkpointed.lock().get());
        let due = behind >= self.settings.segment_bytes || self.journal.wants_checkpoint();
        let written = if due { self.checkpoint() } else { Ok(()) };
        self.journal.trim()?;
        written
    }

    fn checkpoint(&self) -> Result<(), JournalError> {
        let mut last = self.checkpointed.lock();
        let position = self.journal.committed();
        self.journal.checkpoint(position, CHECKPOINT)?;
        *last = position;
        Ok(())
    }

    /// Waits until everything appended is committed or failed; false when time ran out first.
    #[must_use]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.journal.flush(timeout)
    }

    /// Commits what was appended, writes a checkpoint and lets go of the journal. Idempotent.
    ///
    /// # Errors
    /// [`JournalError`] when the checkpoint cannot be written; a restart then replays more.
    pub fn close(&self) -> Result<(), JournalError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let drained = self.journal.flush(Duration::from_secs(10));
        let written = if drained { self.checkpoint() } else { Ok(()) };
        self.journal.close();
        written
    }

    /// Which signal's it is.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal<impl Send + 'static + use<>> {
        &self.journal
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &SignalCounters {
        &self.shared.counters
    }

    /// What opening found.
    #[must_use]
    pub fn recovered(&self) -> &SignalRecovered {
        &self.recovered
    }
}

impl CommitSink<Pending> for Shared {
    fn committed(&self, records: Vec<Appended<Pending>>) {
        let mut unread = self.unread.lock();
        for Appended { start, end, item } in &records {
            let Pending { rows, received_unix_us, .. } = *item;
            self.counters.rows_committed.fetch_add(rows, Ordering::Relaxed);
            unread.push(Mark { start: *start, end: *end, rows, received_unix_us });
        }
        drop(unread);
        self.ready.lock().extend(records.iter().map(|record| record.item.id));
        (self.wake)();
    }

    fn failed(&self, items: Vec<Pending>) {
        self.counters.commits_failed.fetch_add(items.len() as u64, Ordering::Relaxed);
        self.ready.lock().extend(items.iter().map(|item| item.id));
        (self.wake)();
    }
}

/// Counts what a restart finds: there is no state but the records.
#[derive(Default)]
struct Replaying(SignalRecovered);

impl Replay for Replaying {
    fn checkpoint(&mut self, _position: Position, payload: &[u8]) -> Result<(), String> {
        if payload == CHECKPOINT { Ok(()) } else { Err("it is not of a journal of traces or logs".to_owned()) }
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        match record::head(record.payload) {
            Ok((head, _)) => {
                self.0.records += 1;
                self.0.rows += head.rows;
            }
            Err(error @ Unreadable::UnknownVersion(_)) => return Err(error.to_string()),
            Err(Unreadable::Damaged) => self.0.undecodable += 1,
        }
        Ok(())
    }
}

impl SignalJournal {
    /// A place in the journal that a consumer begins at.
    pub(super) fn place(&self, consumer: &str) -> Result<Arc<SignalPlace>, JournalError> {
        Ok(Arc::new(SignalPlace::new(self.journal.cursor(consumer)?)))
    }
}
