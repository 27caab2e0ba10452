//! The columns' names and types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::columns::TimestampUnit;
use crate::signals::Signal;
use crate::translate::otlp::STANDARD_TAGS;

/// Of the columns and their meaning; in the schema's metadata as `telemetry.schema_version`.
const SCHEMA_VERSION: &str = "1";
pub(super) const TIME_ZONE: &str = "UTC";

/// The schema of a signal's record batches with this resolution.
#[must_use]
pub fn schema(signal: Signal, unit: TimestampUnit) -> SchemaRef {
    let mut fields = vec![Field::new("received", time(unit), false)];
    fields.extend(match signal {
        Signal::Traces => spans(unit),
        Signal::Logs => logs(unit),
    });
    fields.extend(STANDARD_TAGS.map(|(_, tag)| Field::new(String::from_utf8_lossy(tag), DataType::Utf8, true)));
    fields.extend([
        Field::new("scope_name", DataType::Utf8, true),
        Field::new("scope_version", DataType::Utf8, true),
        Field::new("scope_attributes", map(), false),
        Field::new("resource", map(), false),
        Field::new("identity", DataType::Utf8, false),
    ]);
    let metadata = HashMap::from([
        ("telemetry.schema_version".to_owned(), SCHEMA_VERSION.to_owned()),
        ("telemetry.dataset".to_owned(), signal.as_str().to_owned()),
    ]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn spans(unit: TimestampUnit) -> Vec<Field> {
    vec![
        Field::new("trace_id", DataType::Utf8, false),
        Field::new("span_id", DataType::Utf8, false),
        Field::new("parent_span_id", DataType::Utf8, true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("start", time(unit), false),
        Field::new("duration_ns", DataType::Int64, true),
        Field::new("status_code", DataType::Utf8, false),
        Field::new("status_message", DataType::Utf8, true),
        Field::new("attributes", map(), false),
        Field::new("events", list(event_fields(unit)), false),
        Field::new("links", list(link_fields()), false),
        Field::new("flags", DataType::Int64, false),
        Field::new("attributes_dropped", DataType::Int64, false),
        Field::new("events_dropped", DataType::Int64, false),
        Field::new("links_dropped", DataType::Int64, false),
    ]
}

fn logs(unit: TimestampUnit) -> Vec<Field> {
    vec![
        Field::new("timestamp", time(unit), false),
        Field::new("observed", time(unit), true),
        Field::new("severity_number", DataType::Int32, true),
        Field::new("severity_text", DataType::Utf8, true),
        Field::new("body", DataType::Utf8, true),
        Field::new("event_name", DataType::Utf8, true),
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("attributes", map(), false),
        Field::new("flags", DataType::Int64, false),
        Field::new("attributes_dropped", DataType::Int64, false),
    ]
}

pub(super) fn event_fields(unit: TimestampUnit) -> Fields {
    Fields::from(vec![
        Field::new("time", time(unit), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("attributes", map(), true),
        Field::new("attributes_dropped", DataType::Int64, true),
    ])
}

pub(super) fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("attributes", map(), true),
        Field::new("attributes_dropped", DataType::Int64, true),
        Field::new("flags", DataType::Int64, true),
    ])
}

fn time(unit: TimestampUnit) -> DataType {
    let unit = match unit {
        TimestampUnit::Microseconds => TimeUnit::Microsecond,
        TimestampUnit::Nanoseconds => TimeUnit::Nanosecond,
    };
    DataType::Timestamp(unit, Some(TIME_ZONE.into()))
}

/// The name that Parquet requires of a list's elements, so that files read back have the schema they were written with.
pub(super) fn element(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields), true))
}

fn list(fields: Fields) -> DataType {
    DataType::List(element(fields))
}

fn map() -> DataType {
    DataType::Map(entries(), false)
}

pub(super) fn entries() -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(entry_fields()), false))
}

pub(super) fn entry_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}
