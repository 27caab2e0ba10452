//! `AnyValue` as text: numbers and truth as JSON has them, lists and maps as JSON, bytes in base64.

use std::io::Write;

use crate::wire::proto::{FIXED64, LENGTH, Reader, VARINT, WireFault, key};

/// Lists in lists are written so deep.
const DEPTH_MAX: usize = 16;
/// Numbers between these are written without an exponent: those beyond would take hundreds of digits.
const PLAIN: std::ops::Range<f64> = 1e-5..1e16;

const STRING: u32 = key(1, LENGTH);

/// The text of a value that is a string and nothing else, as nearly all are.
#[inline]
pub(crate) fn plain(mut value: Reader<'_>) -> Option<&[u8]> {
    let body = value.body();
    if let Ok(Some(STRING)) = value.key()
        && let Ok(span) = value.span()
        && value.at_end()
    {
        return Some(span.of(body));
    }
    None
}

/// Appends a value as text. Within lists and maps it stops soon after `bytes_max`, for whoever takes no longer text
/// anyway. True when all of it was written: neither stopped nor nested deeper than is written.
///
/// # Errors
/// [`WireFault`] when it is no `AnyValue`.
pub(crate) fn write(value: Reader<'_>, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, WireFault> {
    let mut text = Text { out, bytes_max, whole: true };
    text.value(value, 0)?;
    Ok(text.whole)
}

struct Text<'a> {
    out: &'a mut Vec<u8>,
    bytes_max: usize,
    whole: bool,
}

impl Text<'_> {
    fn value(&mut self, mut value: Reader<'_>, depth: usize) -> Result<(), WireFault> {
        const BOOL: u32 = key(2, VARINT);
        const INT: u32 = key(3, VARINT);
        const DOUBLE: u32 = key(4, FIXED64);
        const ARRAY: u32 = key(5, LENGTH);
        const KEY_VALUES: u32 = key(6, LENGTH);
        const BYTES: u32 = key(7, LENGTH);

        let start = self.out.len();
        while let Some(field) = value.key()? {
            // Of a oneof the last member counts.
            self.out.truncate(start);
            match field {
                STRING => {
                    let text = value.span()?.of(value.body());
                    if depth == 0 { self.out.extend_from_slice(text) } else { self.quoted(text) }
                }
                BOOL => self.out.extend_from_slice(if value.varint()? == 0 { b"false" } else { b"true" }),
                INT => self.out.extend_from_slice(itoa::Buffer::new().format(value.varint()? as i64).as_bytes()),
                DOUBLE => self.double(value.double()?, depth),
                ARRAY => self.list(value.message()?, depth)?,
                KEY_VALUES => self.map(value.message()?, depth)?,
                BYTES => self.base64(value.span()?.of(value.body()), depth),
                _ => value.skip(field)?,
            }
        }
        if depth > 0 && self.out.len() == start {
            self.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    fn list(&mut self, mut list: Reader<'_>, depth: usize) -> Result<(), WireFault> {
        const VALUES: u32 = key(1, LENGTH);

        self.out.push(b'[');
        let start = self.out.len();
        while let Some(field) = list.key()? {
            match field {
                VALUES => {
                    let value = list.message()?;
                    if self.goes_on(depth) {
                        self.separate(start);
                        self.value(value, depth + 1)?;
                    }
                }
                _ => list.skip(field)?,
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, mut map: Reader<'_>, depth: usize) -> Result<(), WireFault> {
        const VALUES: u32 = key(1, LENGTH);
        const KEY: u32 = key(1, LENGTH);
        const VALUE: u32 = key(2, LENGTH);

        self.out.push(b'{');
        let start = self.out.len();
        while let Some(field) = map.key()? {
            if field != VALUES {
                map.skip(field)?;
                continue;
            }
            let mut entry = map.message()?;
            let (mut name, mut value) = (&[][..], Reader::new(&[]));
            while let Some(field) = entry.key()? {
                match field {
                    KEY => name = entry.span()?.of(entry.body()),
                    VALUE => value = entry.message()?,
                    _ => entry.skip(field)?,
                }
            }
            if self.goes_on(depth) {
                self.separate(start);
                self.quoted(name);
                self.out.push(b':');
                self.value(value, depth + 1)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn goes_on(&mut self, depth: usize) -> bool {
        let goes_on = depth < DEPTH_MAX && self.out.len() <= self.bytes_max;
        self.whole &= goes_on;
        goes_on
    }

    fn separate(&mut self, start: usize) {
        if self.out.len() > start {
            self.out.push(b',');
        }
    }

    fn double(&mut self, number: f64, depth: usize) {
        // Writing to memory does not fail.
        _ = match number {
            // JSON has no number for these.
            _ if !number.is_finite() && depth > 0 => write!(self.out, "\"{number}\""),
            _ if number == 0.0 || !number.is_finite() || PLAIN.contains(&number.abs()) => write!(self.out, "{number}"),
            _ => write!(self.out, "{number:e}"),
        };
    }

    fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &byte in text.iter().take(self.bytes_max.saturating_add(1)) {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => _ = write!(self.out, "\\u{byte:04x}"),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn base64(&mut self, bytes: &[u8], depth: usize) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

        let quote: &[u8] = if depth == 0 { b"" } else { b"\"" };
        self.out.extend_from_slice(quote);
        for three in bytes[..bytes.len().min(self.bytes_max)].chunks(3) {
            let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..4 {
                let known = digit <= three.len();
                self.out.push(if known { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
            }
        }
        self.out.extend_from_slice(quote);
    }
}
