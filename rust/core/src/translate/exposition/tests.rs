//! What pages become, as ingest reads them.

use proptest::prelude::*;

use super::*;
use crate::limits::Limits;
use crate::translate::{BatchesMax, Left, Translated};
use crate::wire::decode::{RECEIPT_TIME, RowData};
use crate::wire::{DecodeScratch, decode};

fn read(page: &[u8], syntax: Syntax, target: &Target) -> Result<Translated, RequestFault> {
    let mut batches = Batches::new(BatchesMax { points: 10_000, frame_bytes: 1 << 24, request_bytes: 1 << 24 });
    translate(page, syntax, target, &mut batches)?;
    batches.finish()
}

fn translated(page: &[u8]) -> Translated {
    let target = Target::new([("job", "node"), ("instance", "n1:9100")]);
    read(page, Syntax::Text, &target).expect("a page small enough")
}

/// Of an `OpenMetrics` page, to which its last line is added, what its points are, with their units and times.
fn openmetrics(page: &str) -> Vec<String> {
    let translated = whole(page);
    assert_eq!(translated.first_fault, None);
    points(&translated)
}

fn whole(page: &str) -> Translated {
    read(format!("{page}# EOF\n").as_bytes(), Syntax::OpenMetrics, &Target::default()).expect("a whole page")
}

fn lines(page: &str) -> Vec<String> {
    points(&translated(page.as_bytes()))
}

fn points(translated: &Translated) -> Vec<String> {
    let mut scratch = DecodeScratch::default();
    let Some(frame) = translated.frames.first() else { return Vec::new() };
    let batch = decode(frame, &Limits::default(), &mut scratch).expect("a batch");
    let text = |span| String::from_utf8(batch.text(span).to_vec()).expect("UTF-8");
    let line = |row: &crate::wire::decode::Row| {
        let tags: Vec<_> = batch.tags(row).iter().map(|tag| format!("{}={}", text(tag.key), text(tag.value))).collect();
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
        let unit = text(row.unit);
        let unit = if unit.is_empty() { unit } else { format!(" {unit}") };
        let time = match row.timestamp_unix_ns {
            RECEIPT_TIME => String::new(),
            unix_ns => format!(" @{unix_ns}"),
        };
        format!("{}{{{}}} {} {data}{unit}{time}", text(row.name), tags.join(","), row.metric_type)
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
            format!("temperature{{{OWN}}} 2 -15 @1795000000000000000"),
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

#[test]
fn openmetrics_has_the_points_of_each_type() {
    let page = "# TYPE requests counter\n# HELP requests All.\nrequests_total{code=\"200\"} 7\nrequests_created{code=\"200\"} 1520430000.123\n\
                # HELP queue_seconds Wait.\n# UNIT queue_seconds seconds\n# TYPE queue_seconds gauge\nqueue_seconds 0.5\n\
                # TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\nlatency_seconds_bucket{le=\"0.5\"} 2\n\
                latency_seconds_bucket{le=\"+Inf\"} 5\nlatency_seconds_count 5\nlatency_seconds_sum 4.5\nlatency_seconds_created 1\n\
                # TYPE held gaugehistogram\nheld_bucket{le=\"1.0\"} 1\nheld_bucket{le=\"+Inf\"} 3\nheld_gcount 3\nheld_gsum -2.5\n\
                # TYPE rpc summary\nrpc{quantile=\"0.9\"} 3\nrpc_count 2\nrpc_sum 6\nrpc_created 1\n\
                # TYPE build info\nbuild_info{version=\"1\"} 1\n\
                # TYPE door stateset\ndoor{door=\"open\"} 0\ndoor{door=\"shut\"} 1\n\
                # TYPE thing unknown\nthing 4\nloose_total 5\n";
    assert_eq!(
        openmetrics(page),
        [
            "requests_total{code=200} 1 7",
            "queue_seconds{} 2 0.5 seconds",
            "latency_seconds{} 3 5 4.5 [0.5] [2, 3] seconds",
            "held{} 3 3 -2.5 [1.0] [1, 2]",
            "rpc{} 4 2 6 [(0.9, 3.0)]",
            "build_info{version=1} 2 1",
            "door{door=open} 2 0",
            "door{door=shut} 2 1",
            "thing{} 2 4",
            "loose_total{} 2 5",
        ]
    );
    // Of a family without metadata its ending says nothing, and a gauge may be called so.
    assert_eq!(openmetrics("# TYPE a_created gauge\na_created 3\n"), ["a_created{} 2 3"]);
    assert_eq!(openmetrics(""), [""; 0]);
}

#[test]
fn exemplars_are_cut_off_and_counted_and_a_hash_in_a_label_is_none() {
    let page = "# TYPE a counter\na_total{x=\"# {y=\\\"z\\\"} 1\"} 3 # {trace_id=\"a } # {\\\"b\"} 0.5 1520879607.789\n\
                a_total 4 1520879608 # {} 2\n\
                # TYPE b histogram\nb_bucket{le=\"1\"} 1 # {trace_id=\"q\"} 0.5\nb_bucket{le=\"+Inf\"} 1\nb_count 1\nb_sum 0.5\n";
    let translated = whole(page);
    assert_eq!(translated.left, Left { exemplars: 3, ..Left::default() });
    assert_eq!(
        points(&translated),
        ["a_total{x=# {y=\"z\"} 1} 1 3", "a_total{} 1 4 @1520879608000000000", "b{} 3 1 0.5 [1.0] [1, 0]"]
    );
}

#[test]
fn times_of_openmetrics_are_seconds_to_the_nanosecond() {
    for (time, unix_ns) in [
        ("1520879607", 1_520_879_607_000_000_000_u64),
        ("1520879607.789", 1_520_879_607_789_000_000),
        ("1520879607.123456789", 1_520_879_607_123_456_789),
        ("1520879607.1234567899", 1_520_879_607_123_456_789),
        ("1.520879607e9", 1_520_879_607_000_000_000),
        ("0", 1),
        ("-0.5", 1),
        ("1e300", i64::MAX as u64),
    ] {
        assert_eq!(openmetrics(&format!("a 1 {time}\n")), [format!("a{{}} 2 1 @{unix_ns}")]);
    }
}

/// Several points of a series may stand on a page, each with its own time.
#[test]
fn the_points_of_a_distribution_are_kept_apart_by_their_times() {
    let page = "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1 10\na_count 1 10\na_sum 3 10\n\
                a_bucket{le=\"+Inf\"} 2 20\na_count 2 20\na_sum 7 20\n";
    assert_eq!(openmetrics(page), ["a{} 3 1 3 [] [1] @10000000000", "a{} 3 2 7 [] [2] @20000000000"]);
}

#[test]
fn bad_lines_of_openmetrics_are_counted_alone() {
    for line in [
        "a",
        "a 1 2 3",
        "a 1 NaN",
        "a 1 +Inf",
        "a 1 x",
        "a 1_000",
        "a{x=\"y} 1",
        "a 1 #",
        "a 1 # ",
        "a 1 # {",
        "a 1 # {x=\"y\"}",
        "a 1 # {x=y} 2",
        "a 1 # {x=\"y\"} z",
        "a 1 # {x=\"y\"} 2 3 4",
        "a 1 # {x=\"y\"} 2 # {x=\"y\"} 2",
        "a 1 2 # x 1",
        " # {x=\"y\"} 2",
    ] {
        let translated = whole(&format!("# HELP a b\n{line}\ngood 1\n"));
        let bad = u64::from(!line.trim_start().starts_with('#'));
        assert_eq!((translated.points, translated.left.lines, translated.left.exemplars), (1, bad, 0), "{line}");
    }
}

#[test]
fn an_openmetrics_page_ends_where_it_says_so_or_is_refused_whole() {
    let page = "# TYPE a gauge\na 1\n";
    for ending in ["# EOF", "# EOF\n"] {
        let whole = read(format!("{page}{ending}").as_bytes(), Syntax::OpenMetrics, &Target::default());
        assert_eq!(whole.map(|whole| whole.points), Ok(1));
    }
    let refused =
        |page: &str| read(page.as_bytes(), Syntax::OpenMetrics, &Target::default()).expect_err(page).to_string();
    for cut in ["", "a 1", "a 1\n", "a 1\n# EO", "# HELP a # EOF", "a 1 # EOF\n", "# EOF \n", "# EOF\n\n", "#EOF\n"] {
        assert_eq!(
            refused(cut),
            "not a page of OpenMetrics: it does not end with # EOF, so it was cut short",
            "{cut:?}"
        );
    }
    for behind in ["# EOF\na 1\n# EOF\n", "a 1\n# EOF\n# EOF\n"] {
        assert_eq!(refused(behind), "not a page of OpenMetrics: something stands behind its # EOF");
    }
    assert_eq!(translated(b"a 1\n").points, 1, "Prometheus' own text has no such line");
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(prop::sample::select(&b"ab_ {}=\"\\,\n#TYPE1.+InfN"[..]), 0..300)) {
        let ended = [&bytes[..], b"\n# EOF\n"].concat();
        let openmetrics = read(&ended, Syntax::OpenMetrics, &Target::default()).unwrap_or_default();
        for frame in translated(&bytes).frames.iter().chain(&openmetrics.frames) {
            let mut scratch = DecodeScratch::default();
            decode(frame, &Limits::default(), &mut scratch).expect("a batch");
        }
    }
}
