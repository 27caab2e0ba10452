//! OTLP: an `ExportMetricsServiceRequest`.
//!
//! What `translate::otlp` reads, the other way: counters are monotonic sums, gauges and meters are gauges (of delta
//! temporality: sums that are not monotonic), the standard tags are attributes of the resource, the tag `otel.scope.name` is
//! the scope's name, all others are attributes of the points.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gathered::{Datum, Gathered, Sample};
use super::{Cutter, Requests};
use crate::columns::{Distribution, Histogram, PointBlock, Summary};
use crate::series::{Descriptor, MetricType};
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, put_text, varint_len};

/// Tags that are attributes of the resource, with their names there.
const RESOURCE_TAGS: [(&str, &str); 5] = [
    ("service", "service.name"),
    ("version", "service.version"),
    ("node_id", "host.name"),
    ("region", "cloud.region"),
    ("zone", "cloud.availability_zone"),
];
const SCOPE_NAME: &str = "otel.scope.name";
/// Points of one series that stand together; more begin it anew.
const SAMPLES_MAX: usize = 1_000;
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Writes blocks as requests of about `bytes_max` bytes.
#[must_use]
pub fn encode(blocks: &[Arc<PointBlock>], bytes_max: usize) -> Requests {
    let gathered = Gathered::of(blocks);
    let mut writer = Writer { cutter: Cutter::new(bytes_max), scopes: BTreeMap::new(), bytes: 0 };
    for (descriptor, samples) in gathered.series() {
        for some in samples.chunks(SAMPLES_MAX) {
            writer.series(descriptor, some);
        }
    }
    writer.end();
    writer.cutter.finish()
}

/// The attributes of a resource, as they stand in it, and the name of a scope.
type Scope = (Vec<u8>, String);

struct Writer {
    cutter: Cutter,
    /// The metrics of each scope, as they stand in it. Ordered, so that the same blocks make the same requests.
    scopes: BTreeMap<Scope, Vec<u8>>,
    bytes: usize,
}

impl Writer {
    fn series(&mut self, descriptor: &Descriptor, samples: &[(u32, Sample<'_>)]) {
        let mut resource = Vec::new();
        let mut scope = String::new();
        let mut attributes = Vec::new();
        for (key, value) in descriptor.key.tags() {
            match RESOURCE_TAGS.iter().find(|(tag, _)| *tag == key) {
                Some((_, attribute)) => put_attribute(&mut resource, 1, attribute, value),
                None if key == SCOPE_NAME => value.clone_into(&mut scope),
                None => attributes.push((key, value)),
            }
        }
        let metric = metric(descriptor, &attributes, samples);
        self.bytes += metric.len();
        let metrics = self.scopes.entry((resource, scope)).or_default();
        put_bytes(metrics, 2, &metric);
        self.cutter.points += samples.len() as u64;
        if self.bytes >= self.cutter.bytes_max {
            self.end();
        }
    }

    /// Writes the request.
    fn end(&mut self) {
        self.bytes = 0;
        for ((resource, scope), metrics) in std::mem::take(&mut self.scopes) {
            let mut scope_metrics = Vec::with_capacity(metrics.len() + scope.len() + 8);
            if !scope.is_empty() {
                let mut message = Vec::new();
                put_text(&mut message, 1, &scope);
                put_bytes(&mut scope_metrics, 1, &message);
            }
            scope_metrics.extend_from_slice(&metrics);
            let mut resource_metrics = Vec::with_capacity(scope_metrics.len() + resource.len() + 16);
            put_bytes(&mut resource_metrics, 1, &resource);
            put_bytes(&mut resource_metrics, 2, &scope_metrics);
            put_bytes(&mut self.cutter.body, 1, &resource_metrics);
        }
        self.cutter.cut();
    }
}

/// A `Metric`.
fn metric(descriptor: &Descriptor, attributes: &[(&str, &str)], samples: &[(u32, Sample<'_>)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (_, sample) in samples {
        put_bytes(&mut data, 1, &point(sample, attributes));
    }
    let temporality = if descriptor.delta { DELTA } else { CUMULATIVE };
    let monotonic = descriptor.metric_type == MetricType::Counter;
    let field = match descriptor.metric_type {
        MetricType::Counter => 7,
        MetricType::Gauge | MetricType::Meter if descriptor.delta => 7,
        MetricType::Gauge | MetricType::Meter => 5,
        MetricType::Histogram => 9,
        MetricType::Summary => 11,
    };
    if matches!(field, 7 | 9) {
        put_number(&mut data, 2, temporality);
    }
    if field == 7 {
        put_number(&mut data, 3, u64::from(monotonic));
    }
    let mut metric = Vec::with_capacity(data.len() + descriptor.key.name().len() + 16);
    put_text(&mut metric, 1, descriptor.key.name());
    put_text(&mut metric, 3, &descriptor.unit);
    put_bytes(&mut metric, field, &data);
    metric
}

fn point(sample: &Sample<'_>, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut point = Vec::new();
    put_fixed64(&mut point, 3, sample.timestamp_unix_ns as u64);
    let attributes_field = match sample.datum {
        Datum::Value(value) => {
            put_fixed64(&mut point, 4, value.to_bits());
            7
        }
        Datum::Distribution(Distribution::Histogram(histogram)) => {
            put_histogram(&mut point, histogram);
            9
        }
        Datum::Distribution(Distribution::Summary(summary)) => {
            put_summary(&mut point, summary);
            7
        }
    };
    for (key, value) in attributes {
        put_attribute(&mut point, attributes_field, key, value);
    }
    point
}

fn put_histogram(point: &mut Vec<u8>, histogram: &Histogram) {
    put_fixed64(point, 4, histogram.count);
    put_fixed64(point, 5, histogram.sum.to_bits());
    put_message_head(point, 6, 8 * histogram.bucket_counts.len());
    point.extend(histogram.bucket_counts.iter().flat_map(|count| count.to_le_bytes()));
    put_message_head(point, 7, 8 * histogram.upper_bounds.len());
    point.extend(histogram.upper_bounds.iter().flat_map(|bound| bound.to_le_bytes()));
    for (field, extreme) in [(11, histogram.min), (12, histogram.max)] {
        if let Some(extreme) = extreme {
            put_fixed64(point, field, extreme.to_bits());
        }
    }
}

fn put_summary(point: &mut Vec<u8>, summary: &Summary) {
    put_fixed64(point, 4, summary.count);
    put_fixed64(point, 5, summary.sum.to_bits());
    for quantile in &summary.quantiles {
        put_message_head(point, 6, 18);
        put_fixed64(point, 1, quantile.quantile.to_bits());
        put_fixed64(point, 2, quantile.value.to_bits());
    }
}

/// A `KeyValue` of a text.
fn put_attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    let text = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
    let any_value = text(value);
    put_message_head(out, field, text(key) + 1 + varint_len(any_value as u64) + any_value);
    put_bytes(out, 1, key.as_bytes());
    put_message_head(out, 2, any_value);
    put_bytes(out, 1, value.as_bytes());
}
