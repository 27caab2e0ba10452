//! The exact name of a series: its metric's name and effective tags, in one canonical string of bytes.
//!
//! Format: `varint(len) name`, then for each tag, in ascending bytewise order of its key,
//! `varint(len) key varint(len) value`. Equal series have equal bytes and the other way round, so comparing and hashing
//! bytes is exact. All text is valid UTF-8 without control characters and within the limits of [`crate::limits`].

use super::varint;
use crate::limits;

/// Canonical bytes of a series' name and effective tags. Only valid keys exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey(Box<[u8]>);

/// Why bytes are not a series key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical series key")]
pub struct InvalidKey;

impl SeriesKey {
    /// Takes canonical bytes, for example from a journal record. The bytes are checked.
    ///
    /// # Errors
    /// [`InvalidKey`] when they are not what [`write_key`] makes of valid parts.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, InvalidKey> {
        check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The same key, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> KeyRef<'_> {
        KeyRef(&self.0)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        split_text(&self.0).map_or("", |(name, _)| name)
    }

    /// Effective tags in ascending order of their keys.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = split_text(&self.0).map_or(&[][..], |(_, rest)| rest);
        std::iter::from_fn(move || {
            let (key, after_key) = split_text(rest)?;
            let (value, after_value) = split_text(after_key)?;
            rest = after_value;
            Some((key, value))
        })
    }

    /// The same texts as bytes, for copying: name, then key and value of each tag.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (text, after) = split(rest)?;
            rest = after;
            Some(text)
        })
    }

    /// The value of one tag.
    #[must_use]
    pub fn tag(&self, wanted: &str) -> Option<&str> {
        self.tags().find(|(key, _)| *key == wanted).map(|(_, value)| value)
    }
}

/// A borrowed key: canonical bytes that have been validated, not yet copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef<'a>(&'a [u8]);

impl<'a> KeyRef<'a> {
    /// Checks canonical bytes, for example from a journal record.
    ///
    /// # Errors
    /// [`InvalidKey`] when they are not what [`write_key`] makes of valid parts.
    pub fn from_canonical(bytes: &'a [u8]) -> Result<Self, InvalidKey> {
        check(bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that the caller has just made of parts it has validated.
    pub(super) fn from_validated(bytes: &'a [u8]) -> Self {
        debug_assert!(check(bytes).is_ok(), "only canonical bytes become a key");
        Self(bytes)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The metric's name.
    #[must_use]
    pub fn name(self) -> &'a str {
        split_text(self.0).map_or("", |(name, _)| name)
    }

    /// A copy that lives on.
    #[must_use]
    pub fn to_key(self) -> SeriesKey {
        SeriesKey(self.0.into())
    }
}

/// Appends the canonical bytes of a name and of tags that are sorted by key and hold no key twice.
pub fn write_key<'a>(out: &mut Vec<u8>, name: &[u8], tags: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
    write_text(out, name);
    for (key, value) in tags {
        write_tag(out, key, value);
    }
}

/// Appends the canonical bytes of one tag.
pub(super) fn write_tag(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    write_text(out, key);
    write_text(out, value);
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Splits one length-prefixed text off; `None` at the end or where the bytes are not valid.
#[inline]
fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = split(bytes)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Splits the bytes of one length-prefixed text off. Lengths take two bytes at most.
#[inline]
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut length = usize::from(first);
    if length >= 0x80 {
        let (&second, after) = rest.split_first()?;
        if second == 0 || second >= 0x80 {
            return None; // longer than any text here may be, or not the shortest form
        }
        length = (length & 0x7f) | usize::from(second) << 7;
        rest = after;
    }
    rest.split_at_checked(length)
}

/// True for text of 1 to `bytes_max` bytes of UTF-8 without control characters (U+0000 to U+001F and U+007F).
#[must_use]
pub fn is_text(bytes: &[u8], bytes_max: usize) -> bool {
    !bytes.is_empty() && bytes.len() <= bytes_max && !has_control(bytes) && std::str::from_utf8(bytes).is_ok()
}

/// True when a control character is among the bytes. UTF-8's continuation bytes are never below 0x80.
#[must_use]
pub fn has_control(bytes: &[u8]) -> bool {
    // A fold instead of `any`: without the early exit the compiler vectorises it.
    bytes.iter().fold(false, |found, &byte| found | matches!(byte, 0..0x20 | 0x7f))
}

fn check(bytes: &[u8]) -> Result<(), InvalidKey> {
    let (name, mut rest) = split_text(bytes).ok_or(InvalidKey)?;
    if !is_text(name.as_bytes(), limits::NAME_BYTES_MAX) {
        return Err(InvalidKey);
    }
    let mut previous = "";
    let mut tags = 0;
    while !rest.is_empty() {
        let (key, after_key) = split_text(rest).ok_or(InvalidKey)?;
        let (value, after_value) = split_text(after_key).ok_or(InvalidKey)?;
        tags += 1;
        let valid = is_text(key.as_bytes(), limits::TAG_KEY_BYTES_MAX)
            && is_text(value.as_bytes(), limits::TAG_VALUE_BYTES_MAX)
            && key.as_bytes() > previous.as_bytes()
            // One more than a point may bring: `node_id` is filled in where it is missing.
            && tags <= limits::TAGS_MAX + 1;
        if !valid {
            return Err(InvalidKey);
        }
        previous = key;
        rest = after_value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn bytes_of(name: &str, tags: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_key(&mut bytes, name.as_bytes(), tags.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        bytes
    }

    proptest! {
        #[test]
        fn a_key_gives_back_its_parts(name in "\\PC{1,60}", tags in prop::collection::btree_map("\\PC{1,30}", "\\PC{1,200}", 0..8)) {
            let tags: BTreeMap<String, String> = tags;
            let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let key = SeriesKey::from_canonical(&bytes_of(&name, &pairs)).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(key.name(), &name);
            prop_assert_eq!(key.borrowed().name(), &name);
            prop_assert_eq!(key.tags().collect::<Vec<_>>(), pairs.clone());
            let texts: Vec<_> = key.texts().map(<[u8]>::to_vec).collect();
            let expected = [name.as_str()].into_iter().chain(pairs.iter().flat_map(|(key, value)| [*key, *value]));
            prop_assert_eq!(texts, expected.map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
            for (tag, value) in &tags {
                prop_assert_eq!(key.tag(tag), Some(value.as_str()));
            }
        }

        #[test]
        fn bytes_are_a_key_only_when_its_parts_make_them_again(bytes in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..24)) {
            if let Ok(key) = SeriesKey::from_canonical(&bytes) {
                prop_assert_eq!(bytes_of(key.name(), &key.tags().collect::<Vec<_>>()), bytes);
            }
        }
    }

    #[test]
    fn other_forms_of_the_same_parts_are_no_keys() {
        let long = "x".repeat(200);
        let cases: [(&str, Vec<u8>); 9] = [
            ("no name", bytes_of("", &[])),
            ("a control character", bytes_of("a\n", &[])),
            ("an empty value", bytes_of("m", &[("a", "")])),
            ("tags out of order", bytes_of("m", &[("b", "1"), ("a", "1")])),
            ("a key twice", bytes_of("m", &[("a", "1"), ("a", "2")])),
            ("a name too long", bytes_of(&"x".repeat(256), &[])),
            ("a key too long", bytes_of("m", &[(&long, "1")])),
            ("a length in more bytes than it needs", vec![0x81, 0x00, b'm']),
            ("a key without a value", b"\x01m\x01a".to_vec()),
        ];
        for (what, bytes) in cases {
            assert_eq!(SeriesKey::from_canonical(&bytes), Err(InvalidKey), "{what}");
            assert_eq!(KeyRef::from_canonical(&bytes), Err(InvalidKey), "{what}");
        }
    }
}
