//! From a frame's bytes to an admitted block and its record, on the thread that received them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use telemetry_core::columns::PointBlock;
use telemetry_core::ingest::{Conversation, Ingest, IngestSettings, Peer};
use telemetry_core::journal::{JournalSettings, MemoryStorage};
use telemetry_core::limits::Limits;
use telemetry_core::wire::Form;

use super::{FORMS, FRAMES, POINTS, Shape, Stage, Work, frames};
use crate::agent::NOW_NS;

/// Longer than memory takes for a commit.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn stages() -> Vec<Stage> {
    let of_form = |(form, name)| {
        let admit = move |shape| Receiving::new(frames(form, shape), false);
        let journal = move |shape| Receiving::new(frames(form, shape), true);
        [
            Stage::new(format!("{name}: decode and admit"), 1, admit),
            Stage::new(format!("{name}: decode, admit and journal"), 1, journal),
        ]
    };
    FORMS.into_iter().flat_map(of_form).collect()
}

fn open() -> (Arc<Ingest>, Conversation) {
    let settings = IngestSettings {
        limits: Limits::default(),
        bind_node_id: true,
        recent_bytes_max: 64 * 1024 * 1024,
        journal: JournalSettings::default(),
    };
    let ingest =
        Ingest::open(Arc::new(MemoryStorage::new()), settings, Box::new(|| {})).expect("memory can be written");
    let peer = Peer { identity: "node-0001".into(), node: "node-0001".into(), relay: false };
    let conversation = ingest.conversation(Arc::new(peer));
    (ingest, conversation)
}

/// The corpus as blocks, as writers get them.
pub(super) fn blocks(shape: Shape) -> Vec<Arc<PointBlock>> {
    let (ingest, mut conversation) = open();
    let mut cursor = ingest.cursor("bench").expect("memory can be written");
    for frame in frames(Form::Columnar, shape) {
        conversation.receive(&frame, NOW_NS);
        assert!(ingest.drain(PATIENCE), "memory commits at once");
        conversation.take_replies(&mut Vec::new());
    }
    cursor.read(usize::MAX).expect("memory can be read").expect("blocks were committed").blocks
}

/// Without journalling the journal is closed once the series are known: batches are admitted, and then told to come
/// later. The commit is another thread's.
struct Receiving {
    frames: Vec<Vec<u8>>,
    journalling: bool,
    ingest: Arc<Ingest>,
    conversation: Conversation,
    received: usize,
    replies: Vec<u8>,
}

impl Receiving {
    fn new(frames: Vec<Vec<u8>>, journalling: bool) -> Self {
        let (ingest, conversation) = open();
        let mut made = Self { frames, journalling, ingest, conversation, received: 0, replies: Vec::new() };
        made.define();
        made
    }

    fn define(&mut self) {
        self.step();
        self.settle();
        if !self.journalling {
            self.ingest.close().expect("memory can be written");
        }
    }
}

impl Work for Receiving {
    fn step(&mut self) {
        self.conversation.receive(&self.frames[self.received % FRAMES], NOW_NS);
    }

    fn settle(&mut self) {
        assert!(self.ingest.drain(PATIENCE), "memory commits at once");
        self.conversation.take_replies(&mut self.replies);
        self.replies.clear();
        self.received += 1;
        let counters = self.ingest.counters();
        let stored = if self.journalling { self.received } else { 1 };
        assert_eq!(counters.points_received.load(Ordering::Relaxed), (self.received * POINTS) as u64);
        assert_eq!(counters.points_committed.load(Ordering::Relaxed), (stored * POINTS) as u64);
        // Names are not stored twice, and series not defined twice.
        if self.received == FRAMES {
            (self.ingest, self.conversation) = open();
            self.received = 0;
            self.define();
        }
    }
}
