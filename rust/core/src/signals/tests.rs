//! What is taken of a request, that a record holds it, and that its columns do.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::columns::Columns;
use super::judge::{ATTRIBUTES_MAX, Judged, PARTS_MAX, judge};
use super::record::{self, Head, Places, Unreadable};
use super::{Signal, SignalJournal, SignalRequest, schema};
use crate::columns::TimestampUnit;
use crate::ingest::{Ingest, IngestSettings, Peer};
use crate::journal::{JournalSettings, MemoryStorage, SEGMENT_BYTES_MIN, Storage};
use crate::limits::Limits;
use crate::translate::otlp::json as otlp_json;
use crate::translate::{Encoding, RequestFault};
use crate::wire::Reason;
use crate::wire::proto::put_bytes;

const TRACE_ID: &str = "000102030405060708090a0b0c0d0e0f";
const HOUR_NS: i64 = 3_600_000_000_000;
const NOW_NS: i64 = 1_795_000_000_000_000_000 / HOUR_NS * HOUR_NS;

fn span(name: &str) -> Value {
    json!({
        "traceId": TRACE_ID, "spanId": "00000000000000aa", "name": name,
        "startTimeUnixNano": "1795000000000000000", "endTimeUnixNano": "1795000000000001500",
    })
}

fn with(mut message: Value, key: &str, value: Value) -> Value {
    message[key] = value;
    message
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

/// One request of resources, each with its attributes and spans.
fn request(resources: &[(Value, Vec<Value>)]) -> Vec<u8> {
    let resources: Vec<_> = resources
        .iter()
        .map(|(attributes, spans)| json!({"scopeSpans": [{"spans": spans}], "resource": {"attributes": attributes}}))
        .collect();
    otlp_json::traces_request(json!({"resourceSpans": resources}).to_string().as_bytes()).expect("valid JSON")
}

fn judged(request: &[u8]) -> Judged {
    judge(Signal::Traces, request, None).expect("a request")
}

fn head(judged: &Judged) -> Head {
    Head {
        received_unix_us: NOW_NS / 1_000,
        rows: judged.rows,
        repeated_bytes: judged.repeated_bytes,
        identity: "agent".into(),
        node: "node-1".into(),
        refused: judged.refused.clone(),
    }
}

fn columns(signal: Signal, request: &[u8], judged: &Judged) -> RecordBatch {
    let mut columns = Columns::new(signal);
    columns.push(&head(judged), request).expect("it was judged");
    columns.finish(TimestampUnit::Microseconds).expect("columns fit together")
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(column).expect("a column of the schema");
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn named(batch: &RecordBatch) -> Vec<String> {
    texts(batch, "name").into_iter().flatten().collect()
}

#[test]
fn each_row_is_judged_by_itself_and_the_others_are_read_back() {
    let many: Value = (0..=ATTRIBUTES_MAX).map(|at| json!({"key": at.to_string()})).collect();
    let events: Value = (0..=PARTS_MAX).map(|_| json!({"name": "e"})).collect();
    let cases = [
        (with(span("id"), "traceId", json!("00")), Reason::InvalidValue),
        (with(span("zeros"), "spanId", json!("0000000000000000")), Reason::InvalidValue),
        (with(span("parent"), "parentSpanId", json!("00")), Reason::InvalidValue),
        (with(span("time"), "startTimeUnixNano", json!("9223372036854775808")), Reason::InvalidTimestamp),
        (with(span("many"), "attributes", many), Reason::InvalidTag),
        (with(span("events"), "events", events), Reason::InvalidValue),
        (with(span("link"), "links", json!([{"traceId": "00", "spanId": "00"}])), Reason::InvalidValue),
    ];
    for (bad, reason) in cases {
        let name = bad["name"].as_str().expect("text").to_owned();
        let asked = request(&[(json!([]), vec![span("first"), bad, span("last")])]);
        let judged = judged(&asked);
        assert_eq!(judged.rows, 2, "{name}");
        let [refused] = &judged.rejections[..] else { panic!("{name}: {:?}", judged.rejections) };
        assert_eq!((refused.reason, refused.points), (reason, 1), "{name}");
        assert!(refused.example.starts_with(&format!("{name}: ")), "{}", refused.example);
        assert_eq!(named(&columns(Signal::Traces, &asked, &judged)), ["first", "last"]);
    }
}

#[test]
fn a_link_that_leads_nowhere_costs_its_span_nothing() {
    let zeros = json!([{"traceId": "0".repeat(32), "spanId": "0".repeat(16)}, {}]);
    let asked = request(&[(json!([]), vec![with(span("linked"), "links", zeros)])]);
    let judged = judged(&asked);
    assert_eq!((judged.rows, &judged.rejections[..]), (1, &[][..]));
    assert_eq!(named(&columns(Signal::Traces, &asked, &judged)), ["linked"]);
}

#[test]
fn what_is_not_utf8_is_refused_with_its_resource() {
    let mut asked = request(&[(attributes(&[("bad", "#")]), vec![span("a"), span("b")]), (json!([]), vec![span("c")])]);
    let at = asked.windows(3).position(|window| window == b"\x0a\x01#").expect("the value") + 2;
    asked[at] = 0xff;
    let judged = judged(&asked);
    assert_eq!((judged.rows, judged.rejections[0].reason, judged.rejections[0].points), (1, Reason::InvalidTag, 2));
    assert_eq!(named(&columns(Signal::Traces, &asked, &judged)), ["c"]);
}

#[test]
fn a_certificate_speaks_for_its_own_node() {
    let asked = request(&[
        (attributes(&[("host.name", "node-1")]), vec![span("own")]),
        (attributes(&[("host.name", "node-2")]), vec![span("foreign")]),
        (json!([]), vec![span("nameless")]),
    ]);
    let bound = judge(Signal::Traces, &asked, Some("node-1")).expect("a request");
    assert_eq!((bound.rows, bound.rejections[0].reason), (2, Reason::IdentityMismatch));
    let batch = columns(Signal::Traces, &asked, &bound);
    assert_eq!(named(&batch), ["own", "nameless"]);
    assert_eq!(texts(&batch, "node_id"), [Some("node-1".into()), Some("node-1".into())]);
    assert_eq!(judged(&asked).rows, 3, "a relay may");
}

#[test]
fn a_resource_is_repeated_only_so_often() {
    let large = "x".repeat(1024 * 1024);
    let asked = request(&[(attributes(&[("large", &large)]), vec![span("s"); 100])]);
    let judged = judged(&asked);
    assert!((60..64).contains(&judged.rows), "64 MiB at 1 MiB each: {}", judged.rows);
    assert_eq!(judged.rejections[0].reason, Reason::BatchTooLarge);
    assert_eq!(u64::from(judged.rejections[0].points), 100 - judged.rows);
}

#[test]
fn a_span_has_its_columns() {
    let event = json!({"timeUnixNano": "1795000000000001000", "name": "e", "attributes": attributes(&[("a", "b")])});
    let full = [
        ("attributes", attributes(&[("k", "first"), ("k", "second")])),
        ("events", json!([event, {"name": "f"}])),
        ("status", json!({"code": 2, "message": "m"})),
        ("kind", json!(3)),
        ("flags", json!(257)),
        ("droppedLinksCount", json!(4)),
    ];
    let full = full.into_iter().fold(span("full"), |span, (key, value)| with(span, key, value));
    let bare = with(span("bare"), "endTimeUnixNano", json!("0"));
    let asked = request(&[(attributes(&[("service.name", "s"), ("other", "o")]), vec![full, bare])]);
    let batch = columns(Signal::Traces, &asked, &judged(&asked));
    assert_eq!(batch.schema(), schema(Signal::Traces, TimestampUnit::Microseconds));
    assert_eq!(texts(&batch, "trace_id"), [Some(TRACE_ID.into()), Some(TRACE_ID.into())]);
    assert_eq!(texts(&batch, "kind"), [Some("client".into()), Some("unspecified".into())]);
    assert_eq!(texts(&batch, "status_code"), [Some("error".into()), Some("unset".into())]);
    assert_eq!(texts(&batch, "service"), [Some("s".into()), Some("s".into())]);
    let durations = batch.column_by_name("duration_ns").expect("a column").as_primitive::<Int64Type>();
    assert_eq!(durations.iter().collect::<Vec<_>>(), [Some(1_500), None]);
    let starts = batch.column_by_name("start").expect("a column").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(starts.value(0), 1_795_000_000_000_000);
    let maps = batch.column_by_name("attributes").expect("a column").as_map();
    assert_eq!((maps.value_length(0), maps.value_length(1)), (1, 0), "a key counts once");
    assert_eq!(maps.values().as_string::<i32>().value(0), "first");
    let resources = batch.column_by_name("resource").expect("a column").as_map();
    assert_eq!(resources.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["other", "other"]);
    let events = batch.column_by_name("events").expect("a column").as_list::<i32>();
    assert_eq!((events.value_length(0), events.value_length(1)), (2, 0));
}

/// A record is worth more than its severity, which is an open enumeration: of another number nobody knows that it is wrong.
#[test]
fn a_log_record_keeps_its_severity_whatever_it_is() {
    let severities = [json!(0), json!(9), json!(24), json!(25), json!(2_000_000_000), json!(-1)];
    let records: Vec<_> = severities.iter().map(|severity| json!({"severityNumber": severity})).collect();
    let asked = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
    let mut asked = otlp_json::logs_request(asked.as_bytes()).expect("valid JSON");
    // Beyond 32 bits only those count, as wherever protobuf is read.
    let overlong = [&[0x0a, 10, 0x12, 8, 0x12, 6, 0x10][..], &[0x80, 0x80, 0x80, 0x80, 0x10]].concat();
    asked.extend(overlong);
    let judged = judge(Signal::Logs, &asked, None).expect("a request");
    assert_eq!((judged.rows, &judged.rejections[..]), (7, &[][..]));
    let stored = columns(Signal::Logs, &asked, &judged);
    let stored = stored.column_by_name("severity_number").expect("a column of the schema").as_primitive::<Int32Type>();
    let kept: Vec<_> = stored.iter().collect();
    assert_eq!(kept, [None, Some(9), Some(24), Some(25), Some(2_000_000_000), Some(-1), None]);
}

#[test]
fn a_record_holds_its_request_and_damage_is_found() {
    let asked = request(&[(json!([]), vec![span("a"), with(span("b"), "spanId", json!("")), span("c")])]);
    let head = head(&judged(&asked));
    let mut packed = record::encode(&head, &asked).expect("memory takes it");
    record::set_received(&mut packed, 42);
    let (read, rest) = record::head(&packed).expect("what was written");
    assert_eq!(read, Head { received_unix_us: 42, ..head });
    assert_eq!(rest.unpack().expect("what was written"), asked);
    for cut in [0, 5, 20] {
        assert_eq!(record::head(&packed[..cut]).err(), Some(Unreadable::Damaged), "{cut}");
    }
    let (_, torn) = record::head(&packed[..packed.len() - 1]).expect("its head is whole");
    assert_eq!(torn.unpack(), Err(Unreadable::Damaged));
    packed[0] = 2;
    assert_eq!(record::head(&packed).err(), Some(Unreadable::UnknownVersion(2)));
}

#[test]
fn places_are_found_in_their_order() {
    let mut places = Places::default();
    for place in [1, 2, 5] {
        places.push(place);
    }
    let mut at = 0;
    let found: Vec<_> = (0..8).filter(|place| places.has(*place, &mut at)).collect();
    assert_eq!(found, [1, 2, 5]);
}

/// A journal of traces on a storage, beside one of points in memory.
fn open(storage: &Arc<MemoryStorage>) -> Arc<SignalJournal> {
    let points = IngestSettings {
        limits: Limits::default(),
        bind_node_id: true,
        recent_bytes_max: 1024,
        journal: JournalSettings { segment_bytes: SEGMENT_BYTES_MIN, ..JournalSettings::default() },
    };
    let points = Ingest::open(Arc::new(MemoryStorage::new()), points, Box::new(|| {})).expect("memory opens");
    let bytes_max = 4 * SEGMENT_BYTES_MIN;
    let settings = JournalSettings { segment_bytes: SEGMENT_BYTES_MIN, bytes_max, ..JournalSettings::default() };
    let storage = Arc::clone(storage) as Arc<dyn Storage>;
    SignalJournal::open(Signal::Traces, storage, settings, points, Box::new(|| {})).expect("memory opens")
}

fn take(journal: &SignalJournal, body: &[u8], now_unix_ns: i64) -> Result<SignalRequest, RequestFault> {
    let peer = Peer { identity: "agent".into(), node: "node-1".into(), relay: false };
    journal.take(false, Encoding::Identity, body, &peer, now_unix_ns)
}

fn stored(journal: &SignalJournal, name: &str, now_unix_ns: i64) {
    let mut taken = take(journal, &request(&[(json!([]), vec![span(name)])]), now_unix_ns).expect("a request");
    assert!(journal.drain(Duration::from_secs(10)));
    assert_eq!(journal.take_ready(), [taken.id()]);
    assert_eq!(taken.answer().expect("committed").accepted_points, 1);
}

#[test]
fn what_was_answered_is_read_from_where_the_cursor_was_stored() {
    let storage = Arc::new(MemoryStorage::new());
    let journal = open(&storage);
    let mut cursor = journal.cursor("traces").expect("a name");
    stored(&journal, "a", NOW_NS);
    stored(&journal, "b", NOW_NS + 1_000_000);
    stored(&journal, "next hour", NOW_NS + HOUR_NS);
    stored(&journal, "a clock that was set back", NOW_NS);
    assert_eq!(journal.lag_rows(&cursor.place()), 4);
    assert!(cursor.lag_secs() > 0.0 || NOW_NS > 0, "an age is told");
    let read = cursor.read(1_000).expect("memory reads").expect("committed");
    let named_in = |unit| named(&read.record_batch(unit).expect("columns fit together"));
    assert_eq!(named_in(TimestampUnit::Nanoseconds), ["a", "b"]);
    assert_eq!((read.requests(), read.rows, read.hour()), (2, 2, NOW_NS / HOUR_NS));
    cursor.store(read.end).expect("memory stores");
    assert_eq!(journal.lag_rows(&cursor.place()), 2);
    // Dropped without closing: what follows finds what was committed.
    drop((cursor, read, journal));
    let journal = open(&storage);
    assert_eq!((journal.recovered().records, journal.recovered().rows), (4, 4));
    let mut cursor = journal.cursor("traces").expect("a name");
    let read = cursor.read(1_000).expect("memory reads").expect("committed");
    let batch = read.record_batch(TimestampUnit::Microseconds).expect("columns fit together");
    assert_eq!(named(&batch), ["next hour", "a clock that was set back"]);
    assert_eq!(read.hour(), NOW_NS / HOUR_NS + 1);
    let measured = journal.measure(read.start, read.end).expect("memory reads");
    assert_eq!((measured.batches, measured.points), (2, 2));
    assert!(cursor.read(1_000).expect("memory reads").is_none());
}

#[test]
fn a_full_journal_puts_off_and_goes_on_when_there_is_room() {
    let storage = Arc::new(MemoryStorage::new());
    let journal = open(&storage);
    let mut cursor = journal.cursor("traces").expect("a name");
    let noise = |seed: u64| {
        let mut state = seed;
        let digit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from_digit((state >> 60) as u32, 16).expect("below 16")
        };
        std::iter::repeat_with(digit).take(32 * 1024).collect::<String>()
    };
    let mut taken = 0;
    for seed in 1..100 {
        let body = request(&[(json!([]), vec![with(span("n"), "attributes", attributes(&[("noise", &noise(seed))]))])]);
        let mut request = take(&journal, &body, NOW_NS).expect("a request");
        assert!(journal.drain(Duration::from_secs(10)));
        let answer = request.answer().expect("decided");
        if answer.retry_after_ms.is_some() {
            assert_eq!(
                (answer.accepted_points, journal.counters().retries_asked.load(std::sync::atomic::Ordering::Relaxed)),
                (0, 1)
            );
            break;
        }
        taken += 1;
    }
    assert!((4..99).contains(&taken), "{taken}");
    let mut read = 0;
    while let Some(blocks) = cursor.read(10).expect("memory reads") {
        read += blocks.rows;
        cursor.store(blocks.end).expect("memory stores");
    }
    assert_eq!(read, taken);
    journal.maintain().expect("memory takes a checkpoint");
    let mut again = take(&journal, &request(&[(json!([]), vec![span("again")])]), NOW_NS).expect("a request");
    assert!(journal.drain(Duration::from_secs(10)));
    assert_eq!(again.answer().map(|answer| answer.accepted_points), Some(1));
}

proptest! {
    /// No bytes bring it down, and what is taken makes exactly as many rows.
    #[test]
    fn any_bytes_are_refused_or_make_rows(bytes in prop::collection::vec(any::<u8>(), 0..200), nest in 0..4_usize) {
        let mut body = bytes;
        for _ in 0..nest {
            let mut outer = Vec::new();
            put_bytes(&mut outer, if nest == 1 { 1 } else { 2 }, &body);
            body = outer;
        }
        let mut request = Vec::new();
        put_bytes(&mut request, 1, &body);
        for signal in [Signal::Traces, Signal::Logs] {
            if let Ok(judged) = judge(signal, &request, Some("node-1")) {
                prop_assert_eq!(columns(signal, &request, &judged).num_rows() as u64, judged.rows);
            }
        }
    }

    /// The same for a request that is nearly right.
    #[test]
    fn a_request_with_bytes_changed_is_refused_or_makes_rows(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let event = json!({"name": "e", "attributes": attributes(&[("a", "b")])});
        let nested = json!([{"key": "k", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 1e300}]}}}]);
        let full = with(with(span("s"), "events", json!([event])), "attributes", nested);
        let mut asked = request(&[(attributes(&[("host.name", "node-1")]), vec![full.clone(), full])]);
        for (at, byte) in changes {
            let at = at.index(asked.len());
            asked[at] = byte;
        }
        for signal in [Signal::Traces, Signal::Logs] {
            if let Ok(judged) = judge(signal, &asked, Some("node-1")) {
                prop_assert_eq!(columns(signal, &asked, &judged).num_rows() as u64, judged.rows);
            }
        }
    }
}

/// A resource or scope that is refused is read all the same when its request's other rows are.
#[test]
fn bytes_that_are_no_request_refuse_it_whatever_is_wrong_before_them() {
    let attribute = |key: &[u8], field: u32, value: &[u8]| {
        let (mut any, mut attribute) = (Vec::new(), Vec::new());
        put_bytes(&mut any, field, value);
        put_bytes(&mut attribute, 1, key);
        put_bytes(&mut attribute, 2, &any);
        attribute
    };
    let not_text = attribute(b"a", 1, b"\xff");
    let broken_list = attribute(b"service.name", 5, b"\x0a\x05");
    for in_scope in [false, true] {
        let (mut surroundings, mut of_scope, mut of_resource, mut request) = Default::default();
        let field = if in_scope { 3 } else { 1 };
        put_bytes(&mut surroundings, field, &not_text);
        put_bytes(&mut surroundings, field, &broken_list);
        if in_scope {
            put_bytes(&mut surroundings, 1, b"\xff");
            put_bytes(&mut of_scope, 1, &surroundings);
        } else {
            put_bytes(&mut of_resource, 1, &surroundings);
        }
        put_bytes(&mut of_scope, 2, b"");
        put_bytes(&mut of_resource, 2, &of_scope);
        put_bytes(&mut request, 1, &of_resource);
        assert!(judge(Signal::Traces, &request, None).is_err(), "in scope: {in_scope}");
    }
}
