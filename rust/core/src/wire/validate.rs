//! Judgements of single points that need nothing but the point: type and value. Names, tags and times are admission's.

use super::decode::{DecodedBatch, HistogramView, Row, RowData, SummaryView};
use crate::limits::{BUCKETS_MAX, QUANTILES_MAX};
use crate::series::MetricType;

/// What is wrong with a point's type or value: `INVALID_VALUE`. The texts go into the rejection's example.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidValue {
    /// A number of the point is NaN or infinite.
    #[error("{0} is not finite")]
    NotFinite(&'static str),
    /// Neither value nor histogram nor summary.
    #[error("no data")]
    NoData,
    /// A type that this version does not know.
    #[error("unknown type {0}")]
    UnknownType(u32),
    /// A histogram with a plain value and the like.
    #[error("type {declared} with a {sent}")]
    TypeMismatch {
        /// The type that was declared.
        declared: &'static str,
        /// The data that was sent.
        sent: &'static str,
    },
    /// Bounds that do not ascend strictly.
    #[error("upper_bounds do not ascend strictly")]
    BoundsNotAscending,
    /// The smallest is above the largest.
    #[error("min is above max")]
    MinAboveMax,
    /// A count of 2^63 and more.
    #[error("count is not below 2^63")]
    CountTooLarge,
    /// Not one more count than bounds.
    #[error("{counts} bucket_counts for {bounds} upper_bounds; one more is right")]
    BucketsUnequal {
        /// Counts sent.
        counts: usize,
        /// Bounds sent.
        bounds: usize,
    },
    /// The buckets do not hold what `count` says.
    #[error("bucket_counts do not add up to count")]
    CountsDoNotAddUp,
    /// More than [`BUCKETS_MAX`].
    #[error("more than {BUCKETS_MAX} buckets")]
    TooManyBuckets,
    /// More than [`QUANTILES_MAX`].
    #[error("more than {QUANTILES_MAX} quantiles")]
    TooManyQuantiles,
    /// A quantile that is not one.
    #[error("a quantile outside 0 to 1")]
    QuantileOutOfRange,
}

/// Judges a row's type and data; returns the type that the point is stored with.
///
/// # Errors
/// [`InvalidValue`]: what to tell the agent.
pub fn check_row(batch: &DecodedBatch<'_>, row: &Row) -> Result<MetricType, InvalidValue> {
    match row.data {
        RowData::Value(value) => {
            let metric_type = scalar_type(row.metric_type)?;
            check_scalar(value)?;
            Ok(metric_type)
        }
        RowData::None => Err(InvalidValue::NoData),
        RowData::Histogram(place) => {
            let metric_type = distribution_type(row.metric_type, MetricType::Histogram)?;
            check_histogram(&batch.histogram(place))?;
            Ok(metric_type)
        }
        RowData::Summary(place) => {
            let metric_type = distribution_type(row.metric_type, MetricType::Summary)?;
            check_summary(&batch.summary(place))?;
            Ok(metric_type)
        }
    }
}

/// The type of a point with a plain value, of a row or of a definition: unspecified is a gauge.
///
/// # Errors
/// [`InvalidValue`] for the types of distributions and for unknown numbers.
#[inline]
pub fn scalar_type(number: u32) -> Result<MetricType, InvalidValue> {
    match MetricType::from_wire(u64::from(number)) {
        Some(metric_type @ (MetricType::Counter | MetricType::Gauge | MetricType::Meter)) => Ok(metric_type),
        Some(distribution) => Err(InvalidValue::TypeMismatch { declared: distribution.as_str(), sent: "plain value" }),
        None if number == 0 => Ok(MetricType::Gauge),
        None => Err(InvalidValue::UnknownType(number)),
    }
}

fn distribution_type(number: u32, sent: MetricType) -> Result<MetricType, InvalidValue> {
    match MetricType::from_wire(u64::from(number)) {
        Some(declared) if declared == sent => Ok(sent),
        Some(declared) => Err(InvalidValue::TypeMismatch { declared: declared.as_str(), sent: sent.as_str() }),
        None if number == 0 => Ok(sent),
        None => Err(InvalidValue::UnknownType(number)),
    }
}

/// Judges a plain value.
///
/// # Errors
/// [`InvalidValue::NotFinite`].
#[inline]
pub fn check_scalar(value: f64) -> Result<(), InvalidValue> {
    finite("value", value)
}

/// Judges a histogram.
///
/// # Errors
/// [`InvalidValue`]: the first rule that it breaks.
pub fn check_histogram(histogram: &HistogramView<'_>) -> Result<(), InvalidValue> {
    let HistogramView { count, sum, min, max, upper_bounds, bucket_counts } = *histogram;
    finite("sum", sum)?;
    finite("min", min.unwrap_or(0.0))?;
    finite("max", max.unwrap_or(0.0))?;
    if upper_bounds.iter().any(|bound| !bound.is_finite()) {
        return Err(InvalidValue::NotFinite("an upper bound"));
    }
    if !upper_bounds.is_sorted_by(|lower, upper| lower < upper) {
        return Err(InvalidValue::BoundsNotAscending);
    }
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(InvalidValue::MinAboveMax);
    }
    check_count(count)?;
    if bucket_counts.len() > BUCKETS_MAX || upper_bounds.len() >= BUCKETS_MAX {
        return Err(InvalidValue::TooManyBuckets);
    }
    if bucket_counts.len() != upper_bounds.len() + 1 {
        return Err(InvalidValue::BucketsUnequal { counts: bucket_counts.len(), bounds: upper_bounds.len() });
    }
    // At most 1,024 numbers of 64 bits: no sum of 128 bits can overflow.
    if bucket_counts.iter().map(|&bucket| u128::from(bucket)).sum::<u128>() != u128::from(count) {
        return Err(InvalidValue::CountsDoNotAddUp);
    }
    Ok(())
}

/// Judges a summary.
///
/// # Errors
/// [`InvalidValue`]: the first rule that it breaks.
pub fn check_summary(summary: &SummaryView<'_>) -> Result<(), InvalidValue> {
    finite("sum", summary.sum)?;
    check_count(summary.count)?;
    if summary.quantiles.len() > QUANTILES_MAX {
        return Err(InvalidValue::TooManyQuantiles);
    }
    for row in summary.quantiles {
        finite("a quantile", row.quantile)?;
        finite("a quantile's value", row.value)?;
        if !(0.0..=1.0).contains(&row.quantile) {
            return Err(InvalidValue::QuantileOutOfRange);
        }
    }
    Ok(())
}

#[inline]
fn finite(what: &'static str, number: f64) -> Result<(), InvalidValue> {
    if number.is_finite() { Ok(()) } else { Err(InvalidValue::NotFinite(what)) }
}

fn check_count(count: u64) -> Result<(), InvalidValue> {
    if i64::try_from(count).is_ok() { Ok(()) } else { Err(InvalidValue::CountTooLarge) }
}
