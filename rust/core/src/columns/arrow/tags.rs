//! The map of tags that have no column of their own.

use std::sync::Arc;

use arrow_array::{ArrayRef, MapArray, StringArray, StructArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::schema;

/// The other tags of each row of codes, ready to be appended for a point.
#[derive(Debug, Default)]
pub(super) struct TagSets {
    sets: Vec<TagSet>,
    /// Ends of each tag's key and value, from the start of its set's texts.
    ends: Vec<(u32, u32)>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct TagSet {
    tags: (usize, usize),
    keys: (usize, usize),
    values: (usize, usize),
}

impl TagSets {
    /// Begins the set of the next row.
    pub(super) fn begin(&mut self) {
        self.sets.push(TagSet {
            tags: (self.ends.len(), 0),
            keys: (self.keys.len(), 0),
            values: (self.values.len(), 0),
        });
    }

    /// Adds a tag to the set begun last.
    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.keys.extend_from_slice(key.as_bytes());
        self.values.extend_from_slice(value.as_bytes());
        if let Some(set) = self.sets.last() {
            self.ends.push(((self.keys.len() - set.keys.0) as u32, (self.values.len() - set.values.0) as u32));
        }
    }

    /// Ends the set.
    pub(super) fn end(&mut self) {
        if let Some(set) = self.sets.last_mut() {
            (set.tags.1, set.keys.1, set.values.1) = (self.ends.len(), self.keys.len(), self.values.len());
        }
    }

    /// Bytes of all texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// Tags of a row's set, and the bytes of their keys and values.
    #[inline]
    pub(super) fn sizes(&self, row: u32) -> (usize, usize, usize) {
        let set = &self.sets[row as usize];
        (set.tags.1 - set.tags.0, set.keys.1 - set.keys.0, set.values.1 - set.values.0)
    }

    /// The map column of points with these rows, which have this many tags and bytes of keys and values in all.
    pub(super) fn column(&self, rows: &[u32], sizes: (usize, usize, usize)) -> Result<ArrayRef, ArrowError> {
        let mut map = MapBuffers::with_capacity(rows.len(), sizes);
        for &row in rows {
            let set = &self.sets[row as usize];
            map.push(
                &self.ends[set.tags.0..set.tags.1],
                &self.keys[set.keys.0..set.keys.1],
                &self.values[set.values.0..set.values.1],
            );
        }
        map.finish()
    }
}

struct MapBuffers {
    offsets: Vec<i32>,
    key_offsets: Vec<i32>,
    keys: Vec<u8>,
    value_offsets: Vec<i32>,
    values: Vec<u8>,
}

impl MapBuffers {
    fn with_capacity(rows: usize, (tags, key_bytes, value_bytes): (usize, usize, usize)) -> Self {
        let offsets = |length: usize| {
            let mut offsets = Vec::with_capacity(length + 1);
            offsets.push(0);
            offsets
        };
        Self {
            offsets: offsets(rows),
            key_offsets: offsets(tags),
            keys: Vec::with_capacity(key_bytes),
            value_offsets: offsets(tags),
            values: Vec::with_capacity(value_bytes),
        }
    }

    #[inline]
    fn push(&mut self, ends: &[(u32, u32)], keys: &[u8], values: &[u8]) {
        let (key_start, value_start) = (self.keys.len() as i32, self.values.len() as i32);
        self.key_offsets.extend(ends.iter().map(|end| key_start + end.0 as i32));
        self.value_offsets.extend(ends.iter().map(|end| value_start + end.1 as i32));
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
        self.offsets.push(self.key_offsets.len() as i32 - 1);
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let text = |offsets: Vec<i32>, bytes: Vec<u8>| {
            StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), None)
        };
        let keys: ArrayRef = Arc::new(text(self.key_offsets, self.keys)?);
        let values: ArrayRef = Arc::new(text(self.value_offsets, self.values)?);
        let entries = StructArray::try_new(schema::tag_fields(), vec![keys, values], None)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(MapArray::try_new(schema::tag_entries(), offsets, entries, None, false)?))
    }
}
