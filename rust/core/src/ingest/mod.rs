//! The one door of the data plane: a frame is decoded, judged, journalled and, after the commit, answered.
//!
//! ```text
//! Conversation (a stream) ─► Ingest::judge ─► Journal::append ─► group commit ─► Shared (the commit's sink)
//!        ▲                                                                          │ names, recent blocks
//!        └──────────── take_replies ◄── ready conversations ◄── wake ◄──────────────┘
//! BlockCursor (a consumer) ◄── recent blocks, else the journal on disk
//! ```
//!
//! Locks are taken in the order names → journal; the registry's shards (and in one, its owners), the accounts', the recent
//! blocks' and the others' are leaves.

mod admission;
mod answer;
mod checkpoint;
mod commits;
mod conversation;
pub mod counters;
mod cursor;
mod epochs;
pub mod heartbeats;
mod identities;
mod inspect;
pub mod latency;
mod measured;
pub mod names;
mod points;
mod policy;
pub mod quotas;
pub mod ranges;
mod readers;
mod recent;
mod reply_to;
mod request;
mod row_cache;
mod rows;
#[cfg(test)]
mod tests;
mod withdrawal;
pub mod worker_points;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::admission::Peer;
use self::admission::StreamState;
pub use self::conversation::Conversation;
pub use self::counters::{Counters, RetryCause};
pub use self::cursor::{BlockCursor, Blocks, CursorPlace};
use self::heartbeats::{Heartbeat, Heartbeats};
pub use self::inspect::{CheckpointContents, Inspected, Payload, SegmentContents, inspect};
pub use self::measured::Measured;
use self::names::Names;
use self::points::ScratchPool;
use self::policy::CurrentPolicy;
pub use self::policy::Policy;
use self::quotas::{Accounts, Quotas};
use self::readers::Readers;
use self::recent::Recent;
use self::reply_to::ReplyTo;
pub use self::reply_to::WakeTask;
pub use self::request::{Answer, Request};
use crate::columns::{BlockDecoder, PointBlock};
use crate::journal::{CommitSink, Journal, JournalError, JournalSettings, Position, Quarantined, Storage, Ticket};
use crate::limits::{CREDIT_INITIAL, Limits};
use crate::series::{Offender, Offenders, Registry};

/// Series that one call of [`Ingest::maintain`] looks at for idle ones, and the rest of the last of their shards.
const EXPIRE_SERIES_MAX: usize = 65_536;

/// What a developer passes.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// Bounds of outside data.
    pub limits: Limits,
    /// A batch may speak only for its certificate's node, relays excepted.
    pub bind_node_id: bool,
    /// Bytes of committed blocks kept in memory for consumers.
    pub recent_bytes_max: usize,
    /// The journal's own.
    pub journal: JournalSettings,
}

/// Called on the committer's thread when replies became ready or blocks readable. It must not block.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// The data plane.
pub struct Ingest {
    policy: CurrentPolicy,
    journal_settings: JournalSettings,
    journal: Journal<Pending>,
    registry: Registry,
    offenders: Mutex<Offenders>,
    heartbeats: Mutex<Heartbeats>,
    accounts: Accounts,
    scratches: ScratchPool,
    shared: Arc<Shared>,
    conversations: AtomicU64,
    last_receipt_us: AtomicI64,
    checkpointed: Mutex<Position>,
    closed: AtomicBool,
    recovered: Recovered,
}

/// What opening found in the journal.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Records that were replayed, and their points.
    pub records: u64,
    /// Points of those records.
    pub points: u64,
    /// Records whose checksum holds and whose names or series do not decode: skipped by every consumer.
    pub undecodable: u64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// Damaged records that were set aside: where, why and into which file.
    pub quarantined: Vec<String>,
    /// How long opening took.
    pub elapsed: Duration,
}

/// What travels with a record to its commit.
struct Pending {
    block: Arc<PointBlock>,
    reply_to: ReplyTo,
    frame_bytes: u64,
    received: Instant,
}

impl Pending {
    /// A record of the collector's own, which no agent waits for.
    fn is_own(&self) -> bool {
        matches!(self.reply_to, ReplyTo::Nobody)
    }
}

/// What the commit's sink touches.
struct Shared {
    names: Mutex<Names<Ticket>>,
    /// Where the last record ends whose name counts as stored.
    applied: AtomicU64,
    recent: Mutex<Recent>,
    readers: Readers,
    ready: Mutex<Vec<u64>>,
    /// Conversations that wait for the commit of a batch they sent a copy of.
    copies: Mutex<Vec<(Ticket, ReplyTo)>>,
    counters: Counters,
    wake: Wake,
}

impl Ingest {
    /// Opens the journal in a storage, recovers it and replays what the newest checkpoint does not cover.
    ///
    /// # Errors
    /// [`JournalError`] when the journal is held by another process, of a newer format, or cannot be read or written.
    pub fn open(storage: Arc<dyn Storage>, settings: IngestSettings, wake: Wake) -> Result<Arc<Self>, JournalError> {
        let begun = Instant::now();
        let shared = Arc::new(Shared {
            names: Mutex::default(),
            applied: AtomicU64::new(0),
            recent: Mutex::new(Recent::new(settings.recent_bytes_max)),
            readers: Readers::default(),
            ready: Mutex::default(),
            copies: Mutex::default(),
            counters: Counters::default(),
            wake,
        });
        let mut replay = checkpoint::Replaying::new(Registry::new(settings.limits.max_cardinality), new_decoder());
        let (journal, recovery) = Journal::open(
            storage,
            settings.journal.clone(),
            Arc::clone(&shared) as Arc<dyn CommitSink<Pending>>,
            &mut replay,
        )?;
        let mut recovered = replay.recovered;
        recovered.torn_bytes = recovery.torn_bytes;
        recovered.quarantined = recovery.quarantined.iter().map(describe).chain(recovery.damaged_files).collect();
        recovered.elapsed = begun.elapsed();
        *shared.names.lock() = replay.names;
        shared.applied.store(journal.committed().get(), Ordering::Release);
        shared.recent.lock().begin_at(journal.committed());
        Ok(Arc::new(Self {
            policy: CurrentPolicy::new(Policy::from(&settings)),
            journal_settings: settings.journal,
            registry: replay.registry,
            offenders: Mutex::default(),
            heartbeats: Mutex::default(),
            accounts: Accounts::default(),
            scratches: ScratchPool::default(),
            shared,
            conversations: AtomicU64::new(1),
            last_receipt_us: AtomicI64::new(i64::MIN),
            checkpointed: Mutex::new(recovery.checkpoint.unwrap_or_default()),
            closed: AtomicBool::new(false),
            recovered,
            journal,
        }))
    }

    /// A new stream of a peer, whose replies that became due are told by [`Ingest::take_ready`].
    #[must_use]
    pub fn conversation(self: &Arc<Self>, peer: Arc<Peer>) -> Conversation {
        let id = self.conversations.fetch_add(1, Ordering::Relaxed);
        Conversation::new(id, ReplyTo::List(id), Arc::clone(self), peer)
    }

    /// A new stream of a peer, served by a task that is woken when replies became due.
    #[must_use]
    pub fn conversation_of_task(self: &Arc<Self>, peer: Arc<Peer>, wake: WakeTask) -> Conversation {
        let id = self.conversations.fetch_add(1, Ordering::Relaxed);
        Conversation::new(id, ReplyTo::Task(wake), Arc::clone(self), peer)
    }

    /// Whether so many bytes more, and with them the largest of frames, may be in flight. While they may not, whoever
    /// waits for a commit had better not read on: what has been read and does not fit has to be sent again.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let limits = &self.policy().limits;
        self.bytes_in_flight() + (bytes + limits.frame_bytes_max) as u64 <= limits.inflight_bytes_max as u64
    }

    /// The cursor of a consumer, which is required from now on: what it has not stored is kept.
    ///
    /// # Errors
    /// [`JournalError`] when its file cannot be read or written.
    pub fn cursor(self: &Arc<Self>, consumer: &str) -> Result<BlockCursor, JournalError> {
        BlockCursor::open(Arc::clone(self), consumer)
    }

    /// Conversations whose replies became ready since the last call; an id may belong to one that is gone.
    #[must_use]
    pub fn take_ready(&self) -> Vec<u64> {
        let mut ready = std::mem::take(&mut *self.shared.ready.lock());
        ready.sort_unstable();
        ready.dedup();
        ready
    }

    /// Expires idle series, writes a checkpoint when a segment's worth was committed since the last one or when only
    /// that makes room, and deletes segments that every consumer has passed.
    ///
    /// # Errors
    /// [`JournalError`] when the checkpoint cannot be written; nothing is lost then, and the next call tries again.
    pub fn maintain(&self, now_unix_secs: u64) -> Result<(), JournalError> {
        let limits = &self.policy().limits;
        let idle_secs = limits.series_idle_secs.saturating_add(limits.touch_secs());
        self.registry.expire(now_unix_secs, idle_secs, EXPIRE_SERIES_MAX);
        self.accounts.forget_idle(i64::try_from(now_unix_secs.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX));
        let behind = self.journal.committed().get().saturating_sub(self.checkpointed.lock().get());
        let due = behind >= self.journal_settings.segment_bytes || self.journal.wants_checkpoint();
        let written = if due { self.checkpoint() } else { Ok(()) };
        // Also without it: on a full disk, what the one before it lets go may be the room that it needs.
        self.journal.trim()?;
        written
    }

    /// Writes a checkpoint: what a restart needs to know besides the records that follow it.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be written.
    pub fn checkpoint(&self) -> Result<(), JournalError> {
        let mut last = self.checkpointed.lock();
        // The position first: what is committed after it may be in the checkpoint and is replayed too, and taking a name
        // or a series twice is taking it once.
        let position = self.shared.applied();
        let payload = checkpoint::encode(&self.shared.names, &self.registry);
        self.journal.checkpoint(position, payload)?;
        *last = position;
        Ok(())
    }

    /// What is committed from one position up to another, read back from the journal.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read, or begins before the oldest record kept.
    pub fn measure(&self, from: Position, to: Position) -> Result<Measured, JournalError> {
        Measured::of(self.journal.reader(from), to)
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

    /// What each identity may send from now on; everybody begins with a full allowance. Until the first call nothing is
    /// bounded.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.accounts.set(quotas);
    }

    /// What identities have spent of their quotas.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The batches that a stream may have unacknowledged from now on.
    fn credit(&self) -> u32 {
        let inflight = self.counters().inflight_batches.load(Ordering::Relaxed);
        if inflight > self.policy().limits.backpressure_threshold as u64 { 1 } else { CREDIT_INITIAL }
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What batches are judged by.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.get()
    }

    /// Judges by another policy from the next frames on. Series that are active go on, also above a lower limit.
    pub fn set_policy(&self, policy: Policy) {
        self.registry.set_max_cardinality(policy.limits.max_cardinality);
        self.policy.replace(policy);
    }

    /// The log is no longer kept for this consumer; its stored position stays.
    pub fn close_cursor(&self, consumer: &str) {
        self.journal.close_cursor(consumer);
        self.shared.readers.remove(consumer);
    }

    /// What the journal was opened with.
    #[must_use]
    pub fn journal_settings(&self) -> &JournalSettings {
        &self.journal_settings
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal<impl Send + 'static + use<>> {
        &self.journal
    }

    /// What opening found.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Active series, series expired so far, and changes of a series' type or unit so far.
    #[must_use]
    pub fn series(&self) -> (usize, u64, u64) {
        (self.registry.len(), self.registry.expired(), self.registry.changed())
    }

    /// The worst offenders against the cardinality limit, worst first.
    #[must_use]
    pub fn offenders(&self) -> Vec<Offender> {
        self.offenders.lock().worst_first()
    }

    /// The newest heartbeat of each worker since it was last handed on, `count_max` at most.
    #[must_use]
    pub fn hand_on_heartbeats(&self, count_max: usize) -> Vec<Heartbeat> {
        self.heartbeats.lock().hand_on(count_max)
    }

    /// Heartbeats taken and heartbeats ignored.
    #[must_use]
    pub fn heartbeat_counts(&self) -> (u64, u64) {
        self.heartbeats.lock().counts()
    }

    /// Epochs forgotten so far because their identity opened newer ones.
    #[must_use]
    pub fn epochs_forgotten(&self) -> u64 {
        self.shared.names.lock().epochs_forgotten()
    }

    /// Bytes of committed blocks in memory.
    #[must_use]
    pub fn recent_bytes(&self) -> usize {
        self.shared.recent.lock().bytes()
    }
}

/// A damaged range of the journal in words for the log.
fn describe(damaged: &Quarantined) -> String {
    let place = damaged.file.as_deref().or(damaged.error.as_deref()).unwrap_or("no bytes to keep");
    format!("{} bytes at {}: {:?} ({place})", damaged.bytes, damaged.position, damaged.reason)
}

/// A decoder of journal records.
fn new_decoder() -> BlockDecoder {
    BlockDecoder::new().expect("the compression library gets its memory or nothing works")
}
