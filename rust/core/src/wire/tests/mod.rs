//! Tests of the wire as a whole: both halves together, rule by rule, and against another implementation.

// Messages are written as literals in place: a reference to each would only be noise.
#![allow(clippy::needless_pass_by_value)]

mod answers;
mod compressed;
mod dense;
mod dense_reference;
mod differential;
mod malformed;
mod reading;
mod references;
mod round_trip;
mod values;
mod vectors;

use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, Fault, Malformed, decode};
use crate::wire::proto::{FIXED64, LENGTH, VARINT, key, put_bytes, put_fixed64, put_varint};

/// A varint field, written even when it is 0.
fn number(field: u32, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, u64::from(key(field, VARINT)));
    put_varint(&mut out, number);
    out
}

/// A fixed64 or double field.
fn fixed(field: u32, bits: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_fixed64(&mut out, field, bits);
    debug_assert_eq!(u32::from(out[0]), key(field, FIXED64), "fields of tests are below 16");
    out
}

/// A length-delimited field: text, packed numbers or a message.
fn bytes(field: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, field, content.as_ref());
    debug_assert_eq!(u32::from(out[0]), key(field, LENGTH), "fields of tests are below 16");
    out
}

/// A message of these fields in a field.
fn message<const FIELDS: usize>(field: u32, fields: [Vec<u8>; FIELDS]) -> Vec<u8> {
    bytes(field, fields.concat())
}

/// A tag in a field.
fn tag(field: u32, key: &str, value: &str) -> Vec<u8> {
    message(field, [bytes(1, key), bytes(2, value)])
}

/// Decodes with the default limits; what is malformed is told.
fn fault<const FIELDS: usize>(fields: [Vec<u8>; FIELDS]) -> Malformed {
    fault_of(&fields.concat(), &Limits::default())
}

fn fault_of(frame: &[u8], limits: &Limits) -> Malformed {
    match decode(frame, limits, &mut DecodeScratch::default()) {
        Err(malformed) => malformed,
        Ok(batch) => panic!("taken: {batch:?}"),
    }
}

/// True when the frame is taken.
fn is_sound<const FIELDS: usize>(fields: [Vec<u8>; FIELDS]) -> bool {
    decode(&fields.concat(), &Limits::default(), &mut DecodeScratch::default()).is_ok()
}

fn malformed(sequence: u64, fault: Fault) -> Malformed {
    Malformed { sequence, fault }
}
