//! What a request's points become, as ingest reads them.

use serde_json::{Value, json};

use super::{Ignored, json, translate};
use crate::limits::{Limits, TAG_VALUE_BYTES_MAX};
use crate::series::MetricType;
use crate::translate::{Batches, BatchesMax, Left, RequestFault, Translated};
use crate::wire::decode::RowData;
use crate::wire::{DecodeScratch, decode};

const TIME: &str = "1795000000000000000";

fn translated_within(request: &Value, ignored: &[&str], points: usize) -> Translated {
    let body = json::metrics_request(request.to_string().as_bytes()).expect("valid JSON");
    let mut batches = Batches::new(BatchesMax { points, frame_bytes: 1024 * 1024, request_bytes: 1 << 24 });
    translate(&body, &Ignored::new(ignored.iter().copied()), &mut batches).expect("a valid request");
    batches.finish().expect("small enough")
}

fn translated(request: &Value) -> Translated {
    translated_within(request, &[], 1_000)
}

/// One line a point: name, tags, type by its number, unit, delta, time, data.
fn lines(translated: &Translated) -> Vec<String> {
    let mut lines = Vec::new();
    let mut scratch = DecodeScratch::default();
    for frame in &translated.frames {
        let batch = decode(frame, &Limits::default(), &mut scratch).expect("a batch");
        let text = |span| std::str::from_utf8(batch.text(span)).expect("UTF-8");
        for row in batch.rows() {
            assert!(row.key_span.is_some(), "name and tags stand together");
            let tags: Vec<_> =
                batch.tags(row).iter().map(|tag| format!("{}={}", text(tag.key), text(tag.value))).collect();
            let data = match row.data {
                RowData::None => "nothing".into(),
                RowData::Value(value) => format!("{value}"),
                RowData::Histogram(place) => {
                    let histogram = batch.histogram(place);
                    format!(
                        "{} {} {:?} {:?} {:?} {:?}",
                        histogram.count,
                        histogram.sum,
                        histogram.min,
                        histogram.max,
                        histogram.upper_bounds,
                        histogram.bucket_counts
                    )
                }
                RowData::Summary(place) => {
                    let summary = batch.summary(place);
                    let quantiles: Vec<_> = summary.quantiles.iter().map(|q| (q.quantile, q.value)).collect();
                    format!("{} {} {quantiles:?}", summary.count, summary.sum)
                }
            };
            lines.push(format!(
                "{}{{{}}} {} {:?} {} {} {data}",
                text(row.name),
                tags.join(","),
                row.metric_type,
                text(row.unit),
                row.delta,
                row.timestamp_unix_ns
            ));
        }
    }
    lines
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A request of one metric.
fn request(metric: &Value) -> Value {
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
}

fn point(data: &str, more: &Value) -> Value {
    let mut point = json!({"timeUnixNano": TIME});
    point.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let mut metric = json!({"name": "m"});
    metric[data] = json!({"dataPoints": [point]});
    metric
}

fn line_of(metric: &Value) -> String {
    let translated = translated(&request(metric));
    let [line] = &lines(&translated)[..] else { panic!("{translated:?}") };
    line.clone()
}

#[test]
fn a_gauge_has_its_attributes_the_scopes_name_and_the_resources_tags() {
    let request = json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "checkout"), attribute("service.version", "1.2"), attribute("host.name", "node-7"),
            attribute("cloud.region", "eu"), attribute("cloud.availability_zone", "eu-1"), attribute("pool", "a"),
            attribute("process.pid", "77"),
        ]},
        "scopeMetrics": [
            {"scope": {"name": "library"}, "metrics": [{"name": "queue.size", "unit": "1", "gauge": {"dataPoints": [
                {"timeUnixNano": TIME, "asDouble": 1.5, "attributes": [attribute("pool", "b"), attribute("empty", "")]},
            ]}}]},
            {"metrics": [{"name": "other", "gauge": {"dataPoints": [{"asInt": "-3"}]}}]},
        ],
    }]});
    let resource = "service=checkout,version=1.2,node_id=node-7,region=eu,zone=eu-1";
    assert_eq!(
        lines(&translated_within(&request, &["process."], 1_000)),
        [
            format!("queue.size{{pool=b,otel.scope.name=library,{resource}}} 2 \"1\" false {TIME} 1.5"),
            format!("other{{{resource},pool=a}} 2 \"\" false {} -3", crate::wire::decode::RECEIPT_TIME),
        ]
    );
}

#[test]
fn sums_are_counters_where_they_only_grow_and_tell_their_temporality() {
    let sum = |temporality: u32, monotonic: bool| {
        let mut metric = point("sum", &json!({"asInt": 5}));
        metric["sum"]["aggregationTemporality"] = temporality.into();
        metric["sum"]["isMonotonic"] = monotonic.into();
        line_of(&metric)
    };
    assert_eq!(sum(2, true), format!("m{{}} 1 \"\" false {TIME} 5"));
    assert_eq!(sum(1, true), format!("m{{}} 1 \"\" true {TIME} 5"));
    assert_eq!(sum(2, false), format!("m{{}} 2 \"\" false {TIME} 5"));
    assert_eq!(sum(1, false), format!("m{{}} 2 \"\" true {TIME} 5"));
}

#[test]
fn histograms_and_summaries_keep_their_numbers() {
    let histogram = json!({
        "count": "6", "sum": 12.5, "min": 0.5, "max": 7.0, "bucketCounts": ["1", 2, "3"], "explicitBounds": [1.0, 5],
    });
    let mut metric = point("histogram", &histogram);
    metric["histogram"]["aggregationTemporality"] = 1.into();
    assert_eq!(line_of(&metric), format!("m{{}} 3 \"\" true {TIME} 6 12.5 Some(0.5) Some(7.0) [1.0, 5.0] [1, 2, 3]"));
    let bare = point("histogram", &json!({"count": 4, "sum": 2.0}));
    assert_eq!(line_of(&bare), format!("m{{}} 3 \"\" false {TIME} 4 2 None None [] [4]"));
    let summary = json!({"count": 3, "sum": 6.0, "quantileValues": [
        {"quantile": 0.5, "value": 2.0}, {"quantile": 0.9, "value": "NaN"}, {"quantile": 1, "value": 3},
    ]});
    assert_eq!(line_of(&point("summary", &summary)), format!("m{{}} 4 \"\" false {TIME} 3 6 [(0.5, 2.0), (1.0, 3.0)]"));
}

#[test]
fn an_exponential_histogram_becomes_explicit_buckets() {
    let line = |data: &Value| line_of(&point("exponentialHistogram", data));
    let both = json!({
        "count": 10, "sum": 1.0, "scale": 0, "zeroCount": 1, "zeroThreshold": 0.001,
        "positive": {"offset": 1, "bucketCounts": [0, 2, 0, 3]}, "negative": {"offset": -1, "bucketCounts": [4, 0]},
    });
    assert_eq!(
        line(&both),
        format!(
            "m{{}} 3 \"\" false {TIME} 10 1 None None [-1.0, -0.5, -0.001, 0.001, 4.0, 8.0, 16.0, 32.0] [0, 4, 0, 1, 0, 2, 0, 3, 0]"
        )
    );
    let overlapping = json!({
        "count": 10, "sum": 1.0, "scale": 0, "zeroCount": 1, "zeroThreshold": 3,
        "positive": {"offset": 0, "bucketCounts": [1, 2, 3]}, "negative": {"offset": 1, "bucketCounts": [2, 1]},
    });
    assert_eq!(
        line(&overlapping),
        format!("m{{}} 3 \"\" false {TIME} 10 1 None None [-8.0, -4.0, 4.0, 8.0] [0, 1, 6, 3, 0]")
    );
    let zeros = json!({"count": 2, "scale": 3, "zeroCount": 2, "zeroThreshold": 0.5});
    assert_eq!(line(&zeros), format!("m{{}} 3 \"\" false {TIME} 2 0 None None [0.5] [2, 0]"));
    let none = json!({"count": 0, "scale": 20});
    assert_eq!(line(&none), format!("m{{}} 3 \"\" false {TIME} 0 0 None None [] [0]"));
    let finest = json!({"count": 3, "scale": i32::MAX, "positive": {"offset": i32::MAX, "bucketCounts": [1, 2]}});
    assert!(line(&finest).ends_with("[0, 3, 0]"), "{}", line(&finest));
    let coarsest = json!({"count": 3, "scale": i32::MIN, "negative": {"offset": i32::MIN, "bucketCounts": [1, 2]}});
    assert!(line(&coarsest).ends_with(" [-5e-324] [3, 0]"), "{}", line(&coarsest));
    let around_one = json!({"count": 3, "scale": i32::MIN, "positive": {"offset": -1, "bucketCounts": [1, 2]}});
    assert!(line(&around_one).ends_with(" [0.0, 1.0] [0, 1, 2]"), "{}", line(&around_one));
    let beyond = json!({"count": 3, "scale": -10, "positive": {"offset": 0, "bucketCounts": [1, 2]}});
    assert_eq!(line(&beyond), format!("m{{}} 3 \"\" false {TIME} 3 0 None None [1.0] [0, 3]"));
}

#[test]
fn an_exponential_histogram_with_too_many_buckets_is_one_of_a_lower_scale() {
    let counts = vec![1_u64; 5_000];
    let data = json!({"count": 5_000, "scale": 10, "positive": {"offset": -2_500, "bucketCounts": counts}});
    let translated = translated(&request(&point("exponentialHistogram", &data)));
    let mut scratch = DecodeScratch::default();
    let batch = decode(&translated.frames[0], &Limits::default(), &mut scratch).expect("a batch");
    crate::wire::validate::check_row(&batch, &batch.rows()[0]).expect("a histogram that may be stored");
    let histogram = batch.histogram(0);
    let lowest = histogram.upper_bounds[0];
    let expected = (-2_500.0 / 1_024.0_f64).exp2();
    assert!(lowest <= expected && lowest > expected * 0.98, "{lowest}, {expected}");
    assert!(histogram.upper_bounds.len() > 500, "{}", histogram.upper_bounds.len());
}

#[test]
fn attributes_of_every_kind_have_a_text() {
    let any = |value: Value| {
        let metric = point("gauge", &json!({"asInt": 0, "attributes": [{"key": "k", "value": value}]}));
        let line = line_of(&metric);
        line[4..line.rfind("} 2").expect("a gauge")].to_owned()
    };
    assert_eq!(any(json!({"boolValue": true})), "true");
    assert_eq!(any(json!({"intValue": "-9007199254740993"})), "-9007199254740993");
    assert_eq!(any(json!({"doubleValue": 2.5})), "2.5");
    assert_eq!(any(json!({"bytesValue": "+/8A"})), "+/8A");
    let list = json!({"arrayValue": {"values": [{"stringValue": "a\"b\n"}, {"intValue": 1}, {}]}});
    assert_eq!(any(list), r#"["a\"b\u000a",1,null]"#);
    let map = json!({"kvlistValue": {"values": [attribute("x", "y"), {"key": "z", "value": {"boolValue": false}}]}});
    assert_eq!(any(map), r#"{"x":"y","z":false}"#);
    let nested = |depth| (0..depth).fold(json!({"intValue": 1}), |inner, _| json!({"arrayValue": {"values": [inner]}}));
    assert_eq!(any(nested(16)), format!("{}1{}", "[".repeat(16), "]".repeat(16)));
    // Rather no tag than one that is cut short in silence.
    assert_eq!(any(nested(17)).len(), TAG_VALUE_BYTES_MAX + 1);
}

#[test]
fn what_has_no_place_is_counted() {
    let exemplar = json!({"asDouble": 1.0, "traceId": "5b8efff798038103d269b633813fc60c"});
    let metric = json!({"name": "m", "gauge": {"dataPoints": [
        {"asDouble": 1.0, "exemplars": [exemplar, exemplar]},
        {"flags": 1},
        {"flags": 1, "asDouble": "NaN"},
    ]}});
    let translated = translated(&request(&metric));
    assert_eq!((translated.points, translated.left.exemplars, translated.left.points_without_value), (1, 2, 2));
}

/// Without the flag that says so, a point without a number is none that may be stored, and its sender is to hear of it.
#[test]
fn a_point_whose_value_is_missing_or_no_number_is_refused_rather_than_left_out() {
    let verdict = |data: &str, point: &Value| {
        let metric = self::point(data, point);
        let translated = translated(&request(&metric));
        assert_eq!((translated.points, translated.left), (1, Left::default()), "{metric}");
        let mut scratch = DecodeScratch::default();
        let batch = decode(&translated.frames[0], &Limits::default(), &mut scratch).expect("a batch");
        crate::wire::validate::check_row(&batch, &batch.rows()[0]).map_err(|fault| fault.to_string())
    };
    let refused = |what: &str| Err(what.to_owned());
    assert_eq!(verdict("gauge", &json!({"asDouble": "NaN"})), refused("value is not finite"));
    assert_eq!(verdict("sum", &json!({"asDouble": "Infinity"})), refused("value is not finite"));
    assert_eq!(verdict("gauge", &json!({})), refused("no data"));
    for data in ["histogram", "exponentialHistogram", "summary"] {
        assert_eq!(verdict(data, &json!({"count": 0, "sum": "NaN"})), refused("sum is not finite"), "{data}");
    }
    for data in ["histogram", "exponentialHistogram"] {
        let zeros = |min: &str| json!({"count": 1, "zeroCount": 1, "sum": 0, "min": min});
        assert_eq!(verdict(data, &zeros("NaN")), refused("min is not finite"), "{data}");
        let nothing = json!({"count": 0, "sum": 0, "min": "Infinity", "max": "NaN"});
        assert_eq!(verdict(data, &nothing), Ok(MetricType::Histogram), "{data}: of nothing there are no extremes");
    }
    let infinite = json!({"count": 1, "quantileValues": [{"quantile": 1, "value": "Infinity"}]});
    assert_eq!(verdict("summary", &infinite), refused("a quantile's value is not finite"));
}

#[test]
fn frames_keep_within_the_limits_and_lose_nothing() {
    let points: Vec<_> = (0..25).map(|number| json!({"asInt": number})).collect();
    let metric = json!({"name": "m", "gauge": {"dataPoints": points}});
    let translated = translated_within(&request(&metric), &[], 10);
    assert_eq!((translated.frames.len(), translated.points), (3, 25));
    let values: Vec<_> = lines(&translated).iter().map(|line| line.rsplit(' ').next().map(str::to_owned)).collect();
    assert_eq!(values, (0..25).map(|number| Some(number.to_string())).collect::<Vec<_>>());
}

#[test]
fn a_point_with_too_many_tags_stays_one() {
    let attributes: Vec<_> = (0..200).map(|number| attribute(&format!("k{number}"), "v")).collect();
    let line = line_of(&point("gauge", &json!({"asInt": 1, "attributes": attributes})));
    assert_eq!(line.matches("=v").count(), crate::limits::TAGS_MAX + 1);
}

#[test]
fn what_is_no_request_is_refused_with_the_place() {
    let of = |text: &str| json::metrics_request(text.as_bytes()).expect_err("it is wrong").to_string();
    assert!(of("{").starts_with("the body is not JSON"), "{}", of("{"));
    assert_eq!(of("[]"), "the body: expected an object");
    assert_eq!(of(r#"{"resourceMetrics": {}}"#), "resourceMetrics: expected a list");
    let deep = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 5}]}]}]}"#;
    assert_eq!(of(deep), "resourceMetrics.scopeMetrics.metrics.name: expected text");
    let mut batches = Batches::new(BatchesMax { points: 10, frame_bytes: 1_000, request_bytes: 1 << 20 });
    let fault = translate(b"\x0a\xff", &Ignored::default(), &mut batches).expect_err("cut short");
    assert!(matches!(fault, RequestFault::Wire { .. }), "{fault}");
}

#[test]
fn enums_may_be_told_by_their_names() {
    let sum = |temporality: Value| {
        let point = json!({"asInt": 5, "timeUnixNano": TIME});
        line_of(
            &json!({"name": "m", "sum": {"aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point]}}),
        )
    };
    for delta in [json!("AGGREGATION_TEMPORALITY_DELTA"), json!("1"), json!(1)] {
        assert_eq!(sum(delta), format!("m{{}} 1 \"\" true {TIME} 5"));
    }
    for total in [json!("AGGREGATION_TEMPORALITY_CUMULATIVE"), json!("AGGREGATION_TEMPORALITY_LATER"), Value::Null] {
        assert_eq!(sum(total), format!("m{{}} 1 \"\" false {TIME} 5"));
    }
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"kind": "SPAN_KIND_SERVER", "status": {"code": "STATUS_CODE_ERROR"}},
    ]}]}]});
    let written = json::traces_request(span.to_string().as_bytes()).expect("valid JSON");
    assert_eq!(written, b"\x0a\x0a\x12\x08\x12\x06\x30\x02\x7a\x02\x18\x02");
    let log = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"severityNumber": "SEVERITY_NUMBER_INFO"}]}]}]});
    let written = json::logs_request(log.to_string().as_bytes()).expect("valid JSON");
    assert_eq!(written, b"\x0a\x06\x12\x04\x12\x02\x10\x09");
}

/// Whatever it holds, each kind of field tells what it wants instead of what stands there.
#[test]
fn a_value_of_another_kind_is_refused_where_it_stands() {
    let metric = "resourceMetrics.scopeMetrics.metrics";
    for (text, place, wanted) in [
        (r#"{"name": 5}"#, "name", "text"),
        (r#"{"name": ["m"]}"#, "name", "text"),
        (r#"{"gauge": []}"#, "gauge", "an object"),
        (r#"{"gauge": {"dataPoints": 1}}"#, "gauge.dataPoints", "a list"),
        (r#"{"gauge": {"dataPoints": "x"}}"#, "gauge.dataPoints", "a list"),
        (r#"{"gauge": {"dataPoints": {}}}"#, "gauge.dataPoints", "a list"),
        (r#"{"gauge": {"dataPoints": [null]}}"#, "gauge.dataPoints", "an object"),
        (r#"{"gauge": {"dataPoints": [[]]}}"#, "gauge.dataPoints", "an object"),
        (r#"{"gauge": {"dataPoints": [{"asDouble": "x"}]}}"#, "gauge.dataPoints.asDouble", "a number"),
        (r#"{"gauge": {"dataPoints": [{"asDouble": true}]}}"#, "gauge.dataPoints.asDouble", "a number"),
        (r#"{"gauge": {"dataPoints": [{"asInt": 1.5}]}}"#, "gauge.dataPoints.asInt", "a whole number of 64 bits"),
        (r#"{"gauge": {"dataPoints": [{"asInt": "1.5"}]}}"#, "gauge.dataPoints.asInt", "a whole number of 64 bits"),
        (r#"{"sum": {"isMonotonic": "yes"}}"#, "sum.isMonotonic", "true or false"),
        (r#"{"sum": {"aggregationTemporality": {}}}"#, "sum.aggregationTemporality", "a name or a whole number"),
    ] {
        let body = format!(r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{text}]}}]}}]}}"#);
        let fault = json::metrics_request(body.as_bytes()).expect_err("it is wrong").to_string();
        assert_eq!(fault, format!("{metric}.{place}: expected {wanted}"), "{text}");
    }
    for (text, wanted) in
        [("\"5\"", "hexadecimal digits"), ("\"5g\"", "hexadecimal digits"), ("5", "hexadecimal digits")]
    {
        let body = format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": {text}}}]}}]}}]}}"#);
        let fault = json::traces_request(body.as_bytes()).expect_err("it is wrong").to_string();
        assert_eq!(fault, format!("resourceSpans.scopeSpans.spans.traceId: expected {wanted}"));
    }
    assert!(json::metrics_request(b"{} {}").expect_err("two of them").to_string().starts_with("the body is not JSON"));
}

#[test]
fn what_json_has_beyond_the_schema_is_skipped() {
    let request = json!({"resourceMetrics": [], "unknown": {"a": [1]}, "resourceSpans": null});
    assert_eq!(translated(&request), Translated::default());
}

#[test]
fn a_small_request_does_not_become_a_large_one() {
    let attributes: Vec<_> = (0..60).map(|number| attribute(&format!("k{number}"), &"v".repeat(1_000))).collect();
    let points: Vec<_> = (0..100).map(|number| json!({"asInt": number})).collect();
    let scope = json!({"metrics": [{"name": "m", "gauge": {"dataPoints": points}}]});
    let request = json!({"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [scope]}]});
    let body = json::metrics_request(request.to_string().as_bytes()).expect("valid JSON");
    let of = |request_bytes| {
        let mut batches = Batches::new(BatchesMax { points: 1_000, frame_bytes: 1 << 20, request_bytes });
        translate(&body, &Ignored::default(), &mut batches).expect("a valid request");
        batches.finish()
    };
    assert_eq!(of(7 << 20).map(|translated| translated.points), Ok(100));
    assert_eq!(of(1 << 20), Err(RequestFault::BatchesTooLarge { bytes_max: 1 << 20 }));
}

#[test]
fn a_time_that_no_signed_number_tells_costs_its_own_point_alone() {
    let points = json!([{"asInt": 1}, {"asInt": 2, "timeUnixNano": "18446744073709551615"}]);
    let translated = translated(&request(&json!({"name": "m", "gauge": {"dataPoints": points}})));
    let lines = lines(&translated);
    assert!(lines[1].ends_with(&format!(" {} 2", i64::MAX)), "{lines:?}");
}

#[test]
fn what_is_long_is_not_copied_for_each_point() {
    let points: Vec<_> = (0..20_000).map(|number| json!({"asInt": number})).collect();
    let metric = json!({"name": "n".repeat(1 << 20), "unit": "u".repeat(1 << 20), "gauge": {"dataPoints": points}});
    let translated = translated(&request(&metric));
    let bytes: usize = translated.frames.iter().map(Vec::len).sum();
    assert!(bytes < 20_000 * 500, "{bytes} bytes");
}

#[test]
fn half_a_character_costs_itself_alone() {
    let of = |texts: &str| {
        let body = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"{texts}"}}]}}]}}]}}"#);
        json::metrics_request(body.as_bytes())
    };
    let written = |text: &str| of(text).map(|body| String::from_utf8_lossy(&body[8..]).into_owned());
    for (escaped, read) in [
        (r"cut \ud83d", "cut \u{fffd}"),
        (r"\ude00 cut", "\u{fffd} cut"),
        (r"\ud83d\ud83d\ude00 \u00e9", "\u{fffd}\u{1f600} \u{e9}"),
        (r"\ud83d\n\\ud83d", "\u{fffd}\n\\ud83d"),
    ] {
        assert_eq!(written(escaped).as_deref(), Ok(read), "{escaped}");
    }
    for broken in [r"\ud83", r"\ud83d\", r"\x", r"\ud83d\x"] {
        assert!(of(broken).is_err(), "{broken}");
    }
}
