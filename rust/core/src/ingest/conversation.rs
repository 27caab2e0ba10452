//! One stream of one peer, without I/O: bytes in, framed replies out, in the order of the batches.
//!
//! A reply is due when every reply before it was taken and the commit it waits for is known. `in flight` is batches
//! received less replies taken: whoever drives the stream takes replies only when they can leave, so an agent that does
//! not read its replies runs out of window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Arrival, Judged, Peer, StreamState};
use super::reply_to::ReplyTo;
use super::{Ingest, answer};
use crate::columns::SharedSeries;
use crate::journal::{Outcome as Commit, Ticket};
use crate::limits::CREDIT_INITIAL;
use crate::series::{CommonTags, StreamDictionary};
use crate::wire::{BatchAck, CloseCode, FrameReader, Outcome};

/// What the agent is told to wait for when a commit failed or a copy's original did.
const RETRY_AFTER_FAILURE_MS: u32 = 500;

/// A stream's state: its definitions, its window and the replies that are not taken yet.
pub struct Conversation {
    id: u64,
    reply_to: ReplyTo,
    ingest: Arc<Ingest>,
    peer: Arc<Peer>,
    reader: FrameReader,
    stream: StreamState,
    replies: VecDeque<Reply>,
    /// The largest window ever granted: what the peer may rely on.
    window_max: u32,
    held_bytes: usize,
    frames: u64,
    fault: Option<CloseCode>,
    finished: bool,
}

struct Reply {
    ack: BatchAck,
    /// The commit that decides: the batch's own, or that of the batch it is a copy of.
    waits_for: Option<Ticket>,
}

impl Conversation {
    pub(super) fn new(id: u64, reply_to: ReplyTo, ingest: Arc<Ingest>, peer: Arc<Peer>) -> Self {
        let reader = FrameReader::new(ingest.policy().limits.frame_bytes_max);
        let dictionary = StreamDictionary::new(peer.node.as_bytes());
        let stream = StreamState { dictionary, common: CommonTags::default(), series: SharedSeries::default() };
        Self {
            id,
            reply_to,
            ingest,
            peer,
            reader,
            stream,
            replies: VecDeque::new(),
            window_max: CREDIT_INITIAL,
            held_bytes: 0,
            frames: 0,
            fault: None,
            finished: false,
        }
    }

    /// Names this stream in [`Ingest::take_ready`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What ends the stream ([`CloseCode::FrameTooLarge`]) or the connection ([`CloseCode::CreditExceeded`],
    /// [`CloseCode::QuotaExceeded`]).
    #[must_use]
    pub fn fault(&self) -> Option<CloseCode> {
        self.fault
    }

    /// Batches received whose reply was not taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.replies.len()
    }

    /// A frame has begun and not ended.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        !self.finished && self.reader.mid_frame()
    }

    /// Whole frames received.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The peer has finished, or is at fault, and every reply due was taken.
    #[must_use]
    pub fn done(&self) -> bool {
        (self.finished || self.fault.is_some()) && self.replies.is_empty()
    }

    /// Takes the stream's next bytes. After a fault they are ignored.
    pub fn receive(&mut self, mut input: &[u8], now_unix_ns: i64) {
        let policy = &*self.ingest.policy();
        // The reader lends frames out of itself, so it is set aside while they are judged.
        let mut reader = std::mem::replace(&mut self.reader, FrameReader::new(0));
        reader.limit(policy.limits.frame_bytes_max);
        while self.fault.is_none() && !self.finished {
            let shed = reader.sheds();
            let next = reader.next(&mut input);
            if matches!(next, Ok(Some(_))) {
                // A frame that has ended is no longer held: what is judged now does not count twice.
                self.account_held(0);
            }
            match next {
                Ok(Some(head)) if shed => self.take(|ingest, _, _, _| ingest.judge_shed(head)),
                Ok(Some(frame)) => self.take(|ingest, reply_to, peer, stream| {
                    ingest.judge(&Arrival { reply_to, peer, frame, now_unix_ns, policy }, stream)
                }),
                Ok(None) => break,
                Err(_) => self.fault = Some(CloseCode::FrameTooLarge),
            }
        }
        self.reader = reader;
        self.account_held(self.reader.held_bytes());
        if self.ingest.over_bytes(policy) {
            self.reader.shed();
            self.account_held(self.reader.held_bytes());
        }
    }

    /// The peer finished its sending side; a frame that was begun is thrown away.
    pub fn finish(&mut self) {
        self.finished = true;
        self.account_held(0);
    }

    /// Appends the framed replies that are due, each with the window granted from now on.
    pub fn take_replies(&mut self, out: &mut Vec<u8>) {
        let mut credit = None;
        while let Some(reply) = self.replies.front_mut() {
            if !reply.resolve() {
                break;
            }
            let Some(mut reply) = self.replies.pop_front() else { break };
            let credit = *credit.get_or_insert_with(|| self.ingest.credit());
            reply.ack.credit = credit;
            self.window_max = self.window_max.max(credit);
            self.ingest.counters().answered(&reply.ack);
            reply.ack.write_frame(out);
        }
    }

    /// Takes a frame that ended: its judgement is what the reply says.
    fn take(&mut self, judge: impl FnOnce(&Ingest, &ReplyTo, &Peer, &mut StreamState) -> Judged) {
        self.frames += 1;
        if self.replies.len() >= self.window_max as usize {
            self.fault = Some(CloseCode::CreditExceeded);
            return;
        }
        let reply = match judge(&self.ingest, &self.reply_to, &self.peer, &mut self.stream) {
            Judged::Answered(ack) => Reply { ack, waits_for: None },
            Judged::Appended(ack, ticket) => Reply { ack, waits_for: Some(ticket) },
            Judged::CopyOf(sequence, ticket) => {
                Reply { ack: answer::plain(sequence, Outcome::Duplicate), waits_for: Some(ticket) }
            }
            Judged::QuotaExceeded => {
                self.fault = Some(CloseCode::QuotaExceeded);
                return;
            }
        };
        self.replies.push_back(reply);
    }

    /// Counts the bytes of a frame that has begun among those in flight.
    fn account_held(&mut self, bytes: usize) {
        if bytes == self.held_bytes {
            return;
        }
        let held = &self.ingest.counters().held_bytes;
        held.fetch_add(bytes as u64, Ordering::Relaxed);
        held.fetch_sub(self.held_bytes as u64, Ordering::Relaxed);
        self.held_bytes = bytes;
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.account_held(0);
    }
}

impl Reply {
    /// True when the reply is due; a failed commit turns it into "later".
    fn resolve(&mut self) -> bool {
        let Some(ticket) = &self.waits_for else { return true };
        match ticket.outcome() {
            Commit::Pending => return false,
            Commit::Committed => {}
            Commit::Failed => {
                self.ack = answer::retry_later(self.ack.sequence, RETRY_AFTER_FAILURE_MS);
            }
        }
        self.waits_for = None;
        true
    }
}
