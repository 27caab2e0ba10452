//! The rules for types, values, histograms and summaries, each with data that just keeps it.

use super::{bytes, fixed, message, number};
use crate::limits::{BUCKETS_MAX, Limits, QUANTILES_MAX};
use crate::series::MetricType;
use crate::wire::decode::{DecodeScratch, HistogramView, QuantileRow, SummaryView, decode};
use crate::wire::validate::{InvalidValue, check_histogram, check_row, check_scalar, check_summary, scalar_type};

const HISTOGRAM: HistogramView<'_> = HistogramView {
    count: 6,
    sum: 2.5,
    min: Some(-1.0),
    max: Some(3.0),
    upper_bounds: &[0.0, 1.0],
    bucket_counts: &[1, 2, 3],
};
const SUMMARY: SummaryView<'_> = SummaryView {
    count: 2,
    sum: 1.0,
    quantiles: &[QuantileRow { quantile: 0.0, value: 1.0 }, QuantileRow { quantile: 1.0, value: -1.0 }],
};

#[test]
fn plain_values_are_finite() {
    assert_eq!(check_scalar(f64::MAX), Ok(()));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(check_scalar(value), Err(InvalidValue::NotFinite("value")));
    }
}

#[test]
fn a_histogram_is_consistent() {
    let nan = f64::NAN;
    let cases = [
        (HISTOGRAM, Ok(())),
        (HistogramView { min: None, max: None, ..HISTOGRAM }, Ok(())),
        (HistogramView { min: Some(3.0), ..HISTOGRAM }, Ok(())),
        (HistogramView { upper_bounds: &[], bucket_counts: &[6], ..HISTOGRAM }, Ok(())),
        (HistogramView { sum: nan, ..HISTOGRAM }, Err(InvalidValue::NotFinite("sum"))),
        (HistogramView { min: Some(nan), ..HISTOGRAM }, Err(InvalidValue::NotFinite("min"))),
        (HistogramView { max: Some(f64::INFINITY), ..HISTOGRAM }, Err(InvalidValue::NotFinite("max"))),
        (
            HistogramView { upper_bounds: &[0.0, f64::INFINITY], ..HISTOGRAM },
            Err(InvalidValue::NotFinite("an upper bound")),
        ),
        (HistogramView { upper_bounds: &[1.0, 1.0], ..HISTOGRAM }, Err(InvalidValue::BoundsNotAscending)),
        (HistogramView { upper_bounds: &[1.0, 0.0], ..HISTOGRAM }, Err(InvalidValue::BoundsNotAscending)),
        (HistogramView { min: Some(3.5), ..HISTOGRAM }, Err(InvalidValue::MinAboveMax)),
        (HistogramView { count: 7, ..HISTOGRAM }, Err(InvalidValue::CountsDoNotAddUp)),
        (
            HistogramView { bucket_counts: &[1, 5], ..HISTOGRAM },
            Err(InvalidValue::BucketsUnequal { counts: 2, bounds: 2 }),
        ),
        (
            HistogramView { upper_bounds: &[], bucket_counts: &[], count: 0, ..HISTOGRAM },
            Err(InvalidValue::BucketsUnequal { counts: 0, bounds: 0 }),
        ),
        (HistogramView { count: 1 << 63, ..HISTOGRAM }, Err(InvalidValue::CountTooLarge)),
        (
            HistogramView { bucket_counts: &[u64::MAX, u64::MAX, 8], ..HISTOGRAM },
            Err(InvalidValue::CountsDoNotAddUp), // although it does in 64 bits
        ),
    ];
    for (histogram, expected) in cases {
        assert_eq!(check_histogram(&histogram), expected, "{histogram:?}");
    }
}

#[test]
fn a_histogram_has_a_bounded_number_of_buckets() {
    let bounds = (0..BUCKETS_MAX).map(|place| place as f64).collect::<Vec<_>>();
    let counts = vec![1; BUCKETS_MAX + 1];
    let with = |buckets: usize| HistogramView {
        count: buckets as u64,
        upper_bounds: &bounds[..buckets - 1],
        bucket_counts: &counts[..buckets],
        ..HISTOGRAM
    };
    assert_eq!(check_histogram(&with(BUCKETS_MAX)), Ok(()));
    assert_eq!(check_histogram(&with(BUCKETS_MAX + 1)), Err(InvalidValue::TooManyBuckets));
}

#[test]
fn a_summary_is_consistent() {
    let with = |quantile, value| vec![QuantileRow { quantile, value }];
    assert_eq!(check_summary(&SUMMARY), Ok(()));
    assert_eq!(check_summary(&SummaryView { quantiles: &[], count: i64::MAX as u64, ..SUMMARY }), Ok(()));
    assert_eq!(check_summary(&SummaryView { count: 1 << 63, ..SUMMARY }), Err(InvalidValue::CountTooLarge));
    assert_eq!(check_summary(&SummaryView { sum: f64::NAN, ..SUMMARY }), Err(InvalidValue::NotFinite("sum")));
    for (row, expected) in [
        (with(f64::NAN, 0.0), InvalidValue::NotFinite("a quantile")),
        (with(0.5, f64::NAN), InvalidValue::NotFinite("a quantile's value")),
        (with(1.000_001, 0.0), InvalidValue::QuantileOutOfRange),
        (with(-0.000_001, 0.0), InvalidValue::QuantileOutOfRange),
        (with(0.5, 0.0).repeat(QUANTILES_MAX + 1), InvalidValue::TooManyQuantiles),
    ] {
        assert_eq!(check_summary(&SummaryView { quantiles: &row, ..SUMMARY }), Err(expected), "{row:?}");
    }
    assert_eq!(check_summary(&SummaryView { quantiles: &with(0.5, 0.0).repeat(QUANTILES_MAX), ..SUMMARY }), Ok(()));
}

#[test]
fn type_and_data_agree() {
    use MetricType::{Counter, Gauge, Histogram, Meter, Summary};
    let value = || fixed(6, 0);
    let histogram = || message(7, [number(1, 1), bytes(6, [1])]);
    let summary = || bytes(8, []);
    let mismatch = |declared: MetricType, sent| Err(InvalidValue::TypeMismatch { declared: declared.as_str(), sent });
    let cases = [
        (0, value(), Ok(Gauge)),
        (1, value(), Ok(Counter)),
        (2, value(), Ok(Gauge)),
        (5, value(), Ok(Meter)),
        (3, value(), mismatch(Histogram, "plain value")),
        (4, value(), mismatch(Summary, "plain value")),
        (6, value(), Err(InvalidValue::UnknownType(6))),
        (0, histogram(), Ok(Histogram)),
        (3, histogram(), Ok(Histogram)),
        (2, histogram(), mismatch(Gauge, "histogram")),
        (4, histogram(), mismatch(Summary, "histogram")),
        (6, histogram(), Err(InvalidValue::UnknownType(6))),
        (0, summary(), Ok(Summary)),
        (4, summary(), Ok(Summary)),
        (3, summary(), mismatch(Histogram, "summary")),
        (u64::from(u32::MAX), summary(), Err(InvalidValue::UnknownType(u32::MAX))),
        (2, Vec::new(), Err(InvalidValue::NoData)),
        (2, fixed(6, f64::NAN.to_bits()), Err(InvalidValue::NotFinite("value"))),
        (3, bytes(7, []), Err(InvalidValue::BucketsUnequal { counts: 0, bounds: 0 })),
    ];
    for (metric_type, data, expected) in cases {
        let frame = message(4, [number(3, metric_type), data]);
        let mut scratch = DecodeScratch::default();
        let batch = decode(&frame, &Limits::default(), &mut scratch).expect("sound");
        assert_eq!(check_row(&batch, &batch.rows()[0]), expected, "{frame:02x?}");
    }
    assert_eq!(scalar_type(3), mismatch(Histogram, "plain value"), "definitions carry scalar types only");
}
