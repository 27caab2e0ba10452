//! A hash table whose places come by the line of a cache: what a lookup has to read of it is one line of memory, at a
//! place that the hash alone tells.
//!
//! In a table that is much larger than the cache, a lookup costs what it waits for. Marks in one array and places in
//! another are two waits, the second for what the first has found; here it is one, and it can be asked for ahead
//! ([`Table::fetch`]) for many keys at a time.
//!
//! A line that is full sends on to the next, and counts what it has sent on: a search ends at the first line that nothing
//! has passed, and what is taken out leaves no mark behind.

/// Places of a line: hash and pointer take twelve bytes, and four are left for the count.
const PLACES: usize = 5;
/// Items a line on average, at most.
const LOAD_MAX: usize = 4;

/// Items by their hashes. Who knows two items of the same hash apart is the caller.
#[derive(Debug)]
pub(super) struct Table<T> {
    lines: Box<[Line<T>]>,
    len: usize,
}

/// A line of the cache, where an item is a pointer.
#[derive(Debug)]
#[repr(align(64))]
struct Line<T> {
    hashes: [u32; PLACES],
    /// Items that would be here or before, and are behind.
    passed: u32,
    items: [Option<T>; PLACES],
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { hashes: [0; PLACES], passed: 0, items: [const { None }; PLACES] }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { lines: Box::default(), len: 0 }
    }
}

impl<T> Table<T> {
    /// Items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All items, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().flat_map(|line| line.items.iter().flatten())
    }

    /// Reads something of the line where a search for this hash begins, so that it is near when the search comes.
    #[inline]
    pub(super) fn fetch(&self, hash: u32) -> u32 {
        self.lines.get(self.home(hash)).map_or(0, |line| line.passed)
    }

    /// The first item with this hash that fits.
    #[inline]
    pub(super) fn find(&self, hash: u32, fits: impl Fn(&T) -> bool) -> Option<&T> {
        let (line, place) = self.position(hash, fits)?;
        self.lines[line].items[place].as_ref()
    }

    /// The same, to change it.
    pub(super) fn find_mut(&mut self, hash: u32, fits: impl Fn(&T) -> bool) -> Option<&mut T> {
        let (line, place) = self.position(hash, fits)?;
        self.lines[line].items[place].as_mut()
    }

    /// Adds an item, whatever else has its hash.
    pub(super) fn insert(&mut self, hash: u32, item: T) {
        if self.len >= self.lines.len() * LOAD_MAX {
            self.grow();
        }
        self.put(hash, item);
        self.len += 1;
    }

    /// Takes out the items that are no longer wanted.
    pub(super) fn extract(&mut self, gone: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for line in 0..self.lines.len() {
            for place in 0..PLACES {
                if let Some(item) = self.lines[line].items[place].take_if(|item| gone(item)) {
                    self.forget(self.lines[line].hashes[place], line);
                    taken.push(item);
                }
            }
        }
        self.len -= taken.len();
        taken
    }

    #[inline]
    fn position(&self, hash: u32, fits: impl Fn(&T) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(hash);
        // Each line may have been passed by something.
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            let mut same = line.places_of(hash);
            while same != 0 {
                let place = same.trailing_zeros() as usize;
                if line.items[place].as_ref().is_some_and(&fits) {
                    return Some((at, place));
                }
                same &= same - 1;
            }
            if line.passed == 0 {
                break;
            }
            at = self.next(at);
        }
        None
    }

    /// The line where a search begins. Neighbours in hash are neighbours here, so hashes should differ in their first bits.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.lines.len() as u64) >> u32::BITS) as usize
    }

    #[inline]
    fn next(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    /// Puts an item into the first line that has room, of which there is one.
    fn put(&mut self, hash: u32, item: T) {
        let mut at = self.home(hash);
        loop {
            let line = &mut self.lines[at];
            if let Some(free) = line.items.iter().position(Option::is_none) {
                line.hashes[free] = hash;
                line.items[free] = Some(item);
                return;
            }
            line.passed += 1;
            at = self.next(at);
        }
    }

    /// Counts an item of this hash out that was in this line.
    fn forget(&mut self, hash: u32, line: usize) {
        let mut at = self.home(hash);
        while at != line {
            self.lines[at].passed -= 1;
            at = self.next(at);
        }
    }

    /// Half as many lines again: less memory waits for items than with twice as many.
    #[cold]
    fn grow(&mut self) {
        let count = self.lines.len() + self.lines.len().div_ceil(2).max(1);
        let lines = std::mem::replace(&mut self.lines, (0..count).map(|_| Line::default()).collect());
        for line in lines {
            for (hash, item) in line.hashes.into_iter().zip(line.items) {
                if let Some(item) = item {
                    self.put(hash, item);
                }
            }
        }
    }
}

impl<T> Line<T> {
    /// A bit for each place with this hash; a free place may have any.
    #[inline]
    fn places_of(&self, hash: u32) -> u32 {
        self.hashes.iter().rev().fold(0, |same, other| (same << 1) | u32::from(*other == hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Items say their hash and a number of their own.
    type Item = (u32, u16);

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        /// Takes out those whose number has this remainder by this divisor.
        Extract(u16, u16),
    }

    /// Few hashes, near each other at both ends: lines overflow, and the last sends on to the first.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..3, (u32::MAX - 2)..=u32::MAX, any::<u32>()]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            12 => hashes().prop_map(Step::Insert),
            1 => (0_u16..4, 1_u16..5).prop_map(|(remainder, divisor)| Step::Extract(remainder, divisor)),
        ];
        prop::collection::vec(step, 0..200)
    }

    fn agree(table: &mut Table<Item>, model: &[Item]) -> Result<(), TestCaseError> {
        prop_assert_eq!(table.len(), model.len());
        let mut all: Vec<Item> = table.iter().copied().collect();
        all.sort_unstable_by_key(|item| item.1);
        prop_assert_eq!(&all[..], model);
        for item in model {
            prop_assert_eq!(table.find(item.0, |other| other == item), Some(item));
            prop_assert_eq!(table.find_mut(item.0, |other| other == item).copied(), Some(*item));
            prop_assert_eq!(table.find(item.0, |_| false), None);
            // With another hash it is not asked whether an item fits.
            let other = table.find(item.0 ^ 1, |other| other.0 == item.0);
            prop_assert_eq!(other, None);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_table_holds_what_came_and_did_not_go(steps in steps()) {
            let (mut table, mut model) = (Table::default(), Vec::new());
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Insert(hash) => {
                        table.insert(hash, (hash, number));
                        model.push((hash, number));
                    }
                    Step::Extract(remainder, divisor) => {
                        let gone = |item: &Item| item.1 % divisor == remainder;
                        let mut taken = table.extract(gone);
                        taken.sort_unstable_by_key(|item| item.1);
                        prop_assert_eq!(taken, model.extract_if(.., |item| gone(item)).collect::<Vec<_>>());
                    }
                }
                agree(&mut table, &model)?;
            }
            // An empty table has nothing to send a search on for.
            table.extract(|_| true);
            prop_assert!(table.lines.iter().all(|line| line.passed == 0));
        }
    }

    #[test]
    fn a_line_of_pointers_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Line<std::sync::Arc<u8>>>(), 64);
    }

    #[test]
    fn a_table_has_a_place_for_at_most_twice_as_many_items() {
        let mut table = Table::default();
        for number in 0..10_000_u32 {
            table.insert(number.wrapping_mul(0x9e37_79b9), number);
            let places = table.lines.len() * PLACES;
            assert!(places <= 2 * table.len() + 2 * PLACES, "{places} places for {}", table.len());
        }
    }
}
