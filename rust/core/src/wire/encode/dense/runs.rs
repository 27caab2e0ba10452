//! Numbers as runs of equal steps; see the decoder's half.

use crate::wire::proto::{put_varint, zigzag};

/// Appends the runs of what follows the first number. `None`, with some of them appended, when a step or the change of
/// one does not fit into 64 bits.
pub(super) fn put(out: &mut Vec<u8>, mut numbers: impl Iterator<Item = i64>) -> Option<()> {
    let mut before = numbers.next()?;
    let mut step = 0_i64;
    let mut further: Option<u64> = None;
    for number in numbers {
        let next = number.checked_sub(before)?;
        match &mut further {
            Some(further) if next == step => *further += 1,
            _ => {
                if let Some(further) = further {
                    put_varint(out, further);
                }
                put_varint(out, zigzag(next.checked_sub(step)?));
                (step, further) = (next, Some(0));
            }
        }
        before = number;
    }
    if let Some(further) = further {
        put_varint(out, further);
    }
    Some(())
}
