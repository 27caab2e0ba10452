//! A request of another protocol: batches without names, taken at once and answered once.
//!
//! It has no window, since whoever sends it waits for the answer, and no names, since its protocol has none: sent again,
//! it is stored again. So it is taken as one: quota and room are asked for all of its batches before the first is judged,
//! and the journal takes their records together or none, and commits them together. What is put off is stored nowhere;
//! only of a request that is larger than a segment can a commit that fails leave a part behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::admission::{Arrival, Peer, StreamState};
use super::counters::RetryCause;
use super::points::Scratch;
use super::quotas::Standing;
use super::reply_to::ReplyTo;
use super::{Ingest, Pending, answer};
use crate::columns::{PointBlock, SharedSeries};
use crate::journal::{AppendError, Outcome as Commit, Ticket};
use crate::series::{CommonTags, StreamDictionary};
use crate::translate::Translated;
use crate::wire::decode::decode_with;
use crate::wire::{BatchAck, Outcome, Rejection};

/// What a sender is told to wait when its own quota was used up without a time, or a commit failed.
const RETRY_AFTER_MS: u32 = 1_000;

/// A request that waits for its commits.
pub struct Request {
    id: u64,
    ingest: Arc<Ingest>,
    waits_for: Vec<Ticket>,
    answer: Answer,
    acks: Vec<BatchAck>,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Points on stable storage.
    pub accepted_points: u64,
    /// Points refused for good.
    pub rejected_points: u64,
    /// One a reason.
    pub rejections: Vec<Rejection>,
    /// Part of it, or all, was not taken: it is to be sent again after so long.
    pub retry_after_ms: Option<u32>,
}

/// A batch of a request that has points to be stored: their block, and the answer once it is.
type Storable = (PointBlock, BatchAck);

impl Ingest {
    /// Takes a request, as a whole or not at all. Its id is among those of [`Ingest::take_ready`] when its commits are
    /// known.
    ///
    /// A quota may be overdrawn by one request, as it may by one batch: however large, it is let in when there is
    /// anything left of each, and what comes after it waits for longer. One that the journal can never take together is
    /// refused for good.
    #[must_use]
    pub fn take(self: &Arc<Self>, peer: &Peer, translated: &Translated, now_unix_ns: i64) -> Request {
        let Translated { frames, points, .. } = translated;
        let id = self.conversations.fetch_add(1, Ordering::Relaxed);
        let mut request = Request {
            id,
            ingest: Arc::clone(self),
            waits_for: Vec::new(),
            answer: Answer::default(),
            acks: Vec::with_capacity(frames.len()),
        };
        if frames.is_empty() {
            return request;
        }
        let policy = &*self.policy();
        let bytes = frames.iter().map(Vec::len).sum();
        if let Some(cause) = self.overload(policy, bytes) {
            request.put_off(self.retry_ms(cause));
            return request;
        }
        let received = Instant::now();
        let counters = self.counters();
        counters.batches_received.fetch_add(frames.len() as u64, Ordering::Relaxed);
        counters.frame_bytes_received.fetch_add((bytes + 4 * frames.len()) as u64, Ordering::Relaxed);
        counters.points_received.fetch_add(*points, Ordering::Relaxed);
        let standing = self.accounts.arrive(&peer.identity, frames.len(), bytes, now_unix_ns);
        if standing == Standing::Out {
            request.put_off(RETRY_AFTER_MS);
            return request;
        }
        let points = *points as usize;
        if let Err(excess) = self.accounts.admit(&peer.identity, standing, points, now_unix_ns) {
            counters.retries_asked.add(excess.cause as usize, 1);
            request.put_off(excess.retry_after_ms);
            return request;
        }
        let mut scratch = self.scratches.take();
        let reply_to = ReplyTo::List(id);
        let arrival = |frame| Arrival { reply_to: &reply_to, peer, frame, now_unix_ns, policy };
        let (storable, mut refused) = self.judge_all(frames.iter().map(|frame| arrival(frame)), &mut scratch);
        let appended = self.append_all(id, storable, &mut refused, &mut scratch, (now_unix_ns, received));
        self.scratches.put(scratch);
        match appended {
            Ok((acks, tickets)) => {
                request.waits_for = tickets;
                for ack in refused.into_iter().chain(acks) {
                    self.count_refused(&ack.rejections);
                    request.add(ack);
                }
            }
            Err(cause) => {
                self.accounts.give_back(&peer.identity, points, now_unix_ns);
                request.put_off(self.retry_ms(cause));
            }
        }
        request
    }

    /// Judges the batches of a request: those that have points to be stored, and the answers of those that have none.
    fn judge_all<'a>(
        &self,
        arrivals: impl Iterator<Item = Arrival<'a>>,
        scratch: &mut Scratch,
    ) -> (Vec<Storable>, Vec<BatchAck>) {
        let Scratch { decode, work, .. } = scratch;
        let (mut storable, mut refused) = (Vec::new(), Vec::new());
        let mut stream: Option<StreamState> = None;
        for arrival in arrivals {
            let stream = stream.get_or_insert_with(|| StreamState {
                dictionary: StreamDictionary::new(arrival.peer.node.as_bytes()),
                common: CommonTags::default(),
                series: SharedSeries::default(),
            });
            let batch = match decode_with(&stream.dictionary, arrival.frame, &arrival.policy.limits, decode) {
                Ok(batch) => batch,
                Err(malformed) => {
                    refused.push(self.malformed(malformed.sequence, &malformed.to_string()));
                    continue;
                }
            };
            let judged = Self::judge_batch(&arrival, &batch, stream, work)
                .map_err(|rejection| answer::rejected(batch.sequence, batch.points as u32, vec![rejection]))
                .and_then(|()| self.judge_points(&arrival, &batch, stream, work));
            match judged {
                Ok(block) => storable.push(block),
                Err(ack) => refused.push(ack),
            }
        }
        (storable, refused)
    }

    /// Journals the blocks of a request together: their answers and commits. What no segment holds is refused by itself.
    fn append_all(
        &self,
        id: u64,
        storable: Vec<Storable>,
        refused: &mut Vec<BatchAck>,
        scratch: &mut Scratch,
        (now_unix_ns, received): (i64, Instant),
    ) -> Result<(Vec<BatchAck>, Vec<Ticket>), RetryCause> {
        // What is closing stores nothing more.
        if self.closed.load(Ordering::Relaxed) {
            return Err(RetryCause::JournalFailed);
        }
        // Judging all of them took its time, in which others were appended that came later.
        let received_unix_us = self.receipt(now_unix_ns);
        let (mut acks, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (mut block, ack) in storable {
            block.received_unix_us = received_unix_us;
            let mut record = Vec::new();
            if scratch.encoder.encode(&block, &mut record).is_err() {
                refused.push(answer::too_large(&ack, "the batch does not fit into a segment of the journal"));
                continue;
            }
            let frame_bytes = record.len() as u64;
            bytes += frame_bytes;
            acks.push(ack);
            records
                .push((record, Pending { block: Arc::new(block), reply_to: ReplyTo::List(id), frame_bytes, received }));
        }
        let counters = self.counters();
        let batches = records.len() as u64;
        counters.inflight_batches.fetch_add(batches, Ordering::Relaxed);
        counters.inflight_bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.journal.append_all(records) {
            Ok(tickets) => {
                let accepted = acks.iter().map(|ack| u64::from(ack.accepted_points)).sum();
                counters.points_accepted.fetch_add(accepted, Ordering::Relaxed);
                Ok((acks, tickets))
            }
            Err(error) => {
                counters.inflight_batches.fetch_sub(batches, Ordering::Relaxed);
                counters.inflight_bytes.fetch_sub(bytes, Ordering::Relaxed);
                match error {
                    AppendError::TooLarge { .. } => {
                        let example = "the request does not fit into the journal in one piece; send smaller ones";
                        Ok((acks.iter().map(|ack| answer::too_large(ack, example)).collect(), Vec::new()))
                    }
                    AppendError::Full { .. } => Err(RetryCause::JournalFull),
                    _ => Err(RetryCause::JournalFailed),
                }
            }
        }
    }
}

impl Request {
    /// Names this request in [`Ingest::take_ready`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The answer, once every commit that it waits for is known.
    pub fn answer(&mut self) -> Option<&Answer> {
        while let Some(ticket) = self.waits_for.last() {
            match ticket.outcome() {
                Commit::Pending => return None,
                Commit::Committed => {}
                Commit::Failed => {
                    self.answer.accepted_points = 0;
                    self.put_off(RETRY_AFTER_MS);
                    for ack in self.acks.iter_mut().filter(|ack| ack.accepted_points > 0) {
                        *ack = answer::retry_later(ack.sequence, RETRY_AFTER_MS);
                    }
                }
            }
            self.waits_for.pop();
        }
        for ack in self.acks.drain(..) {
            self.ingest.counters().answered(&ack);
        }
        Some(&self.answer)
    }

    fn add(&mut self, ack: BatchAck) {
        self.answer.accepted_points += u64::from(ack.accepted_points);
        self.answer.rejected_points += u64::from(ack.rejected_points);
        for rejection in &ack.rejections {
            let known = self.answer.rejections.iter_mut().find(|known| known.reason == rejection.reason);
            match known {
                Some(known) => known.points += rejection.points,
                None => self.answer.rejections.push(rejection.clone()),
            }
        }
        if ack.outcome == Outcome::RetryLater {
            self.put_off(ack.retry_after_ms);
        }
        self.acks.push(ack);
    }

    fn put_off(&mut self, retry_after_ms: u32) {
        let longest = self.answer.retry_after_ms.unwrap_or(0).max(retry_after_ms);
        self.answer.retry_after_ms = Some(longest);
    }
}
