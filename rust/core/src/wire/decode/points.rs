//! Reads `PointColumns` messages, the columnar form.
//!
//! Two walks: the first counts the elements of each column, which costs next to nothing for packed fields, the second
//! decodes them into columns of the right size. So unequal columns are found before any memory is taken for them, and
//! every point that takes memory (20 bytes) has brought at least 9 of its own.

use super::columns::Columns;
use super::fault::Fault;
use crate::wire::proto::{FIXED64, LENGTH, Reader, VARINT, WireFault, key, unzigzag};

/// The timestamp of a point that has none: the time of its receipt.
///
/// No other point has it: a sum of base and deltas that comes to this is moved by one nanosecond, which leaves it in the
/// first moment of 1970, where it was.
pub const RECEIPT_TIME: i64 = 0;

const SERIES_IDS: u32 = key(1, VARINT);
const SERIES_IDS_PACKED: u32 = key(1, LENGTH);
const BASE_TIMESTAMP: u32 = key(2, FIXED64);
const TIMESTAMP_DELTAS: u32 = key(3, VARINT);
const TIMESTAMP_DELTAS_PACKED: u32 = key(3, LENGTH);
const VALUES: u32 = key(4, FIXED64);
const VALUES_PACKED: u32 = key(4, LENGTH);

/// Appends the points of one message to the columns.
pub(super) fn read(reader: Reader<'_>, columns: &mut Columns) -> Result<(), Fault> {
    let shape = measure(reader)?;
    let points = shape.series_ids;
    let timestamps = if shape.deltas == 0 { points } else { shape.deltas };
    if timestamps != points || shape.values != points {
        return Err(Fault::UnequalColumns { series_ids: points, timestamps, values: shape.values });
    }
    let base = i64::try_from(shape.base).map_err(|_| Fault::TimestampOutOfRange)?;
    columns.series_ids.reserve(points);
    columns.timestamps_unix_ns.reserve(points);
    columns.values.reserve(points);
    if shape.deltas == 0 {
        columns.timestamps_unix_ns.resize(columns.timestamps_unix_ns.len() + points, base);
    }
    fill(reader, base, columns)
}

/// What one message holds.
#[derive(Default)]
struct Shape {
    series_ids: usize,
    deltas: usize,
    values: usize,
    base: u64,
}

fn measure(mut reader: Reader<'_>) -> Result<Shape, WireFault> {
    let mut shape = Shape::default();
    while let Some(key) = reader.key()? {
        match key {
            SERIES_IDS_PACKED => shape.series_ids += packed_varints(reader.message()?.rest()),
            TIMESTAMP_DELTAS_PACKED => shape.deltas += packed_varints(reader.message()?.rest()),
            VALUES_PACKED => shape.values += reader.span()?.len as usize / 8,
            SERIES_IDS => {
                reader.varint()?;
                shape.series_ids += 1;
            }
            TIMESTAMP_DELTAS => {
                reader.varint()?;
                shape.deltas += 1;
            }
            VALUES => {
                reader.fixed64()?;
                shape.values += 1;
            }
            BASE_TIMESTAMP => shape.base = reader.fixed64()?,
            _ => reader.skip(key)?,
        }
    }
    Ok(shape)
}

/// Varints in a packed field: each ends with the one byte whose top bit is clear. What is wrong with them, filling finds.
fn packed_varints(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte < 0x80).count()
}

fn fill(mut reader: Reader<'_>, base: i64, columns: &mut Columns) -> Result<(), Fault> {
    let mut timestamp = base;
    while let Some(key) = reader.key()? {
        match key {
            SERIES_IDS_PACKED => {
                let mut packed = reader.message()?;
                while !packed.at_end() {
                    columns.series_ids.push(packed.varint()? as u32);
                }
            }
            TIMESTAMP_DELTAS_PACKED => {
                let mut packed = reader.message()?;
                while !packed.at_end() {
                    timestamp = advance(timestamp, packed.varint()?)?;
                    columns.timestamps_unix_ns.push(distinct(timestamp));
                }
            }
            VALUES_PACKED => {
                let bytes = reader.message()?.rest();
                let (values, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(WireFault::Truncated.into());
                }
                columns.values.extend(values.iter().map(|&bytes| f64::from_le_bytes(bytes)));
            }
            SERIES_IDS => columns.series_ids.push(reader.varint()? as u32),
            TIMESTAMP_DELTAS => {
                timestamp = advance(timestamp, reader.varint()?)?;
                columns.timestamps_unix_ns.push(distinct(timestamp));
            }
            VALUES => columns.values.push(reader.double()?),
            _ => reader.skip(key)?,
        }
    }
    Ok(())
}

#[inline]
fn advance(timestamp: i64, delta: u64) -> Result<i64, Fault> {
    timestamp.checked_add(unzigzag(delta)).ok_or(Fault::TimestampOutOfRange)
}

#[inline]
fn distinct(timestamp: i64) -> i64 {
    if timestamp == RECEIPT_TIME { RECEIPT_TIME + 1 } else { timestamp }
}
