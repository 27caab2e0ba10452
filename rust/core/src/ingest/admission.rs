//! Judging a frame, in the order of the contract: malformed, stored before, withdrawn, unknown series, too large, identity, then
//! each point by the first rule that it breaks. What remains becomes one block and one journal record.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::answer;
use super::counters::RetryCause;
use super::heartbeats::{Heartbeat, RunningTask};
use super::names::Verdict;
use super::points::{PointJudge, Scratch, Work};
use super::policy::Policy;
use super::quotas::Standing;
use super::reply_to::ReplyTo;
use super::{Ingest, Pending};
use crate::columns::{BatchHeader, PointBlock, SharedSeries};
use crate::journal::{AppendError, Ticket};
use crate::limits::{HEARTBEAT_TEXT_BYTES_MAX, TAGS_MAX};
use crate::series::effective::NODE_ID;
use crate::series::{CardinalityLimit, CommonTags, Crowd, NodeClaim, RawTag, StreamDictionary};
use crate::wire::decode::{KeptReference, Reference, References, TagSpans, decode_with, peek_sequence};
use crate::wire::{BatchAck, DecodedBatch, Outcome, Reason, Rejection};

/// What agents are told to wait when the collector is busy, and when it cannot store at all.
const RETRY_AFTER_BUSY_MS: u32 = 100;
const RETRY_AFTER_FULL_MS: u32 = 1_000;

/// Whose batches a stream brings.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From the certificate; names the peer's batches.
    pub identity: Arc<str>,
    /// The node that the certificate names.
    pub node: Arc<str>,
    /// It may speak for any node.
    pub relay: bool,
}

/// What a stream has said so far that later batches build on.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) dictionary: StreamDictionary,
    pub(super) common: CommonTags,
    /// The series of the block before.
    pub(super) series: SharedSeries,
}

/// What became of a frame.
pub(super) enum Judged {
    /// The answer is known.
    Answered(BatchAck),
    /// The answer, once the commit has succeeded.
    Appended(BatchAck, Ticket),
    /// A duplicate of this sequence, once the original's commit has succeeded.
    CopyOf(u64, Ticket),
    /// Not at all: its identity went on and on over its quota.
    QuotaExceeded,
}

/// A frame and where it came from.
pub(super) struct Arrival<'a> {
    pub(super) reply_to: &'a ReplyTo,
    pub(super) peer: &'a Peer,
    pub(super) frame: &'a [u8],
    pub(super) now_unix_ns: i64,
    pub(super) policy: &'a Policy,
}

impl Ingest {
    /// Judges a frame and appends what may be stored.
    pub(super) fn judge(&self, arrival: &Arrival<'_>, stream: &mut StreamState) -> Judged {
        let received = Instant::now();
        self.counters().batches_received.fetch_add(1, Relaxed);
        self.counters().frame_bytes_received.fetch_add(arrival.frame.len() as u64 + 4, Relaxed);
        let standing = self.accounts.arrive(&arrival.peer.identity, 1, arrival.frame.len(), arrival.now_unix_ns);
        if standing == Standing::Out {
            return Judged::QuotaExceeded;
        }
        let mut scratch = self.scratches.take();
        let judged = self.judge_with(arrival, stream, &mut scratch, standing, received);
        self.charge_inflated(arrival, standing, &scratch);
        self.scratches.put(scratch);
        judged
    }

    fn judge_with(
        &self,
        arrival: &Arrival<'_>,
        stream: &mut StreamState,
        scratch: &mut Scratch,
        standing: Standing,
        received: Instant,
    ) -> Judged {
        let Scratch { decode: columns, work, encoder, record } = scratch;
        let batch = match decode_with(&stream.dictionary, arrival.frame, &arrival.policy.limits, columns) {
            Ok(batch) => batch,
            Err(malformed) => {
                return Judged::Answered(self.malformed(malformed.sequence, &malformed.to_string()));
            }
        };
        if let Err(fault) = define(&batch, arrival.peer.node.as_bytes(), &mut stream.dictionary) {
            stream.dictionary.rollback();
            return Judged::Answered(self.malformed(batch.sequence, &fault));
        }
        keep_references(&batch, &mut stream.dictionary);
        if batch.withdraw && batch.epoch != 0 {
            return self.withdraw(arrival, &batch);
        }
        let counted = points_counted(&batch, arrival.policy.limits.max_batch_size);
        self.counters().points_received.fetch_add(counted, Relaxed);

        let name_fits = match self.verdict(arrival.peer, &batch) {
            Verdict::Stored => return Judged::Answered(answer::plain(batch.sequence, Outcome::Duplicate)),
            Verdict::Pending(ticket) => return self.copy_of(arrival.reply_to, batch.sequence, ticket),
            Verdict::Withdrawn => return self.came_late(batch.sequence, batch.points as u32, counted),
            Verdict::New => true,
            Verdict::NoRoom => false,
        };
        if let Err(rejection) = Self::judge_batch(arrival, &batch, stream, work) {
            self.counters().refused(rejection.reason, counted);
            return Judged::Answered(answer::rejected(batch.sequence, batch.points as u32, vec![rejection]));
        }
        self.take_heartbeat(arrival, &batch);
        if !name_fits {
            return self.retry(batch.sequence, RetryCause::Names);
        }
        if batch.points == 0 {
            self.shared.names.lock().close_empty(&arrival.peer.identity, batch.epoch, batch.sequence);
            return Judged::Answered(answer::plain(batch.sequence, Outcome::Stored));
        }
        if let Some(cause) = self.overload(arrival.policy, arrival.frame.len()) {
            return self.retry(batch.sequence, cause);
        }
        let Peer { identity, .. } = arrival.peer;
        if let Err(excess) = self.accounts.admit(identity, standing, batch.points, arrival.now_unix_ns) {
            self.counters().retries_asked.add(excess.cause as usize, 1);
            return Judged::Answered(answer::retry_later(batch.sequence, excess.retry_after_ms));
        }

        let (block, ack) = match self.judge_points(arrival, &batch, stream, work) {
            Ok(judged) => judged,
            Err(refused) => {
                self.count_refused(&refused.rejections);
                return Judged::Answered(refused);
            }
        };
        record.clear();
        // What is closing stores nothing more, and a record that is not written need not be made.
        let judged = if self.closed.load(Relaxed) {
            self.retry(block.sequence, RetryCause::JournalFailed)
        } else if encoder.encode(&block, record).is_ok() {
            self.append(arrival, block, ack, record, received)
        } else {
            self.too_large(&ack)
        };
        // While the journal is full a batch comes again and again, and is to cost its points once. Points that were all
        // refused do not come again, and judging them was the work that the quota is for.
        if !matches!(judged, Judged::Appended(..)) {
            self.accounts.give_back(identity, batch.points, arrival.now_unix_ns);
        }
        judged
    }

    /// Judges the points of a batch that is taken as a whole: what is to be stored, and the answer once it is; or the
    /// answer alone where none is. Refusals are not counted yet.
    pub(super) fn judge_points(
        &self,
        arrival: &Arrival<'_>,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
    ) -> Result<(PointBlock, BatchAck), BatchAck> {
        let identity = &arrival.peer.identity;
        let series_max = self.accounts.series_max(identity);
        let judge = PointJudge::new(&arrival.policy.limits, identity, series_max, arrival.now_unix_ns);
        let rejections = judge.judge(batch, stream, work, &self.registry, |name, limit| {
            self.offenders.lock().record(identity, name, 1);
            if let CardinalityLimit::Identity { .. } = limit {
                self.counters().quota_series_refused.fetch_add(1, Relaxed);
                self.accounts.series_refused(identity, 1);
            }
        });
        let rejected: u32 = rejections.iter().map(|rejection| rejection.points).sum();
        if work.block.is_empty() {
            return Err(answer::rejected(batch.sequence, rejected, rejections));
        }
        let outcome = if rejected == 0 { Outcome::Stored } else { Outcome::Partial };
        let ack = BatchAck {
            accepted_points: work.block.len() as u32,
            rejected_points: rejected,
            rejections,
            ..answer::plain(batch.sequence, outcome)
        };
        let block = work.block.finish(BatchHeader {
            identity: Arc::clone(identity),
            epoch: batch.epoch,
            sequence: batch.sequence,
            oldest_unacknowledged: batch.oldest_unacknowledged,
            received_unix_us: self.receipt(arrival.now_unix_ns),
        });
        stream.series = Arc::clone(&block.descriptors);
        Ok((block, ack))
    }

    /// What a compressed body took beyond its frame counts as if it had been sent, whatever became of the batch.
    fn charge_inflated(&self, arrival: &Arrival<'_>, standing: Standing, scratch: &Scratch) {
        let beyond = scratch.decode.inflated_bytes().saturating_sub(arrival.frame.len());
        if beyond > 0 {
            self.accounts.inflated(&arrival.peer.identity, standing, beyond, arrival.now_unix_ns);
        }
    }

    /// Journals a block under the lock of the names, so that of two copies only one is appended.
    fn append(
        &self,
        arrival: &Arrival<'_>,
        block: PointBlock,
        ack: BatchAck,
        record: &[u8],
        received: Instant,
    ) -> Judged {
        let block = Arc::new(block);
        let frame_bytes = arrival.frame.len() as u64;
        let mut names = self.shared.names.lock();
        match names.judge(&block.identity, block.epoch, block.sequence, 0) {
            Verdict::New => {}
            Verdict::Stored => return Judged::Answered(answer::plain(block.sequence, Outcome::Duplicate)),
            Verdict::Pending(ticket) => {
                drop(names);
                return self.copy_of(arrival.reply_to, block.sequence, ticket);
            }
            Verdict::Withdrawn => {
                let points = ack.accepted_points + ack.rejected_points;
                return self.came_late(block.sequence, points, u64::from(points));
            }
            Verdict::NoRoom => return self.retry(block.sequence, RetryCause::Names),
        }
        let counters = self.counters();
        counters.inflight_batches.fetch_add(1, Relaxed);
        counters.inflight_bytes.fetch_add(frame_bytes, Relaxed);
        let reply_to = arrival.reply_to.clone();
        let pending = Pending { block: Arc::clone(&block), reply_to, frame_bytes, received };
        match self.journal.append(record, pending) {
            Ok(ticket) => {
                names.reserve(&block.identity, block.epoch, block.sequence, ticket.clone());
                counters.points_accepted.fetch_add(block.len() as u64, Relaxed);
                self.count_refused(&ack.rejections);
                Judged::Appended(ack, ticket)
            }
            Err(error) => {
                counters.inflight_batches.fetch_sub(1, Relaxed);
                counters.inflight_bytes.fetch_sub(frame_bytes, Relaxed);
                match error {
                    AppendError::TooLarge { .. } => self.too_large(&ack),
                    AppendError::Full { .. } => self.retry(block.sequence, RetryCause::JournalFull),
                    _ => self.retry(block.sequence, RetryCause::JournalFailed),
                }
            }
        }
    }

    /// A record that no segment holds. Smaller batches do fit, and splitting is what an agent does with this answer: so
    /// it is given for every point of the batch, whatever the answer would have been.
    fn too_large(&self, instead_of: &BatchAck) -> Judged {
        let ack = answer::too_large(instead_of, "the batch does not fit into a segment of the journal");
        self.count_refused(&ack.rejections);
        Judged::Answered(ack)
    }

    /// Counts points that a reply tells as refused.
    pub(super) fn count_refused(&self, rejections: &[Rejection]) {
        for rejection in rejections {
            self.counters().refused(rejection.reason, u64::from(rejection.points));
        }
    }

    fn verdict(&self, peer: &Peer, batch: &DecodedBatch<'_>) -> Verdict<Ticket> {
        let mut names = self.shared.names.lock();
        names.judge(&peer.identity, batch.epoch, batch.sequence, batch.oldest_unacknowledged)
    }

    pub(super) fn copy_of(&self, reply_to: &ReplyTo, sequence: u64, ticket: Ticket) -> Judged {
        self.shared.copies.lock().push((ticket.clone(), reply_to.clone()));
        Judged::CopyOf(sequence, ticket)
    }

    /// The rules that concern the batch as a whole. Leaves the place of each point's series in `work`.
    pub(super) fn judge_batch(
        arrival: &Arrival<'_>,
        batch: &DecodedBatch<'_>,
        stream: &mut StreamState,
        work: &mut Work,
    ) -> Result<(), Rejection> {
        let refuse = |reason, example| Rejection { reason, points: batch.points as u32, example };
        if batch.references_unknown() {
            let version = stream.dictionary.references_version();
            return Err(refuse(
                Reason::UnknownSeries,
                format!("the stream's references have version {version}, or not all"),
            ));
        }
        work.places.clear();
        for &id in batch.series_ids() {
            let Some(place) = stream.dictionary.place(id) else {
                return Err(refuse(Reason::UnknownSeries, format!("series id {id} is not defined in this stream")));
            };
            work.places.push(place);
        }
        let (peer, policy) = (arrival.peer, arrival.policy);
        let points_max = policy.limits.max_batch_size;
        if batch.points > points_max {
            let example = format!("{} points; at most {points_max} in a batch", batch.points);
            return Err(refuse(Reason::BatchTooLarge, example));
        }
        let tags: Vec<RawTag<'_>> =
            batch.common_tags().iter().map(|tag| (batch.text(tag.key), batch.text(tag.value))).collect();
        stream.common.update(&tags, peer.node.as_bytes());
        if peer.relay || !policy.bind_node_id || speaks_for(peer, batch, stream, work) {
            return Ok(());
        }
        Err(refuse(Reason::IdentityMismatch, format!("the certificate names node {}", peer.node)))
    }

    fn take_heartbeat(&self, arrival: &Arrival<'_>, batch: &DecodedBatch<'_>) {
        let Some(sent) = batch.heartbeat() else { return };
        // Kept as long as the worker is known, so what a small compressed frame inflates to must not be.
        let text = |span| {
            let sent = batch.text(span);
            String::from_utf8_lossy(&sent[..sent.len().min(HEARTBEAT_TEXT_BYTES_MAX)]).into_owned()
        };
        let worker_id: Arc<str> = match text(sent.worker_id) {
            missing if missing.is_empty() => Arc::clone(&arrival.peer.node),
            named => named.into(),
        };
        let named = batch.common_tags().iter().find(|tag| batch.text(tag.key) == NODE_ID);
        let node_id = match named {
            Some(tag) => text(tag.value).into(),
            // What a relay tells of a worker is not about the relay's own node.
            None if arrival.peer.relay => Arc::clone(&worker_id),
            None => Arc::clone(&arrival.peer.node),
        };
        let running_tasks = batch.running_tasks().iter().map(|task| RunningTask {
            task_id: text(task.task_id),
            name: text(task.name),
            status: text(task.status),
            started_unix_ns: task.started_unix_ns as u64,
        });
        let timestamp_unix_ns = if sent.timestamp_unix_ns == 0 { arrival.now_unix_ns } else { sent.timestamp_unix_ns };
        self.heartbeats.lock().take(Heartbeat {
            worker_id,
            node_id,
            cpu_usage: sent.cpu_usage,
            memory_usage: sent.memory_usage,
            gpu_usage: sent.gpu_usage,
            running_tasks: running_tasks.collect(),
            timestamp_unix_ns,
        });
    }

    /// Answers a frame whose body was given up for want of memory. What it defined is lost with it: the agent hears of
    /// unknown series and defines them on a new stream.
    pub(super) fn judge_shed(&self, head: &[u8]) -> Judged {
        self.counters().batches_received.fetch_add(1, Relaxed);
        self.retry(peek_sequence(head), RetryCause::Bytes)
    }

    /// True when all bytes that may be in flight are.
    pub(super) fn over_bytes(&self, policy: &Policy) -> bool {
        self.bytes_in_flight() > policy.limits.inflight_bytes_max as u64
    }

    pub(super) fn bytes_in_flight(&self) -> u64 {
        self.counters().inflight_bytes.load(Relaxed) + self.counters().held_bytes.load(Relaxed)
    }

    /// Why so many bytes more are not taken at the moment, if so.
    pub(super) fn overload(&self, policy: &Policy, bytes: usize) -> Option<RetryCause> {
        let limits = &policy.limits;
        if self.counters().inflight_batches.load(Relaxed) >= 2 * limits.backpressure_threshold as u64 {
            return Some(RetryCause::Batches);
        }
        let bytes = self.bytes_in_flight() + bytes as u64;
        (bytes > limits.inflight_bytes_max as u64).then_some(RetryCause::Bytes)
    }

    pub(super) fn retry(&self, sequence: u64, cause: RetryCause) -> Judged {
        Judged::Answered(answer::retry_later(sequence, self.retry_ms(cause)))
    }

    /// Counts that somebody is told to come later, and says when.
    pub(super) fn retry_ms(&self, cause: RetryCause) -> u32 {
        self.counters().retries_asked.add(cause as usize, 1);
        match cause {
            RetryCause::Batches | RetryCause::Bytes => RETRY_AFTER_BUSY_MS,
            _ => RETRY_AFTER_FULL_MS,
        }
    }

    pub(super) fn malformed(&self, sequence: u64, fault: &str) -> BatchAck {
        self.counters().malformed.fetch_add(1, Relaxed);
        let rejection = Rejection { reason: Reason::Malformed, points: 0, example: fault.into() };
        answer::rejected(sequence, 0, vec![rejection])
    }

    /// The time of receipt, which never goes back while the process lives: consumers cut files at the hour.
    pub(super) fn receipt(&self, now_unix_ns: i64) -> i64 {
        let now_us = now_unix_ns / 1_000;
        self.last_receipt_us.fetch_max(now_us, Relaxed).max(now_us)
    }
}

/// The batch's points as the counters have them. A frame of few bytes may claim a million points: of those it did not
/// bring, no more count than make the batch too large. The answer tells them all.
fn points_counted(batch: &DecodedBatch<'_>, points_max: usize) -> u64 {
    let unread = batch.points_unread();
    (batch.points - unread + unread.min(points_max + 1)) as u64
}

/// Takes the batch's definitions into the stream's dictionary.
fn define(batch: &DecodedBatch<'_>, node: &[u8], dictionary: &mut StreamDictionary) -> Result<(), String> {
    dictionary.begin();
    let definitions = batch.definitions();
    dictionary.reserve(definitions.len());
    let mut tags = Vec::new();
    for definition in definitions {
        tags.clear();
        let crowded = definition.tags.clone().nth(TAGS_MAX).is_some();
        if !crowded {
            tags.extend(definition.tags.clone());
        }
        let raw = crate::series::RawDefinition {
            name: definition.name,
            tags: &tags,
            crowd: crowded.then(|| Crowd::of(definition.tags.clone(), node)),
            type_number: definition.metric_type,
            unit: definition.unit,
            delta: definition.delta,
        };
        dictionary.define(definition.id, raw).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What values of the batches behind this one may be told by, whatever becomes of this one.
fn keep_references(batch: &DecodedBatch<'_>, dictionary: &mut StreamDictionary) {
    let references = batch.references();
    if !references.is_empty() && !batch.references_unknown() {
        dictionary.keep_references(
            references.iter().map(|KeptReference { id, reference }| (*id, reference.scale, reference.number)),
        );
    }
}

impl References for StreamDictionary {
    fn version(&self) -> u32 {
        self.references_version()
    }

    fn reference(&self, id: u32) -> Option<Reference> {
        StreamDictionary::reference(self, id).map(|(scale, number)| Reference { scale, number })
    }
}

/// True when the batch speaks for no node but the certificate's.
fn speaks_for(peer: &Peer, batch: &DecodedBatch<'_>, stream: &StreamState, work: &Work) -> bool {
    let node = peer.node.as_bytes();
    let worker = batch.heartbeat().map_or(&[][..], |heartbeat| batch.text(heartbeat.worker_id));
    if !worker.is_empty() && worker != node {
        return false;
    }
    let common = stream.common.claim();
    if batch.points == 0 {
        return common != NodeClaim::Other;
    }
    let rows_agree = batch.rows().iter().all(|row| {
        // Nearly all other keys differ in length already, which needs no look at their bytes.
        let is_node = |tag: &&TagSpans| tag.key.len as usize == NODE_ID.len() && batch.text(tag.key) == NODE_ID;
        let mut named = batch.tags(row).iter().filter(is_node).peekable();
        if named.peek().is_none() { common != NodeClaim::Other } else { named.all(|tag| batch.text(tag.value) == node) }
    });
    // Mostly no definition and no common tag names another node, and then no point does.
    let columns_agree = (common != NodeClaim::Other && !stream.dictionary.has_strangers())
        || work.places.iter().all(|&place| stream.dictionary.claim(place).or(common) != NodeClaim::Other);
    rows_agree && columns_agree
}
