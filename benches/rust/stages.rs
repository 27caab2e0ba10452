//! What each stage of the data plane costs a point, in nanoseconds of the measuring thread's processor time.
//!
//! `cargo bench -p telemetry-core --bench stages -- row` runs the stages whose name contains a text.
//! Prints one JSON object a line: {"stage": …, "ns": median, "min": …, "max": …}; `python -m benches stages` shows them.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use telemetry_core::columns::{ArrowAssembler, BlockDecoder, BlockEncoder, PointBlock, TimestampUnit};
use telemetry_core::ingest::{Ingest, IngestSettings, Peer};
use telemetry_core::journal::{JournalSettings, MemoryStorage};
use telemetry_core::limits::Limits;
use telemetry_core::line_protocol::LineEncoder;
use telemetry_core::wire::{DecodeScratch, Form, decode};

mod agent;

use agent::{Agent, NOW_NS};

const POINTS: usize = 1_000;
/// A batch of the reference data set holds ten readings of a hundred series; the harder one a reading of a thousand.
const SHAPES: [(usize, &str); 2] = [(100, "10 readings of 100 series"), (1_000, "1 reading of 1,000 series")];
const FRAMES: usize = 64;
const ROUNDS: usize = 15;

fn main() {
    for (series, shape) in SHAPES {
        for (form, name) in [(Form::Row, "row"), (Form::Columnar, "columnar")] {
            let frames = frames(form, series);
            report(&format!("{name}, {shape}: decode"), || decoding(&frames));
            report(&format!("{name}, {shape}: decode and admit"), || receiving(&frames, false));
            report(&format!("{name}, {shape}: decode, admit and journal"), || receiving(&frames, true));
        }
        let blocks = blocks(series);
        report(&format!("journal record, {shape}: encode"), || encoding(&blocks));
        report(&format!("journal record, {shape}: decode"), || decoding_records(&blocks));
        report(&format!("Arrow, {shape}"), || arrow(&blocks));
        report(&format!("line protocol, {shape}"), || lines(&blocks));
    }
}

/// Runs a stage several times and prints the nanoseconds a point.
fn report(stage: &str, mut measure: impl FnMut() -> f64) {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|wanted| !stage.contains(&wanted)) {
        return;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_by(f64::total_cmp);
    let (median, min, max) = (rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    println!(r#"{{"stage": "{stage}", "ns": {median:.2}, "min": {min:.2}, "max": {max:.2}}}"#);
}

/// Processor time of this thread: what else the machine does is not counted.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Nanoseconds a point of some work on so many points.
fn timed(points: usize, work: impl FnOnce()) -> f64 {
    let start = cpu_ns();
    work();
    (cpu_ns() - start) / points as f64
}

/// The first frame defines the series.
fn frames(form: Form, series: usize) -> Vec<Vec<u8>> {
    let mut agent = Agent::new(form, "node-0001", series, POINTS);
    (0..FRAMES).map(|_| agent.frame()).collect()
}

fn decoding(frames: &[Vec<u8>]) -> f64 {
    let mut scratch = DecodeScratch::default();
    let limits = Limits::default();
    timed((FRAMES - 1) * POINTS, || {
        for frame in &frames[1..] {
            black_box(decode(&frame[4..], &limits, &mut scratch).expect("the frame is a batch").points);
        }
    })
}

fn ingest() -> Arc<Ingest> {
    let settings = IngestSettings {
        limits: Limits::default(),
        bind_node_id: true,
        recent_bytes_max: 64 * 1024 * 1024,
        journal: JournalSettings::default(),
    };
    Ingest::open(Arc::new(MemoryStorage::new()), settings, Box::new(|| {})).expect("memory can be written")
}

/// All that happens on the thread that received a frame; the commit is another thread's. Without journalling, the
/// journal is closed once the series are known: batches are admitted, and then told to come later.
fn receiving(frames: &[Vec<u8>], journalling: bool) -> f64 {
    let ingest = ingest();
    let peer = Peer { identity: "node-0001".into(), node: "node-0001".into(), relay: false };
    let mut conversation = ingest.conversation(Arc::new(peer));
    let mut replies = Vec::new();
    let mut took = 0.0;
    for (place, frame) in frames.iter().enumerate() {
        let start = cpu_ns();
        conversation.receive(frame, NOW_NS);
        took += if place == 0 { 0.0 } else { cpu_ns() - start };
        assert!(ingest.drain(Duration::from_secs(10)), "memory commits at once");
        conversation.take_replies(&mut replies);
        if place == 0 && !journalling {
            ingest.close().expect("memory can be written");
        }
    }
    let committed = if journalling { FRAMES } else { 1 } * POINTS;
    assert_eq!(ingest.counters().points_committed.load(Ordering::Relaxed), committed as u64);
    assert_eq!(ingest.counters().points_received.load(Ordering::Relaxed), (FRAMES * POINTS) as u64);
    took / ((FRAMES - 1) * POINTS) as f64
}

fn blocks(series: usize) -> Vec<Arc<PointBlock>> {
    let ingest = ingest();
    let peer = Peer { identity: "node-0001".into(), node: "node-0001".into(), relay: false };
    let mut conversation = ingest.conversation(Arc::new(peer));
    let mut cursor = ingest.cursor("bench").expect("memory can be written");
    let mut replies = Vec::new();
    for frame in frames(Form::Columnar, series) {
        conversation.receive(&frame, NOW_NS);
        assert!(ingest.drain(Duration::from_secs(10)), "memory commits at once");
        conversation.take_replies(&mut replies);
    }
    cursor.read(usize::MAX).expect("memory can be read").expect("blocks were committed").blocks
}

fn encoding(blocks: &[Arc<PointBlock>]) -> f64 {
    let mut encoder = BlockEncoder::new().expect("there is memory");
    let mut record = Vec::new();
    encoder.encode(&blocks[0], &mut record).expect("the block fits");
    timed((FRAMES - 1) * POINTS, || {
        for block in &blocks[1..] {
            record.clear();
            encoder.encode(block, &mut record).expect("the block fits");
            black_box(record.len());
        }
    })
}

fn decoding_records(blocks: &[Arc<PointBlock>]) -> f64 {
    let mut encoder = BlockEncoder::new().expect("there is memory");
    let mut decoder = BlockDecoder::new().expect("there is memory");
    let mut record = Vec::new();
    encoder.encode(&blocks[0], &mut record).expect("the block fits");
    decoder.decode(&record).expect("what was encoded");
    timed((FRAMES - 1) * POINTS, || {
        for _ in 1..FRAMES {
            black_box(decoder.decode(&record).expect("what was encoded").len());
        }
    })
}

fn arrow(blocks: &[Arc<PointBlock>]) -> f64 {
    timed(FRAMES * POINTS, || {
        let mut assembler = ArrowAssembler::new();
        for block in blocks {
            assembler.push(block).expect("the columns fit");
        }
        black_box(assembler.finish(TimestampUnit::Microseconds).expect("the columns are sound").num_rows());
    })
}

fn lines(blocks: &[Arc<PointBlock>]) -> f64 {
    timed(FRAMES * POINTS, || {
        let mut encoder = LineEncoder::new(1 << 20);
        for block in blocks {
            encoder.push(block);
        }
        black_box(encoder.finish().lines);
    })
}
