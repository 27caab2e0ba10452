//! The reference data set: 1,000 nodes with 100 series each, of which some are enough to know the bytes of all.

use telemetry_core::wire::{OutgoingBatch, OutgoingSeries, OutgoingTag};

use crate::Streams;

const NODES: usize = 50;
const NAMES: usize = 20;
const SERVICES: usize = 5;
const READINGS: usize = 10;
const START_NS: i64 = 1_795_000_000_000_000_000;
/// Batches that follow each other on a node's stream. With one, half of it is definitions.
const BATCHES: [usize; 2] = [1, 10];

/// A node has a stream, which begins with its definitions.
pub(crate) fn data() -> Vec<(String, Streams)> {
    let mut normal = Normal(0x2545_f491_4f6c_dd1d);
    BATCHES
        .into_iter()
        .map(|batches| {
            let streams = (0..NODES).map(|node| (0..batches).map(|place| batch(node, place, &mut normal)).collect());
            (format!("reference, {batches} batches a stream"), streams.collect())
        })
        .collect()
}

/// Ten readings, one second apart, of each of the node's series in turn.
fn batch(node: usize, place: usize, normal: &mut Normal) -> OutgoingBatch {
    let series = NAMES * SERVICES;
    let values = (0..READINGS).flat_map(|_| 0..series).map(|place| {
        let base = ((37 * (series * node + place)) % 97 + 1) as f64;
        ((base + normal.next() * 0.05 * base) * 1_000.0).round() / 1_000.0
    });
    let first = START_NS + (place * READINGS) as i64 * 1_000_000_000;
    OutgoingBatch::new(
        vec![
            tag("node_id", format!("node-{node:04}")),
            tag("region", format!("region-{}", node % 4)),
            tag("zone", format!("zone-{}", node % 3)),
        ],
        (0..series).map(definition).collect(),
        (0..READINGS).flat_map(|_| 0..series as u32).collect(),
        (0..READINGS * series).map(|point| first + (point / series) as i64 * 1_000_000_000).collect(),
        values.collect(),
    )
    .expect("the columns are equal")
}

fn definition(place: usize) -> OutgoingSeries {
    let (name, service) = (place / SERVICES, place % SERVICES);
    OutgoingSeries {
        name: format!("service.metric.{name:02}").into(),
        tags: vec![tag("service", format!("service-{service}")), tag("version", format!("1.{service}.0"))],
        metric_type: 2,
        unit: "1".into(),
        delta: false,
    }
}

fn tag(key: &str, value: String) -> OutgoingTag {
    (key.into(), value.into())
}

/// Numbers of the normal distribution, the same in every run.
struct Normal(u64);

impl Normal {
    fn next(&mut self) -> f64 {
        let (one, other) = (self.uniform(), self.uniform());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }

    /// Above 0, and at most 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
