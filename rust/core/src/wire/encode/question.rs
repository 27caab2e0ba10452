//! Asking whether a batch is stored, without sending it again, and taking its name back if it is not.
//!
//! `withdraw` says so: the answer is `DUPLICATE` if the name is stored, waits if its commit is pending, and is `WITHDRAWN`
//! otherwise. Collectors of before that field skip it. They look at a batch's name before its series, so one point of a series
//! that no stream defines makes them answer `UNKNOWN_SERIES` in its place, which says less: a copy that is still on its way
//! may be stored.

use super::{BatchName, EncodeError};
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, put_varint};

/// Encoders number a stream's series from 0 and stay far below.
const UNDEFINED_SERIES: u32 = u32::MAX;

/// Appends a frame, with its length prefix, that asks whether the batch of this name is stored.
///
/// # Errors
/// [`EncodeError::Name`] for a name that no batch can have.
pub fn question(name: BatchName, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    name.check()?;
    let mut columns = Vec::new();
    let mut id = Vec::new();
    put_varint(&mut id, u64::from(UNDEFINED_SERIES));
    put_bytes(&mut columns, 1, &id);
    put_message_head(&mut columns, 4, size_of::<f64>());
    columns.extend_from_slice(&0.0_f64.to_le_bytes());
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    put_number(out, 1, name.sequence);
    put_fixed64(out, 2, name.epoch);
    put_bytes(out, 6, &columns);
    put_number(out, 9, name.oldest_unacknowledged);
    put_number(out, 10, 1);
    let bytes = (out.len() - start - PREFIX_BYTES) as u32; // some fifty
    out[start..start + PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
    Ok(())
}
