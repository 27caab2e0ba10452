//! What points take on the wire and what writing and reading them costs, by form and compression.
//!
//! `cargo bench -p telemetry-core --bench wire` prints one JSON object a line, with the bytes and the nanoseconds of a point;
//! `python -m benches wire` shows them. Bytes are those of frames, length prefixes and definitions included. Times are the thread's processor time, medians of several rounds, and every value is
//! compared with what was sent.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use telemetry_core::limits::Limits;
use telemetry_core::wire::{
    BatchName, Compression, DecodeScratch, EncoderSettings, Form, FrameEncoder, OutgoingBatch, decode,
};

#[path = "wire/node.rs"]
mod node;
#[path = "wire/reference.rs"]
mod reference;

const ROUNDS: usize = 9;
const FORMS: [(Form, Compression, &str); 6] = [
    (Form::Row, Compression::None, "row"),
    (Form::Row, Compression::Zstd, "row, zstd"),
    (Form::Columnar, Compression::None, "columnar"),
    (Form::Columnar, Compression::Zstd, "columnar, zstd"),
    (Form::Dense, Compression::None, "dense"),
    (Form::Dense, Compression::Zstd, "dense, zstd"),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (data, streams) in reference::data().into_iter().chain(node::data()) {
        for (form, compression, name) in FORMS {
            if format!("{data}: {name}").contains(&wanted) {
                let settings = EncoderSettings { form, compression, ..EncoderSettings::default() };
                report(&data, name, &streams, &settings);
            }
        }
    }
}

/// Batches of one stream after the other.
type Streams = Vec<Vec<OutgoingBatch>>;

fn report(data: &str, form: &str, streams: &Streams, settings: &EncoderSettings) {
    let points = streams.iter().flatten().map(OutgoingBatch::len).sum::<usize>() as f64;
    let mut encode_ns = Vec::new();
    let mut decode_ns = Vec::new();
    let mut frames = Vec::new();
    for _ in 0..ROUNDS {
        let start = cpu_ns();
        frames = encode(streams, settings);
        encode_ns.push((cpu_ns() - start) / points);
        let mut scratch = DecodeScratch::default();
        let start = cpu_ns();
        for frame in &frames {
            black_box(decode(&frame[4..], &Limits::default(), &mut scratch).expect("what was written").points);
        }
        decode_ns.push((cpu_ns() - start) / points);
    }
    compare(streams, &frames);
    let bytes = frames.iter().map(Vec::len).sum::<usize>() as f64 / points;
    let (encode_ns, decode_ns) = (median(encode_ns), median(decode_ns));
    println!(
        r#"{{"data": "{data}", "form": "{form}", "bytes": {bytes:.3}, "encode_ns": {encode_ns:.2}, "decode_ns": {decode_ns:.2}}}"#
    );
}

fn encode(streams: &Streams, settings: &EncoderSettings) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for stream in streams {
        let mut encoder = FrameEncoder::new(settings.clone()).expect("there is memory");
        for (place, batch) in stream.iter().enumerate() {
            let sequence = place as u64 + 1;
            // What a spool draws: eight bytes that nothing makes smaller.
            let name = BatchName { sequence, epoch: 0x9e37_79b9_7f4a_7c15, oldest_unacknowledged: sequence };
            let mut frame = Vec::new();
            encoder.frame(Some(batch), name, None, &mut frame).expect("the batch fits");
            frames.push(frame);
        }
    }
    frames
}

/// Every value arrives as it was sent, bit by bit.
fn compare(streams: &Streams, frames: &[Vec<u8>]) {
    let mut scratch = DecodeScratch::default();
    for (batch, frame) in streams.iter().flatten().zip(frames) {
        let read = decode(&frame[4..], &Limits::default(), &mut scratch).expect("what was written");
        assert_eq!(read.points, batch.len());
        if read.rows().is_empty() {
            assert_eq!(read.timestamps_unix_ns(), batch.timestamps_unix_ns());
            assert!(read.values().iter().zip(batch.values()).all(|(read, sent)| read.to_bits() == sent.to_bits()));
        }
    }
}

/// Processor time of this thread: what else the machine does is not counted.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
