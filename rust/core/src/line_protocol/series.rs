//! A line's first part: name and tags, escaped.
//!
//! Commas and spaces are escaped by a backslash, in tags equals signs too. A backslash itself has no escape that all
//! servers agree on, and three other things cannot be carried at all. They are rewritten:
//!
//! 1. A backslash at the end of a text, or before a comma, a space or an equals sign, becomes a slash. At the end it would
//!    escape what follows the text. Elsewhere `InfluxDB` 1 and 2 read it as itself when they split a line, but not when
//!    they look for the line's end, and `InfluxDB` 3 and `VictoriaMetrics` pair it with the escape.
//! 2. A name that begins with `#` would make the line a comment; it begins with `_` instead.
//! 3. The tag keys `time`, `_field` and `_measurement` are reserved; they get a `_` at their end.
//! 4. A key that is equal to another of the same series after that gets further `_` at its end.

use std::collections::HashSet;

use crate::series::SeriesKey;

const RESERVED_KEYS: [&[u8]; 3] = [b"time", b"_field", b"_measurement"];

/// Appends a series' name and tags; true when something had to be rewritten.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, key: &SeriesKey) -> bool {
    if write_plain(out, key.as_bytes()) {
        return false;
    }
    let start = out.len();
    if write_escaped(out, key) {
        return false;
    }
    out.truncate(start);
    write_changed(out, key);
    true
}

/// Appends a series that has nothing to escape and only short texts, as nearly all; false, with nothing appended, for others.
///
/// In the canonical key each text stands behind its length, in the line behind a separator: where all lengths are one
/// byte, the line is the key with other bytes in those places.
#[inline]
fn write_plain(out: &mut Vec<u8>, canonical: &[u8]) -> bool {
    // Without an early exit, which lets the compiler look at many bytes at a time. A length that looks special only
    // costs the longer way.
    let special = canonical.iter().fold(false, |found, &byte| found | matches!(byte, b',' | b' ' | b'=' | b'\\'));
    let Some((&name_length, texts)) = canonical.split_first() else { return false };
    if special || name_length >= 0x80 || texts.starts_with(b"#") {
        return false;
    }
    let start = out.len();
    out.extend_from_slice(texts);
    let line = &mut out[start..];
    let mut place = usize::from(name_length);
    let mut separators = [b',', b'='].into_iter().cycle();
    let mut plain = true;
    while let (Some(length), Some(separator)) = (line.get_mut(place), separators.next()) {
        let end = place + 1 + usize::from(*length);
        plain &= *length < 0x80;
        *length = separator;
        if separator == b',' {
            plain &= line.get(place + 1..end).is_some_and(|key| !is_reserved(key));
        }
        place = end;
    }
    if !plain {
        out.truncate(start);
    }
    plain
}

/// Appends a series with its escapes; false, with anything appended, when it cannot be carried as it is.
fn write_escaped(out: &mut Vec<u8>, key: &SeriesKey) -> bool {
    let mut texts = key.texts();
    let name = texts.next().unwrap_or_default();
    let mut lossless = !name.starts_with(b"#") && escape(out, name, false);
    while lossless && let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        out.push(b',');
        lossless = !is_reserved(key) && escape(out, key, true);
        out.push(b'=');
        lossless = lossless && escape(out, value, true);
    }
    lossless
}

/// Appends a text with its escapes; false when it holds a backslash that cannot be carried.
fn escape(out: &mut Vec<u8>, text: &[u8], in_tag: bool) -> bool {
    if text.ends_with(b"\\") || text.windows(2).any(|pair| pair[0] == b'\\' && is_special(pair[1])) {
        return false;
    }
    for &byte in text {
        if byte == b',' || byte == b' ' || (in_tag && byte == b'=') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    true
}

#[inline]
fn is_reserved(key: &[u8]) -> bool {
    RESERVED_KEYS.contains(&key)
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'=')
}

#[cold]
fn write_changed(out: &mut Vec<u8>, key: &SeriesKey) {
    let mut name = without_loose_backslashes(key.name().as_bytes());
    if let Some(first @ b'#') = name.first_mut() {
        *first = b'_';
    }
    escape(out, &name, false);

    // Keys that stay as they are keep their names; those that change make way for them.
    let mut taken: HashSet<Vec<u8>> = key.tags().map(|(key, _)| key.as_bytes().to_vec()).collect();
    for (key, value) in key.tags() {
        let mut changed = without_loose_backslashes(key.as_bytes());
        if is_reserved(&changed) {
            changed.push(b'_');
        }
        if changed != key.as_bytes() {
            while taken.contains(&changed) {
                changed.push(b'_');
            }
            taken.insert(changed.clone());
        }
        out.push(b',');
        escape(out, &changed, true);
        out.push(b'=');
        escape(out, &without_loose_backslashes(value.as_bytes()), true);
    }
}

/// The text with slashes for backslashes that cannot be carried.
fn without_loose_backslashes(text: &[u8]) -> Vec<u8> {
    let next = text.iter().skip(1).copied().chain([b' ']);
    text.iter().zip(next).map(|(&byte, next)| if byte == b'\\' && is_special(next) { b'/' } else { byte }).collect()
}
