//! Variable-length integers of our own formats: seven bits a byte, lowest first, the high bit set on all but the last.

/// The most bytes that an integer takes.
pub(crate) const BYTES_MAX: usize = 10;

/// Appends `value` in 1 to [`BYTES_MAX`] bytes.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Splits one integer off the front; `None` where the bytes end early or hold more than 64 bits.
#[inline]
pub(crate) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

/// Splits off a length and that many bytes.
#[inline]
pub(crate) fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read(bytes)?).ok()?;
    take(bytes, length)
}

/// Splits off `length` bytes.
#[inline]
pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Maps signed to unsigned so that small magnitudes stay small.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_integer_comes_back(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            write(&mut bytes, zigzag(signed));
            let mut rest = &bytes[..];
            prop_assert_eq!(read(&mut rest), Some(value));
            prop_assert_eq!(read(&mut rest).map(unzigzag), Some(signed));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while read_bytes(&mut rest).is_some() {}
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(read(&mut &[0xff; 10][..]), None);
        assert_eq!(read(&mut &[0x80, 0x80][..]), None);
    }
}
