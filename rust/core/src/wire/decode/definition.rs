//! Reads `SeriesDefinition` messages.
//!
//! Definitions are rare, so they take eight bytes each in the scratch and are read again where they are used.

use super::rows::read_tag;
use crate::wire::proto::{LENGTH, Reader, Span, VARINT, WireFault, key};

const ID: u32 = key(1, VARINT);
const NAME: u32 = key(2, LENGTH);
const TAGS: u32 = key(3, LENGTH);
const TYPE: u32 = key(4, VARINT);
const UNIT: u32 = key(5, LENGTH);
const DELTA: u32 = key(6, VARINT);

/// What an agent says a series id of its stream stands for. Text is raw bytes.
#[derive(Clone, Debug)]
pub struct Definition<'a> {
    /// Chosen by the agent, unique in its stream.
    pub id: u32,
    /// The metric's name.
    pub name: &'a [u8],
    /// The series' own tags, in the order sent.
    pub tags: Tags<'a>,
    /// Type by its number on the wire, which may be unknown.
    pub metric_type: u32,
    /// The unit.
    pub unit: &'a [u8],
    /// Values are changes since the previous point.
    pub delta: bool,
}

impl<'a> Definition<'a> {
    /// Reads the definition in a span of a body, its tags included.
    pub(super) fn parse(body: &'a [u8], span: Span) -> Result<Self, WireFault> {
        let mut reader = Reader::within(body, span);
        let mut definition =
            Self { id: 0, name: &[], tags: Tags { body, reader }, metric_type: 0, unit: &[], delta: false };
        while let Some(key) = reader.key()? {
            match key {
                ID => definition.id = reader.varint()? as u32,
                NAME => definition.name = reader.span()?.of(body),
                TAGS => _ = read_tag(reader.message()?)?,
                TYPE => definition.metric_type = reader.varint()? as u32,
                UNIT => definition.unit = reader.span()?.of(body),
                DELTA => definition.delta = reader.varint()? != 0,
                _ => reader.skip(key)?,
            }
        }
        Ok(definition)
    }
}

/// The tags of a definition, as (key, value).
#[derive(Clone, Debug)]
pub struct Tags<'a> {
    body: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const PARSED: &str = "parsing the definition has read every field";
        while let Some(key) = self.reader.key().expect(PARSED) {
            if key == TAGS {
                let tag = read_tag(self.reader.message().expect(PARSED)).expect(PARSED);
                return Some((tag.key.of(self.body), tag.value.of(self.body)));
            }
            self.reader.skip(key).expect(PARSED);
        }
        None
    }
}
