//! The values of dense columns: groups of series, each with its scale, and the bits that their numbers differ in.

use super::bits::Bits;
use crate::wire::decode::fault::Fault;
use crate::wire::dense::head::{Head, Lead, Scale, divisor, power_of_two};
use crate::wire::proto::{Reader, WireFault};

/// Reads the values of so many series in as many rounds as there are places for.
pub(super) fn fill(heads: &[u8], bits: &[u8], values: &mut [f64], series: usize) -> Result<(), Fault> {
    let mut reader = ValueReader { heads: Reader::new(heads), bits: Bits::new(bits) };
    let rounds = values.len() / series;
    let mut first = 0;
    while first < series {
        let byte = reader.heads.byte()?;
        let Head { scale, joined } = Head::parse(byte).ok_or(Fault::DenseHead(byte))?;
        let group = usize::try_from(reader.heads.varint()?).unwrap_or(usize::MAX);
        if group == 0 || group > series - first {
            return Err(Fault::DenseGroup);
        }
        if joined {
            let (mut place, mut round) = (first, 0);
            reader.sequence(scale, group * rounds, |_, value| {
                values[round * series + place] = value;
                round += 1;
                if round == rounds {
                    (place, round) = (place + 1, 0);
                }
            })?;
        } else {
            for place in first..first + group {
                let of_series = &mut values[place..];
                reader.sequence(scale, rounds, |round, value| of_series[round * series] = value)?;
            }
        }
        first += group;
    }
    if reader.heads.at_end() && reader.bits.at_end() { Ok(()) } else { Err(Fault::DenseBytesBehind) }
}

struct ValueReader<'a> {
    heads: Reader<'a>,
    bits: Bits<'a>,
}

impl ValueReader<'_> {
    /// Reads one sequence of values; `put` is told the place of each.
    #[inline]
    fn sequence(&mut self, scale: Scale, values: usize, mut put: impl FnMut(usize, f64)) -> Result<(), Fault> {
        match scale {
            Scale::Decimal(exponent) => {
                let divisor = divisor(exponent);
                self.numbers(scale, values, |place, number| put(place, number as f64 / divisor))
            }
            Scale::Binary(exponent) => {
                let factor = power_of_two(exponent);
                self.numbers(scale, values, |place, number| put(place, number as f64 * factor))
            }
            Scale::Raw => self.numbers(scale, values, |place, number| put(place, f64::from_bits(number as u64))),
        }
    }

    #[inline]
    fn numbers(&mut self, scale: Scale, numbers: usize, mut put: impl FnMut(usize, i64)) -> Result<(), Fault> {
        let lead = if numbers == 1 {
            Lead { steps: false, width: 0 }
        } else {
            let byte = self.heads.byte()?;
            Lead::parse(byte).ok_or(Fault::DenseWidth(byte & 0x7f))?
        };
        let base = self.number(scale)?;
        let (least, told) = if lead.steps { (self.heads.sint64()?, numbers - 1) } else { (base, numbers) };
        if !self.bits.has(told, lead.width) {
            return Err(WireFault::Truncated.into());
        }
        if lead.steps {
            let mut number = base;
            put(0, number);
            self.bits.each(told, lead.width, |place, step| {
                number = number.wrapping_add(least).wrapping_add(step as i64);
                put(place + 1, number);
            });
        } else {
            self.bits.each(told, lead.width, |place, above| put(place, least.wrapping_add(above as i64)));
        }
        Ok(())
    }

    /// A number that stands by itself.
    #[inline]
    fn number(&mut self, scale: Scale) -> Result<i64, Fault> {
        if scale == Scale::Raw { Ok(self.heads.fixed64()? as i64) } else { Ok(self.heads.sint64()?) }
    }
}
