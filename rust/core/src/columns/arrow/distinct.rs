//! Distinct small values and their numbers.

use std::collections::HashMap;
use std::hash::Hash;

/// Values in the order in which they first came.
#[derive(Debug)]
pub(super) struct Distinct<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Copy + Eq + Hash> Distinct<T> {
    /// The number of a value, which enters if it is new.
    pub(super) fn number(&mut self, value: T) -> u32 {
        *self.numbers.entry(value).or_insert_with(|| {
            self.values.push(value);
            (self.values.len() - 1) as u32
        })
    }

    /// A part of each value, by its number.
    pub(super) fn each<P>(&self, part: impl Fn(&T) -> P) -> Vec<P> {
        self.values.iter().map(part).collect()
    }
}
