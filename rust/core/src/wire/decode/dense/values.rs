//! The values of dense columns: groups of series of one scale, and the bits that their numbers differ in.

use super::bits::Bits;
use crate::wire::decode::fault::Fault;
use crate::wire::decode::references::Told;
use crate::wire::dense::scale::{Scale, divisor, power_of_two};
use crate::wire::dense::{DISTANCE, KEPT, WIDTH_MAX};
use crate::wire::proto::{Reader, WireFault};

/// Reads the values of these series in as many rounds as there are places for.
pub(super) fn fill(
    heads: &[u8],
    bits: &[u8],
    ids: &[u32],
    values: &mut [f64],
    references: &mut Told<'_>,
) -> Result<(), Fault> {
    let series = ids.len();
    let mut reader =
        ValueReader { heads: Reader::new(heads), bits: Bits::new(bits), series, rounds: values.len() / series };
    let mut first = 0;
    while first < series {
        let byte = reader.heads.byte()?;
        let scale = match byte & !KEPT {
            DISTANCE => None,
            scale => Some(Scale::parse(scale).ok_or(Fault::DenseScale(byte))?),
        };
        let group = usize::try_from(reader.heads.varint()?).unwrap_or(usize::MAX);
        if group == 0 || group > series - first {
            return Err(Fault::DenseGroup);
        }
        let places = first..first + group;
        match scale {
            Some(scale) if byte & KEPT == 0 => {
                for place in places {
                    reader.series(scale, &mut values[place..])?;
                }
            }
            Some(scale) => {
                for place in places {
                    let least = reader.series(scale, &mut values[place..])?;
                    references.keep(ids[place], scale, least);
                }
            }
            None => {
                for place in places {
                    let (scale, reference) = references.of(ids[place]);
                    let least = reader.distance(scale, reference, &mut values[place..])?;
                    if byte & KEPT != 0 {
                        references.keep(ids[place], scale, least);
                    }
                }
            }
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
    /// Reads the values of one series, whose first place comes first; returns the least number.
    #[inline]
    fn series(&mut self, scale: Scale, values: &mut [f64]) -> Result<i64, Fault> {
        let width = self.width()?;
        let least = if scale == Scale::Raw { self.heads.fixed64()? as i64 } else { self.heads.sint64()? };
        self.numbers(scale, width, least, values)?;
        Ok(least)
    }

    /// The same of one whose least number is told as a distance from its reference.
    #[inline]
    fn distance(&mut self, scale: Scale, reference: i64, values: &mut [f64]) -> Result<i64, Fault> {
        let width = self.width()?;
        let least = reference.wrapping_add(self.bits.distance().ok_or(WireFault::Truncated)?);
        self.numbers(scale, width, least, values)?;
        Ok(least)
    }

    /// Of a single number nothing is above the least.
    #[inline]
    fn width(&mut self) -> Result<u8, Fault> {
        let width = if self.rounds == 1 { 0 } else { self.heads.byte()? };
        if width > WIDTH_MAX { Err(Fault::DenseWidth(width)) } else { Ok(width) }
    }

    #[inline]
    fn numbers(&mut self, scale: Scale, width: u8, least: i64, values: &mut [f64]) -> Result<(), Fault> {
        match scale {
            Scale::Decimal(exponent) => {
                let divisor = divisor(exponent);
                self.each(width, least, values, |number| number as f64 / divisor)
            }
            Scale::Binary(exponent) => {
                let factor = power_of_two(exponent);
                self.each(width, least, values, |number| number as f64 * factor)
            }
            Scale::Raw => self.each(width, least, values, |number| f64::from_bits(number as u64)),
        }
    }

    #[inline]
    fn each(&mut self, width: u8, least: i64, values: &mut [f64], value: impl Fn(i64) -> f64) -> Result<(), Fault> {
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
