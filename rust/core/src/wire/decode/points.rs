//! Reads `PointColumns` messages, the columnar form, of which the plain columns are here.
//!
//! Two walks: the first counts the elements of each column, which costs next to nothing for packed fields, the second
//! decodes them into columns of the right size. So unequal columns are found before any memory is taken for them, and
//! every point that takes memory (20 bytes) has brought at least 9 of its own.

use super::columns::{Columns, RECEIPT_TIME};
use super::dense::Dense;
use super::fault::Fault;
use super::references::References;
use crate::wire::proto::{FIXED64, LENGTH, Reader, VARINT, WireFault, key, unzigzag};

const SERIES_IDS: u32 = key(1, VARINT);
const SERIES_IDS_PACKED: u32 = key(1, LENGTH);
const BASE_TIMESTAMP: u32 = key(2, FIXED64);
const TIMESTAMP_DELTAS: u32 = key(3, VARINT);
const TIMESTAMP_DELTAS_PACKED: u32 = key(3, LENGTH);
const VALUES: u32 = key(4, FIXED64);
const VALUES_PACKED: u32 = key(4, LENGTH);
const DENSE_POINTS: u32 = key(5, VARINT);
const SERIES_RUNS: u32 = key(6, LENGTH);
const TIME_RUNS: u32 = key(7, LENGTH);
const VALUE_HEADS: u32 = key(8, LENGTH);
const VALUE_BITS: u32 = key(9, LENGTH);
const REFERENCES: u32 = key(10, VARINT);

/// Appends the points of one message to the columns. Those of dense columns are only counted when the batch has more than
/// `points_max` with them.
pub(super) fn read(
    reader: Reader<'_>,
    columns: &mut Columns,
    points_max: usize,
    references: &dyn References,
) -> Result<(), Fault> {
    let shape = measure(reader)?;
    let points = shape.series_ids;
    if shape.dense.is_present() {
        if (points, shape.deltas, shape.values, shape.base, shape.surplus_bytes) != (1, 0, 0, 0, 0) {
            return Err(Fault::DenseBesidePlain);
        }
        return shape.dense.read(reader.body(), columns, points_max, references);
    }
    let timestamps = if shape.deltas == 0 { points } else { shape.deltas };
    if timestamps != points || shape.values != points {
        return Err(Fault::UnequalColumns { series_ids: points, timestamps, values: shape.values });
    }
    let base = i64::try_from(shape.base).map_err(|_| Fault::TimestampOutOfRange)?;
    let mut slots = Slots {
        series_ids: grow(&mut columns.series_ids, points, 0),
        timestamps_unix_ns: grow(&mut columns.timestamps_unix_ns, points, base),
        values: grow(&mut columns.values, points, 0.0),
        timestamp: base,
    };
    slots.fill(reader)
}

/// Makes a column longer and returns its new places.
fn grow<T: Copy>(column: &mut Vec<T>, elements: usize, element: T) -> std::slice::IterMut<'_, T> {
    let start = column.len();
    column.resize(start + elements, element);
    column[start..].iter_mut()
}

/// What one message holds.
#[derive(Default)]
struct Shape {
    series_ids: usize,
    deltas: usize,
    values: usize,
    base: u64,
    /// Bytes of packed columns beyond the last id's, whether or not they are whole elements. Plain columns are checked
    /// when they are filled, but beside dense ones nothing looks at them again.
    surplus_bytes: usize,
    dense: Dense,
}

fn measure(mut reader: Reader<'_>) -> Result<Shape, WireFault> {
    let mut shape = Shape::default();
    while let Some(key) = reader.key()? {
        match key {
            SERIES_IDS_PACKED => {
                let mut packed = reader.message()?;
                shape.series_ids += packed_varints(packed.rest());
                if !packed.at_end() {
                    shape.dense.first_id = packed.varint()? as u32;
                    shape.surplus_bytes += packed.rest().len();
                }
            }
            TIMESTAMP_DELTAS_PACKED => {
                let packed = reader.message()?.rest();
                shape.deltas += packed_varints(packed);
                shape.surplus_bytes += packed.len();
            }
            VALUES_PACKED => {
                let bytes = reader.span()?.len as usize;
                shape.values += bytes / 8;
                shape.surplus_bytes += bytes;
            }
            SERIES_IDS => {
                shape.dense.first_id = reader.varint()? as u32;
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
            DENSE_POINTS => shape.dense.points = reader.varint()? as u32,
            SERIES_RUNS => shape.dense.series_runs = reader.span()?,
            TIME_RUNS => shape.dense.time_runs = reader.span()?,
            VALUE_HEADS => shape.dense.value_heads = reader.span()?,
            VALUE_BITS => shape.dense.value_bits = reader.span()?,
            REFERENCES => shape.dense.references = reader.varint()? as u32,
            _ => reader.skip(key)?,
        }
    }
    Ok(shape)
}

/// Varints in a packed field: each ends with the one byte whose top bit is clear. What is wrong with them, filling finds.
fn packed_varints(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte < 0x80).count()
}

/// The places that the points of one message go to, as many as were measured.
struct Slots<'a> {
    series_ids: std::slice::IterMut<'a, u32>,
    timestamps_unix_ns: std::slice::IterMut<'a, i64>,
    values: std::slice::IterMut<'a, f64>,
    /// Of the point before.
    timestamp: i64,
}

impl Slots<'_> {
    fn fill(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        while let Some(key) = reader.key()? {
            match key {
                SERIES_IDS_PACKED => {
                    let mut packed = reader.message()?;
                    while !packed.at_end() {
                        self.put_id(packed.varint()?);
                    }
                }
                TIMESTAMP_DELTAS_PACKED => {
                    let mut packed = reader.message()?;
                    while !packed.at_end() {
                        self.put_delta(packed.varint()?)?;
                    }
                }
                VALUES_PACKED => {
                    let (values, rest) = reader.message()?.rest().as_chunks::<8>();
                    if !rest.is_empty() {
                        return Err(WireFault::Truncated.into());
                    }
                    // The slots come second: zip takes one of the first more than it hands out.
                    for (bytes, slot) in values.iter().zip(self.values.by_ref()) {
                        *slot = f64::from_le_bytes(*bytes);
                    }
                }
                SERIES_IDS => self.put_id(reader.varint()?),
                TIMESTAMP_DELTAS => self.put_delta(reader.varint()?)?,
                VALUES => {
                    let value = reader.double()?;
                    if let Some(slot) = self.values.next() {
                        *slot = value;
                    }
                }
                _ => reader.skip(key)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn put_id(&mut self, id: u64) {
        if let Some(slot) = self.series_ids.next() {
            *slot = id as u32;
        }
    }

    #[inline]
    fn put_delta(&mut self, delta: u64) -> Result<(), Fault> {
        self.timestamp = self.timestamp.checked_add(unzigzag(delta)).ok_or(Fault::TimestampOutOfRange)?;
        if let Some(slot) = self.timestamps_unix_ns.next() {
            *slot = if self.timestamp == RECEIPT_TIME { RECEIPT_TIME + 1 } else { self.timestamp };
        }
        Ok(())
    }
}
