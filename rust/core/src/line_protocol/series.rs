//! A line's first part: name and tags, escaped.
//!
//! Commas and spaces are escaped by a backslash, in tags equals signs too. A backslash itself has no escape that all
//! servers agree on, and three other things cannot be carried at all. They are rewritten:
//!
//! 1. A backslash at the end of a text, or before a comma, a space or an equals sign, becomes a slash. At the end it would
//!    escape what follows the text. Elsewhere InfluxDB 1 and 2 read it as itself when they split a line, but not when
//!    they look for the line's end, and InfluxDB 3 and `VictoriaMetrics` pair it with the escape.
//! 2. A name that begins with `#` would make the line a comment; it begins with `_` instead.
//! 3. The tag keys `time`, `_field` and `_measurement` are reserved; they get a `_` at their end.
//! 4. A key that is equal to another of the same series after that gets further `_` at its end.

use std::collections::HashSet;

use crate::series::SeriesKey;

const RESERVED_KEYS: [&[u8]; 3] = [b"time", b"_field", b"_measurement"];

/// Appends a series' name and tags; true when something had to be rewritten.
pub(super) fn write(out: &mut Vec<u8>, key: &SeriesKey) -> bool {
    let start = out.len();
    let mut texts = key.texts();
    let name = texts.next().unwrap_or_default();
    let mut lossless = !name.starts_with(b"#") && escape(out, name, false);
    while lossless && let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        out.push(b',');
        lossless = !RESERVED_KEYS.contains(&key) && escape(out, key, true);
        out.push(b'=');
        lossless = lossless && escape(out, value, true);
    }
    if !lossless {
        out.truncate(start);
        write_changed(out, key);
    }
    !lossless
}

/// Appends a text with its escapes; false when it holds a backslash that cannot be carried.
#[inline]
fn escape(out: &mut Vec<u8>, text: &[u8], in_tag: bool) -> bool {
    // Without an early exit, which lets the compiler look at many bytes at a time.
    let special = text.iter().fold(false, |found, &byte| found | matches!(byte, b',' | b' ' | b'=' | b'\\'));
    if !special {
        out.extend_from_slice(text);
        return true;
    }
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
        if RESERVED_KEYS.contains(&&*changed) {
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
