//! A bounded cache in two generations. When the young one is full it becomes the old one, and what was not asked for
//! again since is forgotten: nearly as good as least-recently-used, without lists or clocks.

use hashbrown::HashTable;

#[derive(Debug)]
pub(crate) struct Generations<T> {
    young: HashTable<Entry<T>>,
    old: HashTable<Entry<T>>,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    weight: usize,
    value: T,
}

impl<T> Generations<T> {
    /// A cache whose two generations may each weigh up to `weight_max`.
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { young: HashTable::new(), old: HashTable::new(), weight: 0, weight_max }
    }

    /// The entry with this hash that `fits`.
    #[inline]
    pub(crate) fn find(&mut self, hash: u64, fits: impl Fn(&T) -> bool) -> Option<&T> {
        let same = |entry: &Entry<T>| entry.hash == hash && fits(&entry.value);
        if self.young.find(hash, same).is_none() {
            let (survivor, _) = self.old.find_entry(hash, same).ok()?.remove();
            self.put(survivor);
        }
        self.young.find(hash, same).map(|entry| &entry.value)
    }

    /// Keeps a value. One that is heavier than a generation is not kept.
    pub(crate) fn insert(&mut self, hash: u64, weight: usize, value: T) {
        if weight <= self.weight_max {
            self.put(Entry { hash, weight, value });
        }
    }

    fn put(&mut self, entry: Entry<T>) {
        if self.weight + entry.weight > self.weight_max {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += entry.weight;
        self.young.insert_unique(entry.hash, entry, |other| other.hash);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_survives_and_the_weight_stays_bounded() {
        let mut cache = Generations::new(100);
        cache.insert(7, 1, 7_u64);
        for number in 1_000..2_000 {
            cache.insert(number, 10, number);
            assert_eq!(cache.find(7, |&value| value == 7), Some(&7));
            assert!(cache.len() <= 21);
        }
        assert_eq!(cache.find(1_000, |&value| value == 1_000), None);
        assert_eq!(cache.find(1_999, |&value| value == 1_999), Some(&1_999));
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut cache = Generations::new(100);
        cache.insert(1, 1, "a");
        cache.insert(1, 1, "b");
        assert_eq!(cache.find(1, |&value| value == "a"), Some(&"a"));
        assert_eq!(cache.find(1, |&value| value == "b"), Some(&"b"));
        assert_eq!(cache.find(1, |&value| value == "c"), None);
    }

    #[test]
    fn what_is_too_heavy_is_not_kept() {
        let mut cache = Generations::new(100);
        cache.insert(1, 101, ());
        assert_eq!(cache.len(), 0);
    }
}
