//! Prometheus' text format, as targets show it at `/metrics`.
//!
//! Samples become points with the target's labels beside their own; of two with one name, the target's wins and the
//! sample's is called `exported_…`, as with Prometheus. Types are those of the `# TYPE` lines: counters are counters, and
//! the samples of a histogram or summary become one point. What has no type is a gauge.

use std::collections::HashMap;

use super::batches::LineFault;
use super::renames::Pair;
use super::{Batches, Kind};
use crate::columns::{Histogram, Quantile, Summary};
use crate::limits::{BUCKETS_MAX, QUANTILES_MAX};
use crate::series::MetricType;

/// Distributions of one family that are gathered; the samples of more are points by themselves.
const GATHERED_MAX: usize = 65_536;

/// The labels of a target: each of its points has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target(Vec<Pair>);

impl Target {
    /// A target with these labels.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into())).collect())
    }
}

/// Writes the points of a page. A line that breaks the format is refused and counted, the others are taken.
pub fn translate(body: &[u8], target: &Target, batches: &mut Batches) {
    let mut page = Page { target, family: Family::default(), batches };
    let mut sample = Sample::default();
    for (place, line) in body.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            page.comment(comment);
        } else if sample.read(line).is_some() {
            page.sample(&sample);
        } else {
            page.batches.refuse_lines(1, || place + 1, LineFault::Sample);
        }
    }
    page.end_family();
}

/// Labels with their values, as a line has them.
type Labels = Vec<(Vec<u8>, Vec<u8>)>;

/// One line.
#[derive(Debug, Default)]
struct Sample {
    name: Vec<u8>,
    labels: Labels,
    value: f64,
    /// 0 where the line has none.
    timestamp_unix_ns: u64,
}

impl Sample {
    /// Reads `name{label="value",…} value timestamp`; `None` for anything else.
    fn read(&mut self, line: &[u8]) -> Option<()> {
        self.labels.clear();
        let end = line.iter().position(|byte| b"{ \t".contains(byte))?;
        self.name.clear();
        self.name.extend_from_slice(&line[..end]);
        let mut rest = line[end..].trim_ascii_start();
        if let Some(labels) = rest.strip_prefix(b"{") {
            rest = self.read_labels(labels)?;
        }
        let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        self.value = number(words.next()?)?;
        self.timestamp_unix_ns = match words.next() {
            None => 0,
            Some(word) => {
                let ms: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
                (i128::from(ms) * 1_000_000).clamp(1, i128::from(i64::MAX)) as u64
            }
        };
        (!self.name.is_empty() && words.next().is_none()).then_some(())
    }

    /// Reads labels up to their closing brace; what stands behind it.
    fn read_labels<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            rest = rest.trim_ascii_start();
            if let Some(behind) = rest.strip_prefix(b"}") {
                return Some(behind);
            }
            let equals = rest.iter().position(|&byte| byte == b'=')?;
            let key = rest[..equals].trim_ascii().to_vec();
            rest = rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
            let mut value = Vec::new();
            let mut at = 0;
            loop {
                match *rest.get(at)? {
                    b'"' => break,
                    b'\\' => {
                        at += 1;
                        match *rest.get(at)? {
                            b'n' => value.push(b'\n'),
                            escaped @ (b'"' | b'\\') => value.push(escaped),
                            other => value.extend_from_slice(&[b'\\', other]),
                        }
                    }
                    byte => value.push(byte),
                }
                at += 1;
            }
            rest = rest[at + 1..].trim_ascii_start();
            if key.is_empty() {
                return None;
            }
            self.labels.push((key, value));
            match rest.first()? {
                b',' => rest = &rest[1..],
                b'}' => {}
                _ => return None,
            }
        }
    }
}

/// A number as Go's parser takes it here: `+Inf` and `NaN` in any case.
fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

struct Page<'a> {
    target: &'a Target,
    family: Family,
    batches: &'a mut Batches,
}

/// The metric that the last `# TYPE` line named.
#[derive(Default)]
struct Family {
    name: Vec<u8>,
    metric_type: Option<MetricType>,
    /// Distributions by the labels that tell them apart, in the order in which they came.
    gathered: Vec<Gathered>,
    by_labels: HashMap<Labels, usize>,
}

/// The samples of one histogram or summary.
#[derive(Default)]
struct Gathered {
    labels: Labels,
    /// Cumulative counts by their upper bounds, or values by their quantiles.
    parts: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
    timestamp_unix_ns: u64,
}

impl Page<'_> {
    /// `TYPE name type`; other comments mean nothing.
    fn comment(&mut self, comment: &[u8]) {
        let mut words = comment.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.next() != Some(b"TYPE") {
            return;
        }
        self.end_family();
        self.family.name = words.next().unwrap_or_default().to_vec();
        self.family.metric_type = match words.next() {
            Some(b"counter") => Some(MetricType::Counter),
            Some(b"gauge") => Some(MetricType::Gauge),
            Some(b"histogram") => Some(MetricType::Histogram),
            Some(b"summary") => Some(MetricType::Summary),
            _ => None,
        };
    }

    fn sample(&mut self, sample: &Sample) {
        let of_family = sample.name.strip_prefix(&*self.family.name).filter(|_| !self.family.name.is_empty());
        let part = match (self.family.metric_type, of_family) {
            (Some(MetricType::Histogram), Some(b"_bucket")) => Some("le"),
            (Some(MetricType::Summary), Some(b"")) => Some("quantile"),
            (Some(MetricType::Histogram | MetricType::Summary), Some(b"_sum" | b"_count")) => Some(""),
            _ => None,
        };
        if let Some(label) = part
            && self.gather(sample, label)
        {
            return;
        }
        if !sample.value.is_finite() {
            self.batches.left().points_without_value += 1;
            return;
        }
        let is_counter = self.family.metric_type == Some(MetricType::Counter) && of_family == Some(b"");
        let metric_type = if is_counter { MetricType::Counter } else { MetricType::Gauge };
        self.series(&sample.name, &sample.labels);
        self.batches.value(Kind { metric_type, unit: &[], delta: false }, sample.timestamp_unix_ns, sample.value);
    }

    /// Adds a sample to its distribution: the part that its `label` says, or sum or count. False when it has no place.
    fn gather(&mut self, sample: &Sample, label: &str) -> bool {
        let mut labels = sample.labels.clone();
        let mut place = None;
        if !label.is_empty() {
            let Some(at) = labels.iter().position(|(key, _)| key == label.as_bytes()) else { return false };
            let Some(number) = number(&labels.remove(at).1).filter(|number| !number.is_nan()) else { return false };
            place = Some(number);
        }
        let family = &mut self.family;
        let next = family.gathered.len();
        if next >= GATHERED_MAX && !family.by_labels.contains_key(&labels) {
            return false;
        }
        let at = *family.by_labels.entry(labels).or_insert_with_key(|labels| {
            family.gathered.push(Gathered { labels: labels.clone(), ..Gathered::default() });
            next
        });
        let gathered = &mut family.gathered[at];
        gathered.timestamp_unix_ns = sample.timestamp_unix_ns;
        match place {
            Some(place) => gathered.parts.push((place, sample.value)),
            None if sample.name.ends_with(b"_sum") => gathered.sum = sample.value,
            None => gathered.count = sample.value,
        }
        true
    }

    /// Writes the distributions that were gathered.
    fn end_family(&mut self) {
        let Family { name, metric_type, gathered, .. } = std::mem::take(&mut self.family);
        for mut one in gathered {
            one.parts.sort_by(|(first, _), (second, _)| first.total_cmp(second));
            self.series(&name, &one.labels);
            if metric_type == Some(MetricType::Histogram) {
                let kind = Kind { metric_type: MetricType::Histogram, unit: &[], delta: false };
                self.batches.histogram(kind, one.timestamp_unix_ns, &histogram(&one));
            } else {
                let kind = Kind { metric_type: MetricType::Summary, unit: &[], delta: false };
                self.batches.summary(kind, one.timestamp_unix_ns, &summary(&one));
            }
        }
    }

    fn series(&mut self, name: &[u8], labels: &[(Vec<u8>, Vec<u8>)]) {
        self.batches.series(name);
        for (key, value) in &self.target.0 {
            self.batches.tag(key, value);
        }
        for (key, value) in labels {
            if self.target.0.iter().any(|(own, _)| **own == **key) {
                self.batches.tag(&[b"exported_", &**key].concat(), value);
            } else {
                self.batches.tag(key, value);
            }
        }
    }
}

/// Counts of each bucket, from what is below each bound. One more bucket than may be stored is kept, to be refused for it.
fn histogram(gathered: &Gathered) -> Histogram {
    let mut histogram = Histogram { sum: gathered.sum, ..Histogram::default() };
    let mut below = 0_u64;
    for &(bound, cumulative) in gathered.parts.iter().take(BUCKETS_MAX + 1) {
        let cumulative = cumulative as u64;
        histogram.bucket_counts.push(cumulative.saturating_sub(below));
        below = below.max(cumulative);
        if bound.is_finite() {
            histogram.upper_bounds.push(bound);
        }
    }
    // Where the bucket without an upper bound is missing, the count says what it would.
    if histogram.bucket_counts.len() == histogram.upper_bounds.len() {
        let count = gathered.count as u64;
        histogram.bucket_counts.push(count.saturating_sub(below));
        below = below.max(count);
    }
    histogram.count = below;
    histogram
}

/// Quantiles of no observations are no numbers, and are left out.
fn summary(gathered: &Gathered) -> Summary {
    let known = gathered.parts.iter().filter(|(_, value)| value.is_finite());
    let quantiles = known.take(QUANTILES_MAX + 1).map(|&(quantile, value)| Quantile { quantile, value }).collect();
    Summary { count: gathered.count as u64, sum: gathered.sum, quantiles }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::translate::{BatchesMax, Translated};
    use crate::wire::decode::RowData;
    use crate::wire::{DecodeScratch, decode};

    fn translated(page: &[u8]) -> Translated {
        let mut batches = Batches::new(BatchesMax { points: 10_000, frame_bytes: 1 << 24, request_bytes: 1 << 24 });
        translate(page, &Target::new([("job", "node"), ("instance", "n1:9100")]), &mut batches);
        batches.finish().expect("small enough")
    }

    fn lines(page: &str) -> Vec<String> {
        let translated = translated(page.as_bytes());
        let mut scratch = DecodeScratch::default();
        let Some(frame) = translated.frames.first() else { return Vec::new() };
        let batch = decode(frame, &Limits::default(), &mut scratch).expect("a batch");
        let text = |span| String::from_utf8(batch.text(span).to_vec()).expect("UTF-8");
        let line = |row: &crate::wire::decode::Row| {
            let tags: Vec<_> =
                batch.tags(row).iter().map(|tag| format!("{}={}", text(tag.key), text(tag.value))).collect();
            let data = match row.data {
                RowData::None => "none".into(),
                RowData::Value(value) => value.to_string(),
                RowData::Histogram(place) => {
                    let sent = batch.histogram(place);
                    format!("{} {} {:?} {:?}", sent.count, sent.sum, sent.upper_bounds, sent.bucket_counts)
                }
                RowData::Summary(place) => {
                    let sent = batch.summary(place);
                    let quantiles: Vec<_> = sent.quantiles.iter().map(|q| (q.quantile, q.value)).collect();
                    format!("{} {} {quantiles:?}", sent.count, sent.sum)
                }
            };
            format!("{}{{{}}} {} {data}", text(row.name), tags.join(","), row.metric_type)
        };
        batch.rows().iter().map(line).collect()
    }

    const OWN: &str = "job=node,instance=n1:9100";

    #[test]
    fn samples_have_the_type_of_their_family_and_the_targets_labels() {
        let page = "# HELP requests_total All.\n# TYPE requests_total counter\nrequests_total{code=\"200\",job=\"x\"} 7\n\
                    # TYPE temperature gauge\ntemperature -1.5e1 1795000000000\nloose{a=\"b\\\"\\\\\\n\",} 3\n# EOF\n";
        assert_eq!(
            lines(page),
            [
                format!("requests_total{{{OWN},code=200,exported_job=x}} 1 7"),
                format!("temperature{{{OWN}}} 2 -15"),
                format!("loose{{{OWN},a=b\"\\\n}} 2 3"),
            ]
        );
    }

    #[test]
    fn the_samples_of_a_distribution_are_one_point() {
        let page = "# TYPE latency histogram\nlatency_bucket{path=\"/\",le=\"0.5\"} 2\nlatency_bucket{path=\"/\",le=\"+Inf\"} 5\n\
                    latency_sum{path=\"/\"} 4.5\nlatency_count{path=\"/\"} 5\nlatency_bucket{path=\"/b\",le=\"1\"} 1\n\
                    latency_sum{path=\"/b\"} 9\nlatency_count{path=\"/b\"} 3\nlatency_created{path=\"/\"} 1\n\
                    # TYPE rpc summary\nrpc{quantile=\"0.9\"} 3\nrpc{quantile=\"0.99\"} NaN\nrpc{quantile=\"1\"} +Inf\nrpc_sum 6\nrpc_count 2\n";
        assert_eq!(
            lines(page),
            [
                format!("latency_created{{{OWN},path=/}} 2 1"),
                format!("latency{{{OWN},path=/}} 3 5 4.5 [0.5] [2, 3]"),
                format!("latency{{{OWN},path=/b}} 3 3 9 [1.0] [1, 2]"),
                format!("rpc{{{OWN}}} 4 2 6 [(0.9, 3.0)]"),
            ]
        );
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_is_told() {
        let page = "good 1\nname\nname{a=\"b} 1\nname{a=b} 1\nname{=\"b\"} 1\nname x\nname 1 x\nname 1 2 3\nvoid nan\nlast -Inf\n{} 1\n";
        let translated = translated(page.as_bytes());
        assert_eq!((translated.points, translated.left.lines, translated.left.points_without_value), (1, 8, 2));
        let fault = translated.first_fault.expect("there are faults");
        assert!(fault.starts_with("line 2: "), "{fault}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(prop::sample::select(&b"ab_ {}=\"\\,\n#TYPE1.+InfN"[..]), 0..300)) {
            let translated = translated(&bytes);
            for frame in &translated.frames {
                let mut scratch = DecodeScratch::default();
                decode(frame, &Limits::default(), &mut scratch).expect("a batch");
            }
        }
    }
}
