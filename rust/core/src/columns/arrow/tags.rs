//! The map of tags that have no column of their own.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, MapArray, StringArray, StructArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::schema;

/// The other tags of each row of codes, ready to be appended for a point.
#[derive(Debug, Default)]
pub(super) struct TagSets {
    /// Of each row the number of its set; `NONE` where it has no other tags, as most have not.
    sets: Vec<u32>,
    /// Where each set ends; it begins where the one before does.
    ends: Vec<SetEnd>,
    /// Ends of each tag's key and value, from the start of its set's texts.
    tags: Vec<(u32, u32)>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

/// In the place of a set's number.
const NONE: u32 = u32::MAX;

/// There may be one a series, so it is small. The assembler keeps all texts within Arrow's offsets, and these with them.
#[derive(Clone, Copy, Debug, Default)]
struct SetEnd {
    tags: u32,
    keys: u32,
    values: u32,
}

/// A row's set.
#[derive(Default)]
struct Set {
    tags: Range<usize>,
    keys: Range<usize>,
    values: Range<usize>,
}

impl TagSets {
    /// Adds a tag to the set of the next row.
    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.keys.extend_from_slice(key.as_bytes());
        self.values.extend_from_slice(value.as_bytes());
        let begin = self.ends.last().copied().unwrap_or_default();
        self.tags.push((self.keys.len() as u32 - begin.keys, self.values.len() as u32 - begin.values));
    }

    /// Ends the set, which may be empty.
    pub(super) fn end(&mut self) {
        if self.tags.len() == self.ends.last().map_or(0, |end| end.tags as usize) {
            self.sets.push(NONE);
            return;
        }
        self.sets.push(self.ends.len() as u32);
        self.ends.push(SetEnd {
            tags: self.tags.len() as u32,
            keys: self.keys.len() as u32,
            values: self.values.len() as u32,
        });
    }

    /// Bytes of all texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    #[inline]
    fn set(&self, row: u32) -> Set {
        let set = self.sets[row as usize];
        if set == NONE {
            return Set::default();
        }
        let begin = if set == 0 { SetEnd::default() } else { self.ends[set as usize - 1] };
        let end = self.ends[set as usize];
        Set {
            tags: begin.tags as usize..end.tags as usize,
            keys: begin.keys as usize..end.keys as usize,
            values: begin.values as usize..end.values as usize,
        }
    }

    /// Tags of a row's set, and the bytes of their keys and values.
    #[inline]
    pub(super) fn sizes(&self, row: u32) -> (usize, usize, usize) {
        let Set { tags, keys, values } = self.set(row);
        (tags.len(), keys.len(), values.len())
    }

    /// The map column of points with these rows, which have this many tags and bytes of keys and values in all.
    pub(super) fn column(&self, rows: &[u32], sizes: (usize, usize, usize)) -> Result<ArrayRef, ArrowError> {
        let mut map = MapBuffers::with_capacity(rows.len(), sizes);
        for &row in rows {
            let Set { tags, keys, values } = self.set(row);
            map.push(&self.tags[tags], &self.keys[keys], &self.values[values]);
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
