//! Pages of metrics, as targets show them at `/metrics`: Prometheus' text format 0.0.4, and `OpenMetrics` 1.0.
//!
//! ```text
//! page ─► lines ─┬─ # TYPE, # UNIT ─► Family: what its samples are ─┐
//!                └─ sample ─► Sample ───────────────────────────────┴─► a point, or a part of a distribution
//! ```
//!
//! Samples become points with the target's labels beside their own; of two with one name, the target's wins and the
//! sample's is called `exported_…`, as with Prometheus. Types are those of the `# TYPE` lines: counters are counters, and
//! the samples of a histogram or summary become one point. What has no type is a gauge.
//!
//! The two formats look alike and differ in what the same words mean: in `OpenMetrics` a counter's family lacks the
//! `_total` of its samples, times are in seconds, exemplars stand behind samples, and a page says where it ends.

mod family;
mod sample;
#[cfg(test)]
mod tests;

use self::family::{Family, Role};
use self::sample::{Sample, words};
use super::batches::LineFault;
use super::renames::Pair;
use super::{Batches, Kind, RequestFault};
use crate::series::MetricType;

/// The labels of a target: each of its points has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target(Vec<Pair>);

impl Target {
    /// A target with these labels.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into())).collect())
    }
}

/// What a page says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// Prometheus' text, version 0.0.4.
    #[default]
    Text,
    /// `OpenMetrics` text, version 1.0.
    OpenMetrics,
}

/// What an `OpenMetrics` page ends with.
const END: &[u8] = b"# EOF";

/// Writes the points of a page. A line that breaks the format is refused and counted, the others are taken.
///
/// # Errors
/// [`RequestFault::Page`] for an `OpenMetrics` page that does not end where it says so: what it lacks nobody knows.
pub fn translate(body: &[u8], syntax: Syntax, target: &Target, batches: &mut Batches) -> Result<(), RequestFault> {
    let lines = match syntax {
        Syntax::Text => body,
        Syntax::OpenMetrics => before_end(body)?,
    };
    let mut page = Page { target, syntax, family: Family::default(), batches };
    let mut sample = Sample::default();
    for (place, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            if syntax == Syntax::OpenMetrics && line == END {
                return Err(RequestFault::Page("something stands behind its # EOF"));
            }
            page.comment(comment);
        } else if sample.read(line, syntax).is_some() {
            page.sample(&sample);
        } else {
            page.batches.refuse_lines(1, || place + 1, LineFault::Sample);
        }
    }
    page.end_family();
    Ok(())
}

/// The lines of a page before its last, which says that it is whole.
fn before_end(body: &[u8]) -> Result<&[u8], RequestFault> {
    let lines = body.strip_suffix(b"\n").unwrap_or(body).strip_suffix(END);
    lines
        .filter(|lines| lines.is_empty() || lines.ends_with(b"\n"))
        .ok_or(RequestFault::Page("it does not end with # EOF, so it was cut short"))
}

struct Page<'a> {
    target: &'a Target,
    syntax: Syntax,
    family: Family,
    batches: &'a mut Batches,
}

impl Page<'_> {
    /// `TYPE name type`, and in `OpenMetrics` `UNIT name unit`. Any of its lines begins a family there.
    fn comment(&mut self, comment: &[u8]) {
        let mut words = words(comment);
        let (about, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let openmetrics = self.syntax == Syntax::OpenMetrics;
        let is_new = match about {
            b"TYPE" => !openmetrics || self.family.name != name,
            b"UNIT" | b"HELP" => openmetrics && self.family.name != name,
            _ => return,
        };
        if is_new {
            self.end_family();
            self.family.name = name.to_vec();
        }
        match about {
            b"TYPE" => self.family.set_type(words.next().unwrap_or_default(), self.syntax),
            b"UNIT" if openmetrics => self.family.unit = words.next().unwrap_or_default().to_vec(),
            _ => {}
        }
    }

    fn sample(&mut self, sample: &Sample) {
        self.batches.left().exemplars += u64::from(sample.has_exemplar);
        let role = self.family.role(&sample.name, self.syntax);
        let (metric_type, unit) = match role {
            // When its series began has no place in a point.
            Role::Created => return,
            Role::Part(part) if self.family.gather(sample, part) => return,
            Role::Point(metric_type) => (metric_type, &*self.family.unit),
            Role::Part(_) | Role::Stranger => (MetricType::Gauge, &[][..]),
        };
        if !sample.value.is_finite() {
            self.batches.left().points_without_value += 1;
            return;
        }
        put_series(self.batches, self.target, &sample.name, &sample.labels);
        self.batches.value(Kind { metric_type, unit, delta: false }, sample.timestamp_unix_ns, sample.value);
    }

    /// Writes the distributions that were gathered.
    fn end_family(&mut self) {
        let mut family = std::mem::take(&mut self.family);
        for mut distribution in std::mem::take(&mut family.gathered) {
            put_series(self.batches, self.target, &family.name, &distribution.labels);
            let kind = |metric_type| Kind { metric_type, unit: &family.unit, delta: false };
            if family.is_summary() {
                let summary = distribution.summary();
                self.batches.summary(kind(MetricType::Summary), distribution.timestamp_unix_ns, &summary);
            } else {
                let histogram = distribution.histogram();
                self.batches.histogram(kind(MetricType::Histogram), distribution.timestamp_unix_ns, &histogram);
            }
        }
    }
}

fn put_series(batches: &mut Batches, target: &Target, name: &[u8], labels: &[(Vec<u8>, Vec<u8>)]) {
    batches.series(name);
    for (key, value) in &target.0 {
        batches.tag(key, value);
    }
    for (key, value) in labels {
        if target.0.iter().any(|(own, _)| **own == **key) {
            batches.tag(&[b"exported_", &**key].concat(), value);
        } else {
            batches.tag(key, value);
        }
    }
}
