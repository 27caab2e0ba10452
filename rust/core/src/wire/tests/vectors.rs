//! The published test vectors: bytes that another implementation wrote, and what they mean.

use std::path::Path;

use serde_json::{Value, json};

use super::references::Known;
use crate::limits::Limits;
use crate::wire::ack::{AckReader, BatchAck};
use crate::wire::decode::{DecodeScratch, DecodedBatch, RECEIPT_TIME, RowData, TagSpans, decode_with};
use crate::wire::frame::{FrameReader, PREFIX_BYTES};
use crate::wire::{BatchName, question};

fn vectors() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wire-vectors");
    let files = std::fs::read_dir(&directory).expect("the vectors are part of the documentation");
    let mut vectors = files
        .map(|file| file.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect::<Vec<_>>();
    vectors.sort_by(|left, right| left.0.cmp(&right.0));
    vectors
}

fn frame_of(text: &Value) -> Vec<u8> {
    let digits = text.as_str().expect("hexadecimal");
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).expect("UTF-8").into()
}

fn time(timestamp: i64) -> Value {
    if timestamp == RECEIPT_TIME { Value::Null } else { timestamp.to_string().into() }
}

fn strings(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

/// What was decoded, in the words of the vectors.
fn meaning(batch: &DecodedBatch<'_>) -> Value {
    let tags = |tags: &[TagSpans]| {
        tags.iter().map(|tag| json!([text(batch.text(tag.key)), text(batch.text(tag.value))])).collect::<Value>()
    };
    let metrics = batch.rows().iter().map(|row| {
        let mut metric = json!({
            "name": text(batch.text(row.name)), "tags": tags(batch.tags(row)), "type": row.metric_type,
            "unit": text(batch.text(row.unit)), "delta": row.delta, "timestamp_unix_ns": time(row.timestamp_unix_ns),
        });
        match row.data {
            RowData::None => {}
            RowData::Value(value) => metric["value"] = value.into(),
            RowData::Histogram(place) => {
                let it = batch.histogram(place);
                metric["histogram"] = json!({
                    "count": it.count.to_string(), "sum": it.sum, "min": it.min, "max": it.max,
                    "upper_bounds": it.upper_bounds, "bucket_counts": strings(it.bucket_counts),
                });
            }
            RowData::Summary(place) => {
                let it = batch.summary(place);
                let quantiles = it.quantiles.iter().map(|row| json!([row.quantile, row.value])).collect::<Value>();
                metric["summary"] = json!({ "count": it.count.to_string(), "sum": it.sum, "quantiles": quantiles });
            }
        }
        metric
    });
    let definitions = batch.definitions().map(|it| {
        let tags = it.tags.map(|(key, value)| json!([text(key), text(value)])).collect::<Value>();
        json!({
            "id": it.id, "name": text(it.name), "tags": tags, "type": it.metric_type, "unit": text(it.unit),
            "delta": it.delta,
        })
    });
    let points = batch.series_ids().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
    let points = points.map(
        |((id, &timestamp), value)| json!({ "series_id": id, "timestamp_unix_ns": time(timestamp), "value": value }),
    );
    let tasks = batch.running_tasks().iter().map(|task| {
        json!({
            "task_id": text(batch.text(task.task_id)), "name": text(batch.text(task.name)),
            "status": text(batch.text(task.status)), "started_unix_ns": task.started_unix_ns.to_string(),
        })
    });
    let tasks = tasks.collect::<Value>();
    let heartbeat = batch.heartbeat().map(|it| {
        json!({
            "worker_id": text(batch.text(it.worker_id)), "cpu_usage": it.cpu_usage, "memory_usage": it.memory_usage,
            "gpu_usage": it.gpu_usage, "timestamp_unix_ns": time(it.timestamp_unix_ns), "running_tasks": tasks,
        })
    });
    json!({
        "sequence": batch.sequence.to_string(), "epoch": batch.epoch.to_string(),
        "oldest_unacknowledged": batch.oldest_unacknowledged.to_string(), "common_tags": tags(batch.common_tags()),
        "metrics": metrics.collect::<Value>(), "definitions": definitions.collect::<Value>(),
        "points": points.collect::<Value>(), "heartbeat": heartbeat,
    })
}

fn check_batch(name: &str, vector: &Value) {
    let bytes = frame_of(&vector["frame"]);
    let limits = Limits::default();
    let mut known = Known::default();
    for before in vector["before"].as_array().into_iter().flatten() {
        known.read(&frame_of(before)[PREFIX_BYTES..], |_| ()).expect(name);
    }
    let mut reader = FrameReader::new(limits.frame_bytes_max);
    let mut input = &bytes[..];
    let frame = reader.next(&mut input).expect("within the limit").expect("whole");
    let mut scratch = DecodeScratch::default();
    match decode_with(&known, frame, &limits, &mut scratch) {
        Ok(batch) if batch.withdraw => {
            let DecodedBatch { sequence, epoch, oldest_unacknowledged, .. } = batch;
            let read = json!({
                "sequence": sequence.to_string(), "epoch": epoch.to_string(),
                "oldest_unacknowledged": oldest_unacknowledged.to_string(),
            });
            assert_eq!(read, vector["withdraw"], "{name}");
            let mut written = Vec::new();
            question(BatchName { sequence, epoch, oldest_unacknowledged }, &mut written).expect("a name");
            assert_eq!(written, bytes, "{name}: and it is written so");
        }
        Ok(batch) => assert_eq!(meaning(&batch), vector["batch"], "{name}"),
        Err(malformed) => {
            assert_eq!(vector["malformed"]["sequence"], malformed.sequence.to_string(), "{name}: {malformed}");
        }
    }
    assert!(input.is_empty(), "{name}: one frame");
}

fn check_ack(name: &str, vector: &Value) {
    let bytes = frame_of(&vector["frame"]);
    let acks = AckReader::default().feed(&bytes).expect(name);
    let [ack] = &acks[..] else { panic!("{name}: one answer") };
    let BatchAck { sequence, outcome, accepted_points, rejected_points, rejections, credit, retry_after_ms } = ack;
    let rejections = rejections
        .iter()
        .map(|it| json!({ "reason": it.reason.number(), "points": it.points, "example": it.example }))
        .collect::<Value>();
    let read = json!({
        "sequence": sequence.to_string(), "outcome": outcome.number(), "accepted_points": accepted_points,
        "rejected_points": rejected_points, "rejections": rejections, "credit": credit,
        "retry_after_ms": retry_after_ms,
    });
    assert_eq!(read, vector["ack"], "{name}");
    let mut written = Vec::new();
    ack.write_frame(&mut written);
    assert_eq!(written, bytes, "{name}: and it is written so");
}

#[test]
fn the_published_vectors_mean_what_they_say() {
    let vectors = vectors();
    assert!(vectors.len() >= 30, "found {} vectors", vectors.len());
    for (name, vector) in &vectors {
        match vector["sender"].as_str() {
            Some("agent") => {
                let kinds = ["batch", "malformed", "withdraw"].iter().filter(|kind| !vector[**kind].is_null());
                assert_eq!(kinds.count(), 1, "{name} is one of them");
                check_batch(name, vector);
            }
            Some("collector") => check_ack(name, vector),
            sender => panic!("{name}: sender is {sender:?}"),
        }
    }
}
