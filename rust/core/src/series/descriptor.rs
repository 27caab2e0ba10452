//! A series together with what is stored beside each of its points: type, unit and temporality.

use super::SeriesKey;

/// The five kinds of metric, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MetricType {
    /// A monotonic total.
    Counter = 1,
    /// A value at a point in time.
    Gauge = 2,
    /// A distribution in explicit buckets.
    Histogram = 3,
    /// A distribution as quantiles.
    Summary = 4,
    /// Events per second.
    Meter = 5,
}

impl MetricType {
    /// The type with this number on the wire; 0 (unspecified) and unknown numbers have none.
    #[must_use]
    pub fn from_wire(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Counter,
            2 => Self::Gauge,
            3 => Self::Histogram,
            4 => Self::Summary,
            5 => Self::Meter,
            _ => return None,
        })
    }

    /// The name that readers of the dataset see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Meter => "meter",
        }
    }
}

/// Shared by every point that it describes: a block holds one `Arc` a series, never one a point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Name and effective tags.
    pub key: SeriesKey,
    /// Kind of the metric.
    pub metric_type: MetricType,
    /// UCUM unit, possibly empty.
    pub unit: Box<str>,
    /// The value is the change since the previous point rather than a total.
    pub delta: bool,
}
