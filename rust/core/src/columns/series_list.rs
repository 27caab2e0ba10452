//! The series of the block being built, each once, in the order in which they first came.
//!
//! Agents send the same series in the same order again and again. So the list begins as that of the stream's block before:
//! as long as each series is the expected one, it is only counted, and a block with just these shares the whole list.

use std::sync::Arc;

use super::SharedSeries;
use super::descriptor_table::DescriptorTable;
use crate::series::Descriptor;

#[derive(Debug, Default)]
pub(super) struct SeriesList {
    expected: SharedSeries,
    /// How many of the expected ones have come; all there is until another comes.
    matched: usize,
    /// Everything, once another has come.
    table: DescriptorTable,
    differs: bool,
}

impl SeriesList {
    /// Begins a list that will most likely be this one.
    pub(super) fn expect(&mut self, expected: &SharedSeries) {
        self.clear();
        self.expected = Arc::clone(expected);
    }

    /// Adds a series that has not come yet; returns its place.
    #[inline]
    pub(super) fn append(&mut self, series: &Arc<Descriptor>) -> u32 {
        if !self.differs {
            if self.expected.get(self.matched).is_some_and(|expected| Arc::ptr_eq(expected, series)) {
                self.matched += 1;
                return (self.matched - 1) as u32;
            }
            self.differ();
        }
        self.table.append(series)
    }

    /// The place of a series, which is added if it has not come yet.
    #[inline]
    pub(super) fn number(&mut self, series: &Arc<Descriptor>) -> u32 {
        if !self.differs {
            self.differ();
        }
        self.table.number(series).0
    }

    pub(super) fn len(&self) -> usize {
        if self.differs { self.table.len() } else { self.matched }
    }

    pub(super) fn clear(&mut self) {
        self.expected = SharedSeries::default();
        self.matched = 0;
        self.table.clear();
        self.differs = false;
    }

    /// Empties the list and returns what it held, in order.
    pub(super) fn take(&mut self) -> SharedSeries {
        let series = if self.differs {
            self.table.take().into()
        } else if self.matched == self.expected.len() {
            Arc::clone(&self.expected)
        } else {
            self.expected[..self.matched].into()
        };
        self.clear();
        series
    }

    #[cold]
    fn differ(&mut self) {
        self.differs = true;
        for series in &self.expected[..self.matched] {
            self.table.number(series);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::descriptor;
    use super::*;
    use crate::series::MetricType;
    use proptest::prelude::*;

    proptest! {
        /// Whatever was expected, the list is what came, and shares the expected one exactly when that is it.
        #[test]
        fn a_list_is_what_came(expected in 0_usize..6, came in prop::collection::vec(0_usize..8, 0..8), by_number: bool) {
            let all: Vec<_> =
                (0..8).map(|number| descriptor(&format!("m{number}"), &[], MetricType::Gauge)).collect();
            let expected: SharedSeries = all[..expected].into();
            let mut list = SeriesList::default();
            list.expect(&expected);
            let mut wanted: Vec<usize> = Vec::new();
            for number in came {
                let place = wanted.iter().position(|&other| other == number);
                if by_number {
                    prop_assert_eq!(list.number(&all[number]) as usize, place.unwrap_or(wanted.len()));
                } else if place.is_none() {
                    prop_assert_eq!(list.append(&all[number]) as usize, wanted.len());
                }
                if place.is_none() {
                    wanted.push(number);
                }
                prop_assert_eq!(list.len(), wanted.len());
            }
            let taken = list.take();
            let in_order = !by_number && (0..expected.len()).eq(wanted.iter().copied());
            prop_assert_eq!(taken.len(), wanted.len());
            prop_assert!(taken.iter().zip(wanted).all(|(series, number)| Arc::ptr_eq(series, &all[number])));
            prop_assert!(!in_order || Arc::ptr_eq(&taken, &expected));
            prop_assert_eq!(list.len(), 0);
        }
    }
}
