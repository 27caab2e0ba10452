//! The dense form of `PointColumns` read another way: naively, with wide numbers and lists, straight from the words of
//! `docs/wire-protocol.md`. It shares nothing with the decoder that it is compared with.

use crate::wire::decode::{KeptReference, Reference, References};

/// The dense fields of one message, and the ids beside them.
pub(super) struct DenseFields<'a> {
    pub(super) ids: &'a [u32],
    pub(super) points: u32,
    pub(super) series_runs: &'a [u8],
    pub(super) time_runs: &'a [u8],
    pub(super) value_heads: &'a [u8],
    pub(super) value_bits: &'a [u8],
    pub(super) references: u32,
}

/// What the columns of messages say.
#[derive(Default)]
pub(super) struct Said {
    /// Id, time (0: that of receipt) and bits of the value of each point.
    pub(super) points: Vec<(u32, i64, u64)>,
    /// Id, scale and number of what becomes a reference.
    pub(super) kept: Vec<(u32, u8, i64)>,
    /// Some value is told by a reference that there is not, or kept beside others than there are.
    pub(super) unknown: bool,
}

/// The version of the references that every stream of these tests has.
pub(super) const VERSION: u32 = 3;

/// The reference of a series, of every fifth one none.
pub(super) fn reference(id: u32) -> Option<(u8, i64)> {
    let scales = [0, 2, 22, 63, 64, 96, 127];
    let number = i64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> (id % 64);
    (!id.is_multiple_of(5)).then_some((scales[id as usize % scales.len()], number))
}

/// The same for the decoder.
pub(super) struct Fixed;

impl References for Fixed {
    fn version(&self) -> u32 {
        VERSION
    }

    fn reference(&self, id: u32) -> Option<Reference> {
        reference(id).map(|(scale, number)| Reference { scale, number })
    }
}

impl Said {
    pub(super) fn add(&mut self, other: Self) {
        self.points.extend(other.points);
        self.kept.extend(other.kept);
        self.unknown |= other.unknown;
    }
}

/// What the decoder keeps, in the same words.
pub(super) fn triple(kept: &KeptReference) -> (u32, u8, i64) {
    (kept.id, kept.reference.scale, kept.reference.number)
}

/// `None` when it is malformed.
pub(super) fn said_by(fields: &DenseFields<'_>) -> Option<Said> {
    let points = fields.points as usize;
    let [first_id] = fields.ids else { return None };
    if !(1..=1 << 20).contains(&points) {
        return None;
    }
    let ids = runs(i128::from(*first_id), fields.series_runs, points)?;
    let ids = ids.into_iter().map(|id| u32::try_from(id).ok()).collect::<Option<Vec<_>>>()?;
    let times = times(fields.time_runs, points)?;
    let rounds = points / ids.len();
    if ids.len() * rounds != points || ![1, rounds, points].contains(&times.len()) {
        return None;
    }
    let mut said = Said::default();
    let values = values(fields, &ids, rounds, &mut said)?;
    let place = |point: usize| (point / ids.len(), point % ids.len());
    let points = (0..points).map(|point| {
        let (round, series) = place(point);
        (ids[series], times[point / (points / times.len())], values[series][round])
    });
    said.points = points.collect();
    Some(said)
}

struct Front<'a>(&'a [u8]);

impl Front<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u128;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(number as u64);
            }
        }
        None
    }

    fn sint64(&mut self) -> Option<i64> {
        self.varint().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

/// The first number and what the runs add to it; at most so many, and all in 64 bits.
fn runs(first: i128, bytes: &[u8], most: usize) -> Option<Vec<i128>> {
    let mut numbers = vec![first];
    let (mut front, mut step) = (Front(bytes), 0_i128);
    while !front.0.is_empty() {
        step += i128::from(front.sint64()?);
        i64::try_from(step).ok()?;
        let further = front.varint()?;
        for _ in 0..=further {
            if numbers.len() > most {
                return None;
            }
            numbers.push(numbers.last()? + step);
            i64::try_from(*numbers.last()?).ok()?;
        }
    }
    Some(numbers)
}

fn times(bytes: &[u8], most: usize) -> Option<Vec<i64>> {
    if bytes.is_empty() {
        return Some(vec![0]);
    }
    let mut front = Front(bytes);
    let first = front.sint64()?;
    let times = runs(i128::from(first), front.0, most)?;
    Some(times.into_iter().map(|time| if time == 0 { 1 } else { time as i64 }).collect())
}

/// The bits of the values of each series, round by round.
fn values(fields: &DenseFields<'_>, ids: &[u32], rounds: usize, said: &mut Said) -> Option<Vec<Vec<u64>>> {
    let series = ids.len();
    let mut heads = Front(fields.value_heads);
    let bits = fields.value_bits.iter().flat_map(|byte| (0..8).map(move |place| byte >> place & 1)).collect::<Vec<_>>();
    let mut bit = 0;
    let mut number_of = |width: usize| {
        let number = bits.get(bit..bit + width)?.iter().rev().fold(0_u64, |number, &bit| number << 1 | u64::from(bit));
        bit += width;
        Some(number)
    };
    let mut values = Vec::new();
    while values.len() < series {
        let code = heads.byte()?;
        let group = heads.varint()?;
        if group == 0 || group > (series - values.len()) as u64 {
            return None;
        }
        for _ in 0..group {
            let width = if rounds == 1 { 0 } else { heads.byte()? };
            let id = ids[values.len()];
            let (scale, least) = match code % 128 {
                scale @ (0..=22 | 64..=127) => (scale, heads.sint64()?),
                63 => {
                    let bytes = (0..8).map(|_| heads.byte()).collect::<Option<Vec<_>>>()?;
                    (63, u64::from_le_bytes(bytes.try_into().ok()?) as i64)
                }
                32 => {
                    let mut distance = 0;
                    if number_of(1)? == 1 {
                        let digits = number_of(3)? as usize + 1;
                        distance = number_of(4 * digits)?;
                    }
                    let distance = (distance >> 1) as i64 ^ -((distance & 1) as i64);
                    let known = reference(id).filter(|_| fields.references == VERSION);
                    said.unknown |= known.is_none();
                    let (scale, number) = known.unwrap_or((0, 0));
                    (scale, number.wrapping_add(distance))
                }
                _ => return None,
            };
            if code >= 128 {
                said.unknown |= fields.references != VERSION;
                said.kept.push((id, scale, least));
            }
            if width > 64 {
                return None;
            }
            let numbers = (0..rounds).map(|_| Some(least.wrapping_add(number_of(width.into())? as i64)));
            values.push(numbers.map(|number| Some(value(scale, number?).to_bits())).collect::<Option<Vec<_>>>()?);
        }
    }
    (heads.0.is_empty() && bit.div_ceil(8) == fields.value_bits.len()).then_some(values)
}

fn value(scale: u8, number: i64) -> f64 {
    match scale {
        0..=22 => number as f64 / format!("1e{scale}").parse::<f64>().expect("a double"),
        63 => f64::from_bits(number as u64),
        _ => number as f64 * 2_f64.powi(i32::from(scale) - 96),
    }
}
