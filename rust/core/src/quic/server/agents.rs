//! The connections that were let in, and what those that left had received: together, so that no sum misses one between.

use std::collections::HashMap;

/// Behind one lock.
pub(super) struct Agents<T> {
    open: HashMap<u64, T>,
    entered: u64,
    datagrams_of_left: u64,
}

impl<T: Clone> Agents<T> {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), entered: 0, datagrams_of_left: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open(&self) -> Vec<T> {
        self.open.values().cloned().collect()
    }

    /// The open ones, whose datagrams are to be added, and the datagrams of all others.
    pub(super) fn open_and_left(&self) -> (Vec<T>, u64) {
        (self.open(), self.datagrams_of_left)
    }

    /// The number is for leaving.
    pub(super) fn enter(&mut self, agent: T) -> u64 {
        self.entered += 1;
        self.open.insert(self.entered, agent);
        self.entered
    }

    /// From now on these datagrams stand for it.
    pub(super) fn leave(&mut self, number: u64, datagrams: u64) {
        if self.open.remove(&number).is_some() {
            self.datagrams_of_left += datagrams;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use parking_lot::Mutex;

    use super::Agents;

    #[test]
    fn no_look_misses_one_that_leaves() {
        const DATAGRAMS: u64 = 7;
        let agents = Mutex::new(Agents::new());
        let first = agents.lock().enter(DATAGRAMS);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = first;
                for _ in 0..20_000 {
                    agents.lock().leave(number, DATAGRAMS);
                    number = agents.lock().enter(DATAGRAMS);
                }
                over.store(true, Relaxed);
            });
            let mut before = 0;
            while !over.load(Relaxed) {
                let (open, left) = agents.lock().open_and_left();
                let now = left + open.iter().sum::<u64>();
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        });
        assert_eq!(agents.lock().open_and_left(), (vec![DATAGRAMS], 20_000 * DATAGRAMS));
    }
}
