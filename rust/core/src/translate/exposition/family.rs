//! The metric that the last `# TYPE` line named: what its samples are, and the distributions that they make up.

use std::collections::HashMap;

use super::Syntax;
use super::sample::{Labels, Sample, number};
use crate::columns::{Histogram, Quantile, Summary};
use crate::limits::{BUCKETS_MAX, QUANTILES_MAX};
use crate::series::MetricType;

/// Distributions of one family that are gathered; the samples of more are points by themselves.
const GATHERED_MAX: usize = 65_536;

/// What a `# TYPE` line may say, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Type {
    /// Also what is unknown, and the ones and zeros of `info` and `stateset`.
    #[default]
    Gauge,
    Counter,
    Histogram,
    /// Its buckets may shrink.
    GaugeHistogram,
    Summary,
}

/// What a sample is to its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A point by itself.
    Point(MetricType),
    /// One of several that make a point.
    Part(Part),
    /// When the series began.
    Created,
    /// Of another family, or of none.
    Stranger,
}

/// A part of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// By the label that tells which: a count below `le`, or the value of a `quantile`.
    By(&'static [u8]),
    Sum,
    Count,
}

/// A metric with its samples.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) name: Vec<u8>,
    pub(super) unit: Vec<u8>,
    /// Distributions in the order in which they came.
    pub(super) gathered: Vec<Distribution>,
    metric_type: Type,
    /// By the labels that tell them apart, and by the time: a page may have several points of one.
    places: HashMap<(Labels, u64), usize>,
}

impl Family {
    /// Takes the type of a `# TYPE` line.
    pub(super) fn set_type(&mut self, word: &[u8], syntax: Syntax) {
        self.metric_type = match word {
            b"counter" => Type::Counter,
            b"histogram" => Type::Histogram,
            b"gaugehistogram" if syntax == Syntax::OpenMetrics => Type::GaugeHistogram,
            b"summary" => Type::Summary,
            _ => Type::Gauge,
        };
    }

    pub(super) fn is_summary(&self) -> bool {
        self.metric_type == Type::Summary
    }

    /// What a sample of this name is, by what it adds to the family's.
    pub(super) fn role(&self, name: &[u8], syntax: Syntax) -> Role {
        let Some(ending) = name.strip_prefix(&*self.name).filter(|_| !self.name.is_empty()) else {
            return Role::Stranger;
        };
        let openmetrics = syntax == Syntax::OpenMetrics;
        match (self.metric_type, ending) {
            (Type::Counter, b"") => Role::Point(MetricType::Counter),
            (Type::Counter, b"_total") if openmetrics => Role::Point(MetricType::Counter),
            (Type::Histogram | Type::GaugeHistogram, b"_bucket") => Role::Part(Part::By(b"le")),
            (Type::Summary, b"") => Role::Part(Part::By(b"quantile")),
            (Type::Histogram | Type::Summary, b"_sum") | (Type::GaugeHistogram, b"_gsum") => Role::Part(Part::Sum),
            (Type::Histogram | Type::Summary, b"_count") | (Type::GaugeHistogram, b"_gcount") => {
                Role::Part(Part::Count)
            }
            (Type::Counter | Type::Histogram | Type::Summary, b"_created") if openmetrics => Role::Created,
            (Type::Gauge, b"" | b"_info") => Role::Point(MetricType::Gauge),
            _ => Role::Stranger,
        }
    }

    /// Adds a sample to its distribution. False when it has no place there.
    pub(super) fn gather(&mut self, sample: &Sample, part: Part) -> bool {
        let mut labels = sample.labels.clone();
        let mut place = 0.0;
        if let Part::By(label) = part {
            let Some(at) = labels.iter().position(|(key, _)| key == label) else { return false };
            let Some(number) = number(&labels.remove(at).1).filter(|number| !number.is_nan()) else { return false };
            place = number;
        }
        let next = self.gathered.len();
        let key = (labels, sample.timestamp_unix_ns);
        if next >= GATHERED_MAX && !self.places.contains_key(&key) {
            return false;
        }
        let at = *self.places.entry(key).or_insert_with_key(|(labels, timestamp_unix_ns)| {
            let (labels, timestamp_unix_ns) = (labels.clone(), *timestamp_unix_ns);
            self.gathered.push(Distribution { labels, timestamp_unix_ns, ..Distribution::default() });
            next
        });
        let distribution = &mut self.gathered[at];
        match part {
            Part::By(_) => distribution.parts.push((place, sample.value)),
            Part::Sum => distribution.sum = sample.value,
            Part::Count => distribution.count = sample.value,
        }
        true
    }
}

/// The samples of one histogram or summary.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    pub(super) labels: Labels,
    pub(super) timestamp_unix_ns: u64,
    /// Cumulative counts by their upper bounds, or values by their quantiles.
    parts: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

impl Distribution {
    /// Counts of each bucket, from what is below each bound. One more bucket than may be stored is kept, to be refused for
    /// it.
    pub(super) fn histogram(&mut self) -> Histogram {
        self.sort();
        let mut histogram = Histogram { sum: self.sum, ..Histogram::default() };
        let mut below = 0_u64;
        for &(bound, cumulative) in self.parts.iter().take(BUCKETS_MAX + 1) {
            let cumulative = cumulative as u64;
            histogram.bucket_counts.push(cumulative.saturating_sub(below));
            below = below.max(cumulative);
            if bound.is_finite() {
                histogram.upper_bounds.push(bound);
            }
        }
        // Where the bucket without an upper bound is missing, the count says what it would.
        if histogram.bucket_counts.len() == histogram.upper_bounds.len() {
            let count = self.count as u64;
            histogram.bucket_counts.push(count.saturating_sub(below));
            below = below.max(count);
        }
        histogram.count = below;
        histogram
    }

    /// Quantiles of no observations are no numbers, and are left out.
    pub(super) fn summary(&mut self) -> Summary {
        self.sort();
        let known = self.parts.iter().filter(|(_, value)| value.is_finite());
        let quantiles = known.take(QUANTILES_MAX + 1).map(|&(quantile, value)| Quantile { quantile, value }).collect();
        Summary { count: self.count as u64, sum: self.sum, quantiles }
    }

    fn sort(&mut self) {
        self.parts.sort_by(|(first, _), (second, _)| first.total_cmp(second));
    }
}
