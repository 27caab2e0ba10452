//! Lists of attributes, as they stand in a request.

use super::judge::ATTRIBUTES_MAX;
use crate::translate::otlp::value;
use crate::wire::proto::{LENGTH, Reader, WireFault, key};

/// A `KeyValue`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a [u8],
    /// An `AnyValue`; None where there is none.
    pub(super) value: Option<Reader<'a>>,
}

impl<'a> Attribute<'a> {
    /// Reads a `KeyValue`.
    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, WireFault> {
        const KEY: u32 = key(1, LENGTH);
        const VALUE: u32 = key(2, LENGTH);

        let mut attribute = Self { key: &[], value: None };
        while let Some(field) = reader.key()? {
            match field {
                KEY => attribute.key = bytes(&mut reader)?,
                VALUE => attribute.value = Some(reader.message()?),
                _ => reader.skip(field)?,
            }
        }
        Ok(attribute)
    }

    /// The value as text; None where it has none.
    pub(super) fn text<'b>(&self, scratch: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, WireFault>
    where
        'a: 'b,
    {
        let Some(reader) = self.value.filter(|reader| !reader.at_end()) else { return Ok(None) };
        if let Some(text) = value::plain(reader) {
            return Ok(Some(text));
        }
        scratch.clear();
        value::write(reader, scratch, usize::MAX)?;
        Ok(Some(scratch))
    }
}

/// Reads a `KeyValue` into a list. Of a list that is too long one more is kept, which tells that it is.
pub(super) fn push<'a>(list: &mut Vec<Attribute<'a>>, from: usize, reader: Reader<'a>) -> Result<(), WireFault> {
    let attribute = Attribute::read(reader)?;
    if list.len() - from <= ATTRIBUTES_MAX {
        list.push(attribute);
    }
    Ok(())
}

/// A field of text or bytes.
pub(super) fn bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireFault> {
    Ok(reader.span()?.of(reader.body()))
}
