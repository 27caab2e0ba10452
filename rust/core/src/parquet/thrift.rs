//! Thrift's compact protocol, as far as Parquet's headers and footer need it. Writing only.

use crate::series::varint;

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A struct being written; fields go in ascending order of their numbers.
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

impl<'a> Struct<'a> {
    /// Begins a struct that stands by itself: a header, the footer, an element of a list.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    pub(super) fn boolean(&mut self, field: u8, value: bool) {
        self.begin(field, if value { 1 } else { 2 });
    }

    pub(super) fn i32(&mut self, field: u8, value: i32) {
        self.begin(field, I32);
        varint::write(self.out, varint::zigzag(i64::from(value)));
    }

    pub(super) fn i64(&mut self, field: u8, value: i64) {
        self.begin(field, I64);
        varint::write(self.out, varint::zigzag(value));
    }

    /// Bytes or text.
    pub(super) fn binary(&mut self, field: u8, value: &[u8]) {
        self.begin(field, BINARY);
        binary(self.out, value);
    }

    /// A struct within this one.
    pub(super) fn nested(&mut self, field: u8, fill: impl FnOnce(&mut Struct<'_>)) {
        self.begin(field, STRUCT);
        let mut nested = Struct::new(self.out);
        fill(&mut nested);
        nested.end();
    }

    /// A list of structs.
    pub(super) fn structs<T>(&mut self, field: u8, items: &[T], mut fill: impl FnMut(&mut Struct<'_>, &T)) {
        self.list(field, STRUCT, items.len());
        for item in items {
            let mut nested = Struct::new(self.out);
            fill(&mut nested, item);
            nested.end();
        }
    }

    /// A list of enum values.
    pub(super) fn i32s(&mut self, field: u8, items: &[i32]) {
        self.list(field, I32, items.len());
        for &item in items {
            varint::write(self.out, varint::zigzag(i64::from(item)));
        }
    }

    /// A list of texts.
    pub(super) fn binaries(&mut self, field: u8, items: &[String]) {
        self.list(field, BINARY, items.len());
        for item in items {
            binary(self.out, item.as_bytes());
        }
    }

    pub(super) fn end(self) {
        self.out.push(0);
    }

    fn begin(&mut self, field: u8, kind: u8) {
        debug_assert!(field > self.last && field - self.last < 16, "fields ascend, and Parquet's lie close together");
        self.out.push((field - self.last) << 4 | kind);
        self.last = field;
    }

    fn list(&mut self, field: u8, kind: u8, length: usize) {
        self.begin(field, LIST);
        if length < 15 {
            self.out.push((length as u8) << 4 | kind);
        } else {
            self.out.push(0xf0 | kind);
            varint::write(self.out, length as u64);
        }
    }
}

fn binary(out: &mut Vec<u8>, value: &[u8]) {
    varint::write(out, value.len() as u64);
    out.extend_from_slice(value);
}
