//! One simulated agent: a closed loop over one stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::{Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep_until, timeout};

use super::super::Target;
use super::Phase;
use super::counters::Counters;
use super::frame::Prepared;
use crate::limits::CREDIT_INITIAL;
use crate::wire::{AckReader, BatchAck, Outcome};

/// What a `retry_after_ms` of 0 means.
const RETRY_DEFAULT: Duration = Duration::from_millis(100);
/// Bytes of answers read at a time.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// In [`Record`]: a batch without a final answer.
pub const UNANSWERED: u32 = u32::MAX;

/// What an agent had acknowledged.
#[derive(Debug, Default)]
pub struct Record {
    /// Points stored of each sequence, from 1 on; [`UNANSWERED`] where there is no final answer.
    pub points: Vec<u32>,
}

pub(super) struct Agent {
    pub(super) endpoint: Endpoint,
    pub(super) configuration: quinn::ClientConfig,
    pub(super) target: Target,
    pub(super) connect_timeout: Duration,
    pub(super) epoch: u64,
    pub(super) prepared: Prepared,
    pub(super) inflight_max: u32,
    pub(super) interval: Option<Duration>,
    pub(super) offset: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) record: Arc<Mutex<Record>>,
}

/// A batch without its answer, and from when the answer is timed.
#[derive(Clone, Copy)]
struct Sent {
    sequence: u64,
    since: Instant,
}

/// What the two halves of the loop share.
struct Window {
    credit: u32,
    unanswered: VecDeque<Sent>,
    /// To be sent again, and when.
    again: VecDeque<(Instant, Sent)>,
    /// The batch that is due next has waited for room, so that its answer is timed from when it was due. One that was
    /// late for want of a finer timer is timed from its sending: that is not the collector's doing.
    held_up: bool,
}

impl Agent {
    pub(super) async fn run(self, turns: Arc<Semaphore>, mut phase: watch::Receiver<Phase>) {
        let connecting = async {
            let _turn = turns.acquire().await.map_err(|error| error.to_string())?;
            let Target { address, server_name, .. } = &self.target;
            let connecting = self.endpoint.connect_with(self.configuration.clone(), *address, server_name);
            let connection = timeout(self.connect_timeout, connecting.map_err(|error| error.to_string())?).await;
            connection.map_err(|_| "no handshake in time".to_owned())?.map_err(|error| error.to_string())
        };
        let connected = tokio::select! {
            connected = connecting => connected,
            _ = phase.wait_for(|phase| matches!(phase, Phase::Draining(_) | Phase::Over)) => return,
        };
        match connected {
            Ok(connection) => {
                self.counters.connected.fetch_add(1, Relaxed);
                if let Err(reason) = self.converse(&connection, phase).await {
                    self.counters.lose(reason);
                }
                connection.close(VarInt::from_u32(0), b"the load is over");
                self.counters.connected.fetch_sub(1, Relaxed);
            }
            Err(reason) => self.counters.lose(reason),
        }
    }

    async fn converse(&self, connection: &quinn::Connection, mut phase: watch::Receiver<Phase>) -> Result<(), String> {
        let begun = phase.wait_for(|phase| *phase != Phase::Connecting);
        tokio::select! {
            _ = begun => {}
            error = connection.closed() => return Err(error.to_string()),
        }
        let (outgoing, incoming) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let window = Mutex::new(Window {
            credit: CREDIT_INITIAL,
            unanswered: VecDeque::new(),
            again: VecDeque::new(),
            held_up: false,
        });
        let answered = Notify::new();
        let mut over = phase.clone();
        tokio::select! {
            ended = self.send(outgoing, &window, &answered, phase) => ended,
            reason = self.receive(incoming, &window, &answered) => Err(reason),
            _ = over.wait_for(|phase| *phase == Phase::Over) => Ok(()),
        }
    }

    /// Returns when no new batches are wanted and every one sent has its answer.
    async fn send(
        &self,
        mut send: SendStream,
        window: &Mutex<Window>,
        answered: &Notify,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<(), String> {
        let mut next = 1;
        let mut due = Instant::now() + self.offset;
        loop {
            let until = match *phase.borrow_and_update() {
                Phase::Connecting | Phase::Sending => None,
                Phase::Draining(until) => Some(until),
                Phase::Over => return Ok(()),
            };
            let step = self.step(&mut window.lock(), &mut next, &mut due, until);
            match step {
                Step::Send(sequence, oldest) => {
                    let mut parts = self.prepared.frame(sequence, self.epoch, oldest);
                    let bytes: usize = parts.iter().map(bytes::Bytes::len).sum();
                    send.write_all_chunks(&mut parts).await.map_err(|error| error.to_string())?;
                    self.counters.frame_bytes_sent.fetch_add(bytes as u64, Relaxed);
                }
                Step::Wait(moment) => {
                    let moment = async {
                        match moment {
                            Some(moment) => sleep_until(moment.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = answered.notified() => {}
                        _ = phase.changed() => {}
                        () = moment => {}
                    }
                }
                Step::Done => return Ok(()),
            }
        }
    }

    /// What is to be done now; a batch that is to be sent counts as sent. None is new that is due after `until`.
    fn step(&self, window: &mut Window, next: &mut u64, due: &mut Instant, until: Option<Instant>) -> Step {
        let now = Instant::now();
        let over = until.is_some_and(|until| self.interval.is_none() || *due >= until);
        let in_flight = window.unanswered.len() + window.again.len();
        if over && in_flight == 0 {
            return Step::Done;
        }
        let room = window.credit.min(self.inflight_max) as usize;
        if in_flight >= room {
            window.held_up |= self.interval.is_some() && *due <= now;
        }
        if window.unanswered.len() >= room {
            return Step::Wait(None);
        }
        let again = window.again.front().map(|(moment, _)| *moment);
        if again.is_some_and(|moment| moment <= now)
            && let Some((_, sent)) = window.again.pop_front()
        {
            let oldest = window.oldest(sent.sequence);
            window.unanswered.push_back(sent);
            return Step::Send(sent.sequence, oldest);
        }
        // What is to be sent again keeps its place in the window.
        if over || in_flight >= room {
            return Step::Wait(again);
        }
        if self.interval.is_some() && *due > now {
            return Step::Wait(Some(again.map_or(*due, |moment| moment.min(*due))));
        }
        let sent = Sent { sequence: *next, since: if window.held_up { *due } else { now } };
        *due += self.interval.unwrap_or_default();
        window.held_up &= *due <= now;
        *next += 1;
        let oldest = window.oldest(sent.sequence);
        window.unanswered.push_back(sent);
        self.record.lock().points.push(UNANSWERED);
        self.counters.batches_sent.fetch_add(1, Relaxed);
        Step::Send(sent.sequence, oldest)
    }

    /// Returns why the stream brings nothing more.
    async fn receive(&self, mut receive: RecvStream, window: &Mutex<Window>, answered: &Notify) -> String {
        let mut reader = AckReader::default();
        loop {
            let chunk = match receive.read_chunk(CHUNK_BYTES_MAX, true).await {
                Ok(Some(chunk)) => chunk.bytes,
                Ok(None) => return "the collector has finished the stream".to_owned(),
                Err(error) => return error.to_string(),
            };
            let acks = match reader.feed(&chunk) {
                Ok(acks) => acks,
                Err(error) => return error.to_string(),
            };
            let now = Instant::now();
            for ack in acks {
                if let Err(reason) = self.answer(&mut window.lock(), &ack, now) {
                    return reason;
                }
            }
            answered.notify_one();
        }
    }

    fn answer(&self, window: &mut Window, ack: &BatchAck, now: Instant) -> Result<(), String> {
        let sent = window.unanswered.pop_front().ok_or("an answer although every batch is answered")?;
        if ack.sequence != sent.sequence {
            return Err(format!("an answer to sequence {} where {} was due", ack.sequence, sent.sequence));
        }
        window.credit = ack.credit;
        let stored = match ack.outcome {
            Outcome::RetryLater => {
                let wait = Duration::from_millis(u64::from(ack.retry_after_ms));
                let wait = if wait.is_zero() { RETRY_DEFAULT } else { wait };
                window.again.push_back((now + wait, sent));
                self.counters.batches_retried.fetch_add(1, Relaxed);
                return Ok(());
            }
            Outcome::Rejected => {
                self.counters.batches_refused.fetch_add(1, Relaxed);
                0
            }
            _ => {
                self.counters.batches_acknowledged.fetch_add(1, Relaxed);
                ack.accepted_points
            }
        };
        self.counters.points_acknowledged.fetch_add(u64::from(stored), Relaxed);
        self.counters.points_refused.fetch_add(u64::from(ack.rejected_points), Relaxed);
        self.counters.latency.record(now.saturating_duration_since(sent.since));
        self.record.lock().points[sent.sequence as usize - 1] = stored;
        Ok(())
    }
}

enum Step {
    /// A batch, and the oldest without an answer.
    Send(u64, u64),
    /// Until then, or an answer.
    Wait(Option<Instant>),
    Done,
}

impl Window {
    /// The oldest sequence without a final answer, if this one is about to be sent.
    fn oldest(&self, sequence: u64) -> u64 {
        let waiting = self.unanswered.iter().chain(self.again.iter().map(|(_, sent)| sent));
        waiting.map(|sent| sent.sequence).min().unwrap_or(sequence).min(sequence)
    }
}
