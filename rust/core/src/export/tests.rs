//! What is written is read back as what it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Requests, Totals, otlp, prometheus};
use crate::columns::testing::{blocks, descriptor, header};
use crate::columns::{BlockBuilder, Distribution, Histogram, PointBlock, Quantile, Summary};
use crate::limits::Limits;
use crate::series::{Descriptor, MetricType};
use crate::translate::{Encoding, Form, Renames, translate};
use crate::wire::decode::{Row, RowData};
use crate::wire::{DecodeScratch, DecodedBatch, decode};

const TIME_NS: i64 = 1_795_000_000_123_000_000;

/// Name and tags, sorted; type, unit and temporality; time and data.
type Point = (String, Vec<(String, String)>, u32, String, bool, i64, String);

fn read(requests: &Requests, form: &Form, encoding: Encoding) -> Vec<Point> {
    let limits = Limits { inflated_bytes_max: 1 << 30, inflight_bytes_max: 1 << 30, ..Limits::default() };
    let mut scratch = DecodeScratch::default();
    let mut points = Vec::new();
    for request in &requests.requests {
        let translated = translate(form, encoding, &request.body, &limits).expect("a request");
        for frame in &translated.frames {
            let batch = decode(frame, &limits, &mut scratch).expect("a batch");
            points.extend(batch.rows().iter().map(|row| point_of(&batch, row)));
        }
    }
    points.sort();
    points
}

fn point_of(batch: &DecodedBatch<'_>, row: &Row) -> Point {
    let text = |span| String::from_utf8(batch.text(span).to_vec()).expect("UTF-8");
    let mut tags: Vec<_> = batch.tags(row).iter().map(|tag| (text(tag.key), text(tag.value))).collect();
    tags.sort();
    let data = match row.data {
        RowData::None => "none".into(),
        RowData::Value(value) => format!("{value:?}"),
        RowData::Histogram(place) => {
            let sent = batch.histogram(place);
            let extremes = (sent.min, sent.max);
            format!("{} {:?} {extremes:?} {:?} {:?}", sent.count, sent.sum, sent.upper_bounds, sent.bucket_counts)
        }
        RowData::Summary(place) => {
            let sent = batch.summary(place);
            let quantiles: Vec<_> = sent.quantiles.iter().map(|q| (q.quantile, q.value)).collect();
            format!("{} {:?} {quantiles:?}", sent.count, sent.sum)
        }
    };
    (text(row.name), tags, row.metric_type, text(row.unit), row.delta, row.timestamp_unix_ns, data)
}

/// The points of blocks, with what OTLP cannot tell apart made the same.
fn expected(blocks: &[Arc<PointBlock>]) -> Vec<Point> {
    let mut points = Vec::new();
    for block in blocks {
        let distributions: BTreeMap<_, _> = block.distributions.iter().map(|(place, one)| (*place, one)).collect();
        for (place, &index) in block.descriptor_index.iter().enumerate() {
            let descriptor = &block.descriptors[index as usize];
            let data = match distributions.get(&(place as u32)) {
                None => format!("{:?}", block.values[place]),
                Some(Distribution::Histogram(histogram)) => {
                    let extremes = (histogram.min, histogram.max);
                    let Histogram { count, sum, upper_bounds, bucket_counts, .. } = histogram;
                    format!("{count} {sum:?} {extremes:?} {upper_bounds:?} {bucket_counts:?}")
                }
                Some(Distribution::Summary(summary)) => {
                    let quantiles: Vec<_> = summary.quantiles.iter().map(|q| (q.quantile, q.value)).collect();
                    format!("{} {:?} {quantiles:?}", summary.count, summary.sum)
                }
            };
            let metric_type = match descriptor.metric_type {
                MetricType::Meter => MetricType::Gauge,
                other => other,
            };
            let mut tags: Vec<_> =
                descriptor.key.tags().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            tags.sort();
            points.push((
                descriptor.key.name().to_owned(),
                tags,
                metric_type as u32,
                descriptor.unit.to_string(),
                descriptor.delta && descriptor.metric_type != MetricType::Summary,
                block.timestamps_unix_ns[place],
                data,
            ));
        }
    }
    points.sort();
    points
}

proptest! {
    #[test]
    fn otlp_says_what_the_blocks_say(blocks in blocks(), bytes_max in 1..20_000_usize) {
        let blocks: Vec<_> = blocks
            .into_iter()
            .map(|mut block| {
                // OTLP's times are unsigned, and 0 is none.
                for timestamp in &mut block.timestamps_unix_ns {
                    *timestamp = (*timestamp).max(1);
                }
                Arc::new(block)
            })
            .collect();
        let requests = otlp::encode(&blocks, bytes_max);
        let points: u64 = requests.requests.iter().map(|request| request.points).sum();
        prop_assert_eq!(points, blocks.iter().map(|block| block.len() as u64).sum::<u64>());
        prop_assert_eq!(read(&requests, &Form::Otlp(crate::translate::otlp::Ignored::default()), Encoding::Identity), expected(&blocks));
    }

    #[test]
    fn remote_write_has_legal_names_and_every_point(blocks in blocks(), bytes_max in 1..20_000_usize) {
        let blocks: Vec<_> = blocks.into_iter().map(Arc::new).collect();
        let requests = prometheus::encode(&blocks, bytes_max, &mut Totals::default());
        let points: u64 = requests.requests.iter().map(|request| request.points).sum();
        prop_assert_eq!(points, blocks.iter().map(|block| block.len() as u64).sum::<u64>());
        for point in read(&requests, &Form::Prometheus(Renames::default()), Encoding::Snappy) {
            prop_assert!(point.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte)), "{}", point.0);
            let labels: Vec<_> = point.1.iter().map(|(label, _)| label).collect();
            prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
            for label in labels {
                prop_assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{label}");
            }
        }
    }
}

#[test]
fn remote_write_names_series_as_prometheus_does() {
    let mut builder = BlockBuilder::default();
    let counter = descriptor("http.requests", &[("node_id", "n1"), ("a.b", "1"), ("a-b", "2")], MetricType::Counter);
    let gauge = descriptor("up", &[("__name__", "x")], MetricType::Gauge);
    let histogram = descriptor("latency", &[], MetricType::Histogram);
    let summary = descriptor("rpc", &[], MetricType::Summary);
    // Out of order, and two within a millisecond.
    for (time, value) in [(TIME_NS + 2_000_000, 3.0), (TIME_NS, 1.0), (TIME_NS + 1, 2.0)] {
        let index = builder.descriptor(&counter);
        builder.push(index, time, value);
    }
    let index = builder.descriptor(&gauge);
    builder.push(index, TIME_NS, 1.0);
    let index = builder.descriptor(&histogram);
    let buckets = Histogram {
        count: 6,
        sum: 9.5,
        upper_bounds: vec![0.1, 5.0],
        bucket_counts: vec![1, 2, 3],
        ..Histogram::default()
    };
    builder.push_distribution(index, TIME_NS, Distribution::Histogram(buckets));
    let index = builder.descriptor(&summary);
    let quantiles = vec![Quantile { quantile: 0.99, value: 4.0 }];
    builder.push_distribution(index, TIME_NS, Distribution::Summary(Summary { count: 2, sum: 5.0, quantiles }));
    let requests = prometheus::encode(&[Arc::new(builder.finish(header()))], 1 << 20, &mut Totals::default());
    let points = read(&requests, &Form::Prometheus(Renames::default()), Encoding::Snappy);
    let mut lines: Vec<_> = points
        .iter()
        .map(|(name, tags, _, _, _, time, value)| {
            let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{name}{{{}}} {value} {}", tags.join(","), (time - TIME_NS) / 1_000_000)
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "http_requests_total{a_b=2,a_b_=1,node_id=n1} 2.0 0",
            "http_requests_total{a_b=2,a_b_=1,node_id=n1} 3.0 2",
            "latency_bucket{le=+Inf} 6.0 0",
            "latency_bucket{le=0.1} 1.0 0",
            "latency_bucket{le=5.0} 3.0 0",
            "latency_count{} 6.0 0",
            "latency_sum{} 9.5 0",
            "rpc_count{} 2.0 0",
            "rpc_sum{} 5.0 0",
            "rpc{quantile=0.99} 4.0 0",
            "up{tag__name__=x} 1.0 0",
        ]
    );
    assert_eq!((requests.requests.len(), requests.requests[0].points, requests.rewritten), (1, 6, 4));
}

/// A series whose points are changes.
fn changing(name: &str, metric_type: MetricType) -> Arc<Descriptor> {
    let mut series = (*descriptor(name, &[], metric_type)).clone();
    series.delta = true;
    Arc::new(series)
}

/// A block of one series, whose points are changes.
fn changes(metric_type: MetricType, points: &[(i64, f64)]) -> Arc<PointBlock> {
    let mut builder = BlockBuilder::default();
    let index = builder.descriptor(&changing("requests", metric_type));
    for &(ms, change) in points {
        if metric_type == MetricType::Histogram {
            let buckets = Histogram {
                count: change as u64,
                sum: change / 2.0,
                upper_bounds: vec![if change > 100.0 { 2.0 } else { 1.0 }],
                bucket_counts: vec![change as u64, 0],
                ..Histogram::default()
            };
            builder.push_distribution(index, TIME_NS + ms * 1_000_000, Distribution::Histogram(buckets));
        } else {
            builder.push(index, TIME_NS + ms * 1_000_000, change);
        }
    }
    Arc::new(builder.finish(header()))
}

/// Times in milliseconds, and values, of the series of this name.
fn written(requests: &Requests, name: &str) -> Vec<(i64, String)> {
    let points = read(requests, &Form::Prometheus(Renames::default()), Encoding::Snappy);
    let of_name = points.into_iter().filter(|point| point.0 == name);
    let mut told: Vec<_> = of_name.map(|point| ((point.5 - TIME_NS) / 1_000_000, point.6)).collect();
    told.sort();
    told
}

fn told(pairs: &[(i64, f64)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(ms, value)| (*ms, format!("{value:?}"))).collect()
}

#[test]
fn changes_are_sent_as_what_they_add_up_to() {
    let mut totals = Totals::default();
    let mut send = |start, end, points: &[(i64, f64)]| {
        totals.begin(start, end);
        prometheus::encode(&[changes(MetricType::Counter, points)], 1 << 20, &mut totals)
    };
    let first = send(0, 10, &[(10, 2.0), (30, 4.0), (20, 3.0), (30, 1.0)]);
    let added_up = [(9, 0.0), (10, 2.0), (20, 5.0), (30, 10.0)];
    assert_eq!(
        written(&first, "requests_total"),
        told(&added_up),
        "from a marked beginning, the last of each millisecond"
    );
    assert_eq!((first.requests[0].points, first.rewritten), (4, 1));
    assert_eq!(written(&send(10, 20, &[(40, 1.0)]), "requests_total"), told(&[(40, 11.0)]));
    assert_eq!(
        written(&send(10, 20, &[(40, 1.0)]), "requests_total"),
        told(&[(40, 11.0)]),
        "written again, it is the same"
    );
    let late = send(20, 30, &[(15, 1.0), (15, 1.0), (50, 1.0)]);
    assert_eq!(
        written(&late, "requests_total"),
        told(&[(41, 13.0), (50, 14.0)]),
        "what is late comes as soon as it can"
    );
    assert_eq!(late.requests[0].points, 3);
    assert_eq!(
        written(&send(40, 50, &[(60, 1.0)]), "requests_total"),
        told(&[(60, 15.0)]),
        "a gap in the journal is no end"
    );
    let back = send(10, 20, &[(40, 1.0)]);
    assert_eq!(written(&back, "requests_total"), told(&[(39, 0.0), (40, 1.0)]), "going back begins anew");
}

#[test]
fn changes_of_histograms_and_gauges_add_up_too() {
    let mut totals = Totals::default();
    totals.begin(0, 10);
    let blocks = [
        changes(MetricType::Histogram, &[(10, 4.0), (20, 6.0), (30, 200.0)]),
        changes(MetricType::Gauge, &[(10, 2.0), (20, -3.0)]),
    ];
    let requests = prometheus::encode(&blocks, 1 << 20, &mut totals);
    let counts = [(9, 0.0), (10, 4.0), (20, 10.0), (29, 0.0), (30, 200.0)];
    assert_eq!(written(&requests, "requests_count"), told(&counts), "other bounds are another histogram");
    assert_eq!(written(&requests, "requests_sum"), told(&counts.map(|(ms, count)| (ms, count / 2.0))));
    assert_eq!(written(&requests, "requests"), told(&[(10, 2.0), (20, -1.0)]));
}

#[test]
fn series_beyond_the_bound_begin_anew() {
    let mut totals = Totals::new(10);
    for round in 0..100 {
        totals.begin(round, round + 1);
        let mut builder = BlockBuilder::default();
        for number in 0..40 {
            let index = builder.descriptor(&changing(&format!("m{number}"), MetricType::Counter));
            builder.push(index, TIME_NS + round as i64 * 1_000_000_000, 1.0);
        }
        let requests = prometheus::encode(&[Arc::new(builder.finish(header()))], 1 << 20, &mut totals);
        assert_eq!(written(&requests, "m0_total").last(), told(&[(round as i64 * 1_000, 1.0)]).last());
        assert!(totals.len() <= 20, "{}", totals.len());
    }
}

#[test]
fn of_the_points_within_a_millisecond_one_is_sent_however_many_there_are() {
    let mut builder = BlockBuilder::default();
    let gauge = descriptor("g", &[], MetricType::Gauge);
    let histogram = descriptor("h", &[], MetricType::Histogram);
    for number in 0..3_500 {
        let index = builder.descriptor(&gauge);
        builder.push(index, TIME_NS + number, number as f64);
    }
    for count in 0..3 {
        let index = builder.descriptor(&histogram);
        let buckets = Histogram { count, bucket_counts: vec![count], ..Histogram::default() };
        builder.push_distribution(index, TIME_NS + count as i64, Distribution::Histogram(buckets));
    }
    let requests = prometheus::encode(&[Arc::new(builder.finish(header()))], 1 << 20, &mut Totals::default());
    assert_eq!(written(&requests, "g"), told(&[(0, 3_499.0)]));
    assert_eq!(written(&requests, "h_count"), told(&[(0, 2.0)]));
    assert_eq!((requests.requests[0].points, requests.rewritten), (3_503, 3_501));
}
