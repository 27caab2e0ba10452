//! Prometheus' remote write, version 1: a `WriteRequest` in snappy.
//!
//! | point | series |
//! |---|---|
//! | counter | its name, with `_total` where that is missing |
//! | gauge, meter | its name |
//! | histogram | `_bucket` with `le`, cumulative; `_sum`; `_count` |
//! | summary | its name with `quantile`; `_sum`; `_count` |
//!
//! Names have letters, digits, underscores and, for metrics, colons there; every other character becomes an underscore.
//! Two labels that become the same are told apart by further underscores. Times are milliseconds: of points of one series
//! within one, the last is sent. Units are not sent.

use std::sync::Arc;

use super::gathered::{Datum, Gathered, Sample};
use super::{Cutter, Requests};
use crate::columns::{Distribution, Histogram, PointBlock, Summary};
use crate::series::{Descriptor, MetricType};
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, varint_len};

/// Samples of one series that stand together in a request; more begin it anew.
const SAMPLES_MAX: usize = 1_000;

/// Writes blocks as requests of about `bytes_max` bytes before compression.
///
/// # Panics
/// Never: bodies are far smaller than snappy can take.
#[must_use]
pub fn encode(blocks: &[Arc<PointBlock>], bytes_max: usize) -> Requests {
    let gathered = Gathered::of(blocks);
    let mut writer = Writer { cutter: Cutter::new(bytes_max), series: Vec::new(), labels: Vec::new() };
    for (descriptor, samples) in gathered.series() {
        writer.series(descriptor, samples);
    }
    let mut done = writer.cutter.finish();
    let mut packer = snap::raw::Encoder::new();
    for request in &mut done.requests {
        request.body = packer.compress_vec(&request.body).expect("a body is far below 4 GiB");
    }
    done
}

struct Writer {
    cutter: Cutter,
    /// The `TimeSeries` that is being written.
    series: Vec<u8>,
    /// The labels of the series at hand, sorted by their names.
    labels: Vec<(String, String)>,
}

impl Writer {
    fn series(&mut self, descriptor: &Descriptor, samples: &[(u32, Sample<'_>)]) {
        let mut name = metric_name(descriptor.key.name());
        if descriptor.metric_type == MetricType::Counter && !name.ends_with("_total") {
            name.push_str("_total");
        }
        let mut rewritten = name != descriptor.key.name() && name.strip_suffix("_total") != Some(descriptor.key.name());
        self.labels.clear();
        for (key, value) in descriptor.key.tags() {
            let mut label = label_name(key);
            while self.labels.iter().any(|(taken, _)| *taken == label) {
                label.push('_');
            }
            rewritten |= label != key;
            self.labels.push((label, value.to_owned()));
        }
        self.cutter.done.rewritten += if rewritten { samples.len() as u64 } else { 0 };
        for some in samples.chunks(SAMPLES_MAX) {
            if matches!(some[0].1.datum, Datum::Value(_)) {
                self.scalars(&name, some, rewritten);
            } else {
                for (_, sample) in some {
                    self.distribution(&name, sample);
                }
            }
            self.cutter.points += some.len() as u64;
            self.cutter.cut_if_full();
        }
    }

    fn scalars(&mut self, name: &str, samples: &[(u32, Sample<'_>)], counted: bool) {
        self.begin(name, None);
        for (place, (_, sample)) in samples.iter().enumerate() {
            let ms = sample.timestamp_unix_ns.div_euclid(1_000_000);
            let next = samples.get(place + 1);
            if next.is_some_and(|(_, next)| next.timestamp_unix_ns.div_euclid(1_000_000) == ms) {
                self.cutter.done.rewritten += u64::from(!counted);
            } else if let Datum::Value(value) = sample.datum {
                self.sample(value, ms);
            }
        }
        self.end();
    }

    fn distribution(&mut self, name: &str, sample: &Sample<'_>) {
        let ms = sample.timestamp_unix_ns.div_euclid(1_000_000);
        let (sum, count) = match sample.datum {
            Datum::Value(_) => return,
            Datum::Distribution(Distribution::Histogram(histogram)) => {
                self.buckets(name, histogram, ms);
                (histogram.sum, histogram.count)
            }
            Datum::Distribution(Distribution::Summary(summary)) => {
                self.quantiles(name, summary, ms);
                (summary.sum, summary.count)
            }
        };
        for (ending, value) in [("_sum", sum), ("_count", count as f64)] {
            self.begin(&format!("{name}{ending}"), None);
            self.sample(value, ms);
            self.end();
        }
    }

    fn buckets(&mut self, name: &str, histogram: &Histogram, ms: i64) {
        let name = format!("{name}_bucket");
        let bounds = histogram.upper_bounds.iter().map(|&bound| number(bound)).chain(["+Inf".to_owned()]);
        let mut cumulative = 0_u64;
        for (bound, &count) in bounds.zip(&histogram.bucket_counts) {
            cumulative = cumulative.saturating_add(count);
            self.begin(&name, Some(("le", &bound)));
            self.sample(cumulative as f64, ms);
            self.end();
        }
    }

    fn quantiles(&mut self, name: &str, summary: &Summary, ms: i64) {
        for quantile in &summary.quantiles {
            self.begin(name, Some(("quantile", &number(quantile.quantile))));
            self.sample(quantile.value, ms);
            self.end();
        }
    }

    /// Writes the labels, sorted by their names as the protocol wants them. One that the protocol itself adds takes the
    /// place of a tag of its name.
    fn begin(&mut self, name: &str, more: Option<(&str, &str)>) {
        self.series.clear();
        let own = self.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
        let mut labels: Vec<(&str, &str)> =
            own.filter(|(label, _)| more.is_none_or(|(key, _)| key != *label)).collect();
        labels.extend(more);
        labels.push(("__name__", name));
        labels.sort_unstable();
        let field = |text: &str| 1 + varint_len(text.len() as u64) + text.len();
        for (label, value) in labels {
            put_message_head(&mut self.series, 1, field(label) + field(value));
            put_bytes(&mut self.series, 1, label.as_bytes());
            put_bytes(&mut self.series, 2, value.as_bytes());
        }
    }

    fn sample(&mut self, value: f64, ms: i64) {
        let time_bytes = if ms == 0 { 0 } else { 1 + varint_len(ms as u64) };
        put_message_head(&mut self.series, 2, 9 + time_bytes);
        put_fixed64(&mut self.series, 1, value.to_bits());
        put_number(&mut self.series, 2, ms as u64);
    }

    fn end(&mut self) {
        put_bytes(&mut self.cutter.body, 1, &self.series);
    }
}

/// The shortest form that reads back the same, as Prometheus' own clients write bounds: `0.1`, `5.0`.
fn number(number: f64) -> String {
    zmij::Buffer::new().format_finite(number).to_owned()
}

fn metric_name(name: &str) -> String {
    legal(name, |character| character == ':')
}

fn label_name(name: &str) -> String {
    let legal = legal(name, |_| false);
    // Names of two underscores are Prometheus' own.
    if legal.starts_with("__") { format!("tag{legal}") } else { legal }
}

fn legal(name: &str, also: fn(char) -> bool) -> String {
    let mut legal: String = name
        .chars()
        .map(
            |character| {
                if character.is_ascii_alphanumeric() || character == '_' || also(character) { character } else { '_' }
            },
        )
        .collect();
    if legal.starts_with(|first: char| first.is_ascii_digit()) {
        legal.insert(0, '_');
    }
    legal
}
