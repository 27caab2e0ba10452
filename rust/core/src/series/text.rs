//! Judging text eight bytes at a time. Nearly all names and tags are plain ASCII, for which this is the whole check.

use super::invalid::{InvalidSeries, TextFault};
use crate::limits;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Not zero when one of the eight bytes is outside U+0020 to U+007E. A byte of 0x80 or more shows itself; among the
/// others, those below 0x20 borrow and 0x7f carries into the high bit.
#[inline]
fn suspicious_word(word: u64) -> u64 {
    (word | word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES)) & HIGH_BITS
}

/// Copies `from` over `to`, which is as long, and says whether anything but printable ASCII was among it.
#[inline]
pub(super) fn copy(from: &[u8], to: &mut [u8]) -> bool {
    let mut suspicious = 0;
    if let (Some(last), Some(last_to)) = (from.last_chunk::<8>(), to.last_chunk_mut::<8>()) {
        // The last word overlaps the one before it, so that no byte has to be looked at alone.
        let word = u64::from_le_bytes(*last);
        suspicious |= suspicious_word(word);
        *last_to = word.to_le_bytes();
        for (chunk, chunk_to) in from.as_chunks::<8>().0.iter().zip(to.as_chunks_mut::<8>().0) {
            let word = u64::from_le_bytes(*chunk);
            suspicious |= suspicious_word(word);
            *chunk_to = word.to_le_bytes();
        }
    } else if let (Some(first), Some(last)) = (from.first_chunk::<4>(), from.last_chunk::<4>()) {
        let word = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
        suspicious |= suspicious_word(word);
        if let Some(first_to) = to.first_chunk_mut::<4>() {
            *first_to = *first;
        }
        if let Some(last_to) = to.last_chunk_mut::<4>() {
            *last_to = *last;
        }
    } else {
        for (&byte, byte_to) in from.iter().zip(to) {
            suspicious |= u64::from(!(0x20..0x7f).contains(&byte));
            *byte_to = byte;
        }
    }
    suspicious != 0
}

/// What keeps bytes from being text, or `None` for text.
pub(super) fn fault(bytes: &[u8]) -> Option<TextFault> {
    if super::key::has_control(bytes) {
        Some(TextFault::Control)
    } else if std::str::from_utf8(bytes).is_err() {
        Some(TextFault::Utf8)
    } else {
        None
    }
}

/// Judges a name alone.
///
/// # Errors
/// The rule it breaks.
pub(super) fn check_name(name: &[u8]) -> Result<&str, InvalidSeries> {
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
        return Err(InvalidSeries::NameLength);
    }
    check(name).map_err(InvalidSeries::NameText)
}

/// Judges a unit, which may be empty.
///
/// # Errors
/// The rule it breaks.
pub fn check_unit(unit: &[u8]) -> Result<&str, InvalidSeries> {
    if unit.len() > limits::UNIT_BYTES_MAX {
        return Err(InvalidSeries::UnitLength);
    }
    check(unit).map_err(InvalidSeries::UnitText)
}

fn check(bytes: &[u8]) -> Result<&str, TextFault> {
    match fault(bytes) {
        Some(fault) => Err(fault),
        None => std::str::from_utf8(bytes).map_err(|_| TextFault::Utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_single_byte_at_every_place_is_seen() {
        for length in 1..40 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    let mut copied = vec![0; length];
                    let suspicious = copy(&text, &mut copied);
                    assert_eq!(suspicious, !(0x20..0x7f).contains(&byte), "{byte:#x} at {place} of {length}");
                    assert_eq!(copied, text);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn copies_agree_with_a_check_byte_by_byte(text: Vec<u8>) {
            let mut copied = vec![0; text.len()];
            let suspicious = copy(&text, &mut copied);
            prop_assert_eq!(suspicious, text.iter().any(|byte| !(0x20..0x7f).contains(byte)));
            prop_assert_eq!(copied, text);
        }
    }

    #[test]
    fn units_may_be_empty_but_not_long_or_garbled() {
        assert_eq!(check_unit(b""), Ok(""));
        assert_eq!(check_unit("µs".as_bytes()), Ok("µs"));
        assert_eq!(check_unit(&[b'x'; 64]), Err(InvalidSeries::UnitLength));
        assert_eq!(check_unit(b"\x7f"), Err(InvalidSeries::UnitText(TextFault::Control)));
        assert_eq!(check_unit(b"\xff"), Err(InvalidSeries::UnitText(TextFault::Utf8)));
    }
}
