//! Parquet's hybrid of run lengths and bit packing, in which levels and dictionary codes are written.
//!
//! Codes are looked at in chunks: a chunk of equal ones becomes a run or lengthens it, others are packed as they are. So
//! a column that stands still for a batch costs nothing, and one that changes with each point no search for runs.

use crate::series::varint;

/// A multiple of eight, because packed codes come in groups of eight.
const CHUNK: usize = 32;

/// Bits that codes up to `max` need.
pub(super) fn width(max: u32) -> u32 {
    u32::BITS - max.leading_zeros()
}

/// Appends codes, none of which needs more than `width` bits.
pub(super) fn encode(codes: &[u32], width: u32, out: &mut Vec<u8>) {
    let mut chunks = codes.chunks(CHUNK);
    let (mut at, mut waiting) = (0, 0);
    while let Some(chunk) = chunks.next() {
        let begin = at;
        at += chunk.len();
        if !is_constant(chunk) {
            continue;
        }
        let code = chunk[0];
        let mut following = chunks.clone();
        while let Some(next) = following.next()
            && next[0] == code
            && is_constant(next)
        {
            at += next.len();
            chunks = following.clone();
        }
        pack_group(&codes[waiting..begin], width, out);
        run(code, at - begin, width, out);
        waiting = at;
    }
    pack_group(&codes[waiting..], width, out);
}

/// True when all are equal. Without an early exit, so that many are compared at a time.
#[inline]
pub(super) fn is_constant<T: Copy + PartialEq>(items: &[T]) -> bool {
    let first = items[0];
    items.iter().fold(0, |different, &item| different | u8::from(item != first)) == 0
}

/// Appends so many times the same code.
pub(super) fn run(code: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    varint::write(out, (count as u64) << 1);
    out.extend_from_slice(&code.to_le_bytes()[..width.div_ceil(8) as usize]);
}

fn pack_group(codes: &[u32], width: u32, out: &mut Vec<u8>) {
    if codes.is_empty() {
        return;
    }
    let groups = codes.len().div_ceil(8);
    varint::write(out, (groups as u64) << 1 | 1);
    let end = out.len() + groups * width as usize;
    pack(codes, width, out);
    out.resize(end, 0);
}

/// Appends codes bit by bit, the lowest first, up to a whole byte.
pub(super) fn pack(codes: &[u32], width: u32, out: &mut Vec<u8>) {
    out.reserve(codes.len() * width as usize / 8 + 8);
    let (mut bits, mut filled) = (0_u64, 0);
    for &code in codes {
        bits |= u64::from(code) << filled;
        filled += width;
        if filled >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader makes of it, by the format's description.
    fn decode(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut codes = Vec::new();
        while codes.len() < count {
            let header = varint::read(&mut bytes).expect("a header");
            if header & 1 == 0 {
                let mut code = [0; 4];
                let (head, rest) = bytes.split_at(width.div_ceil(8) as usize);
                code[..head.len()].copy_from_slice(head);
                bytes = rest;
                codes.resize(codes.len() + (header >> 1) as usize, u32::from_le_bytes(code));
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) as usize * width as usize);
                bytes = rest;
                let bit = |place: usize| u32::from(packed[place / 8] >> (place % 8) & 1);
                let code =
                    |place: usize| (0..width as usize).map(|of| bit(place * width as usize + of) << of).sum::<u32>();
                codes.extend((0..(header >> 1) as usize * 8).map(code));
            }
        }
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
        codes.truncate(count);
        codes
    }

    proptest! {
        #[test]
        fn codes_read_back(runs in prop::collection::vec((0_u32..70_000, 1_usize..100), 0..20), bits in 0_u32..15) {
            let codes: Vec<u32> =
                runs.iter().flat_map(|&(code, count)| std::iter::repeat_n(code & 0x1_ffff >> bits, count)).collect();
            let width = width(codes.iter().copied().max().unwrap_or(0));
            let mut out = Vec::new();
            encode(&codes, width, &mut out);
            prop_assert_eq!(decode(&out, width, codes.len()), codes);
        }
    }

    #[test]
    fn a_constant_column_is_one_run() {
        let mut out = Vec::new();
        encode(&vec![3; 65_536], 2, &mut out);
        assert_eq!(out.len(), 4);
    }
}
