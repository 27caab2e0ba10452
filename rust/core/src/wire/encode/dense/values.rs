//! The values of a grid, series by series, in groups of one scale.

use super::bits::BitWriter;
use super::sequence::Plan;
use crate::wire::dense::head::{Head, Lead, Scale};
use crate::wire::proto::put_varint;

/// A group's head and its count of series, about.
const GROUP_BITS: usize = 16;

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

/// Series of one scale that are not written yet but for their bits.
#[derive(Default)]
struct Group {
    scale: Option<Scale>,
    series: usize,
    leads: Vec<u8>,
    /// The numbers of series of one value.
    numbers: Vec<i64>,
}

impl ValueWriter {
    /// The heads and the bits of values that stand in rounds of so many series.
    pub(super) fn write(&mut self, values: &[f64], series: usize) -> (&[u8], &[u8]) {
        self.heads.clear();
        self.bits.clear();
        let mut place = 0;
        while place < series {
            let alike = series_alike(values, series, place);
            if alike > 1 {
                self.put_alike(values[place], alike);
                place += alike;
                continue;
            }
            self.values.clear();
            self.values.extend(values[place..].iter().step_by(series));
            self.put_series();
            place += 1;
        }
        self.close_group();
        (&self.heads, self.bits.finish())
    }

    /// Appends a group of series whose values are all the same.
    fn put_alike(&mut self, value: f64, series: usize) {
        self.close_group();
        self.values.clear();
        self.values.push(value);
        let (scale, plan) = self.plan(None);
        self.heads.push(Head { scale, joined: true }.byte());
        put_varint(&mut self.heads, series as u64);
        self.heads.push(Lead { steps: false, width: 0 }.byte());
        plan.put(&self.numbers, scale, &mut self.heads, &mut self.bits);
    }

    /// Adds the series at hand to the group, or begins another for it.
    fn put_series(&mut self) {
        let (scale, plan) = self.plan(self.group.scale);
        if self.group.scale != Some(scale) {
            self.close_group();
            self.group.scale = Some(scale);
        }
        plan.put(&self.numbers, scale, &mut self.group.leads, &mut self.bits);
        self.group.series += 1;
        if let [number] = self.numbers[..] {
            self.group.numbers.push(number);
        }
    }

    fn close_group(&mut self) {
        let Self { heads, bits, group, .. } = self;
        let Some(scale) = group.scale.take() else { return };
        let mut joined = false;
        if group.numbers.len() > 1 {
            let plan = Plan::of(&group.numbers, scale);
            joined = plan.cost_bits < 8 * group.leads.len();
            if joined {
                group.leads.clear();
                plan.put(&group.numbers, scale, &mut group.leads, bits);
            }
        }
        heads.push(Head { scale, joined }.byte());
        put_varint(heads, group.series as u64);
        heads.extend_from_slice(&group.leads);
        group.series = 0;
        group.leads.clear();
        group.numbers.clear();
    }

    /// Chooses the scale of the series at hand, the group's where another would not pay for its group; leaves its numbers.
    fn plan(&mut self, current: Option<Scale>) -> (Scale, Plan) {
        let mut best = None;
        if let Some(scale) = current
            && numbers(&self.values, scale, &mut self.numbers)
        {
            let plan = Plan::of(&self.numbers, scale);
            if plan.cost_bits <= GROUP_BITS {
                return (scale, plan);
            }
            best = Some((scale, plan));
        }
        let decimal = shortest_decimal(&self.values).map(Scale::Decimal);
        let binary = shortest_binary(&self.values).map(Scale::Binary);
        let others = [decimal, binary, Some(Scale::Raw)].into_iter().flatten();
        for scale in others {
            // Nothing else is as long as the bits themselves.
            if Some(scale) == current || (scale == Scale::Raw && best.is_some()) {
                continue;
            }
            if !numbers(&self.values, scale, &mut self.other_numbers) {
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
}

/// How many series from here on have this one's value, always and only, if that is worth a group; else 1.
fn series_alike(values: &[f64], series: usize, place: usize) -> usize {
    let first = values[place].to_bits();
    let constant = |place: usize| values[place..].iter().step_by(series).all(|value| value.to_bits() == first);
    let alike = (place..series).take_while(|&place| constant(place)).count();
    let alone_bytes = if first == 0 { 1 } else { 3 };
    let lead_bytes = usize::from(values.len() > series);
    // A group of its own takes its head, count and lead, and mostly the group at hand is taken up again behind it.
    if alike * (alone_bytes + lead_bytes) > alone_bytes + 5 { alike } else { 1 }
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
            // What no exponent up to here makes whole, none does: whoever has fewer digits has those with zeros behind, too.
            shortest = Some(longest).filter(is_whole).and_then(|_| (shortest + 1..=longest).find(is_whole))?;
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
