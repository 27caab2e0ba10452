//! Random operations, faults and crashes against a collector that takes every name once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::journal::{Fault, FaultStorage, MemoryStorage, Operation};
use crate::spool::state::Kept;

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Kill,
    PowerLoss,
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<usize>),
    Settle,
    /// Which of those that wait, and whether the answer arrives.
    Deliver(usize, bool),
    Split(usize),
    /// The collector takes larger batches from now on.
    Relent,
    Maintain,
    Fault(Operation, u64, u64, Errno),
    Limit(Option<u64>),
    CrashAfter(u64),
    /// What is written next stays there, uncommitted: it is not synchronized, not cut off, and no segment is begun.
    FailEveryWay,
    Restart(End),
}

fn step() -> impl Strategy<Value = Step> {
    let points = prop_oneof![4 => 1..40_usize, 1 => 500..3_000_usize];
    let operation = prop_oneof![
        Just(Operation::Create),
        Just(Operation::Write),
        Just(Operation::SyncData),
        Just(Operation::Rename),
        Just(Operation::SyncDir),
    ];
    let errno = prop_oneof![Just(Errno::IO), Just(Errno::NOSPC)];
    let end = prop_oneof![Just(End::Close), Just(End::Kill), Just(End::PowerLoss)];
    prop_oneof![
        10 => prop::collection::vec(points, 1..6).prop_map(Step::Put),
        5 => Just(Step::Settle),
        8 => (0..12_usize, any::<bool>()).prop_map(|(place, answered)| Step::Deliver(place, answered)),
        3 => (0..12_usize).prop_map(Step::Split),
        1 => Just(Step::Relent),
        4 => Just(Step::Maintain),
        2 => (operation, 0..3_u64, 1..4_u64, errno)
            .prop_map(|(operation, skip, times, errno)| Step::Fault(operation, skip, times, errno)),
        1 => prop::option::of(5 * 65_536..20 * 65_536_u64).prop_map(Step::Limit),
        2 => (0..25_u64).prop_map(Step::CrashAfter),
        2 => Just(Step::FailEveryWay),
        3 => end.prop_map(Step::Restart),
    ]
}

type Name = (u64, u64);

struct World {
    storage: Arc<FaultStorage>,
    spool: Option<Spool>,
    next_value: u64,
    /// What was put on the wire, whether it arrived or not.
    wire: BTreeMap<Name, Vec<u64>>,
    /// What the collector has stored, and what it was told is settled.
    stored: BTreeMap<Name, Vec<u64>>,
    floors: HashMap<u64, u64>,
    /// Values that were handed out from stable storage and have not been answered or dropped.
    owed: BTreeSet<u64>,
    /// Batches that a collector takes in halves only.
    refused: BTreeSet<Name>,
}

impl World {
    fn new(seed: u64) -> Self {
        let storage = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new()), seed).unwrap());
        let spool = Some(open(&storage));
        Self {
            storage,
            spool,
            next_value: 0,
            wire: BTreeMap::new(),
            stored: BTreeMap::new(),
            floors: HashMap::new(),
            owed: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("open between the steps of a test")
    }

    fn put(&mut self, points: usize) {
        // Far apart, so that little of it compresses and segments fill.
        self.spool().put(batch(self.next_value, points));
        self.next_value += points as u64;
    }

    /// What is ready to be sent; checks that no name and no value stands for two things.
    fn ready(&mut self) -> Vec<(Name, Vec<u64>)> {
        let epoch = self.spool().epoch();
        let whole = |values: Vec<f64>| values.into_iter().map(|value| value as u64).collect::<Vec<_>>();
        let found = waiting(self.spool()).into_iter().map(|(sequence, values)| ((epoch, sequence), whole(values)));
        let found: Vec<_> = found.collect();
        let mut seen = BTreeSet::new();
        for (name, values) in &found {
            let known = self.wire.entry(*name).or_insert_with(|| values.clone());
            assert_eq!(known, values, "{name:?} names one content for ever");
            for value in values {
                assert!(seen.insert(*value), "value {value} waits under two names");
            }
            if self.spool().kept(name.1) == Some(Kept::Stored) {
                self.owed.extend(values);
            }
        }
        self.hear();
        found
    }

    /// Takes what the spool tells: what was dropped is owed no longer.
    fn hear(&mut self) {
        let epoch = self.spool().epoch();
        for told in self.spool().take_told() {
            if let Told::Dropped { sequence, .. } = told {
                for value in self.wire.get(&(epoch, sequence)).into_iter().flatten() {
                    self.owed.remove(value);
                }
            }
        }
    }

    fn deliver(&mut self, place: usize, answered: bool) {
        let ready = self.ready();
        let Some((name, values)) = ready.get(place % ready.len().max(1)) else { return };
        if self.refused.contains(name) {
            return;
        }
        let told = self.spool().oldest_unacknowledged();
        let floor = self.floors.entry(name.0).or_default();
        *floor = told.max(*floor);
        assert!(name.1 >= *floor || self.stored.contains_key(name), "{name:?} would pass for a duplicate");
        if !self.stored.contains_key(name) {
            let again = self.stored.values().flatten().find(|value| values.contains(value));
            assert_eq!(again, None, "stored twice, the second time as {name:?}");
            self.stored.insert(*name, values.clone());
        }
        if answered {
            for value in values {
                self.owed.remove(value);
            }
            self.spool().acknowledge(name.1);
        }
    }

    fn split(&mut self, place: usize) {
        let ready = self.ready();
        let Some((name, _)) = ready.get(place % ready.len().max(1)) else { return };
        if !self.stored.contains_key(name) {
            self.refused.insert(*name);
            let _ = self.spool().split(name.1);
        }
    }

    fn fail_every_way(&mut self) {
        self.settle();
        let fault = |operation, prefix: &'static str, skip| Fault {
            operation,
            prefix: prefix.into(),
            skip,
            times: 6,
            errno: Errno::IO,
        };
        self.storage.fail(fault(Operation::SyncData, "", 0));
        self.storage.fail(fault(Operation::Write, "segment-", 1));
    }

    fn restart(&mut self, end: End) {
        self.settle();
        self.ready();
        if matches!(end, End::Close) {
            let _ = self.spool().close();
            self.hear();
        } else {
            self.storage.crash_after(0);
        }
        let spool = self.spool.take().expect("open");
        spool.abandon_handle();
        self.storage.heal();
        match end {
            End::Close | End::Kill => self.storage.kill(),
            End::PowerLoss => self.storage.power_loss().unwrap(),
        }
        self.spool = Some(open(&self.storage));
        let waits: BTreeSet<_> = self.all().into_iter().flat_map(|(_, values)| values).collect();
        for value in &self.owed {
            assert!(waits.contains(value), "value {value} was handed out from stable storage and is lost");
        }
    }

    /// Everything that waits, once the storage lets it be handed out.
    fn all(&mut self) -> Vec<(Name, Vec<u64>)> {
        self.storage.limit(None);
        self.spool().maintain().unwrap();
        self.settle();
        self.ready()
    }

    fn settle(&mut self) {
        assert!(self.spool().flush(PATIENCE), "every record gets its outcome");
    }
}

fn run(world: &mut World, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Put(sizes) => sizes.into_iter().for_each(|points| world.put(points)),
            Step::Settle => world.settle(),
            Step::Deliver(place, answered) => world.deliver(place, answered),
            Step::Split(place) => world.split(place),
            Step::Relent => world.refused.clear(),
            Step::Maintain => {
                // A faulty disk may refuse; what must hold holds either way.
                let _ = world.spool().maintain();
                world.hear();
            }
            Step::Fault(operation, skip, times, errno) => {
                world.storage.fail(Fault { operation, prefix: "".into(), skip, times, errno });
            }
            Step::Limit(bytes_max) => world.storage.limit(bytes_max),
            Step::CrashAfter(operations) => world.storage.crash_after(operations),
            Step::FailEveryWay => world.fail_every_way(),
            Step::Restart(end) => world.restart(end),
        }
    }
    world.restart(End::Kill);
    world.restart(End::PowerLoss);
    // A collector that answers everything ends it.
    let left = world.all().len();
    for _ in 0..left {
        let ready = world.ready();
        let name = ready[0].0;
        world.refused.remove(&name);
        world.deliver(0, true);
    }
    assert_eq!(world.spool().waiting(), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: what was handed out from stable storage comes back until it is answered, no
    /// name has two contents, no value is stored under two names, and nothing passes for a duplicate that is none.
    #[test]
    fn the_spool_keeps_what_it_promised(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..40)) {
        run(&mut World::new(seed), steps);
    }
}

/// A crash before every single operation of the storage, one after the other.
#[test]
fn a_crash_at_any_operation_loses_and_doubles_nothing() {
    let scenario = || {
        let mut steps = Vec::new();
        for round in 0..3 {
            steps.extend([Step::Put(vec![5, 900, 7]), Step::Settle, Step::Split(1), Step::Settle]);
            steps.extend([Step::Deliver(0, true), Step::Deliver(round, false), Step::Maintain]);
        }
        steps
    };
    let mut world = World::new(1);
    let before = world.storage.operations();
    run(&mut world, scenario());
    let operations = world.storage.operations() - before;
    for end in [End::Kill, End::PowerLoss] {
        for crash in 0..operations.min(60) {
            let mut world = World::new(crash + 1);
            let steps = [Step::CrashAfter(crash)].into_iter().chain(scenario()).chain([Step::Restart(end)]);
            run(&mut world, steps.collect());
        }
    }
}

/// As above with a split that is written and not committed, in front of every possible end.
#[test]
fn a_split_that_fails_in_every_way_loses_and_doubles_nothing() {
    for end in [End::Close, End::Kill, End::PowerLoss] {
        for (place, relents) in [(0, true), (1, true), (1, false), (2, true)] {
            let mut steps = vec![Step::Put(vec![5, 900, 7]), Step::Settle, Step::FailEveryWay, Step::Split(place)];
            steps.push(Step::Settle);
            if relents {
                steps.push(Step::Relent);
            }
            steps.extend([0, 1, 2].map(|place| Step::Deliver(place, true)));
            steps.push(Step::Restart(end));
            run(&mut World::new(7), steps);
        }
    }
}
