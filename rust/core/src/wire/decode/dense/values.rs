//! The values of dense columns: groups of series of one scale, and the bits that their numbers differ in.

use std::ops::Range;

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
            Some(scale) if byte & KEPT == 0 => reader.group(scale, places, values, |_, _| {})?,
            Some(scale) => reader.group(scale, places, values, |place, least| {
                references.keep(ids[place], scale, least);
            })?,
            None => reader.distances(places, values, ids, byte & KEPT != 0, references)?,
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
    /// Reads the values of series whose least numbers are told in full, and hands those over.
    fn group(
        &mut self,
        scale: Scale,
        places: Range<usize>,
        values: &mut [f64],
        mut took: impl FnMut(usize, i64),
    ) -> Result<(), Fault> {
        match scale {
            Scale::Decimal(exponent) => {
                let divisor = divisor(exponent);
                for place in places {
                    let (width, least) = (self.width()?, self.heads.sint64()?);
                    self.numbers(width, least, &mut values[place..], |number| number as f64 / divisor)?;
                    took(place, least);
                }
            }
            Scale::Binary(exponent) => {
                let factor = power_of_two(exponent);
                for place in places {
                    let (width, least) = (self.width()?, self.heads.sint64()?);
                    self.numbers(width, least, &mut values[place..], |number| number as f64 * factor)?;
                    took(place, least);
                }
            }
            Scale::Raw => {
                for place in places {
                    let (width, least) = (self.width()?, self.heads.fixed64()? as i64);
                    self.numbers(width, least, &mut values[place..], |number| f64::from_bits(number as u64))?;
                    took(place, least);
                }
            }
        }
        Ok(())
    }

    /// Reads the values of series whose least numbers are told as distances from their references.
    fn distances(
        &mut self,
        places: Range<usize>,
        values: &mut [f64],
        ids: &[u32],
        kept: bool,
        references: &mut Told<'_>,
    ) -> Result<(), Fault> {
        for place in places {
            let width = self.width()?;
            let (scale, reference) = references.of(ids[place]);
            let least = reference.wrapping_add(self.bits.distance().ok_or(WireFault::Truncated)?);
            let values = &mut values[place..];
            match scale {
                Scale::Decimal(exponent) => {
                    self.numbers(width, least, values, |number| number as f64 / divisor(exponent))?;
                }
                Scale::Binary(exponent) => {
                    self.numbers(width, least, values, |number| number as f64 * power_of_two(exponent))?;
                }
                Scale::Raw => self.numbers(width, least, values, |number| f64::from_bits(number as u64))?,
            }
            if kept {
                references.keep(ids[place], scale, least);
            }
        }
        Ok(())
    }

    /// Of a single number nothing is above the least.
    #[inline]
    fn width(&mut self) -> Result<u8, Fault> {
        let width = if self.rounds == 1 { 0 } else { self.heads.byte()? };
        if width > WIDTH_MAX { Err(Fault::DenseWidth(width)) } else { Ok(width) }
    }

    /// Reads what the values of one series, whose first place comes first, are above the least number.
    #[inline]
    fn numbers(&mut self, width: u8, least: i64, values: &mut [f64], value: impl Fn(i64) -> f64) -> Result<(), Fault> {
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
