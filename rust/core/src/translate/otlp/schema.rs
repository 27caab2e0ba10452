//! The messages of OTLP that JSON may bring, by their names there and their numbers in protobuf.

/// A message's fields.
pub(super) type Message = &'static [Field];

/// One field: its name in JSON, its number, what it holds, and whether it is a list.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) holds: Holds,
    pub(super) repeated: bool,
}

/// What a field holds, by how JSON writes it and how protobuf does.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    Text,
    /// In base64.
    Bytes,
    /// Bytes in hexadecimal digits.
    Hex,
    Bool,
    /// `int64`, `uint64` and `uint32`.
    Varint,
    /// By its names, each in the place of its number.
    Enum(&'static [&'static str]),
    /// `sint32`.
    Zigzag,
    /// `fixed32`.
    Fixed32,
    /// `fixed64` and `sfixed64`.
    Fixed64,
    Double,
    Message(fn() -> Message),
}

const fn one(name: &'static str, number: u32, holds: Holds) -> Field {
    Field { name, number, holds, repeated: false }
}

const fn many(name: &'static str, number: u32, holds: Holds) -> Field {
    Field { name, number, holds, repeated: true }
}

use Holds::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Hex, Message as Of, Text, Varint, Zigzag};

pub(super) const EXPORT_METRICS: Message = &[many("resourceMetrics", 1, Of(|| RESOURCE_METRICS))];

const RESOURCE_METRICS: Message =
    &[one("resource", 1, Of(|| RESOURCE)), many("scopeMetrics", 2, Of(|| SCOPE_METRICS)), one("schemaUrl", 3, Text)];
const SCOPE_METRICS: Message =
    &[one("scope", 1, Of(|| SCOPE)), many("metrics", 2, Of(|| METRIC)), one("schemaUrl", 3, Text)];
const METRIC: Message = &[
    one("name", 1, Text),
    one("description", 2, Text),
    one("unit", 3, Text),
    one("gauge", 5, Of(|| GAUGE)),
    one("sum", 7, Of(|| SUM)),
    one("histogram", 9, Of(|| HISTOGRAM)),
    one("exponentialHistogram", 10, Of(|| EXPONENTIAL_HISTOGRAM)),
    one("summary", 11, Of(|| SUMMARY)),
];
const GAUGE: Message = &[many("dataPoints", 1, Of(|| NUMBER_POINT))];
const SUM: Message = &[
    many("dataPoints", 1, Of(|| NUMBER_POINT)),
    one("aggregationTemporality", 2, Enum(TEMPORALITIES)),
    one("isMonotonic", 3, Bool),
];
const HISTOGRAM: Message =
    &[many("dataPoints", 1, Of(|| HISTOGRAM_POINT)), one("aggregationTemporality", 2, Enum(TEMPORALITIES))];
const EXPONENTIAL_HISTOGRAM: Message =
    &[many("dataPoints", 1, Of(|| EXPONENTIAL_POINT)), one("aggregationTemporality", 2, Enum(TEMPORALITIES))];
const SUMMARY: Message = &[many("dataPoints", 1, Of(|| SUMMARY_POINT))];
const NUMBER_POINT: Message = &[
    many("attributes", 7, Of(|| KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("asDouble", 4, Double),
    one("asInt", 6, Fixed64),
    many("exemplars", 5, Of(|| EXEMPLAR)),
    one("flags", 8, Varint),
];
const HISTOGRAM_POINT: Message = &[
    many("attributes", 9, Of(|| KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("bucketCounts", 6, Fixed64),
    many("explicitBounds", 7, Double),
    many("exemplars", 8, Of(|| EXEMPLAR)),
    one("flags", 10, Varint),
    one("min", 11, Double),
    one("max", 12, Double),
];
const EXPONENTIAL_POINT: Message = &[
    many("attributes", 1, Of(|| KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    one("scale", 6, Zigzag),
    one("zeroCount", 7, Fixed64),
    one("positive", 8, Of(|| BUCKETS)),
    one("negative", 9, Of(|| BUCKETS)),
    one("flags", 10, Varint),
    many("exemplars", 11, Of(|| EXEMPLAR)),
    one("min", 12, Double),
    one("max", 13, Double),
    one("zeroThreshold", 14, Double),
];
const BUCKETS: Message = &[one("offset", 1, Zigzag), many("bucketCounts", 2, Varint)];
const SUMMARY_POINT: Message = &[
    many("attributes", 7, Of(|| KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("quantileValues", 6, Of(|| QUANTILE)),
    one("flags", 8, Varint),
];
const QUANTILE: Message = &[one("quantile", 1, Double), one("value", 2, Double)];
/// Exemplars are only counted.
const EXEMPLAR: Message = &[];

pub(super) const EXPORT_TRACES: Message = &[many("resourceSpans", 1, Of(|| RESOURCE_SPANS))];

const RESOURCE_SPANS: Message =
    &[one("resource", 1, Of(|| RESOURCE)), many("scopeSpans", 2, Of(|| SCOPE_SPANS)), one("schemaUrl", 3, Text)];
const SCOPE_SPANS: Message = &[one("scope", 1, Of(|| SCOPE)), many("spans", 2, Of(|| SPAN)), one("schemaUrl", 3, Text)];
const SPAN: Message = &[
    one("traceId", 1, Hex),
    one("spanId", 2, Hex),
    one("traceState", 3, Text),
    one("parentSpanId", 4, Hex),
    one("name", 5, Text),
    one("kind", 6, Enum(SPAN_KINDS)),
    one("startTimeUnixNano", 7, Fixed64),
    one("endTimeUnixNano", 8, Fixed64),
    many("attributes", 9, Of(|| KEY_VALUE)),
    one("droppedAttributesCount", 10, Varint),
    many("events", 11, Of(|| EVENT)),
    one("droppedEventsCount", 12, Varint),
    many("links", 13, Of(|| LINK)),
    one("droppedLinksCount", 14, Varint),
    one("status", 15, Of(|| STATUS)),
    one("flags", 16, Fixed32),
];
const EVENT: Message = &[
    one("timeUnixNano", 1, Fixed64),
    one("name", 2, Text),
    many("attributes", 3, Of(|| KEY_VALUE)),
    one("droppedAttributesCount", 4, Varint),
];
const LINK: Message = &[
    one("traceId", 1, Hex),
    one("spanId", 2, Hex),
    one("traceState", 3, Text),
    many("attributes", 4, Of(|| KEY_VALUE)),
    one("droppedAttributesCount", 5, Varint),
    one("flags", 6, Fixed32),
];
const STATUS: Message = &[one("message", 2, Text), one("code", 3, Enum(STATUS_CODES))];

pub(super) const EXPORT_LOGS: Message = &[many("resourceLogs", 1, Of(|| RESOURCE_LOGS))];

const RESOURCE_LOGS: Message =
    &[one("resource", 1, Of(|| RESOURCE)), many("scopeLogs", 2, Of(|| SCOPE_LOGS)), one("schemaUrl", 3, Text)];
const SCOPE_LOGS: Message =
    &[one("scope", 1, Of(|| SCOPE)), many("logRecords", 2, Of(|| LOG_RECORD)), one("schemaUrl", 3, Text)];
const LOG_RECORD: Message = &[
    one("timeUnixNano", 1, Fixed64),
    one("severityNumber", 2, Enum(SEVERITIES)),
    one("severityText", 3, Text),
    one("body", 5, Of(|| ANY_VALUE)),
    many("attributes", 6, Of(|| KEY_VALUE)),
    one("droppedAttributesCount", 7, Varint),
    one("flags", 8, Fixed32),
    one("traceId", 9, Hex),
    one("spanId", 10, Hex),
    one("observedTimeUnixNano", 11, Fixed64),
    one("eventName", 12, Text),
];

const RESOURCE: Message = &[many("attributes", 1, Of(|| KEY_VALUE))];
const SCOPE: Message = &[one("name", 1, Text), one("version", 2, Text), many("attributes", 3, Of(|| KEY_VALUE))];
const KEY_VALUE: Message = &[one("key", 1, Text), one("value", 2, Of(|| ANY_VALUE))];
const ANY_VALUE: Message = &[
    one("stringValue", 1, Text),
    one("boolValue", 2, Bool),
    one("intValue", 3, Varint),
    one("doubleValue", 4, Double),
    one("arrayValue", 5, Of(|| ARRAY)),
    one("kvlistValue", 6, Of(|| KEY_VALUE_LIST)),
    one("bytesValue", 7, Bytes),
];
const ARRAY: Message = &[many("values", 1, Of(|| ANY_VALUE))];
const KEY_VALUE_LIST: Message = &[many("values", 1, Of(|| KEY_VALUE))];

const TEMPORALITIES: &[&str] =
    &["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const SEVERITIES: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];
