//! A set of sequences as few ranges: what an agent that counts 1, 2, 3, … leaves behind is one range.

use std::collections::BTreeMap;

/// Ascending, disjoint and not adjacent inclusive ranges, keyed by their first element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// True when the value is in the set.
    #[must_use]
    pub fn contains(&self, value: u64) -> bool {
        self.0.range(..=value).next_back().is_some_and(|(_, &last)| value <= last)
    }

    /// Number of ranges.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.0.len()
    }

    /// The ranges, ascending, both ends included.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&first, &last)| (first, last))
    }

    /// Adds one value.
    pub fn insert(&mut self, value: u64) {
        self.insert_range(value, value);
    }

    /// Adds every value from `first` to `last`, both included; nothing when `first` is above `last`.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        if let Some((&left, &left_last)) = self.0.range(..=first).next_back()
            && left_last >= first.saturating_sub(1)
        {
            first = left;
            last = last.max(left_last);
        }
        while let Some((&right, &right_last)) = self.0.range(first..).next() {
            if right > last.saturating_add(1) {
                break;
            }
            last = last.max(right_last);
            self.0.remove(&right);
        }
        self.0.insert(first, last);
    }

    /// Takes one value out.
    pub fn remove(&mut self, value: u64) {
        let Some((&first, &last)) = self.0.range(..=value).next_back().filter(|&(_, &last)| value <= last) else {
            return;
        };
        self.0.remove(&first);
        if first < value {
            self.0.insert(first, value - 1);
        }
        if value < last {
            self.0.insert(value + 1, last);
        }
    }

    /// True when adding the value would make one range more.
    #[must_use]
    pub fn would_grow(&self, value: u64) -> bool {
        match self.0.range(..=value).next_back() {
            Some((_, &last)) if last >= value.saturating_sub(1) => false,
            _ => value == u64::MAX || !self.0.contains_key(&(value + 1)),
        }
    }

    /// Forgets every value below `floor`.
    pub fn forget_below(&mut self, floor: u64) {
        while let Some((&first, &last)) = self.0.first_key_value() {
            if first >= floor {
                break;
            }
            self.0.remove(&first);
            if last >= floor {
                self.0.insert(floor, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u64),
        InsertRange(u64, u64),
        Remove(u64),
        ForgetBelow(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0..200_u64).prop_map(Operation::Insert),
            (0..200_u64, 0..20_u64).prop_map(|(first, length)| Operation::InsertRange(first, first + length)),
            (0..200_u64).prop_map(Operation::Remove),
            (0..200_u64).prop_map(Operation::ForgetBelow),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_plain_set_and_stays_normalised(operations in prop::collection::vec(operation(), 0..60)) {
            let mut ranges = RangeSet::default();
            let mut model = BTreeSet::new();
            for operation in operations {
                match operation {
                    Operation::Insert(value) => {
                        let (grows, before) = (ranges.would_grow(value), ranges.ranges());
                        ranges.insert(value);
                        model.insert(value);
                        prop_assert_eq!(grows, ranges.ranges() > before);
                    }
                    Operation::Remove(value) => {
                        ranges.remove(value);
                        model.remove(&value);
                    }
                    Operation::InsertRange(first, last) => {
                        ranges.insert_range(first, last);
                        model.extend(first..=last);
                    }
                    Operation::ForgetBelow(floor) => {
                        ranges.forget_below(floor);
                        model = model.split_off(&floor);
                    }
                }
                let listed: BTreeSet<u64> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
                prop_assert_eq!(&listed, &model);
                for probe in 0..230 {
                    prop_assert_eq!(ranges.contains(probe), model.contains(&probe));
                }
                let ends: Vec<_> = ranges.iter().collect();
                prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "adjacent ranges are one range");
            }
        }
    }

    #[test]
    fn the_largest_number_is_a_number_like_any_other() {
        let mut ranges = RangeSet::default();
        ranges.insert(u64::MAX);
        ranges.insert(u64::MAX - 1);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(u64::MAX - 1, u64::MAX)]);
        ranges.forget_below(u64::MAX);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(u64::MAX, u64::MAX)]);
    }
}
