//! The connections that were let in, and what those that left had received: together, so that no sum misses one between.

use std::collections::HashMap;
use std::sync::Arc;

/// Behind one lock.
pub(super) struct Agents<T> {
    open: HashMap<u64, T>,
    by_identity: HashMap<Arc<str>, usize>,
    entered: u64,
    datagrams_of_left: u64,
}

impl<T: Clone> Agents<T> {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), by_identity: HashMap::new(), entered: 0, datagrams_of_left: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Those of one identity.
    pub(super) fn of(&self, identity: &str) -> usize {
        self.by_identity.get(identity).copied().unwrap_or_default()
    }

    pub(super) fn open(&self) -> Vec<T> {
        self.open.values().cloned().collect()
    }

    /// The open ones, whose datagrams are to be added, and the datagrams of all others.
    pub(super) fn open_and_left(&self) -> (Vec<T>, u64) {
        (self.open(), self.datagrams_of_left)
    }

    /// The number is for leaving.
    pub(super) fn enter(&mut self, agent: T, identity: &Arc<str>) -> u64 {
        self.entered += 1;
        *self.by_identity.entry(Arc::clone(identity)).or_default() += 1;
        self.open.insert(self.entered, agent);
        self.entered
    }

    /// From now on these datagrams stand for it.
    pub(super) fn leave(&mut self, number: u64, identity: &str, datagrams: u64) {
        if self.open.remove(&number).is_none() {
            return;
        }
        self.datagrams_of_left += datagrams;
        if let Some(count) = self.by_identity.get_mut(identity) {
            *count -= 1;
            if *count == 0 {
                self.by_identity.remove(identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use parking_lot::Mutex;

    use super::{Agents, Arc};

    #[test]
    fn those_of_an_identity_are_counted_while_there_are_any() {
        let (mut agents, one, other): (_, Arc<str>, Arc<str>) = (Agents::new(), "one".into(), "other".into());
        let numbers = [agents.enter((), &one), agents.enter((), &one), agents.enter((), &other)];
        assert_eq!((agents.of("one"), agents.of("other"), agents.of("none")), (2, 1, 0));
        agents.leave(numbers[0], "one", 0);
        agents.leave(numbers[0], "one", 0);
        agents.leave(numbers[2], "other", 0);
        assert_eq!((agents.of("one"), agents.of("other"), agents.by_identity.len()), (1, 0, 1));
    }

    #[test]
    fn no_look_misses_one_that_leaves() {
        const DATAGRAMS: u64 = 7;
        let agents = Mutex::new(Agents::new());
        let identity: Arc<str> = "one".into();
        let first = agents.lock().enter(DATAGRAMS, &identity);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = first;
                for _ in 0..20_000 {
                    agents.lock().leave(number, &identity, DATAGRAMS);
                    number = agents.lock().enter(DATAGRAMS, &identity);
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
