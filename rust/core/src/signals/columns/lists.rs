//! Columns whose rows have several elements: maps of attributes, and lists.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Fields};

use super::schema;
use super::text::text;
use crate::signals::attributes::Attribute;
use crate::wire::proto::WireFault;

/// Where rows end.
#[derive(Debug)]
pub(super) struct Ends(Vec<i32>);

impl Default for Ends {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Ends {
    /// A row ends behind so many elements in all.
    pub(super) fn push(&mut self, elements: usize) {
        // Rows of a batch are bounded by bytes, of which an element takes some.
        self.0.push(elements as i32);
    }

    fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.0))
    }

    /// The list column of these elements.
    pub(super) fn lists(self, fields: Fields, elements: Vec<ArrayRef>) -> Result<ArrayRef, ArrowError> {
        let elements = StructArray::try_new(fields.clone(), elements, None)?;
        Ok(Arc::new(ListArray::try_new(schema::element(fields), self.finish(), Arc::new(elements), None)?))
    }
}

/// A map column: no row has a key twice.
#[derive(Debug, Default)]
pub(super) struct Maps {
    ends: Ends,
    keys: StringBuilder,
    values: StringBuilder,
    entries: usize,
    scratch: Vec<u8>,
}

impl Maps {
    /// Adds a row of attributes but for those with a key of which `leave` is true. Of two with one key the first counts.
    pub(super) fn push(
        &mut self,
        attributes: &[Attribute<'_>],
        leave: impl Fn(&[u8]) -> bool,
    ) -> Result<(), WireFault> {
        for (at, attribute) in attributes.iter().enumerate() {
            let again = attributes[..at].iter().any(|before| before.key == attribute.key);
            if !again && !leave(attribute.key) {
                let value = attribute.text(&mut self.scratch)?;
                self.keys.append_value(text(attribute.key));
                self.values.append_option(value.map(text));
                self.entries += 1;
            }
        }
        self.ends.push(self.entries);
        Ok(())
    }

    /// Adds a row that is text already.
    pub(super) fn push_texts(&mut self, entries: &[(String, Option<String>)]) {
        for (key, value) in entries {
            self.keys.append_value(key);
            self.values.append_option(value.as_deref());
        }
        self.entries += entries.len();
        self.ends.push(self.entries);
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let entries: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(schema::entry_fields(), entries, None)?;
        Ok(Arc::new(MapArray::try_new(schema::entries(), self.ends.finish(), entries, None, false)?))
    }
}

/// The entries that a row of a map has, as text.
pub(super) fn texts(
    attributes: &[Attribute<'_>],
    leave: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(String, Option<String>)>, WireFault> {
    let mut scratch = Vec::new();
    let mut entries: Vec<(String, Option<String>)> = Vec::with_capacity(attributes.len());
    for (at, attribute) in attributes.iter().enumerate() {
        let again = attributes[..at].iter().any(|before| before.key == attribute.key);
        if !again && !leave(attribute.key) {
            let value = attribute.text(&mut scratch)?.map(|value| text(value).into_owned());
            entries.push((text(attribute.key).into_owned(), value));
        }
    }
    Ok(entries)
}
