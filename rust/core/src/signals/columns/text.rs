//! Columns of text and of times.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::{ArrowTimestampType, TimestampMicrosecondType, TimestampNanosecondType};
use arrow_array::{ArrayRef, PrimitiveArray};

use super::schema::TIME_ZONE;
use crate::columns::TimestampUnit;

/// Text that was judged to be UTF-8; what is not, after all, is shown as such.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Appends a text; an empty one is none.
pub(super) fn push_or_null(column: &mut StringBuilder, bytes: &[u8]) {
    column.append_option((!bytes.is_empty()).then(|| text(bytes)));
}

/// Appends an id in hexadecimal digits. One that is empty or all zeros is none.
pub(super) fn push_id(column: &mut StringBuilder, id: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    if id.iter().all(|byte| *byte == 0) {
        column.append_null();
        return;
    }
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[digit as usize]));
    column.append_value(digits.collect::<String>());
}

/// A column of times out of nanoseconds.
pub(super) fn times(unix_ns: impl Iterator<Item = Option<i64>>, unit: TimestampUnit) -> ArrayRef {
    match unit {
        TimestampUnit::Microseconds => {
            let rounded = unix_ns.map(|time| time.map(|ns| ns.div_euclid(1_000)));
            time_array::<TimestampMicrosecondType>(rounded)
        }
        TimestampUnit::Nanoseconds => time_array::<TimestampNanosecondType>(unix_ns),
    }
}

fn time_array<T: ArrowTimestampType>(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<PrimitiveArray<T>>().with_timezone(TIME_ZONE))
}
