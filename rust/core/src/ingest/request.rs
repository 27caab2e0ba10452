//! A request of another protocol: batches without names, taken at once and answered once.
//!
//! It has no window, since whoever sends it waits for the answer, and no names, since its protocol has none: sent again,
//! it is stored again. To make that seldom, what there is no room for is put off before any of it is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ingest;
use super::admission::{Arrival, Judged, Peer, StreamState};
use super::reply_to::ReplyTo;
use crate::columns::SharedSeries;
use crate::journal::{Outcome as Commit, Ticket};
use crate::series::{CommonTags, StreamDictionary};
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

impl Ingest {
    /// Takes the frames of one request. Its id is among those of [`Ingest::take_ready`] when its commits are known.
    #[must_use]
    pub fn take(self: &Arc<Self>, peer: &Peer, frames: &[Vec<u8>], now_unix_ns: i64) -> Request {
        let id = self.conversations.fetch_add(1, Ordering::Relaxed);
        let reply_to = ReplyTo::List(id);
        let policy = &*self.policy();
        let mut request = Request {
            id,
            ingest: Arc::clone(self),
            waits_for: Vec::with_capacity(frames.len()),
            answer: Answer::default(),
            acks: Vec::with_capacity(frames.len()),
        };
        let bytes = frames.iter().map(Vec::len).sum();
        if let Some(cause) = self.overload(policy, bytes) {
            request.put_off(self.retry_ms(cause));
            return request;
        }
        let mut stream = StreamState {
            dictionary: StreamDictionary::new(peer.node.as_bytes()),
            common: CommonTags::default(),
            series: SharedSeries::default(),
        };
        for frame in frames {
            let arrival = Arrival { reply_to: &reply_to, peer, frame, now_unix_ns, policy };
            match self.judge(&arrival, &mut stream) {
                Judged::Answered(ack) => request.add(ack),
                Judged::Appended(ack, ticket) => {
                    request.add(ack);
                    request.waits_for.push(ticket);
                }
                Judged::CopyOf(..) => unreachable!("a batch without a name is a copy of none"),
                Judged::QuotaExceeded => request.put_off(RETRY_AFTER_MS),
            }
            // What is not taken now is sent again with the rest.
            if request.answer.retry_after_ms.is_some() {
                break;
            }
        }
        request
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
