//! A series together with what is stored beside each of its points: type, unit and temporality.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::key::{KeyRef, SeriesKey};
use super::standing::Standing;
use super::{text, varint};

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
    /// UCUM unit, possibly empty. There are few, so series share them.
    pub unit: Arc<str>,
    /// The value is the change since the previous point rather than a total.
    pub delta: bool,
    /// What the registry notes of the series.
    pub(super) standing: Standing,
}

/// A descriptor that has been decoded and judged, not yet copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorRef<'a> {
    /// Name and effective tags.
    pub key: KeyRef<'a>,
    /// What is stored beside each point.
    pub meta: Meta<'a>,
}

/// What is stored beside each point of a series and is no part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// Kind of the metric.
    pub metric_type: MetricType,
    /// UCUM unit, possibly empty; at most [`crate::limits::UNIT_BYTES_MAX`] bytes.
    pub unit: &'a str,
    /// The value is the change since the previous point rather than a total.
    pub delta: bool,
}

/// Set in the byte of a type when values are deltas.
const DELTA_BIT: u8 = 0x80;

impl Descriptor {
    /// A descriptor that no registry has.
    #[must_use]
    pub fn new(key: SeriesKey, metric_type: MetricType, unit: Arc<str>, delta: bool) -> Self {
        Self { key, metric_type, unit, delta, standing: Standing::default() }
    }

    /// A number that the process gives to no other descriptor, counted up from 1 as series become active or change their
    /// type or unit; `None` for a descriptor that no registry has, as in a block that was read from disk.
    #[must_use]
    pub fn number(&self) -> Option<NonZeroU64> {
        self.standing.number()
    }

    /// The series is active, and this is its type and unit seen last.
    #[must_use]
    #[inline]
    pub fn is_current(&self) -> bool {
        self.standing.is_current()
    }

    /// What is stored beside each point.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta { metric_type: self.metric_type, unit: &self.unit, delta: self.delta }
    }

    /// The same, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> DescriptorRef<'_> {
        DescriptorRef { key: self.key.borrowed(), meta: self.meta() }
    }

    /// Appends `varint(len) key, type with the delta bit, varint(len) unit`: its form in journal and checkpoint.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint::write(out, self.key.as_bytes().len() as u64);
        out.extend_from_slice(self.key.as_bytes());
        out.push(self.metric_type as u8 | if self.delta { DELTA_BIT } else { 0 });
        varint::write(out, self.unit.len() as u64);
        out.extend_from_slice(self.unit.as_bytes());
    }
}

impl<'a> DescriptorRef<'a> {
    /// Splits off what [`Descriptor::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &mut &'a [u8]) -> Option<Self> {
        let key = KeyRef::from_canonical(varint::read_bytes(bytes)?).ok()?;
        let kind = *varint::take(bytes, 1)?.first()?;
        let unit = text::check_unit(varint::read_bytes(bytes)?).ok()?;
        let metric_type = MetricType::from_wire(u64::from(kind & !DELTA_BIT))?;
        Some(Self { key, meta: Meta { metric_type, unit, delta: kind & DELTA_BIT != 0 } })
    }

    /// A copy that lives on, with a unit that may be shared.
    pub(crate) fn to_descriptor(self, unit: Arc<str>) -> Descriptor {
        let Meta { metric_type, delta, .. } = self.meta;
        Descriptor::new(self.key.to_key(), metric_type, unit, delta)
    }
}
