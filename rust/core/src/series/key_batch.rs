//! Keys of several points, kept until all of them are looked up together.

use super::key::KeyRef;

/// A buffer above this size is given back after its keys.
const BYTES_KEPT: usize = 64 * 1024;

/// Keys one after the other in one buffer, which is reused.
#[derive(Debug, Default)]
pub struct KeyBatch {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl KeyBatch {
    /// Appends a copy of a key.
    pub fn push(&mut self, key: KeyRef<'_>) {
        self.bytes.extend_from_slice(key.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// The keys, in the order in which they came.
    pub fn keys(&self) -> impl Iterator<Item = KeyRef<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key = KeyRef::from_validated(&self.bytes[start..end]);
            start = end;
            key
        })
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT);
        self.ends.clear();
    }
}
