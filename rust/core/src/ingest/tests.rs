//! The data plane as its peers and consumers see it: real frames in, real replies out, on a storage that can fail.

mod changes;
mod checkpoints;
mod once;
mod reading;
mod rows;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::journal::{Fault, FaultStorage, MemoryStorage, Operation};
use crate::wire::{
    AckReader, BatchAck, BatchName, CloseCode, Compression, EncoderSettings, Form, FrameEncoder, Outcome as Answer,
    OutgoingBatch, OutgoingSeries, Reason,
};

mod quotas;
mod requests;
mod workers;

const NOW_NS: i64 = 1_795_000_000_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
const EPOCH: u64 = 7;

struct Stand {
    storage: Arc<FaultStorage>,
    settings: IngestSettings,
    ingest: Arc<Ingest>,
}

impl Stand {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(adjust: impl FnOnce(&mut IngestSettings)) -> Self {
        let mut settings = IngestSettings {
            limits: Limits::default(),
            bind_node_id: true,
            recent_bytes_max: 1024 * 1024,
            journal: JournalSettings { segment_bytes: 64 * 1024, bytes_max: 1024 * 1024, ..JournalSettings::default() },
        };
        adjust(&mut settings);
        let storage = FaultStorage::new(Arc::new(MemoryStorage::new()), 1).expect("an empty storage");
        let storage = Arc::new(storage);
        let ingest = open(&storage, &settings);
        Self { storage, settings, ingest }
    }

    /// What a loss of power and a new start leave.
    fn restart(&mut self) {
        self.storage.crash_after(0);
        // A dead process holds no lock and runs no thread; nothing that closing tries reaches the storage.
        self.ingest.journal.close();
        self.storage.power_loss().expect("the storage below is in memory");
        self.ingest = open(&self.storage, &self.settings);
    }

    fn stream(&self) -> Stream {
        self.stream_of("node-1", false)
    }

    fn stream_of(&self, node: &str, relay: bool) -> Stream {
        self.stream_in(Form::Columnar, node, relay)
    }

    fn stream_in(&self, form: Form, node: &str, relay: bool) -> Stream {
        let peer = Peer { identity: node.into(), node: node.into(), relay };
        Stream {
            conversation: self.ingest.conversation(Arc::new(peer)),
            encoder: FrameEncoder::new(EncoderSettings {
                form,
                compression: Compression::None,
                ..EncoderSettings::default()
            })
            .expect("settings within the bounds"),
            acks: AckReader::default(),
            ingest: Arc::clone(&self.ingest),
            now_ns: NOW_NS,
        }
    }
}

fn open(storage: &Arc<FaultStorage>, settings: &IngestSettings) -> Arc<Ingest> {
    let storage = Arc::clone(storage) as Arc<dyn Storage>;
    Ingest::open(storage, settings.clone(), Box::new(|| {})).expect("the journal opens")
}

struct Stream {
    conversation: Conversation,
    encoder: FrameEncoder,
    acks: AckReader,
    ingest: Arc<Ingest>,
    now_ns: i64,
}

impl Stream {
    fn frame(&mut self, batch: Option<&OutgoingBatch>, sequence: u64, oldest_unacknowledged: u64) -> Vec<u8> {
        let epoch = if sequence == 0 { 0 } else { EPOCH };
        let mut frame = Vec::new();
        self.encoder
            .frame(batch, BatchName { sequence, epoch, oldest_unacknowledged }, None, &mut frame)
            .expect("the batch can be encoded");
        frame
    }

    fn send(&mut self, batch: &OutgoingBatch, sequence: u64) {
        let frame = self.frame(Some(batch), sequence, 0);
        self.conversation.receive(&frame, self.now_ns);
    }

    fn due(&mut self) -> Vec<BatchAck> {
        let mut replies = Vec::new();
        self.conversation.take_replies(&mut replies);
        self.acks.feed(&replies).expect("replies are frames")
    }

    /// Sends a batch, waits for its commit and returns its reply.
    fn ask(&mut self, batch: &OutgoingBatch, sequence: u64) -> BatchAck {
        self.send(batch, sequence);
        self.answer()
    }

    fn answer(&mut self) -> BatchAck {
        assert!(self.ingest.drain(Duration::from_secs(10)), "the commit comes");
        let mut due = self.due();
        assert_eq!(due.len(), 1, "one reply is due");
        due.remove(0)
    }
}

fn batch(names: &[&str], values: &[f64]) -> OutgoingBatch {
    batch_at(names, values, NOW_NS)
}

fn batch_at(names: &[&str], values: &[f64], timestamp: i64) -> OutgoingBatch {
    let series = names.iter().map(|name| OutgoingSeries {
        name: (*name).into(),
        tags: vec![("cpu".into(), "0".into())],
        metric_type: 2,
        unit: "1".into(),
        delta: false,
    });
    let index = (0..values.len() as u32).map(|place| place % names.len() as u32).collect();
    OutgoingBatch::new(Vec::new(), series.collect(), index, vec![timestamp; values.len()], values.to_vec())
        .expect("the batch is sound")
}

fn stored_points(ingest: &Arc<Ingest>) -> Vec<(u64, Vec<f64>)> {
    let mut cursor = ingest.cursor("test").expect("a cursor opens");
    cursor.seek(Position::new(0));
    let mut stored = Vec::new();
    while let Some(blocks) = cursor.read(10_000).expect("the journal reads") {
        stored.extend(blocks.blocks.iter().map(|block| (block.sequence, block.values.clone())));
    }
    stored
}

#[test]
fn a_batch_is_answered_after_its_commit_and_reaches_consumers_whole() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let ack = stream.ask(&batch(&["a", "b"], &[1.0, 2.0, 3.0]), 1);
    assert_eq!((ack.outcome, ack.accepted_points, ack.rejected_points, ack.credit), (Answer::Stored, 3, 0, 8));
    assert_eq!(stored_points(&stand.ingest), [(1, vec![1.0, 2.0, 3.0])]);
    assert_eq!(stand.ingest.take_ready(), [stream.conversation.id()]);
}

#[test]
fn nothing_is_answered_while_the_storage_has_not_synced() {
    let stand = Stand::new();
    stand.storage.fail(Fault {
        operation: Operation::SyncData,
        prefix: "segment-".into(),
        skip: 0,
        times: 1,
        errno: rustix::io::Errno::IO,
    });
    let mut stream = stand.stream();
    let refused = stream.ask(&batch(&["a"], &[1.0]), 1);
    assert_eq!((refused.outcome, refused.accepted_points), (Answer::RetryLater, 0));
    assert!(refused.retry_after_ms > 0);
    let again = stream.ask(&batch(&["a"], &[1.0]), 1);
    assert_eq!(again.outcome, Answer::Stored, "the name was opened again");
    assert_eq!(stored_points(&stand.ingest), [(1, vec![1.0])]);
}

#[test]
fn a_copy_waits_for_the_commit_of_its_original_and_is_a_duplicate() {
    let stand = Stand::new();
    let (mut first, mut second) = (stand.stream(), stand.stream());
    first.send(&batch(&["a"], &[1.0]), 1);
    second.send(&batch(&["a"], &[1.0]), 1);
    let (original, copy) = (first.answer(), second.answer());
    assert_eq!((original.outcome, copy.outcome, copy.accepted_points), (Answer::Stored, Answer::Duplicate, 0));
    assert_eq!(stored_points(&stand.ingest).len(), 1);
}

#[test]
fn names_survive_a_crash_and_empty_batches_do_not() {
    let mut stand = Stand::new();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Stored);
    let empty = stream.frame(None, 2, 0);
    stream.conversation.receive(&empty, NOW_NS);
    assert_eq!(stream.answer().outcome, Answer::Stored);
    stream.conversation.receive(&empty, NOW_NS);
    assert_eq!(stream.answer().outcome, Answer::Duplicate);
    stand.restart();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Duplicate);
    assert_eq!(stream.ask(&batch(&["a"], &[2.0]), 2).outcome, Answer::Stored);
}

#[test]
fn points_are_judged_one_by_one_and_the_first_broken_rule_is_named() {
    let stand = Stand::with(|settings| settings.limits.max_cardinality = 1);
    let mut stream = stand.stream();
    let names = ["known", "", "new"];
    let sent = OutgoingBatch::new(
        Vec::new(),
        names
            .iter()
            .map(|name| OutgoingSeries {
                name: (*name).into(),
                tags: Vec::new(),
                metric_type: 1,
                unit: "".into(),
                delta: false,
            })
            .collect(),
        vec![0, 0, 0, 1, 1, 2, 2],
        vec![NOW_NS, NOW_NS, 1, NOW_NS, NOW_NS, NOW_NS, NOW_NS + 700 * 1_000_000_000],
        vec![1.0, f64::NAN, 2.0, 3.0, f64::INFINITY, 4.0, 5.0],
    )
    .expect("the columns are equal");
    let ack = stream.ask(&sent, 1);
    let mut reasons: Vec<_> = ack.rejections.iter().map(|rejection| (rejection.reason, rejection.points)).collect();
    reasons.sort_unstable();
    assert_eq!(ack.outcome, Answer::Partial);
    assert_eq!((ack.accepted_points, ack.rejected_points), (1, 6));
    assert_eq!(
        reasons,
        [
            (Reason::CardinalityLimit, 1),
            (Reason::InvalidName, 2),
            (Reason::InvalidValue, 1),
            (Reason::InvalidTimestamp, 2)
        ]
    );
    let limit = ack.rejections.iter().find(|rejection| rejection.reason == Reason::CardinalityLimit);
    assert_eq!(limit.map(|rejection| rejection.example.as_str()), Some("new: Cardinality limit exceeded"));
    let worst = stand.ingest.offenders();
    assert_eq!((&*worst[0].identity, &*worst[0].name, worst[0].points), ("node-1", "new", 1));
}

#[test]
fn a_refused_point_never_makes_a_series_active() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[f64::NAN]), 1).outcome, Answer::Rejected);
    assert_eq!(stream.ask(&batch_at(&["a"], &[1.0], 1), 1).outcome, Answer::Rejected, "REJECTED closes no name");
    assert_eq!(stand.ingest.series().0, 0);
}

#[test]
fn known_series_go_on_over_the_limit_and_idle_ones_make_room() {
    let stand = Stand::with(|settings| {
        settings.limits.max_cardinality = 2;
        settings.limits.series_idle_secs = 60;
        settings.limits.timestamp_past_secs = 86_400;
    });
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0, 2.0]), 1).outcome, Answer::Stored);
    assert_eq!(stream.ask(&batch(&["c", "a"], &[1.0, 2.0]), 2).outcome, Answer::Partial);
    stream.now_ns += 61 * 1_000_000_000;
    assert_eq!(stream.ask(&batch(&["a"], &[3.0]), 3).outcome, Answer::Stored);
    stand.ingest.maintain((stream.now_ns / 1_000_000_000) as u64).expect("maintenance succeeds");
    assert_eq!(stand.ingest.series().0, 1, "b had no point for 61 seconds");
    assert_eq!(stream.ask(&batch(&["c"], &[4.0]), 4).outcome, Answer::Stored);
    assert_eq!(stream.ask(&batch(&["b"], &[5.0]), 5).outcome, Answer::Rejected);
}

#[test]
fn a_series_is_not_forgotten_before_its_time_though_not_every_batch_touches_it() {
    const IDLE_SECS: i64 = 86_400;
    let stand = Stand::new();
    let mut stream = stand.stream();
    let maintain = |stream: &mut Stream, secs: i64| {
        stream.now_ns += secs * 1_000_000_000;
        stand.ingest.maintain((stream.now_ns / 1_000_000_000) as u64).expect("maintenance succeeds");
        stand.ingest.series().0
    };
    for sequence in 1..=3 {
        assert_eq!(stream.ask(&batch_at(&["a"], &[1.0], 0), sequence).outcome, Answer::Stored);
        assert_eq!(maintain(&mut stream, 29), 1);
    }
    assert_eq!(maintain(&mut stream, IDLE_SECS - 30), 1, "its last point is a day old but for a second");
    assert_eq!(maintain(&mut stream, 61), 0);
    assert_eq!(stream.ask(&batch_at(&["a"], &[1.0], 0), 4).outcome, Answer::Stored);
    assert_eq!(stand.ingest.series().0, 1);
}

#[test]
fn a_batch_for_another_node_is_refused_unless_a_relay_brings_it() {
    let stand = Stand::new();
    let tagged = OutgoingBatch::new(
        vec![("node_id".into(), "node-2".into())],
        vec![OutgoingSeries { name: "a".into(), tags: Vec::new(), metric_type: 2, unit: "".into(), delta: false }],
        vec![0],
        vec![0],
        vec![1.0],
    )
    .expect("the batch is sound");
    let refused = stand.stream().ask(&tagged, 1);
    assert_eq!((refused.outcome, refused.rejections[0].reason), (Answer::Rejected, Reason::IdentityMismatch));
    assert_eq!(stand.stream_of("gateway", true).ask(&tagged, 1).outcome, Answer::Stored);
}

#[test]
fn the_node_is_filled_in_and_a_timestamp_of_zero_is_the_receipt() {
    let stand = Stand::new();
    stand.stream().ask(&batch_at(&["a"], &[1.0], 0), 1);
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    let blocks = cursor.read(10).expect("the journal reads").expect("there is a block");
    let block = &blocks.blocks[0];
    assert_eq!(block.timestamps_unix_ns, [NOW_NS]);
    assert_eq!(block.descriptors[0].key.tags().collect::<Vec<_>>(), [("cpu", "0"), ("node_id", "node-1")]);
}

#[test]
fn rows_that_come_again_are_the_same_series_and_only_under_the_same_node() {
    let stand = Stand::with(|settings| settings.limits.series_idle_secs = 60);
    let mut streams = [stand.stream_in(Form::Row, "node-1", false), stand.stream_in(Form::Row, "node-2", false)];
    for sequence in 1..=3 {
        for stream in &mut streams {
            assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0, 2.0, 3.0]), sequence).outcome, Answer::Stored);
        }
    }
    assert_eq!(stand.ingest.series().0, 4);
    let mut changed = batch(&["a"], &[f64::NAN, 1.0]);
    assert_eq!(streams[0].ask(&changed, 4).outcome, Answer::Partial, "what may differ is judged each time");
    changed = OutgoingBatch::new(
        Vec::new(),
        vec![OutgoingSeries {
            name: "a".into(),
            tags: vec![("cpu".into(), "0".into())],
            metric_type: 1,
            unit: "s".into(),
            delta: false,
        }],
        vec![0],
        vec![NOW_NS],
        vec![1.0],
    )
    .expect("the batch is sound");
    assert_eq!(streams[0].ask(&changed, 5).outcome, Answer::Stored);
    assert_eq!(stand.ingest.series(), (4, 0, 1), "another type is noticed");
    for stream in &mut streams {
        stream.now_ns += 61 * 1_000_000_000;
    }
    stand.ingest.maintain((streams[0].now_ns / 1_000_000_000) as u64).expect("maintenance succeeds");
    assert_eq!(stand.ingest.series().0, 0);
    assert_eq!(streams[0].ask(&batch(&["a", "b"], &[1.0, 2.0]), 6).outcome, Answer::Stored);
    assert_eq!(stand.ingest.series().0, 2, "expired series are admitted anew");
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    let blocks = cursor.read(10_000).expect("the journal reads").expect("there are blocks");
    for block in &blocks.blocks {
        for (&index, &value) in block.descriptor_index.iter().zip(&block.values) {
            let key = &block.descriptors[index as usize].key;
            assert_eq!(key.tag("node_id"), Some(&*block.identity));
            assert!(key.name() == "a" || value.to_bits() == 2.0_f64.to_bits());
        }
    }
}

#[test]
fn more_batches_in_flight_than_the_window_end_the_connection() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    for sequence in 1..=8 {
        stream.send(&batch(&["a"], &[1.0]), sequence);
    }
    assert_eq!(stream.conversation.fault(), None);
    stream.send(&batch(&["a"], &[1.0]), 9);
    assert_eq!(stream.conversation.fault(), Some(CloseCode::CreditExceeded));
    assert!(stand.ingest.drain(Duration::from_secs(10)));
    assert_eq!(stored_points(&stand.ingest).len(), 8, "what came within the window counts");
}

#[test]
fn a_frame_over_the_limit_ends_the_stream_and_replies_due_still_come() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let mut bytes = stream.frame(Some(&batch(&["a"], &[1.0])), 1, 0);
    bytes.extend_from_slice(&(2 * 1024 * 1024_u32).to_be_bytes());
    stream.conversation.receive(&bytes, NOW_NS);
    assert_eq!(stream.conversation.fault(), Some(CloseCode::FrameTooLarge));
    assert!(!stream.conversation.done());
    assert_eq!(stream.answer().outcome, Answer::Stored);
    assert!(stream.conversation.done());
}

#[test]
fn a_frame_cut_off_by_the_end_of_the_stream_is_thrown_away() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let frame = stream.frame(Some(&batch(&["a"], &[1.0])), 1, 0);
    stream.conversation.receive(&frame[..frame.len() - 1], NOW_NS);
    assert!(stream.conversation.mid_frame());
    assert_eq!(stand.ingest.counters().held_bytes.load(Ordering::Relaxed), frame.len() as u64 - 1);
    stream.conversation.finish();
    assert!(stream.conversation.done() && !stream.conversation.mid_frame());
    assert_eq!(stand.ingest.counters().held_bytes.load(Ordering::Relaxed), 0);
    assert!(stored_points(&stand.ingest).is_empty());
}

#[test]
fn bytes_in_flight_over_the_bound_are_told_to_come_later() {
    let stand = Stand::with(|settings| settings.limits.inflight_bytes_max = 10);
    let mut stream = stand.stream();
    let ack = stream.ask(&batch(&["a"], &[1.0]), 1);
    assert_eq!((ack.outcome, ack.accepted_points), (Answer::RetryLater, 0));
    assert_eq!(stand.ingest.counters().retries_asked.get(RetryCause::Bytes as usize), 1);
}

#[test]
fn a_frame_that_there_is_no_memory_for_is_given_up_and_the_stream_goes_on() {
    let stand = Stand::with(|settings| settings.limits.inflight_bytes_max = 1_000);
    let mut stream = stand.stream();
    let large = stream.frame(Some(&batch(&["a"], &[1.0; 1_000])), 1, 0);
    let (first, rest) = large.split_at(2_000);
    stream.conversation.receive(first, NOW_NS);
    assert!(stand.ingest.counters().held_bytes.load(Ordering::Relaxed) < 100);
    stream.conversation.receive(rest, NOW_NS);
    let refused = stream.answer();
    assert_eq!((refused.sequence, refused.outcome), (1, Answer::RetryLater));
    let unknown = stream.ask(&batch(&["a"], &[1.0]), 1);
    assert_eq!((unknown.outcome, unknown.rejections[0].reason), (Answer::Rejected, Reason::UnknownSeries));
    assert_eq!(stand.stream().ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Stored, "on a new stream");
}

#[test]
fn a_full_journal_stops_taking_and_goes_on_when_consumers_have_read() {
    let stand = Stand::with(|settings| settings.journal.bytes_max = 3 * 64 * 1024);
    let values: Vec<f64> = (0..1_000).map(f64::from).collect();
    let mut cursor = stand.ingest.cursor("parquet").expect("a cursor opens");
    let mut stream = stand.stream();
    let mut sequence = 1;
    while stream.ask(&batch(&["a"], &values), sequence).outcome == Answer::Stored {
        sequence += 1;
        assert!(sequence < 100, "the journal is bounded");
    }
    while let Some(blocks) = cursor.read(10_000).expect("the journal reads") {
        cursor.store(blocks.end).expect("the position is stored");
    }
    stand.ingest.maintain((NOW_NS / 1_000_000_000) as u64).expect("maintenance succeeds");
    let answer = std::iter::repeat_with(|| stream.ask(&batch(&["a"], &values), sequence)).take(1_000);
    assert!(answer.into_iter().any(|ack| ack.outcome == Answer::Stored), "there is room again");
}

#[test]
fn blocks_of_two_hours_never_come_in_one_read_and_memory_and_disk_agree() {
    for recent_bytes_max in [1024 * 1024, 0] {
        let stand = Stand::with(|settings| settings.recent_bytes_max = recent_bytes_max);
        let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
        let mut stream = stand.stream();
        for sequence in 1..=4 {
            stream.ask(&batch_at(&["a"], &[1.0, 2.0], 0), sequence);
            stream.now_ns += if sequence == 2 { HOUR_NS } else { 0 };
        }
        assert!(stand.ingest.drain(Duration::from_secs(10)), "the commit comes");
        assert_eq!(stand.ingest.recent_bytes() > 0, recent_bytes_max > 0);
        let mut reads = Vec::new();
        while let Some(blocks) = cursor.read(3).expect("the journal reads") {
            reads.push((blocks.hour() - NOW_NS / HOUR_NS, blocks.blocks.len(), blocks.points));
        }
        assert_eq!(reads, [(0, 2, 4), (1, 2, 4)]);
        assert_eq!((cursor.lag_points(), cursor.lag_bytes()), (0, 0));
    }
}

#[test]
fn ranges_that_follow_each_other_cover_the_journal_without_a_gap() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let values = vec![1.0; 1_000];
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    let mut end = cursor.position();
    for sequence in 1..=30 {
        stream.ask(&batch(&["a"], &values), sequence);
        let blocks = cursor.read(1).expect("the journal reads").expect("there is a block");
        assert_eq!(blocks.start, end, "also over the header of the next segment");
        end = blocks.end;
    }
}
