//! One sequence of numbers: how it is told in the fewest bits.

use super::bits::BitWriter;
use crate::wire::dense::head::{Lead, Scale};
use crate::wire::proto::{put_varint, varint_len, zigzag};

/// How a sequence is told, and what that takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    lead: Lead,
    first: i64,
    /// The least number, or the least step.
    least: i64,
    pub(super) cost_bits: usize,
}

impl Plan {
    /// The cheaper of two ways: how far each number is above the least, or each step above the least step.
    pub(super) fn of(numbers: &[i64], scale: Scale) -> Self {
        let first = numbers[0];
        if numbers.len() == 1 {
            let lead = Lead { steps: false, width: 0 };
            return Self { lead, first, least: first, cost_bits: 8 * alone_bytes(first, scale) };
        }
        let (mut least, mut most) = (first, first);
        let (mut least_step, mut most_step) = (i64::MAX, i64::MIN);
        let mut before = first;
        for &number in &numbers[1..] {
            least = least.min(number);
            most = most.max(number);
            let step = number.wrapping_sub(before);
            least_step = least_step.min(step);
            most_step = most_step.max(step);
            before = number;
        }
        let width = width_of(most.wrapping_sub(least) as u64);
        let step_width = width_of(most_step.wrapping_sub(least_step) as u64);
        let cost_bits = 8 * (1 + alone_bytes(least, scale)) + numbers.len() * usize::from(width);
        let step_bits = 8 * (1 + alone_bytes(first, scale) + varint_len(zigzag(least_step)))
            + (numbers.len() - 1) * usize::from(step_width);
        if step_bits < cost_bits {
            let lead = Lead { steps: true, width: step_width };
            Self { lead, first, least: least_step, cost_bits: step_bits }
        } else {
            let lead = Lead { steps: false, width };
            Self { lead, first: least, least, cost_bits }
        }
    }

    /// Appends the sequence.
    pub(super) fn put(&self, numbers: &[i64], scale: Scale, leads: &mut Vec<u8>, bits: &mut BitWriter) {
        if numbers.len() > 1 {
            leads.push(self.lead.byte());
        }
        put_alone(leads, self.first, scale);
        let Lead { steps, width } = self.lead;
        if steps {
            put_varint(leads, zigzag(self.least));
            for pair in numbers.windows(2) {
                bits.put(pair[1].wrapping_sub(pair[0]).wrapping_sub(self.least) as u64, width);
            }
        } else if width > 0 {
            for &number in numbers {
                bits.put(number.wrapping_sub(self.least) as u64, width);
            }
        }
    }
}

fn width_of(number: u64) -> u8 {
    (64 - number.leading_zeros()) as u8
}

/// Bytes of a number that stands by itself.
fn alone_bytes(number: i64, scale: Scale) -> usize {
    if scale == Scale::Raw { 8 } else { varint_len(zigzag(number)) }
}

fn put_alone(out: &mut Vec<u8>, number: i64, scale: Scale) {
    if scale == Scale::Raw {
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        put_varint(out, zigzag(number));
    }
}
