//! The values of dense columns: groups of series of one scale, and the bits that their numbers differ in.

use super::bits::Bits;
use crate::wire::decode::fault::Fault;
use crate::wire::dense::WIDTH_MAX;
use crate::wire::dense::scale::{Scale, divisor, power_of_two};
use crate::wire::proto::{Reader, WireFault};

/// Reads the values of so many series in as many rounds as there are places for.
pub(super) fn fill(heads: &[u8], bits: &[u8], values: &mut [f64], series: usize) -> Result<(), Fault> {
    let mut reader =
        ValueReader { heads: Reader::new(heads), bits: Bits::new(bits), series, rounds: values.len() / series };
    let mut first = 0;
    while first < series {
        let byte = reader.heads.byte()?;
        let scale = Scale::parse(byte).ok_or(Fault::DenseScale(byte))?;
        let group = usize::try_from(reader.heads.varint()?).unwrap_or(usize::MAX);
        if group == 0 || group > series - first {
            return Err(Fault::DenseGroup);
        }
        for place in first..first + group {
            reader.series(scale, &mut values[place..])?;
        }
        first += group;
    }
    if reader.heads.at_end() && reader.bits.at_end() { Ok(()) } else { Err(Fault::DenseBytesBehind) }
}

struct ValueReader<'a> {
    heads: Reader<'a>,
    bits: Bits<'a>,
    series: usize,
    rounds: usize,
}

impl ValueReader<'_> {
    /// Reads the values of one series, whose first place comes first.
    #[inline]
    fn series(&mut self, scale: Scale, values: &mut [f64]) -> Result<(), Fault> {
        match scale {
            Scale::Decimal(exponent) => {
                let divisor = divisor(exponent);
                self.numbers(scale, values, |number| number as f64 / divisor)
            }
            Scale::Binary(exponent) => {
                let factor = power_of_two(exponent);
                self.numbers(scale, values, |number| number as f64 * factor)
            }
            Scale::Raw => self.numbers(scale, values, |number| f64::from_bits(number as u64)),
        }
    }

    #[inline]
    fn numbers(&mut self, scale: Scale, values: &mut [f64], value: impl Fn(i64) -> f64) -> Result<(), Fault> {
        // Of a single number nothing is above the least.
        let width = if self.rounds == 1 { 0 } else { self.heads.byte()? };
        if width > WIDTH_MAX {
            return Err(Fault::DenseWidth(width));
        }
        let least = if scale == Scale::Raw { self.heads.fixed64()? as i64 } else { self.heads.sint64()? };
        let places = values.iter_mut().step_by(self.series);
        if width == 0 {
            let only = value(least);
            places.for_each(|place| *place = only);
        } else if self.bits.has(self.rounds, width) {
            self.bits.each(width, places, |place, above| *place = value(least.wrapping_add(above as i64)));
        } else {
            return Err(WireFault::Truncated.into());
        }
        Ok(())
    }
}
