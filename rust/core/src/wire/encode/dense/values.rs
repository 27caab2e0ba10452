//! The values of a grid, series by series, in groups of one scale.

use super::bits::BitWriter;
use super::references::SentReferences;
use crate::wire::dense::scale::Scale;
use crate::wire::dense::{DISTANCE, KEPT};
use crate::wire::proto::{put_varint, varint_len, zigzag};

/// What a group begins with, about: another scale that saves less does not pay.
const GROUP_BITS: usize = 16;

/// From this power of ten on, a decimal may be a binary fraction with fewer bits.
const LONG_DECIMAL: u8 = 6;

/// Buffers that one grid after the other is written through.
#[derive(Default)]
pub(super) struct ValueWriter {
    heads: Vec<u8>,
    bits: BitWriter,
    group: Group,
    /// Values of the series at hand, and the numbers that stand for them.
    values: Vec<f64>,
    numbers: Vec<i64>,
    other_numbers: Vec<i64>,
}

/// Series of one scale that are not in the heads yet.
#[derive(Default)]
struct Group {
    /// What it begins with; `None` for no group.
    code: Option<u8>,
    series: usize,
    heads: Vec<u8>,
}

/// How the numbers of a series are told.
#[derive(Clone, Copy)]
struct Plan {
    least: i64,
    width: u8,
    cost_bits: usize,
}

impl ValueWriter {
    /// The heads and the bits of values that stand in rounds of these series.
    pub(super) fn write(
        &mut self,
        values: &[f64],
        ids: &[u32],
        mut references: Option<&mut SentReferences>,
    ) -> (&[u8], &[u8]) {
        self.heads.clear();
        self.bits.clear();
        let distance_code = match &references {
            Some(references) if references.are_due(ids) => DISTANCE | KEPT,
            _ => DISTANCE,
        };
        for (place, &id) in ids.iter().enumerate() {
            self.values.clear();
            self.values.extend(values[place..].iter().step_by(ids.len()));
            if let Some(references) = references.as_deref_mut() {
                self.put_by_references(id, references, distance_code);
            } else {
                let (scale, plan) = self.plan(self.group.scale());
                self.put_series(scale.byte(), scale, plan);
            }
        }
        self.close_group();
        (&self.heads, self.bits.finish())
    }

    /// Adds the series at hand as a distance from its reference, or in full and to be its reference from now on.
    fn put_by_references(&mut self, id: u32, references: &mut SentReferences, distance_code: u8) {
        let kept = references.scale(id).filter(|&scale| numbers(&self.values, scale, &mut self.numbers));
        let (scale, plan) = match kept {
            Some(scale) => {
                let plan = Plan::of(&self.numbers, scale);
                if let Some(distance) = references.distance(id, plan.least) {
                    if distance_code & KEPT != 0 {
                        references.keep(id, scale, plan.least);
                    }
                    self.join_group(distance_code);
                    self.put_width(plan.width);
                    self.bits.put_distance(distance);
                    self.put_numbers(plan);
                    return;
                }
                if scale == Scale::Raw {
                    self.plan(None)
                } else {
                    // The scale stays: other values of the series needed its digits.
                    (scale, plan)
                }
            }
            // Of a single value nearly all is told by distances, which are short by the scale that suits it, whatever its
            // neighbours have.
            None => self.plan(if self.values.len() == 1 { None } else { self.group.scale() }),
        };
        references.keep(id, scale, plan.least);
        self.put_series(scale.byte() | KEPT, scale, plan);
    }

    /// Adds the series at hand in full.
    fn put_series(&mut self, code: u8, scale: Scale, plan: Plan) {
        self.join_group(code);
        self.put_width(plan.width);
        let heads = &mut self.group.heads;
        if scale == Scale::Raw {
            heads.extend_from_slice(&plan.least.to_le_bytes());
        } else {
            put_varint(heads, zigzag(plan.least));
        }
        self.put_numbers(plan);
    }

    /// Begins another group where the one at hand has another code.
    fn join_group(&mut self, code: u8) {
        if self.group.code != Some(code) {
            self.close_group();
            self.group.code = Some(code);
        }
        self.group.series += 1;
    }

    fn put_width(&mut self, width: u8) {
        if self.numbers.len() > 1 {
            self.group.heads.push(width);
        }
    }

    fn put_numbers(&mut self, Plan { least, width, .. }: Plan) {
        if width > 0 {
            for &number in &self.numbers {
                self.bits.put(number.wrapping_sub(least) as u64, width);
            }
        }
    }

    fn close_group(&mut self) {
        let Some(code) = self.group.code.take() else { return };
        self.heads.push(code);
        put_varint(&mut self.heads, self.group.series as u64);
        self.heads.append(&mut self.group.heads);
        self.group.series = 0;
    }

    /// Chooses the scale of the series at hand, the group's where another would not pay for its group; leaves its numbers.
    fn plan(&mut self, current: Option<Scale>) -> (Scale, Plan) {
        let mut best = None;
        if let Some(scale) = current
            && numbers(&self.values, scale, &mut self.numbers)
        {
            let plan = Plan::of(&self.numbers, scale);
            if plan.cost_bits <= GROUP_BITS || !self.may_be_shorter(scale) {
                return (scale, plan);
            }
            best = Some((scale, plan));
        }
        let decimal = shortest_decimal(&self.values).map(Scale::Decimal);
        let binary = shortest_binary(&self.values).map(Scale::Binary);
        for scale in [decimal, binary, Some(Scale::Raw)].into_iter().flatten() {
            // Nothing else is as long as the bits themselves.
            let is_last = scale == Scale::Raw && best.is_some();
            if is_last || Some(scale) == current || !numbers(&self.values, scale, &mut self.other_numbers) {
                continue;
            }
            let plan = Plan::of(&self.other_numbers, scale);
            if best.is_none_or(|(kept, best)| {
                let extra_bits = if Some(kept) == current { GROUP_BITS } else { 0 };
                plan.cost_bits + extra_bits < best.cost_bits
            }) {
                best = Some((scale, plan));
                std::mem::swap(&mut self.numbers, &mut self.other_numbers);
            }
        }
        best.expect("bits stand for every double")
    }

    /// False when the numbers at hand are the shortest that there are: neither tens nor powers of two divide them all.
    fn may_be_shorter(&self, scale: Scale) -> bool {
        match scale {
            // Whole numbers are the multiples of a power of two where the low bits of all of them are zeros.
            Scale::Decimal(0) => self.numbers.iter().all(|number| number % 4 == 0),
            // Few digits are few bits.
            Scale::Decimal(..LONG_DECIMAL) => self.numbers.iter().all(|number| number % 10 == 0),
            Scale::Decimal(_) | Scale::Binary(_) | Scale::Raw => true,
        }
    }
}

impl Group {
    /// The scale of its numbers; `None` where each has its own.
    fn scale(&self) -> Option<Scale> {
        Scale::parse(self.code? & !KEPT)
    }
}

impl Plan {
    fn of(numbers: &[i64], scale: Scale) -> Self {
        let (mut least, mut most) = (numbers[0], numbers[0]);
        for &number in &numbers[1..] {
            least = least.min(number);
            most = most.max(number);
        }
        let width = 64 - (most.wrapping_sub(least) as u64).leading_zeros();
        let least_bytes = if scale == Scale::Raw { 8 } else { varint_len(zigzag(least)) };
        Self { least, width: width as u8, cost_bits: 8 * least_bytes + numbers.len() * width as usize }
    }
}

/// The numbers that stand for values by a scale; false when some value has none.
fn numbers(values: &[f64], scale: Scale, out: &mut Vec<i64>) -> bool {
    out.clear();
    out.extend(values.iter().map_while(|&value| scale.number(value)));
    out.len() == values.len()
}

/// The smallest power of ten that makes whole numbers of all values.
fn shortest_decimal(values: &[f64]) -> Option<u8> {
    let mut shortest = 0;
    for &value in values {
        let is_whole = |&exponent: &u8| Scale::Decimal(exponent).number(value).is_some();
        if !is_whole(&shortest) {
            let longest = longest_exponent(value);
            // What neither of these makes whole, none does: whoever has fewer digits has those with zeros behind, too. The
            // product with the longest may be half a unit off, which the one before it shows.
            if !is_whole(&longest) && !is_whole(&longest.saturating_sub(1)) {
                return None;
            }
            shortest = (shortest + 1..=longest).find(is_whole)?;
        }
    }
    Some(shortest)
}

/// The largest power of ten with which a value is below 2^53, where every whole number is a double.
fn longest_exponent(value: f64) -> u8 {
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1_023;
    // 1,233 / 4,096 is a little below the logarithm of 2.
    let digits = (52 - exponent).max(0) * 1_233 / 4_096;
    digits.min(i32::from(Scale::DECIMAL_MAX)) as u8
}

/// The largest power of two that all values are multiples of; none where they differ too much in size, or are no numbers.
fn shortest_binary(values: &[f64]) -> Option<i8> {
    let mut shortest = Scale::BINARY_MAX;
    for value in values {
        let bits = value.to_bits();
        if bits != 0 {
            // A double is its lowest bit that is set, or a multiple of it.
            let zeros = (bits | 1 << 52).trailing_zeros() as i32;
            let exponent = (bits >> 52 & 0x7ff) as i32 - 1_075 + zeros;
            if exponent < i32::from(Scale::BINARY_MIN) {
                return None;
            }
            shortest = shortest.min(exponent.min(i32::from(Scale::BINARY_MAX)) as i8);
        }
    }
    Some(shortest)
}
