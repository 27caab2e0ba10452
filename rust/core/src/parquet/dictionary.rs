//! Distinct values of one column in one row group, in the order in which they first came.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Slots whose room is kept for the next row group, a quarter of a megabyte of them. Room that a full dictionary took would count as
/// the next group's, and end it at once.
const SLOTS_KEPT_MAX: usize = 65_536;

/// Numbers of eight bytes, by their bits: a zero and a minus zero, or two kinds of NaN, are not the same.
#[derive(Default)]
pub(super) struct Numbers {
    /// Each a code and one more, 0 where there is none. A power of two of them, at most half full. The numbers themselves
    /// stand among the values alone: four times as many slots stay in the processor's cache.
    slots: Vec<u32>,
    values: Vec<u64>,
}

impl Numbers {
    /// The code of a number, which enters if it is new.
    #[inline]
    pub(super) fn code(&mut self, number: u64) -> u32 {
        if self.values.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut place = spread(number) & mask;
        loop {
            let above = self.slots[place];
            if above == 0 {
                self.values.push(number);
                self.slots[place] = self.values.len() as u32;
                return self.values.len() as u32 - 1;
            }
            if self.values[above as usize - 1] == number {
                return above - 1;
            }
            place = (place + 1) & mask;
        }
    }

    pub(super) fn values(&self) -> &[u64] {
        &self.values
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.slots[..]) + size_of_val(&self.values[..])
    }

    /// Keeps the first `count` values, and gives back the room for finding more: none enters until it is cleared.
    pub(super) fn close(&mut self, count: usize) {
        self.values.truncate(count);
        self.slots = Vec::new();
    }

    /// Forgets the values, and keeps some room.
    pub(super) fn clear(&mut self) {
        if self.slots.len() > SLOTS_KEPT_MAX {
            self.slots = Vec::new();
        }
        self.slots.fill(0);
        self.values.clear();
        self.values.shrink_to(SLOTS_KEPT_MAX / 2);
    }

    #[cold]
    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(64);
        self.slots.clear();
        self.slots.resize(room, 0);
        for (code, &number) in self.values.iter().enumerate() {
            let mut place = spread(number) & (room - 1);
            while self.slots[place] != 0 {
                place = (place + 1) & (room - 1);
            }
            self.slots[place] = code as u32 + 1;
        }
    }
}

/// The low bits of doubles are mostly zeros or noise, and the table needs bits that depend on all of them.
#[inline]
fn spread(number: u64) -> usize {
    let product = u128::from(number ^ 0x5bd1_e995) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    (product as u64 ^ (product >> 64) as u64) as usize
}

/// Texts, kept in the form in which a dictionary page has them: each behind its length.
#[derive(Default)]
pub(super) struct Texts {
    table: HashTable<u32>,
    /// Where each text begins, behind its length.
    starts: Vec<usize>,
    page: Vec<u8>,
}

const LENGTH_BYTES: usize = size_of::<u32>();

impl Texts {
    /// The code of a text, which enters if it is new.
    pub(super) fn code(&mut self, text: &[u8]) -> u32 {
        let hash = xxh3_64(text);
        if let Some(&code) = self.table.find(hash, |&code| text_at(&self.starts, &self.page, code) == text) {
            return code;
        }
        let code = self.starts.len() as u32;
        self.page.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.starts.push(self.page.len());
        self.page.extend_from_slice(text);
        self.table.insert_unique(hash, code, |&other| xxh3_64(text_at(&self.starts, &self.page, other)));
        code
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes that it takes, with its table.
    pub(super) fn bytes(&self) -> usize {
        self.page.len() + self.starts.len() * (size_of::<usize>() + 2 * size_of::<u32>())
    }

    /// The body of the dictionary's page.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// The least and the greatest, by their bytes.
    pub(super) fn bounds(&self) -> Option<(&[u8], &[u8])> {
        let texts = || (0..self.starts.len() as u32).map(|code| text_at(&self.starts, &self.page, code));
        texts().min().zip(texts().max())
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.starts.clear();
        self.page.clear();
    }
}

fn text_at<'a>(starts: &[usize], page: &'a [u8], code: u32) -> &'a [u8] {
    let start = starts[code as usize];
    let end = starts.get(code as usize + 1).map_or(page.len(), |next| next - LENGTH_BYTES);
    &page[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_numbers_have_one_code(numbers in prop::collection::vec(0_u64..500, 0..2_000)) {
            let mut dictionary = Numbers::default();
            for _ in 0..2 {
                let codes: Vec<u32> = numbers.iter().map(|&number| dictionary.code(number)).collect();
                let read: Vec<u64> = codes.iter().map(|&code| dictionary.values()[code as usize]).collect();
                prop_assert_eq!(&read, &numbers);
                let distinct: std::collections::HashSet<u64> = numbers.iter().copied().collect();
                prop_assert_eq!(dictionary.values().len(), distinct.len());
                dictionary.clear();
            }
        }
    }

    #[test]
    fn room_that_many_numbers_took_is_given_back() {
        let mut dictionary = Numbers::default();
        for (numbers, kept) in [(30_000, SLOTS_KEPT_MAX), (40_000, 0)] {
            (0..numbers).for_each(|number| assert_eq!(u64::from(dictionary.code(number)), number));
            dictionary.clear();
            assert_eq!(dictionary.bytes(), kept * size_of::<u32>());
        }
        assert_eq!((dictionary.code(7), dictionary.code(8), dictionary.code(7)), (0, 1, 0));
    }

    #[test]
    fn texts_are_told_apart_and_bounded() {
        let mut texts = Texts::default();
        assert!(texts.bounds().is_none());
        for (text, code) in [("b", 0), ("", 1), ("c", 2), ("b", 0), ("", 1)] {
            assert_eq!(texts.code(text.as_bytes()), code);
        }
        assert_eq!(texts.bounds(), Some((&b""[..], &b"c"[..])));
        assert_eq!(texts.page(), b"\x01\0\0\0b\0\0\0\0\x01\0\0\0c");
    }
}
