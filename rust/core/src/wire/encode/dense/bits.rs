//! Numbers of so many bits each, one after the other, the lowest bit first.

use crate::wire::dense::DISTANCE_STEP;
use crate::wire::proto::zigzag;

#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte, or eight, yet.
    held: u128,
    held_bits: u32,
}

impl BitWriter {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.held, self.held_bits) = (0, 0);
    }

    /// Appends the low `width` bits of a number that has no others.
    #[inline]
    pub(super) fn put(&mut self, number: u64, width: u8) {
        self.held |= u128::from(number) << self.held_bits;
        self.held_bits += u32::from(width);
        if self.held_bits >= 64 {
            self.bytes.extend_from_slice(&(self.held as u64).to_le_bytes());
            self.held >>= 64;
            self.held_bits -= 64;
        }
    }

    /// Appends how far a number is from its reference: 0 alone, or 1, a digit less than there are, and digits of four bits.
    #[inline]
    pub(super) fn put_distance(&mut self, distance: i64) {
        let number = zigzag(distance);
        let digits = (64 - number.leading_zeros()).div_ceil(DISTANCE_STEP);
        if digits == 0 {
            self.put(0, 1);
        } else {
            let head = 1 | u64::from(digits - 1) << 1;
            self.put(head | number << DISTANCE_STEP, (DISTANCE_STEP + digits * DISTANCE_STEP) as u8);
        }
    }

    /// All that was appended, the last byte filled up with zeros.
    pub(super) fn finish(&mut self) -> &[u8] {
        let bytes = self.held_bits.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.held_bits) = (0, 0);
        &self.bytes
    }
}
