//! One stream of an agent: its bytes go to a conversation, the conversation's replies go back.
//!
//! ```text
//! peer ─► (window) ─► read ─► Conversation ─► write ─► (window) ─► peer
//! ```
//!
//! Replies are taken from the conversation only when the last ones have left. An agent that does not read its replies and
//! goes on sending is therefore soon over its credit, which the conversation notices, and one that waits is disconnected
//! after the deadline for replies.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::connection::Agent;
use super::ending::number;
use super::events::Event;
use super::{Orders, Shared};
use crate::ingest::{Conversation, WakeTask};
use crate::quic::provoked::place;
use crate::wire::CloseCode;

/// Bytes handed to the conversation at a time.
const FEED_BYTES_MAX: usize = 256 * 1024;

/// A bidirectional stream that an agent opened.
pub(super) struct Stream {
    shared: Arc<Shared>,
    agent: Arc<Agent>,
    send: SendStream,
    receive: RecvStream,
    conversation: Conversation,
    /// A commit made replies due.
    due: Arc<Notify>,
    orders: watch::Receiver<Orders>,
    /// Replies that were taken, and how much of them has left.
    replies: Vec<u8>,
    sent: usize,
    /// When those replies must have left.
    replies_until: Option<Instant>,
    /// When the frame that has begun must have ended.
    frame_until: Option<Instant>,
    /// It was not read the last time, because its commit had to come first.
    held_back: bool,
    opened: bool,
    reading: bool,
}

/// What a stream waited for.
enum Heard {
    Bytes(quinn::Chunk),
    End,
    Due,
    Unwanted,
    Written(usize),
    FrameLate,
    RepliesLate,
    Stopping,
    Gone,
}

impl Stream {
    pub(super) fn new(shared: &Arc<Shared>, agent: &Arc<Agent>, send: SendStream, receive: RecvStream) -> Self {
        let due = Arc::new(Notify::new());
        let told = Arc::clone(&due);
        let wake: WakeTask = Arc::new(move || told.notify_one());
        Self {
            conversation: shared.ingest.conversation_of_task(Arc::clone(&agent.speaker), wake),
            shared: Arc::clone(shared),
            agent: Arc::clone(agent),
            send,
            receive,
            due,
            orders: shared.orders.subscribe(),
            replies: Vec::new(),
            sent: 0,
            replies_until: None,
            frame_until: None,
            held_back: false,
            opened: false,
            reading: true,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        loop {
            self.take_replies();
            let stopping = self.orders.borrow_and_update().stopping;
            let answered = self.conversation.done() || (stopping && self.conversation.pending() == 0);
            if answered && self.replies_until.is_none() {
                return self.finish().await;
            }
            match self.hear(stopping).await {
                Heard::Bytes(chunk) => {
                    if !self.feed(&chunk.bytes) {
                        return;
                    }
                }
                Heard::End => {
                    self.reading = false;
                    self.frame_until = None;
                    self.conversation.finish();
                }
                Heard::Written(bytes) => self.sent += bytes,
                Heard::Due | Heard::Stopping => {}
                // It wants no replies, and without them it may send nothing.
                Heard::Unwanted => return self.abandon(CloseCode::Normal),
                Heard::FrameLate => return self.abandon(CloseCode::TimedOut),
                Heard::RepliesLate => return self.agent.end(CloseCode::TimedOut, "replies were not taken"),
                Heard::Gone => return,
            }
        }
    }

    /// Takes the replies that are due, once the last ones have left.
    fn take_replies(&mut self) {
        if self.sent < self.replies.len() {
            return;
        }
        self.replies.clear();
        self.sent = 0;
        self.conversation.take_replies(&mut self.replies);
        let patience = self.orders.borrow().deadlines.replies;
        self.replies_until = (!self.replies.is_empty()).then(|| Instant::now() + patience);
    }

    /// Waits for the next thing that matters. While there may not be more bytes in flight and a batch of this stream waits
    /// for its commit, that commit is what matters: what was read on would have to be put off.
    async fn hear(&mut self, stopping: bool) -> Heard {
        let held_back = self.conversation.pending() > 0 && !self.shared.ingest.has_room(FEED_BYTES_MAX);
        if (held_back || self.held_back) && self.frame_until.is_some() {
            // The time that it waits for us is not the agent's: it begins anew when we read again.
            self.frame_until = Some(Instant::now() + self.orders.borrow().deadlines.frame);
        }
        self.held_back = held_back;
        let reading = self.reading && !stopping && !held_back;
        let frame_until = self.frame_until.filter(|_| reading);
        let stopped = self.send.stopped();
        let unsent = &self.replies[self.sent..];
        let until = |deadline: Option<Instant>| sleep_until(deadline.unwrap_or_else(Instant::now));
        tokio::select! {
            biased;
            written = self.send.write(unsent), if !unsent.is_empty() => match written {
                Ok(bytes) => Heard::Written(bytes),
                Err(WriteError::Stopped(_)) => Heard::Unwanted,
                Err(_) => Heard::Gone,
            },
            () = self.due.notified(), if unsent.is_empty() => Heard::Due,
            read = self.receive.read_chunk(FEED_BYTES_MAX, true), if reading => match read {
                Ok(Some(chunk)) => Heard::Bytes(chunk),
                Ok(None) | Err(ReadError::Reset(_)) => Heard::End,
                Err(_) => Heard::Gone,
            },
            stopped = stopped => match stopped {
                Ok(Some(_)) => Heard::Unwanted,
                _ => Heard::Gone,
            },
            () = until(frame_until), if frame_until.is_some() => Heard::FrameLate,
            () = until(self.replies_until), if self.replies_until.is_some() => Heard::RepliesLate,
            _ = self.orders.changed() => Heard::Stopping,
        }
    }

    /// Hands bytes to the conversation; false when the connection had to be ended.
    fn feed(&mut self, data: &[u8]) -> bool {
        place("stream");
        let counters = &self.shared.counters;
        if !self.opened {
            self.opened = true;
            counters.streams_opened.fetch_add(1, Relaxed);
        }
        let frames = self.conversation.frames();
        self.conversation.receive(data, unix_ns());
        let completed = self.conversation.frames() - frames;
        counters.stream_bytes_received.fetch_add(data.len() as u64, Relaxed);
        if completed > 0 {
            counters.frames_received.fetch_add(completed, Relaxed);
            self.agent.received_frames(completed);
        }
        if !self.conversation.mid_frame() {
            self.frame_until = None;
        } else if completed > 0 || self.frame_until.is_none() {
            self.frame_until = Some(Instant::now() + self.orders.borrow().deadlines.frame);
        }
        match self.conversation.fault() {
            None => true,
            Some(CloseCode::FrameTooLarge) => {
                self.reading = false;
                self.frame_until = None;
                let _ = self.receive.stop(number(CloseCode::FrameTooLarge));
                self.report(CloseCode::FrameTooLarge);
                true
            }
            Some(code) => {
                self.agent.end(code, "");
                false
            }
        }
    }

    /// Finishes our side, and waits until the peer has everything: a listener that stops closes connections without
    /// streams at once. The connection's end ends the waiting.
    async fn finish(&mut self) {
        let _ = self.send.finish();
        let _ = self.send.stopped().await;
    }

    /// Ends the stream both ways at once; replies that were not sent are lost.
    fn abandon(&mut self, code: CloseCode) {
        // What is closed already needs no closing.
        let _ = self.send.reset(number(code));
        let _ = self.receive.stop(number(code));
        self.report(code);
    }

    fn report(&self, code: CloseCode) {
        let identity = Arc::clone(&self.agent.identity.name);
        self.shared.events.happened(Event::StreamFailed {
            code: code.as_str(),
            peer: self.agent.peer.clone(),
            identity,
        });
    }
}

fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
