//! What happens at the listener, handed out: lifecycle events through a bounded queue, hot counts as atomics.
//!
//! Events are rare beside batches and strangers can cause them, so the queue has a bound. What finds it full is still
//! counted, by kind and labels, and handed out as such.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::ending::Ending;
use crate::ingest::Wake;

/// Events that wait to be taken.
const EVENTS_MAX: usize = 4_096;

/// Something that is a counter and perhaps a log line. `peer` is where it comes from, `identity` who it proved to be.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the fields are their names
pub enum Event {
    /// A peer proved its certificate and was let in.
    Opened { peer: String, identity: Arc<str>, relay: bool },
    /// A connection that was let in ended.
    Closed { ending: Ending, peer: String, identity: Arc<str>, frames: u64 },
    /// A peer was not let in, for a reason that is not its certificate.
    Refused { reason: &'static str, peer: String, identity: Option<Arc<str>> },
    /// A peer was refused by TLS, gave up, or took too long.
    HandshakeFailed { ending: Ending, peer: String },
    /// A stream was ended before its time.
    StreamFailed { code: &'static str, peer: String, identity: Arc<str> },
    /// Handling one connection failed, a fault of ours; that connection is closed, no other.
    HandlerFailed { peer: String, identity: Option<Arc<str>>, problem: String },
}

impl Event {
    /// The kind, and the labels that it is counted by.
    fn labels(&self) -> Labels {
        let (kind, labels) = match self {
            Self::Opened { .. } => ("opened", vec![]),
            Self::Closed { ending, .. } => ("closed", vec![ending.code.to_string(), ending.side.to_owned()]),
            Self::Refused { reason, .. } => ("refused", vec![(*reason).to_owned()]),
            Self::HandshakeFailed { ending, .. } => ("handshake_failed", vec![ending.code.to_string()]),
            Self::StreamFailed { code, .. } => ("stream_failed", vec![(*code).to_owned()]),
            Self::HandlerFailed { .. } => ("handler_failed", vec![]),
        };
        Labels { kind, labels }
    }
}

/// How often events of one kind and one set of labels found the queue full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The event's kind.
    pub kind: &'static str,
    /// Its labels' values, of which there are few.
    pub labels: Vec<String>,
}

/// What was taken out of the queue.
#[derive(Debug, Default)]
pub struct Taken {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// Those that found the queue full since the last time.
    pub missed: Vec<(Labels, u64)>,
}

/// The queue; whoever takes from it is woken when it is no longer empty.
pub(super) struct EventQueue {
    waiting: Mutex<Waiting>,
    wake: Wake,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: BTreeMap<Labels, u64>,
}

impl EventQueue {
    pub(super) fn new(wake: Wake) -> Self {
        Self { waiting: Mutex::default(), wake }
    }

    pub(super) fn happened(&self, event: Event) {
        let mut waiting = self.waiting.lock();
        let first = waiting.events.is_empty();
        if waiting.events.len() < EVENTS_MAX {
            waiting.events.push_back(event);
        } else {
            *waiting.missed.entry(event.labels()).or_default() += 1;
        }
        drop(waiting);
        if first {
            (self.wake)();
        }
    }

    pub(super) fn take(&self) -> Taken {
        let Waiting { events, missed } = std::mem::take(&mut *self.waiting.lock());
        Taken { events: events.into(), missed: missed.into_iter().collect() }
    }
}

/// What is counted too often for an event each.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams on which agents sent something.
    pub streams_opened: AtomicU64,
    /// Bytes of streams that were handed on.
    pub stream_bytes_received: AtomicU64,
    /// Whole frames received.
    pub frames_received: AtomicU64,
    /// Newcomers told to prove their address first.
    pub retries_sent: AtomicU64,
    /// First datagrams that held no packet that could be read.
    pub garbage: AtomicU64,
    /// First datagrams that began no handshake.
    pub turned_away: AtomicU64,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    fn refused(reason: &'static str) -> Event {
        Event::Refused { reason, peer: "10.0.0.1:4000".to_owned(), identity: None }
    }

    #[test]
    fn events_beyond_the_bound_are_counted_by_kind_and_labels() {
        let woken = Arc::new(AtomicU64::new(0));
        let wakes = Arc::clone(&woken);
        let queue = EventQueue::new(Box::new(move || {
            wakes.fetch_add(1, Relaxed);
        }));
        (0..EVENTS_MAX).for_each(|_| queue.happened(refused("not_allowed")));
        (0..3).for_each(|_| queue.happened(refused("too_many_handshakes")));
        queue.happened(refused("not_allowed"));
        let taken = queue.take();
        assert_eq!(taken.events.len(), EVENTS_MAX);
        let missed: Vec<_> =
            taken.missed.iter().map(|(labels, count)| (labels.kind, labels.labels[0].as_str(), *count)).collect();
        assert_eq!(missed, [("refused", "not_allowed", 1), ("refused", "too_many_handshakes", 3)]);
        assert_eq!(woken.load(Relaxed), 1, "whoever takes them is woken once");
        queue.happened(refused("not_allowed"));
        assert_eq!((queue.take().events.len(), woken.load(Relaxed)), (1, 2));
    }
}
