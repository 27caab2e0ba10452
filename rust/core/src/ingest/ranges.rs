//! A set of sequences as few ranges: what an agent that counts 1, 2, 3, … leaves behind is one range.

/// A set that has had this many times more ranges than it has now gives their room back.
const SPARE_RANGES_FACTOR: usize = 4;

/// Ascending, disjoint and not adjacent inclusive ranges. An empty set holds no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<(u64, u64)>);

impl RangeSet {
    /// The set of one range; an empty one when `first` is above `last`.
    #[must_use]
    pub fn of(first: u64, last: u64) -> Self {
        Self(if first > last { Vec::new() } else { vec![(first, last)] })
    }

    /// True when the value is in the set.
    #[must_use]
    pub fn contains(&self, value: u64) -> bool {
        self.0.get(self.ending_from(value)).is_some_and(|&(first, _)| first <= value)
    }

    /// Number of ranges.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.0.len()
    }

    /// The ranges, ascending, both ends included.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
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
        // Those that overlap the new one or touch it become one with it.
        let from = self.ending_from(first.saturating_sub(1));
        let to = from + self.0[from..].partition_point(|&(other, _)| other <= last.saturating_add(1));
        if from == to {
            self.0.insert(from, (first, last));
        } else {
            self.0[from] = (first.min(self.0[from].0), last.max(self.0[to - 1].1));
            self.0.drain(from + 1..to);
        }
    }

    /// Takes one value out.
    pub fn remove(&mut self, value: u64) {
        let place = self.ending_from(value);
        let Some(&(first, last)) = self.0.get(place).filter(|&&(first, _)| first <= value) else { return };
        match (first == value, last == value) {
            (true, true) => {
                self.0.remove(place);
            }
            (true, false) => self.0[place].0 = value + 1,
            (false, true) => self.0[place].1 = value - 1,
            (false, false) => {
                self.0[place].0 = value + 1;
                self.0.insert(place, (first, value - 1));
            }
        }
    }

    /// True when adding the value would make one range more.
    #[must_use]
    pub fn would_grow(&self, value: u64) -> bool {
        let touching = self.0.get(self.ending_from(value.saturating_sub(1)));
        touching.is_none_or(|&(first, _)| first > value.saturating_add(1))
    }

    /// Forgets every value below `floor`.
    pub fn forget_below(&mut self, floor: u64) {
        self.0.drain(..self.ending_from(floor));
        if let Some((first, _)) = self.0.first_mut() {
            *first = floor.max(*first);
        }
        if self.0.capacity() > SPARE_RANGES_FACTOR * self.0.len().max(1) {
            self.0.shrink_to_fit();
        }
    }

    /// Place of the first range that ends at the value or behind it.
    #[inline]
    fn ending_from(&self, value: u64) -> usize {
        self.0.partition_point(|&(_, last)| last < value)
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
