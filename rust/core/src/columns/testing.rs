//! Blocks for tests: any valid text, any number, every shape.

use std::sync::Arc;

use proptest::prelude::*;

use super::{BatchHeader, BlockBuilder, Distribution, Histogram, PointBlock, Quantile, Summary};
use crate::series::key::write_key;
use crate::series::{Descriptor, MetricType, SeriesKey};

/// A descriptor of valid parts; tags need not be sorted.
pub(crate) fn descriptor(name: &str, tags: &[(&str, &str)], metric_type: MetricType) -> Arc<Descriptor> {
    let mut sorted = tags.to_vec();
    sorted.sort_unstable();
    let mut bytes = Vec::new();
    write_key(&mut bytes, name.as_bytes(), sorted.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
    let key = SeriesKey::from_canonical(&bytes).expect("tests name valid parts");
    Arc::new(Descriptor::new(key, metric_type, "By".into(), false))
}

/// A block of one scalar point for each descriptor.
pub(crate) fn block_of(descriptors: &[Arc<Descriptor>]) -> PointBlock {
    let mut builder = BlockBuilder::default();
    for (point, descriptor) in (0_i32..).zip(descriptors) {
        let index = builder.descriptor(descriptor);
        builder.push(index, 1_700_000_000_000_000_000, f64::from(point));
    }
    builder.finish(header())
}

pub(crate) fn header() -> BatchHeader {
    BatchHeader {
        identity: "spiffe://example/node-1".into(),
        epoch: 7,
        sequence: 3,
        oldest_unacknowledged: 2,
        received_unix_us: 1_700_000_000_000_000,
    }
}

/// Text with everything that a format could trip over.
fn text(characters_max: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        6 => prop::char::range('a', 'd'),
        6 => prop::sample::select(vec![',', '=', ' ', '\\', '"', '\'', '#', '_', '/', '\u{85}', '\u{2028}', 'é', '中', '🦀']),
        1 => any::<char>().prop_filter("no control characters", |c| *c >= ' ' && *c != '\x7f'),
    ];
    prop::collection::vec(character, 1..characters_max).prop_map(|characters| characters.into_iter().collect())
}

fn tag_key() -> impl Strategy<Value = String> {
    let special =
        vec!["time", "time_", "_field", "_measurement", "node_id", "region", "zone", "service", "version", "a", "a_"];
    prop_oneof![2 => prop::sample::select(special).prop_map(str::to_owned), 1 => text(5)]
}

fn any_descriptor() -> impl Strategy<Value = Arc<Descriptor>> {
    let tags = prop::collection::btree_map(tag_key(), text(8), 0..7);
    let kinds =
        vec![MetricType::Counter, MetricType::Gauge, MetricType::Histogram, MetricType::Summary, MetricType::Meter];
    let unit = prop_oneof![Just(String::new()), text(4)];
    (text(8), tags, prop::sample::select(kinds), unit, any::<bool>()).prop_map(|(name, tags, kind, unit, delta)| {
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut descriptor = Arc::unwrap_or_clone(descriptor(&name, &tags, kind));
        (descriptor.unit, descriptor.delta) = (unit.into(), delta);
        Arc::new(descriptor)
    })
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |number| number.is_finite()),
        (-1_000_000_i32..1_000_000).prop_map(|number| f64::from(number) / 1_000.0),
        Just(-0.0),
    ]
}

fn histogram() -> impl Strategy<Value = Distribution> {
    let numbers = (finite(), prop::option::of(finite()), prop::option::of(finite()));
    (numbers, prop::collection::vec(finite(), 0..5), prop::collection::vec(0_u64..1 << 60, 5)).prop_map(
        |((sum, min, max), mut upper_bounds, mut bucket_counts)| {
            upper_bounds.sort_by(f64::total_cmp);
            upper_bounds.dedup();
            bucket_counts.truncate(upper_bounds.len() + 1);
            let count = bucket_counts.iter().sum();
            Distribution::Histogram(Histogram { count, sum, min, max, upper_bounds, bucket_counts })
        },
    )
}

fn summary() -> impl Strategy<Value = Distribution> {
    let quantile = (0.0..=1.0, finite()).prop_map(|(quantile, value)| Quantile { quantile, value });
    (0..1_u64 << 63, finite(), prop::collection::vec(quantile, 0..5))
        .prop_map(|(count, sum, quantiles)| Distribution::Summary(Summary { count, sum, quantiles }))
}

/// A point of any descriptor; its kind of data follows from the descriptor's type.
#[derive(Debug, Clone)]
struct Point {
    descriptor: prop::sample::Index,
    timestamp_unix_ns: i64,
    value: f64,
    histogram: Distribution,
    summary: Distribution,
}

fn point() -> impl Strategy<Value = Point> {
    let timestamp = prop_oneof![Just(1_700_000_000_000_000_000), 0..2_000_000_000_000_000_000_i64, any::<i64>()];
    (any::<prop::sample::Index>(), timestamp, finite(), histogram(), summary()).prop_map(
        |(descriptor, timestamp_unix_ns, value, histogram, summary)| Point {
            descriptor,
            timestamp_unix_ns,
            value,
            histogram,
            summary,
        },
    )
}

fn any_header() -> impl Strategy<Value = BatchHeader> {
    (text(12), any::<u64>(), 0..1_u64 << 63, any::<u64>(), any::<i32>()).prop_map(
        |(identity, epoch, sequence, oldest_unacknowledged, received)| BatchHeader {
            identity: identity.into(),
            epoch,
            sequence,
            oldest_unacknowledged,
            received_unix_us: i64::from(received) * 1_000_003,
        },
    )
}

/// Blocks that have a few descriptors in common.
pub(crate) fn blocks() -> impl Strategy<Value = Vec<PointBlock>> {
    let batches = prop::collection::vec((any_header(), prop::collection::vec(point(), 0..12)), 0..4);
    (prop::collection::vec(any_descriptor(), 1..8), batches).prop_map(|(descriptors, batches)| {
        batches.into_iter().map(|(header, points)| build(&descriptors, header, points)).collect()
    })
}

fn build(descriptors: &[Arc<Descriptor>], header: BatchHeader, points: Vec<Point>) -> PointBlock {
    let mut builder = BlockBuilder::default();
    for point in points {
        let descriptor = point.descriptor.get(descriptors);
        let index = builder.descriptor(descriptor);
        match descriptor.metric_type {
            MetricType::Histogram => builder.push_distribution(index, point.timestamp_unix_ns, point.histogram),
            MetricType::Summary => builder.push_distribution(index, point.timestamp_unix_ns, point.summary),
            _ => builder.push(index, point.timestamp_unix_ns, point.value),
        }
    }
    builder.finish(header)
}
