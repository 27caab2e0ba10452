//! What the sender's half writes, the collector's half reads.

use std::collections::HashMap;

use proptest::prelude::*;

use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, DecodedBatch, RowData, decode};
use crate::wire::encode::{
    BatchName, Compression, EncodeError, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingHeartbeat,
    OutgoingSeries, OutgoingTag, OutgoingTask,
};
use crate::wire::frame::FrameReader;

/// A point with everything that names it, as the collector would see it.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    name: String,
    tags: Vec<(String, String)>,
    metric_type: u32,
    unit: String,
    delta: bool,
    timestamp: i64,
    value_bits: u64,
}

type Definitions = HashMap<u32, (String, Vec<(String, String)>, u32, String, bool)>;

fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).expect("the sender writes UTF-8").to_owned()
}

/// Reads a batch as a stream would that remembers `definitions`.
fn points_of(batch: &DecodedBatch<'_>, definitions: &mut Definitions) -> Vec<Point> {
    for definition in batch.definitions() {
        let tags = definition.tags.map(|(key, value)| (text(key), text(value))).collect();
        let whole = (text(definition.name), tags, definition.metric_type, text(definition.unit), definition.delta);
        assert!(definitions.insert(definition.id, whole).is_none(), "each series is defined once");
    }
    let tags_of = |tags: &[crate::wire::decode::TagSpans]| {
        tags.iter().map(|tag| (text(batch.text(tag.key)), text(batch.text(tag.value)))).collect::<Vec<_>>()
    };
    let common = tags_of(batch.common_tags());
    let rows = batch.rows().iter().map(|row| {
        let RowData::Value(value) = row.data else { panic!("only plain values are sent") };
        Point {
            name: text(batch.text(row.name)),
            tags: effective(tags_of(batch.tags(row)), &common),
            metric_type: row.metric_type,
            unit: text(batch.text(row.unit)),
            delta: row.delta,
            timestamp: row.timestamp_unix_ns,
            value_bits: value.to_bits(),
        }
    });
    let columns = batch.series_ids().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
    let columns = columns.map(|((id, &timestamp), value)| {
        let (name, tags, metric_type, unit, delta) = definitions[id].clone();
        let tags = effective(tags, &common);
        Point { name, tags, metric_type, unit, delta, timestamp, value_bits: value.to_bits() }
    });
    rows.chain(columns).collect()
}

/// A series' own tags, and those common ones whose keys are none of them.
fn effective(own: Vec<(String, String)>, common: &[(String, String)]) -> Vec<(String, String)> {
    let taken: Vec<_> = common.iter().filter(|(key, _)| own.iter().all(|(own, _)| own != key)).cloned().collect();
    [own, taken].concat()
}

fn sent_points(batch: &OutgoingBatch) -> Vec<Point> {
    let pairs = |tags: &[OutgoingTag]| tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let common: Vec<_> = pairs(batch.common_tags());
    let columns = batch.series_index().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
    let points = columns.map(|((&index, &timestamp), value)| {
        let series = &batch.series()[index as usize];
        Point {
            name: series.name.to_string(),
            tags: effective(pairs(&series.tags), &common),
            metric_type: series.metric_type,
            unit: series.unit.to_string(),
            delta: series.delta,
            timestamp,
            value_bits: value.to_bits(),
        }
    });
    points.collect()
}

fn tags() -> impl Strategy<Value = Vec<OutgoingTag>> {
    prop::collection::vec(("[a-z]{0,12}", "\\PC{0,200}"), 0..4)
        .prop_map(|tags| tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

fn series() -> impl Strategy<Value = OutgoingSeries> {
    ("[a-z.é]{0,20}", tags(), prop::sample::select(vec![0, 1, 2, 5]), "[a-zA-Z]{0,3}", any::<bool>()).prop_map(
        |(name, tags, metric_type, unit, delta)| OutgoingSeries {
            name: name.into(),
            tags,
            metric_type,
            unit: unit.into(),
            delta,
        },
    )
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(i64::MAX),
        0..i64::MAX,
        Just(1_790_000_000_000_000_000),
        1_790_000_000_000_000_000_i64..1_790_000_100_000_000_000
    ]
}

fn batch() -> impl Strategy<Value = OutgoingBatch> {
    (
        tags(),
        prop::collection::vec(series(), 1..6),
        prop::collection::vec((any::<u32>(), timestamp(), any::<u64>()), 0..40),
    )
        .prop_map(|(common_tags, series, points)| {
            let index = points.iter().map(|(index, ..)| index % series.len() as u32).collect();
            let timestamps = points.iter().map(|&(_, timestamp, _)| timestamp).collect();
            let values = points.iter().map(|&(.., bits)| f64::from_bits(bits)).collect();
            OutgoingBatch::new(common_tags, series, index, timestamps, values).expect("consistent")
        })
}

fn settings() -> impl Strategy<Value = EncoderSettings> {
    let forms = prop::sample::select(vec![Form::Dense, Form::Columnar, Form::Row]);
    let compressions = prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Zstd]);
    (forms, compressions).prop_map(|(form, compression)| EncoderSettings {
        form,
        compression,
        ..EncoderSettings::default()
    })
}

proptest! {
    #[test]
    fn a_streams_batches_arrive_as_they_were_sent(
        settings in settings(),
        batches in prop::collection::vec(batch(), 1..4),
        epoch: u64,
    ) {
        let mut encoder = FrameEncoder::new(settings).expect("memory");
        let mut stream = Vec::new();
        for (place, batch) in batches.iter().enumerate() {
            let name = BatchName { sequence: place as u64 + 1, epoch, oldest_unacknowledged: 1 };
            encoder.frame(Some(batch), name, None, &mut stream).expect("small");
        }
        let (mut scratch, mut definitions) = (DecodeScratch::default(), Definitions::new());
        let limits = Limits::default();
        let mut reader = FrameReader::new(limits.frame_bytes_max);
        let mut input = &stream[..];
        for (place, batch) in batches.iter().enumerate() {
            let frame = reader.next(&mut input).expect("within the limit").expect("whole");
            let decoded = decode(frame, &limits, &mut scratch).expect("sound");
            prop_assert_eq!((decoded.sequence, decoded.epoch, decoded.oldest_unacknowledged), (place as u64 + 1, epoch, 1));
            prop_assert_eq!(decoded.points, batch.len());
            prop_assert_eq!(points_of(&decoded, &mut definitions), sent_points(batch));
        }
        prop_assert_eq!(definitions.len(), encoder.definitions());
    }

    #[test]
    fn halves_hold_the_points_of_the_whole(batch in batch()) {
        match batch.split() {
            Ok((first, second)) => {
                prop_assert!(first.len().abs_diff(second.len()) <= 1);
                prop_assert_eq!([sent_points(&first), sent_points(&second)].concat(), sent_points(&batch));
            }
            Err(error) => {
                prop_assert!(batch.len() < 2);
                prop_assert_eq!(error, EncodeError::NotDivisible { points: batch.len() });
            }
        }
    }
}

#[test]
fn a_heartbeat_arrives_as_it_was_sent() {
    let task = |id: &str| OutgoingTask {
        task_id: id.into(),
        name: "train".into(),
        status: "running".into(),
        started_unix_ns: 17,
    };
    let sent = OutgoingHeartbeat {
        worker_id: "w1".into(),
        cpu_usage: 0.25,
        memory_usage: 0.0,
        gpu_usage: -1.0,
        timestamp_unix_ns: 1_790_000_000_000_000_000,
        running_tasks: vec![task("a"), task("b")],
    };
    let mut frame = Vec::new();
    let mut encoder = FrameEncoder::new(EncoderSettings::default()).expect("memory");
    encoder.frame(None, BatchName::default(), Some(&sent), &mut frame).expect("small");
    let mut scratch = DecodeScratch::default();
    let batch = decode(&frame[4..], &Limits::default(), &mut scratch).expect("sound");
    let heartbeat = batch.heartbeat().expect("sent");
    assert_eq!(batch.text(heartbeat.worker_id), b"w1");
    assert_eq!((heartbeat.cpu_usage, heartbeat.memory_usage, heartbeat.gpu_usage), (0.25, 0.0, -1.0));
    assert_eq!(heartbeat.timestamp_unix_ns, sent.timestamp_unix_ns);
    let tasks = batch.running_tasks().iter();
    let tasks = tasks.map(|task| (batch.text(task.task_id), batch.text(task.status), task.started_unix_ns));
    assert_eq!(tasks.collect::<Vec<_>>(), [(&b"a"[..], &b"running"[..], 17), (b"b", b"running", 17)]);
    assert_eq!(batch.points, 0);
}
