//! What points take on the wire and what writing and reading them costs, by form and compression.
//!
//! `cargo bench -p telemetry-core --bench wire` prints one JSON object a line, with the bytes and the nanoseconds of a point;
//! `python -m benches wire` shows them. Bytes are those of frames, length prefixes and definitions included. Times are the thread's processor time, medians of several rounds, and every value is
//! compared with what was sent.

use std::hint::black_box;

use telemetry_core::limits::Limits;
use telemetry_core::wire::{
    BatchName, Compression, DecodeScratch, DecodedBatch, EncoderSettings, Form, FrameEncoder, OutgoingBatch, Reference,
    References, decode_with,
};

#[path = "cpu.rs"]
mod cpu;
#[path = "wire/node.rs"]
mod node;
#[path = "wire/reference.rs"]
mod reference;

use cpu::cpu_ns;

const ROUNDS: usize = 9;
/// Form, whether values are told by references, compression and a name.
const FORMS: [(Form, bool, Compression, &str); 8] = [
    (Form::Row, false, Compression::None, "row"),
    (Form::Row, false, Compression::Zstd, "row, zstd"),
    (Form::Columnar, false, Compression::None, "columnar"),
    (Form::Columnar, false, Compression::Zstd, "columnar, zstd"),
    (Form::Dense, false, Compression::None, "dense without references"),
    (Form::Dense, false, Compression::Zstd, "dense without references, zstd"),
    (Form::Dense, true, Compression::None, "dense"),
    (Form::Dense, true, Compression::Zstd, "dense, zstd"),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (data, streams) in reference::data().into_iter().chain(node::data()) {
        for (form, references, compression, name) in FORMS {
            if format!("{data}: {name}").contains(&wanted) {
                let settings = EncoderSettings { form, references, compression, ..EncoderSettings::default() };
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
        encode_ns.push((cpu_ns() - start) as f64 / points);
        let mut scratch = DecodeScratch::default();
        let start = cpu_ns();
        let mut known = Known::default();
        for (frame, begins) in frames.iter().zip(beginnings(streams)) {
            let batch = known.read(frame, begins, &mut scratch);
            black_box(batch.points);
        }
        decode_ns.push((cpu_ns() - start) as f64 / points);
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
    let mut known = Known::default();
    for ((batch, frame), begins) in streams.iter().flatten().zip(frames).zip(beginnings(streams)) {
        let read = known.read(frame, begins, &mut scratch);
        assert_eq!(read.points, batch.len());
        if read.rows().is_empty() {
            assert_eq!(read.timestamps_unix_ns(), batch.timestamps_unix_ns());
            assert!(read.values().iter().zip(batch.values()).all(|(read, sent)| read.to_bits() == sent.to_bits()));
        }
    }
}

/// For each batch, whether it is the first of its stream.
fn beginnings(streams: &Streams) -> impl Iterator<Item = bool> {
    streams.iter().flat_map(|stream| (0..stream.len()).map(|place| place == 0))
}

/// What a collector keeps of a stream's references.
#[derive(Default)]
struct Known {
    version: u32,
    by_id: Vec<Option<Reference>>,
}

impl Known {
    fn read<'a>(&mut self, frame: &'a [u8], begins: bool, scratch: &'a mut DecodeScratch) -> DecodedBatch<'a> {
        if begins {
            *self = Self::default();
        }
        let batch = decode_with(self, &frame[4..], &Limits::default(), scratch).expect("what was written");
        assert!(!batch.references_unknown());
        for kept in batch.references() {
            let place = kept.id as usize;
            self.by_id.resize(self.by_id.len().max(place + 1), None);
            self.by_id[place] = Some(kept.reference);
        }
        self.version += u32::from(!batch.references().is_empty());
        batch
    }
}

impl References for Known {
    fn version(&self) -> u32 {
        self.version
    }

    fn reference(&self, id: u32) -> Option<Reference> {
        *self.by_id.get(id as usize)?
    }
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
