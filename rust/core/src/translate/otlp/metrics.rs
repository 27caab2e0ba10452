//! Walks an `ExportMetricsServiceRequest`.
//!
//! A message is walked twice where what comes late in it says how to read what came early: a sum's temporality stands
//! behind its points, and a resource may stand behind its metrics.

use super::attributes::{self, Ignored, Surroundings};
use super::exponential::Exponential;
use crate::columns::{Histogram, Quantile, Summary};
use crate::limits::{BUCKETS_MAX, QUANTILES_MAX};
use crate::series::MetricType;
use crate::translate::{Batches, Kind, RequestFault};
use crate::wire::proto::{FIXED64, LENGTH, Reader, VARINT, WireFault, key, unzigzag};

/// Writes the points of a request.
///
/// # Errors
/// [`RequestFault::Wire`] when the body is no such request. Whether a point may be stored is for ingest to judge.
pub fn translate(body: &[u8], ignored: &Ignored, batches: &mut Batches) -> Result<(), RequestFault> {
    Walk { ignored, batches, scratch: Vec::new() }
        .request(Reader::new(body))
        .map_err(|fault| RequestFault::Wire { what: "an ExportMetricsServiceRequest", fault })
}

struct Walk<'a> {
    ignored: &'a Ignored,
    batches: &'a mut Batches,
    scratch: Vec<u8>,
}

/// The metric whose points are read.
struct Metric<'a> {
    name: &'a [u8],
    kind: Kind<'a>,
    surroundings: &'a Surroundings,
}

/// What points of every kind have.
#[derive(Default)]
struct Head {
    timestamp_unix_ns: u64,
    /// It says itself that there is none: no fault, and nothing to store. Any other point is for ingest to judge, also one
    /// whose value is missing or no number, so that its sender hears of it.
    without_value: bool,
    exemplars: u64,
}

/// `DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;
const TIME: u32 = key(3, FIXED64);

impl Walk<'_> {
    fn request(&mut self, mut request: Reader<'_>) -> Result<(), WireFault> {
        const RESOURCE_METRICS: u32 = key(1, LENGTH);

        while let Some(field) = request.key()? {
            match field {
                RESOURCE_METRICS => self.resource(request.message()?)?,
                _ => request.skip(field)?,
            }
        }
        Ok(())
    }

    fn resource(&mut self, resource_metrics: Reader<'_>) -> Result<(), WireFault> {
        const RESOURCE: u32 = key(1, LENGTH);
        const SCOPE_METRICS: u32 = key(2, LENGTH);

        let mut surroundings = Surroundings::default();
        let mut first = resource_metrics;
        while let Some(field) = first.key()? {
            match field {
                RESOURCE => surroundings.take_resource(first.message()?, self.ignored)?,
                _ => first.skip(field)?,
            }
        }
        let mut second = resource_metrics;
        while let Some(field) = second.key()? {
            match field {
                SCOPE_METRICS => self.scope(second.message()?, &mut surroundings)?,
                _ => second.skip(field)?,
            }
        }
        Ok(())
    }

    fn scope(&mut self, scope_metrics: Reader<'_>, surroundings: &mut Surroundings) -> Result<(), WireFault> {
        const SCOPE: u32 = key(1, LENGTH);
        const METRICS: u32 = key(2, LENGTH);

        let mut first = scope_metrics;
        while let Some(field) = first.key()? {
            match field {
                SCOPE => surroundings.take_scope(first.message()?)?,
                _ => first.skip(field)?,
            }
        }
        let mut second = scope_metrics;
        while let Some(field) = second.key()? {
            match field {
                METRICS => self.metric(second.message()?, surroundings)?,
                _ => second.skip(field)?,
            }
        }
        surroundings.leave_scope();
        Ok(())
    }

    fn metric(&mut self, mut metric: Reader<'_>, surroundings: &Surroundings) -> Result<(), WireFault> {
        const NAME: u32 = key(1, LENGTH);
        const UNIT: u32 = key(3, LENGTH);
        const GAUGE: u32 = key(5, LENGTH);
        const SUM: u32 = key(7, LENGTH);
        const HISTOGRAM: u32 = key(9, LENGTH);
        const EXPONENTIAL_HISTOGRAM: u32 = key(10, LENGTH);
        const SUMMARY: u32 = key(11, LENGTH);

        let body = metric.body();
        let (mut name, mut unit, mut data) = (&[][..], &[][..], None);
        while let Some(field) = metric.key()? {
            match field {
                NAME => name = metric.span()?.of(body),
                UNIT => unit = metric.span()?.of(body),
                GAUGE | SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM | SUMMARY => data = Some((field, metric.message()?)),
                _ => metric.skip(field)?,
            }
        }
        let Some((kind_of_data, data)) = data else { return Ok(()) };
        let (delta, monotonic) = temporality(data)?;
        let metric_type = match kind_of_data {
            SUM if monotonic => MetricType::Counter,
            GAUGE | SUM => MetricType::Gauge,
            SUMMARY => MetricType::Summary,
            _ => MetricType::Histogram,
        };
        let delta = delta && kind_of_data != GAUGE && kind_of_data != SUMMARY;
        let metric = Metric { name, kind: Kind { metric_type, unit, delta }, surroundings };
        let read = match kind_of_data {
            GAUGE | SUM => Self::number,
            HISTOGRAM => Self::histogram,
            EXPONENTIAL_HISTOGRAM => Self::exponential,
            _ => Self::summary,
        };
        self.points(data, &metric, read)
    }

    fn points(
        &mut self,
        mut data: Reader<'_>,
        metric: &Metric<'_>,
        read: fn(&mut Self, Reader<'_>, &Metric<'_>) -> Result<(), WireFault>,
    ) -> Result<(), WireFault> {
        const DATA_POINTS: u32 = key(1, LENGTH);

        while let Some(field) = data.key()? {
            match field {
                DATA_POINTS => {
                    self.batches.series(metric.name);
                    read(self, data.message()?, metric)?;
                }
                _ => data.skip(field)?,
            }
        }
        Ok(())
    }

    /// Completes the series of a point and tells whether there is a value to write.
    fn complete(&mut self, head: &Head, metric: &Metric<'_>) -> bool {
        let left = self.batches.left();
        left.exemplars += head.exemplars;
        left.points_without_value += u64::from(head.without_value);
        if !head.without_value {
            metric.surroundings.add_to(self.batches);
        }
        !head.without_value
    }

    fn number(&mut self, mut point: Reader<'_>, metric: &Metric<'_>) -> Result<(), WireFault> {
        const ATTRIBUTES: u32 = key(7, LENGTH);
        const AS_DOUBLE: u32 = key(4, FIXED64);
        const AS_INT: u32 = key(6, FIXED64);
        const EXEMPLARS: u32 = key(5, LENGTH);
        const FLAGS: u32 = key(8, VARINT);

        let mut head = Head::default();
        let mut value = None;
        while let Some(field) = point.key()? {
            match field {
                ATTRIBUTES => attributes::tag(point.message()?, self.batches, &mut self.scratch)?,
                TIME => head.timestamp_unix_ns = point.fixed64()?,
                AS_DOUBLE => value = Some(point.double()?),
                AS_INT => value = Some(point.fixed64()? as i64 as f64),
                EXEMPLARS => head.exemplar(&mut point)?,
                FLAGS => head.flags(point.varint()?),
                _ => point.skip(field)?,
            }
        }
        if self.complete(&head, metric) {
            match value {
                Some(value) => self.batches.value(metric.kind, head.timestamp_unix_ns, value),
                None => self.batches.without_data(metric.kind, head.timestamp_unix_ns),
            }
        }
        Ok(())
    }

    fn histogram(&mut self, mut point: Reader<'_>, metric: &Metric<'_>) -> Result<(), WireFault> {
        const ATTRIBUTES: u32 = key(9, LENGTH);
        const COUNT: u32 = key(4, FIXED64);
        const SUM: u32 = key(5, FIXED64);
        const BUCKET_COUNTS: u32 = key(6, FIXED64);
        const BUCKET_COUNTS_PACKED: u32 = key(6, LENGTH);
        const BOUNDS: u32 = key(7, FIXED64);
        const BOUNDS_PACKED: u32 = key(7, LENGTH);
        const EXEMPLARS: u32 = key(8, LENGTH);
        const FLAGS: u32 = key(10, VARINT);
        const MIN: u32 = key(11, FIXED64);
        const MAX: u32 = key(12, FIXED64);

        let mut head = Head::default();
        let mut histogram = Histogram::default();
        while let Some(field) = point.key()? {
            match field {
                ATTRIBUTES => attributes::tag(point.message()?, self.batches, &mut self.scratch)?,
                TIME => head.timestamp_unix_ns = point.fixed64()?,
                COUNT => histogram.count = point.fixed64()?,
                SUM => histogram.sum = point.double()?,
                BUCKET_COUNTS => push(&mut histogram.bucket_counts, point.fixed64()?, BUCKETS_MAX),
                BUCKET_COUNTS_PACKED => {
                    let mut packed = point.message()?;
                    while !packed.at_end() {
                        push(&mut histogram.bucket_counts, packed.fixed64()?, BUCKETS_MAX);
                    }
                }
                BOUNDS => push(&mut histogram.upper_bounds, point.double()?, BUCKETS_MAX),
                BOUNDS_PACKED => {
                    let mut packed = point.message()?;
                    while !packed.at_end() {
                        push(&mut histogram.upper_bounds, packed.double()?, BUCKETS_MAX);
                    }
                }
                EXEMPLARS => head.exemplar(&mut point)?,
                FLAGS => head.flags(point.varint()?),
                MIN => histogram.min = Some(point.double()?),
                MAX => histogram.max = Some(point.double()?),
                _ => point.skip(field)?,
            }
        }
        if histogram.bucket_counts.is_empty() && histogram.upper_bounds.is_empty() {
            histogram.bucket_counts.push(histogram.count);
        }
        if self.complete(&head, metric) {
            leave_out_extremes_of_nothing(&mut histogram);
            self.batches.histogram(metric.kind, head.timestamp_unix_ns, &histogram);
        }
        Ok(())
    }

    fn exponential(&mut self, mut point: Reader<'_>, metric: &Metric<'_>) -> Result<(), WireFault> {
        const ATTRIBUTES: u32 = key(1, LENGTH);
        const COUNT: u32 = key(4, FIXED64);
        const SUM: u32 = key(5, FIXED64);
        const SCALE: u32 = key(6, VARINT);
        const ZERO_COUNT: u32 = key(7, FIXED64);
        const POSITIVE: u32 = key(8, LENGTH);
        const NEGATIVE: u32 = key(9, LENGTH);
        const FLAGS: u32 = key(10, VARINT);
        const EXEMPLARS: u32 = key(11, LENGTH);
        const MIN: u32 = key(12, FIXED64);
        const MAX: u32 = key(13, FIXED64);
        const ZERO_THRESHOLD: u32 = key(14, FIXED64);

        let mut head = Head::default();
        let mut histogram = Histogram::default();
        let mut exponential = Exponential::default();
        while let Some(field) = point.key()? {
            match field {
                ATTRIBUTES => attributes::tag(point.message()?, self.batches, &mut self.scratch)?,
                TIME => head.timestamp_unix_ns = point.fixed64()?,
                COUNT => histogram.count = point.fixed64()?,
                SUM => histogram.sum = point.double()?,
                SCALE => exponential.scale = unzigzag(point.varint()? & u64::from(u32::MAX)) as i32,
                ZERO_COUNT => exponential.zero_count = point.fixed64()?,
                POSITIVE => exponential.positive.read(point.message()?)?,
                NEGATIVE => exponential.negative.read(point.message()?)?,
                FLAGS => head.flags(point.varint()?),
                EXEMPLARS => head.exemplar(&mut point)?,
                MIN => histogram.min = Some(point.double()?),
                MAX => histogram.max = Some(point.double()?),
                ZERO_THRESHOLD => exponential.zero_threshold = point.double()?,
                _ => point.skip(field)?,
            }
        }
        if self.complete(&head, metric) {
            leave_out_extremes_of_nothing(&mut histogram);
            exponential.write(&mut histogram);
            self.batches.histogram(metric.kind, head.timestamp_unix_ns, &histogram);
        }
        Ok(())
    }

    fn summary(&mut self, mut point: Reader<'_>, metric: &Metric<'_>) -> Result<(), WireFault> {
        const ATTRIBUTES: u32 = key(7, LENGTH);
        const COUNT: u32 = key(4, FIXED64);
        const SUM: u32 = key(5, FIXED64);
        const QUANTILES: u32 = key(6, LENGTH);
        const FLAGS: u32 = key(8, VARINT);

        let mut head = Head::default();
        let mut summary = Summary::default();
        while let Some(field) = point.key()? {
            match field {
                ATTRIBUTES => attributes::tag(point.message()?, self.batches, &mut self.scratch)?,
                TIME => head.timestamp_unix_ns = point.fixed64()?,
                COUNT => summary.count = point.fixed64()?,
                SUM => summary.sum = point.double()?,
                QUANTILES => {
                    // Quantiles of no observations are no numbers; count and sum are.
                    let quantile = quantile(point.message()?)?;
                    if !quantile.value.is_nan() {
                        push(&mut summary.quantiles, quantile, QUANTILES_MAX);
                    }
                }
                FLAGS => head.flags(point.varint()?),
                _ => point.skip(field)?,
            }
        }
        if self.complete(&head, metric) {
            self.batches.summary(metric.kind, head.timestamp_unix_ns, &summary);
        }
        Ok(())
    }
}

impl Head {
    fn flags(&mut self, flags: u64) {
        self.without_value = flags & NO_RECORDED_VALUE != 0;
    }

    fn exemplar(&mut self, point: &mut Reader<'_>) -> Result<(), WireFault> {
        self.exemplars += 1;
        point.span().map(|_| ())
    }
}

/// Of no observations there is no smallest and no largest, and some clients say so with what is no number. Of any others
/// such an extreme is for ingest to refuse.
fn leave_out_extremes_of_nothing(histogram: &mut Histogram) {
    if histogram.count == 0 {
        histogram.min = histogram.min.filter(|min| min.is_finite());
        histogram.max = histogram.max.filter(|max| max.is_finite());
    }
}

/// Whether the values are changes, and whether they are totals that only grow. Gauges and summaries say neither.
fn temporality(mut data: Reader<'_>) -> Result<(bool, bool), WireFault> {
    const AGGREGATION_TEMPORALITY: u32 = key(2, VARINT);
    const IS_MONOTONIC: u32 = key(3, VARINT);
    const DELTA: u64 = 1;

    let (mut delta, mut monotonic) = (false, false);
    while let Some(field) = data.key()? {
        match field {
            AGGREGATION_TEMPORALITY => delta = data.varint()? == DELTA,
            IS_MONOTONIC => monotonic = data.varint()? != 0,
            _ if field & 7 == LENGTH => _ = data.span()?,
            _ => data.skip(field)?,
        }
    }
    Ok((delta, monotonic))
}

fn quantile(mut message: Reader<'_>) -> Result<Quantile, WireFault> {
    const QUANTILE: u32 = key(1, FIXED64);
    const VALUE: u32 = key(2, FIXED64);

    let mut quantile = Quantile::default();
    while let Some(field) = message.key()? {
        match field {
            QUANTILE => quantile.quantile = message.double()?,
            VALUE => quantile.value = message.double()?,
            _ => message.skip(field)?,
        }
    }
    Ok(quantile)
}

/// Keeps one more than a point may have, so that it is refused for it.
fn push<T>(list: &mut Vec<T>, element: T, max: usize) {
    if list.len() <= max {
        list.push(element);
    }
}
