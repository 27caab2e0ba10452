//! An agent of the reference data set: series with five tags each, as one node has them, in frames as it sends them.

use telemetry_core::wire::{
    BatchName, Compression, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingSeries,
};

/// The time of the first frame.
pub(crate) const NOW_NS: i64 = 1_795_000_000_000_000_000;
const NAMES: [&str; 5] =
    ["system.cpu.usage", "system.memory.used", "system.disk.read", "system.network.received", "gpu.utilization"];

/// Makes one frame after the other, of points that go round and round over its series.
pub(crate) struct Agent {
    encoder: FrameEncoder,
    /// Batches by the series that they begin with.
    batches: Vec<OutgoingBatch>,
    sequence: u64,
}

impl Agent {
    /// An agent with so many series that sends so many points at a time.
    pub(crate) fn new(form: Form, node: &str, series: usize, points: usize) -> Self {
        let settings = EncoderSettings { form, compression: Compression::None, ..EncoderSettings::default() };
        // After as many batches as this one begins where the first did.
        let different = series / greatest_common_divisor(series, points);
        Self {
            encoder: FrameEncoder::new(settings).expect("the settings are sound"),
            batches: (0..different).map(|step| batch(node, step, series, points)).collect(),
            sequence: 0,
        }
    }

    /// The next frame. Series are defined where they come for the first time.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let batch = &self.batches[self.sequence as usize % self.batches.len()];
        self.sequence += 1;
        let name = BatchName { sequence: self.sequence, epoch: 1, oldest_unacknowledged: self.sequence };
        let mut frame = Vec::new();
        self.encoder.frame(Some(batch), name, None, &mut frame).expect("the batch fits");
        frame
    }
}

fn greatest_common_divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

fn batch(node: &str, step: usize, series_count: usize, points: usize) -> OutgoingBatch {
    let first = step * points;
    let in_batch = series_count.min(points);
    let series = (first..first + in_batch).map(|place| place % series_count).map(|place| OutgoingSeries {
        name: NAMES[place % NAMES.len()].into(),
        tags: vec![
            ("node_id".into(), node.into()),
            ("region".into(), "eu-central".into()),
            ("zone".into(), format!("eu-central-{}", place % 3).into()),
            ("service".into(), "training".into()),
            ("device".into(), format!("device-{place}").into()),
        ],
        metric_type: 2,
        unit: "1".into(),
        delta: false,
    });
    let values = (0..points).map(|place| value((first + place) % series_count, step * points + place));
    OutgoingBatch::new(
        Vec::new(),
        series.collect(),
        (0..points).map(|place| (place % in_batch) as u32).collect(),
        (0..points).map(|place| NOW_NS + (step + place / in_batch) as i64 * 1_000_000).collect(),
        values.collect(),
    )
    .expect("the columns are equal")
}

/// A reading around what is usual for its series, with three decimals.
fn value(series: usize, place: usize) -> f64 {
    let base = (37 * series % 97 + 1) as f64;
    // The sum of four even ones is near a normal one.
    let noise: f64 = (0..4).map(|draw| even(4 * place as u64 + draw) - 0.5).sum::<f64>() * 3_f64.sqrt();
    ((base + noise * 0.05 * base) * 1_000.0).round() / 1_000.0
}

/// Numbers from 0 to 1 without an order, by splitmix64: the same everywhere.
fn even(place: u64) -> f64 {
    let mixed = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
