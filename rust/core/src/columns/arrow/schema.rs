//! The columns' names and types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::{STANDARD_TAGS, TimestampUnit};

/// Of the columns and their meaning; in the schema's metadata as `telemetry.schema_version`.
pub const SCHEMA_VERSION: &str = "1";
pub(super) const TIME_ZONE: &str = "UTC";

/// The schema of every record batch with this resolution.
#[must_use]
pub fn schema(unit: TimestampUnit) -> SchemaRef {
    let unit = match unit {
        TimestampUnit::Microseconds => TimeUnit::Microsecond,
        TimestampUnit::Nanoseconds => TimeUnit::Nanosecond,
    };
    let time = DataType::Timestamp(unit, Some(TIME_ZONE.into()));
    let mut fields = vec![
        Field::new("timestamp", time.clone(), false),
        Field::new("received", time, false),
        Field::new("name", text_codes(), false),
        Field::new("type", text_codes(), false),
        Field::new("unit", text_codes(), false),
        Field::new("value", DataType::Float64, true),
        Field::new("delta", DataType::Boolean, false),
    ];
    fields.extend(STANDARD_TAGS.map(|tag| Field::new(tag, text_codes(), true)));
    fields.extend([
        Field::new("tags", DataType::Map(tag_entries(), false), false),
        Field::new("histogram", DataType::Struct(histogram_fields()), true),
        Field::new("summary", DataType::Struct(summary_fields()), true),
        Field::new("identity", text_codes(), false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("sequence", DataType::Int64, false),
    ]);
    let metadata = HashMap::from([("telemetry.schema_version".to_owned(), SCHEMA_VERSION.to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn text_codes() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

pub(super) fn tag_entries() -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(tag_fields()), false))
}

pub(super) fn tag_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}

pub(super) fn histogram_fields() -> Fields {
    Fields::from(vec![
        Field::new("count", DataType::Int64, true),
        Field::new("sum", DataType::Float64, true),
        Field::new("min", DataType::Float64, true),
        Field::new("max", DataType::Float64, true),
        Field::new("bounds", DataType::List(item(DataType::Float64)), true),
        Field::new("counts", DataType::List(item(DataType::Int64)), true),
    ])
}

pub(super) fn summary_fields() -> Fields {
    Fields::from(vec![
        Field::new("count", DataType::Int64, true),
        Field::new("sum", DataType::Float64, true),
        Field::new("quantiles", DataType::List(item(DataType::Float64)), true),
        Field::new("values", DataType::List(item(DataType::Float64)), true),
    ])
}

/// The name that Parquet requires of a list's elements, so that files read back have the schema they were written with.
pub(super) fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", data_type, true))
}
