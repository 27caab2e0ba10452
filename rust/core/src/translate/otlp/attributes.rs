//! Attributes as tags.

use super::value;
use crate::limits::TAG_VALUE_BYTES_MAX;
use crate::translate::Batches;
use crate::wire::proto::{LENGTH, Reader, Span, WireFault, key};

/// Attributes of a resource that have a tag of another name here.
pub(crate) const STANDARD_TAGS: [(&[u8], &[u8]); 5] = [
    (b"service.name", b"service"),
    (b"service.version", b"version"),
    (b"host.name", b"node_id"),
    (b"cloud.region", b"region"),
    (b"cloud.availability_zone", b"zone"),
];
/// The tag that tells which library measured, where it says so: two may have metrics of one name.
const SCOPE_NAME: &[u8] = b"otel.scope.name";
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
    if let Some(text) = value::plain(value) {
        return Ok((name, text));
    }
    scratch.clear();
    if !value::write(value, scratch, TAG_VALUE_BYTES_MAX)? {
        // What is nested too deep is cut short: made too long for a tag, it is refused rather than stored so.
        scratch.resize(scratch.len().max(TAG_VALUE_BYTES_MAX + 1), b' ');
    }
    Ok((name, scratch))
}
