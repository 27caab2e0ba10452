//! Attributes as tags.

use std::io::Write;

use crate::limits::TAG_VALUE_BYTES_MAX;
use crate::translate::Batches;
use crate::wire::proto::{FIXED64, LENGTH, Reader, Span, VARINT, WireFault, key};

/// Attributes of a resource that have a tag of another name here.
const STANDARD_TAGS: [(&[u8], &[u8]); 5] = [
    (b"service.name", b"service"),
    (b"service.version", b"version"),
    (b"host.name", b"node_id"),
    (b"cloud.region", b"region"),
    (b"cloud.availability_zone", b"zone"),
];
/// The tag that tells which library measured, where it says so: two may have metrics of one name.
const SCOPE_NAME: &[u8] = b"otel.scope.name";
/// Lists in lists are written so deep.
const DEPTH_MAX: usize = 16;
/// Attributes of a resource that are kept: more than a point may have tags.
const RESOURCE_TAGS_MAX: usize = 256;

/// Attributes of resources that do not become tags, by how their keys begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored(Vec<Box<[u8]>>);

impl Ignored {
    /// Ignores keys that begin with one of these.
    pub fn new<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> Self {
        Self(prefixes.into_iter().map(|prefix| prefix.as_bytes().into()).collect())
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// The tags of a resource and of a scope within it, which each of their points has.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    text: Vec<u8>,
    resource: Vec<(Span, Span)>,
    scope: Option<Span>,
}

impl Surroundings {
    /// Takes the attributes of a `Resource`.
    pub(super) fn take_resource(&mut self, mut resource: Reader<'_>, ignored: &Ignored) -> Result<(), WireFault> {
        const ATTRIBUTES: u32 = key(1, LENGTH);

        let mut scratch = Vec::new();
        while let Some(field) = resource.key()? {
            if field != ATTRIBUTES {
                resource.skip(field)?;
                continue;
            }
            let (key, value) = read(resource.message()?, &mut scratch)?;
            if self.resource.len() >= RESOURCE_TAGS_MAX || ignored.has(key) {
                continue;
            }
            let standard = STANDARD_TAGS.iter().find(|(attribute, _)| *attribute == key);
            let key = standard.map_or(key, |(_, tag)| tag);
            let kept = (append(&mut self.text, key), append(&mut self.text, value));
            self.resource.push(kept);
        }
        Ok(())
    }

    /// Takes the name of an `InstrumentationScope`, in the place of the scope's before.
    pub(super) fn take_scope(&mut self, mut scope: Reader<'_>) -> Result<(), WireFault> {
        const NAME: u32 = key(1, LENGTH);

        while let Some(field) = scope.key()? {
            match field {
                NAME => {
                    let name = scope.span()?.of(scope.body());
                    self.scope = Some(append(&mut self.text, name));
                }
                _ => scope.skip(field)?,
            }
        }
        Ok(())
    }

    /// The scope has ended.
    pub(super) fn leave_scope(&mut self) {
        if let Some(name) = self.scope.take() {
            self.text.truncate(name.start as usize);
        }
    }

    /// Gives the series at hand the tags that it does not have itself.
    pub(super) fn add_to(&self, batches: &mut Batches) {
        if let Some(name) = self.scope {
            batches.tag(SCOPE_NAME, name.of(&self.text));
        }
        for (key, value) in &self.resource {
            batches.tag(key.of(&self.text), value.of(&self.text));
        }
    }
}

fn append(text: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = text.len() as u32;
    text.extend_from_slice(bytes);
    Span { start, len: bytes.len() as u32 }
}

/// Gives the series at hand the tag of a `KeyValue`.
#[inline]
pub(super) fn tag(attribute: Reader<'_>, batches: &mut Batches, scratch: &mut Vec<u8>) -> Result<(), WireFault> {
    let (key, value) = read(attribute, scratch)?;
    batches.tag(key, value);
    Ok(())
}

/// Key and value of a `KeyValue`; what is no string is written in `scratch`.
#[inline]
fn read<'a>(mut attribute: Reader<'a>, scratch: &'a mut Vec<u8>) -> Result<(&'a [u8], &'a [u8]), WireFault> {
    const KEY: u32 = key(1, LENGTH);
    const VALUE: u32 = key(2, LENGTH);
    const STRING: u32 = key(1, LENGTH);

    let body = attribute.body();
    let (mut name, mut value) = (&[][..], None);
    while let Some(field) = attribute.key()? {
        match field {
            KEY => name = attribute.span()?.of(body),
            VALUE => value = Some(attribute.message()?),
            _ => attribute.skip(field)?,
        }
    }
    let Some(value) = value else { return Ok((name, &[])) };
    // A string and nothing else, as nearly all are, is its own text.
    let mut plain = value;
    if let Ok(Some(STRING)) = plain.key()
        && let Ok(span) = plain.span()
        && plain.at_end()
    {
        return Ok((name, span.of(body)));
    }
    scratch.clear();
    write_value(value, scratch, 0)?;
    Ok((name, scratch))
}

/// Writes an `AnyValue` as text: numbers and truth as JSON has them, lists and maps as JSON, bytes in base64. Stops
/// where a tag's value is too long anyway.
fn write_value(mut value: Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), WireFault> {
    const STRING: u32 = key(1, LENGTH);
    const BOOL: u32 = key(2, VARINT);
    const INT: u32 = key(3, VARINT);
    const DOUBLE: u32 = key(4, FIXED64);
    const ARRAY: u32 = key(5, LENGTH);
    const KEY_VALUES: u32 = key(6, LENGTH);
    const BYTES: u32 = key(7, LENGTH);

    let start = out.len();
    while let Some(field) = value.key()? {
        // Of a oneof the last member counts.
        out.truncate(start);
        match field {
            STRING => {
                let text = value.span()?.of(value.body());
                if depth == 0 { out.extend_from_slice(text) } else { write_quoted(text, out) }
            }
            BOOL => out.extend_from_slice(if value.varint()? == 0 { b"false" } else { b"true" }),
            INT => out.extend_from_slice(itoa::Buffer::new().format(value.varint()? as i64).as_bytes()),
            DOUBLE => _ = write!(out, "{}", value.double()?),
            ARRAY => write_list(value.message()?, out, depth)?,
            KEY_VALUES => write_map(value.message()?, out, depth)?,
            BYTES => write_base64(value.span()?.of(value.body()), out),
            _ => value.skip(field)?,
        }
    }
    if depth > 0 && out.len() == start {
        out.extend_from_slice(b"null");
    }
    Ok(())
}

fn write_list(mut list: Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), WireFault> {
    const VALUES: u32 = key(1, LENGTH);

    out.push(b'[');
    let start = out.len();
    while let Some(field) = list.key()? {
        match field {
            VALUES => {
                let value = list.message()?;
                if depth < DEPTH_MAX && out.len() <= TAG_VALUE_BYTES_MAX {
                    separate(out, start);
                    write_value(value, out, depth + 1)?;
                }
            }
            _ => list.skip(field)?,
        }
    }
    out.push(b']');
    Ok(())
}

fn write_map(mut map: Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), WireFault> {
    const VALUES: u32 = key(1, LENGTH);
    const KEY: u32 = key(1, LENGTH);
    const VALUE: u32 = key(2, LENGTH);

    out.push(b'{');
    let start = out.len();
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
        if depth < DEPTH_MAX && out.len() <= TAG_VALUE_BYTES_MAX {
            separate(out, start);
            write_quoted(name, out);
            out.push(b':');
            write_value(value, out, depth + 1)?;
        }
    }
    out.push(b'}');
    Ok(())
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.iter().take(TAG_VALUE_BYTES_MAX + 1) {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => _ = write!(out, "\\u{byte:04x}"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for three in bytes[..bytes.len().min(TAG_VALUE_BYTES_MAX)].chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let known = digit <= three.len();
            out.push(if known { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
        }
    }
}
