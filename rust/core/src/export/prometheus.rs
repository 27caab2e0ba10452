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
//! within one, the last is sent. Units are not sent. Changes are sent as what they add up to ([`Totals`]): the protocol knows
//! no others.

use std::borrow::Cow;
use std::sync::Arc;

use super::gathered::{Datum, Gathered, Sample};
use super::totals::{Sum, Total};
use super::{Cutter, Requests, Totals};
use crate::columns::{Distribution, Histogram, PointBlock, Summary};
use crate::series::{Descriptor, MetricType};
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, varint_len};

/// Samples of one series that stand together in a request; more begin it anew.
const SAMPLES_MAX: usize = 1_000;

/// Writes blocks as requests of about `bytes_max` bytes before compression. `totals` were told where the blocks stand.
///
/// # Panics
/// Never: bodies are far smaller than snappy can take.
#[must_use]
pub fn encode(blocks: &[Arc<PointBlock>], bytes_max: usize, totals: &mut Totals) -> Requests {
    let gathered = Gathered::of(blocks);
    let mut writer = Writer { cutter: Cutter::new(bytes_max), totals, series: Vec::new(), labels: Vec::new() };
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

struct Writer<'t> {
    cutter: Cutter,
    totals: &'t mut Totals,
    /// The `TimeSeries` that is being written.
    series: Vec<u8>,
    /// The labels of the series at hand, sorted by their names.
    labels: Vec<(String, String)>,
}

impl Writer<'_> {
    fn series(&mut self, descriptor: &Arc<Descriptor>, samples: &[(u32, Sample<'_>)]) {
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
        let told = if descriptor.delta && descriptor.metric_type != MetricType::Summary {
            self.totals.change(descriptor, |total| totals_of(descriptor.metric_type, total, samples))
        } else {
            last_of_each_ms(samples)
        };
        let alone = told.iter().filter(|one| one.points > 0).count() as u64;
        self.cutter.done.rewritten += if rewritten { samples.len() as u64 } else { samples.len() as u64 - alone };
        for some in told.chunks(SAMPLES_MAX) {
            if matches!(some[0].datum, Told::Value(_)) {
                self.scalars(&name, some);
            } else {
                for one in some {
                    self.distribution(&name, one);
                }
            }
            self.cutter.points += some.iter().map(|one| one.points).sum::<u64>();
            self.cutter.cut_if_full();
        }
    }

    fn scalars(&mut self, name: &str, some: &[Moment<'_>]) {
        self.begin(name, None);
        for one in some {
            if let Told::Value(value) = one.datum {
                self.sample(value, one.ms);
            }
        }
        self.end();
    }

    fn distribution(&mut self, name: &str, one: &Moment<'_>) {
        let ms = one.ms;
        let Told::Distribution(distribution) = &one.datum else { return };
        let (sum, count) = match &**distribution {
            Distribution::Histogram(histogram) => {
                self.buckets(name, histogram, ms);
                (histogram.sum, histogram.count)
            }
            Distribution::Summary(summary) => {
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

/// What is told of a series at one time.
struct Moment<'a> {
    ms: i64,
    datum: Told<'a>,
    /// Points that it stands for: 0 where it only marks a beginning.
    points: u64,
}

enum Told<'a> {
    Value(f64),
    Distribution(Cow<'a, Distribution>),
}

/// Of the points within a millisecond, the last.
fn last_of_each_ms<'a>(samples: &[(u32, Sample<'a>)]) -> Vec<Moment<'a>> {
    let mut told: Vec<Moment<'a>> = Vec::with_capacity(samples.len());
    for (_, sample) in samples {
        let ms = sample.timestamp_unix_ns.div_euclid(1_000_000);
        let datum = match sample.datum {
            Datum::Value(value) => Told::Value(value),
            Datum::Distribution(distribution) => Told::Distribution(Cow::Borrowed(distribution)),
        };
        match told.last_mut() {
            Some(last) if last.ms == ms => *last = Moment { ms, datum, points: last.points + 1 },
            _ => told.push(Moment { ms, datum, points: 1 }),
        }
    }
    told
}

/// What changes add up to. A total that grows is marked with 0 where it begins, so that what it begins with counts as
/// growth. A change that comes late is told in the next millisecond that is free: totals go forward in time only.
fn totals_of(metric_type: MetricType, total: &mut Total, samples: &[(u32, Sample<'_>)]) -> Vec<Moment<'static>> {
    let mut told: Vec<Moment<'static>> = Vec::with_capacity(samples.len() + 1);
    for (_, sample) in samples {
        let begins = match sample.datum {
            Datum::Value(change) => total.sum.add_value(change),
            Datum::Distribution(Distribution::Histogram(change)) => total.sum.add_histogram(change),
            // A summary has no changes.
            Datum::Distribution(Distribution::Summary(_)) => continue,
        };
        let ms = sample.timestamp_unix_ns.div_euclid(1_000_000);
        let told_ms = told.last().map(|last| last.ms);
        let free_ms = told_ms.or(total.last_ms.map(|last| last + 1)).map_or(ms, |free| free.max(ms));
        if begins && metric_type != MetricType::Gauge && told_ms.or(total.last_ms).is_none_or(|last| last < free_ms - 1)
        {
            told.extend(beginning(&total.sum).map(|datum| Moment { ms: free_ms - 1, datum, points: 0 }));
        }
        let Some(datum) = sum_of(&total.sum) else { continue };
        match told.last_mut() {
            Some(last) if last.ms == free_ms => *last = Moment { ms: free_ms, datum, points: last.points + 1 },
            _ => told.push(Moment { ms: free_ms, datum, points: 1 }),
        }
    }
    total.last_ms = told.last().map(|last| last.ms).or(total.last_ms);
    told
}

fn sum_of(sum: &Sum) -> Option<Told<'static>> {
    match sum {
        Sum::Nothing => None,
        Sum::Value(value) => Some(Told::Value(*value)),
        Sum::Histogram(histogram) => Some(Told::Distribution(Cow::Owned(Distribution::Histogram(histogram.clone())))),
    }
}

/// The same, before anything was added.
fn beginning(sum: &Sum) -> Option<Told<'static>> {
    match sum {
        Sum::Nothing => None,
        Sum::Value(_) => Some(Told::Value(0.0)),
        Sum::Histogram(histogram) => {
            let empty = Histogram {
                upper_bounds: histogram.upper_bounds.clone(),
                bucket_counts: vec![0; histogram.bucket_counts.len()],
                ..Histogram::default()
            };
            Some(Told::Distribution(Cow::Owned(Distribution::Histogram(empty))))
        }
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
