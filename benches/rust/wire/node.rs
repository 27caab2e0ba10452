//! What the agent read on a real machine in ten minutes: `benches/recordings`, made by `python -m benches.recording`.

use std::path::Path;

use serde_json::Value;
use telemetry_core::wire::{OutgoingBatch, OutgoingSeries, OutgoingTag};

use crate::Streams;

/// Readings that go in one batch: one is how the agent sends them, the others are what a backlog or a patient agent makes.
const READINGS: [usize; 4] = [1, 3, 6, 10];

/// One stream each: of the recording that choices were made by, and of another one that had no say in them.
pub(crate) fn data() -> Vec<(String, Streams)> {
    let (node, other) = (corpus("node"), corpus("node-later"));
    let of_node = READINGS.into_iter().map(|readings| streams("node", &node, readings));
    of_node.chain([streams("node later", &other, 1)]).collect()
}

fn corpus(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../benches/recordings/{name}.json"));
    let text = std::fs::read_to_string(path).expect("readable");
    serde_json::from_str(&text).expect("the corpus is JSON")
}

fn streams(name: &str, corpus: &Value, readings: usize) -> (String, Streams) {
    let batches = list(&corpus["readings"]).chunks(readings).map(|some| batch(corpus, some));
    (format!("{name}, {readings} readings a batch"), vec![batches.collect()])
}

fn batch(corpus: &Value, readings: &[Value]) -> OutgoingBatch {
    // Each has its name, tags, number of the type and unit.
    let series = list(&corpus["series"]).iter().map(|one| OutgoingSeries {
        name: text(&one[0]),
        tags: tags(&one[1]),
        metric_type: one[2].as_u64().expect("a number") as u32,
        unit: text(&one[3]),
        delta: false,
    });
    let of_all = |key| readings.iter().flat_map(move |one| list(&one[key]));
    let times = readings.iter().flat_map(|one| {
        let time = one["timestamp_unix_ns"].as_i64().expect("nanoseconds");
        std::iter::repeat_n(time, list(&one["values"]).len())
    });
    OutgoingBatch::new(
        tags(&corpus["common_tags"]),
        series.collect(),
        of_all("series").map(|place| place.as_u64().expect("a place") as u32).collect(),
        times.collect(),
        of_all("values").map(|value| value.as_f64().expect("a double")).collect(),
    )
    .expect("the columns are equal")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> Box<str> {
    value.as_str().expect("a text").into()
}

fn tags(value: &Value) -> Vec<OutgoingTag> {
    list(value).iter().map(|tag| (text(&tag[0]), text(&tag[1]))).collect()
}
