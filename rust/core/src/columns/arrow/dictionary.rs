//! Distinct texts and their codes.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Texts in the order in which they first came; a text's place is its code.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    table: HashTable<u32>,
    /// Where each text ends in `text`.
    ends: Vec<usize>,
    text: Vec<u8>,
}

impl Dictionary {
    /// The code of a text, which enters if it is new.
    pub(super) fn code(&mut self, text: &str) -> i32 {
        let (ends, all) = (&self.ends, &self.text);
        let known = |code: u32| text_of(ends, all, code);
        let hash = xxh3_64(text.as_bytes());
        if let Some(&code) = self.table.find(hash, |&code| known(code) == text.as_bytes()) {
            return code as i32;
        }
        let code = ends.len() as u32;
        self.table.insert_unique(hash, code, |&other| xxh3_64(known(other)));
        self.text.extend_from_slice(text.as_bytes());
        self.ends.push(self.text.len());
        code as i32
    }

    /// Bytes of all texts. The caller keeps them within Arrow's offsets.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// A column of these codes; -1 is null.
    pub(super) fn column(&self, mut codes: Vec<i32>) -> Result<ArrayRef, ArrowError> {
        let mut nulls = None;
        if codes.iter().any(|&code| code < 0) {
            nulls = Some(codes.iter().map(|&code| code >= 0).collect::<NullBuffer>());
            // What stands under a null does not count, but not all readers look before they leap.
            for code in &mut codes {
                *code = (*code).max(0);
            }
        }
        let offsets: Vec<i32> = std::iter::once(0).chain(self.ends.iter().map(|&end| end as i32)).collect();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let texts = StringArray::try_new(offsets, Buffer::from(self.text.as_slice()), None)?;
        let codes = Int32Array::new(codes.into(), nulls);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(codes, Arc::new(texts))?))
    }
}

fn text_of<'a>(ends: &[usize], text: &'a [u8], code: u32) -> &'a [u8] {
    let start = if code == 0 { 0 } else { ends[code as usize - 1] };
    &text[start..ends[code as usize]]
}
