//! Numbers of so many bits each, one after the other, the lowest bit first.

use crate::wire::dense::DISTANCE_STEP;
use crate::wire::proto::unzigzag;

/// Reads from bytes whose length was compared with what is asked for.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// True when so many numbers of this width are there.
    pub(super) fn has(&self, numbers: usize, width: u8) -> bool {
        // A frame's bytes are counted in 32 bits and its points in fewer, so nothing here overflows.
        numbers * usize::from(width) <= self.bytes.len() * 8 - self.at
    }

    /// True when less than a byte is left.
    pub(super) fn at_end(&self) -> bool {
        self.at.div_ceil(8) == self.bytes.len()
    }

    /// Reads how far a number is from its reference; `None` at the end.
    #[inline]
    pub(super) fn distance(&mut self) -> Option<i64> {
        // At most 36 bits, and a word has 57 of them wherever it begins.
        let word = self.word(self.at / 8) >> (self.at % 8);
        let (bits, number) = if word & 1 == 0 {
            (1, 0)
        } else {
            let digits_bits = (1 + (word >> 1 & 7) as usize) * DISTANCE_STEP as usize;
            (DISTANCE_STEP as usize + digits_bits, word >> DISTANCE_STEP & u64::MAX >> (64 - digits_bits))
        };
        if bits > self.bytes.len() * 8 - self.at {
            return None;
        }
        self.at += bits;
        Some(unzigzag(number))
    }

    /// Reads a number of 1 to 64 bits for each place; they are there.
    #[inline]
    pub(super) fn each<T>(&mut self, width: u8, places: impl Iterator<Item = T>, mut put: impl FnMut(T, u64)) {
        let bits = usize::from(width);
        let mask = u64::MAX >> (64 - bits);
        let mut at = self.at;
        for place in places {
            let shift = at % 8;
            let mut number = self.word(at / 8) >> shift;
            if shift + bits > 64 {
                number |= u64::from(self.bytes[at / 8 + 8]) << (64 - shift);
            }
            put(place, number & mask);
            at += bits;
        }
        self.at = at;
    }

    /// The eight bytes from here, with zeros behind the end.
    #[inline]
    fn word(&self, at: usize) -> u64 {
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => self.last_word(at),
        }
    }

    fn last_word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        let rest = self.bytes.get(at..).unwrap_or_default();
        bytes[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(bytes)
    }
}
