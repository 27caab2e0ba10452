use super::*;
use crate::series::effective::{CommonTags, KeyBuilder};
use crate::series::{MetricType, SeriesKey};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

/// Every key has the same hash.
#[derive(Debug)]
struct AllCollide;

impl KeyHasher for AllCollide {
    fn hash(&self, _: &[u8]) -> u64 {
        42
    }
}

fn key(name: &str) -> SeriesKey {
    let mut common = CommonTags::default();
    common.update(&[], b"node-1");
    KeyBuilder::default().build(name.as_bytes(), &[], &common).expect("the name is valid").to_key()
}

fn at(now_secs: u64) -> Source<'static> {
    Source { identity: "node-1", series_max: usize::MAX, now_secs }
}

fn write_snapshot(registry: &Registry<impl KeyHasher>, snapshot: &mut Vec<u8>) {
    let mut next = Some(0);
    while let Some(shard) = next {
        next = registry.snapshot(shard, snapshot);
    }
}

const GAUGE: Meta<'static> = Meta { metric_type: MetricType::Gauge, unit: "By", delta: false };

#[derive(Clone, Debug)]
enum Operation {
    Admit(u8, u8),
    ChangeType(u8, bool),
    Touch(usize, u8),
    Wait(u8),
    Expire(usize),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0_u8..24, 0_u8..3).prop_map(|(series, who)| Operation::Admit(series, who)),
        1 => (0_u8..24, any::<bool>()).prop_map(|(series, delta)| Operation::ChangeType(series, delta)),
        3 => (any::<usize>(), 0_u8..3).prop_map(|(choice, who)| Operation::Touch(choice, who)),
        2 => (0_u8..30).prop_map(Operation::Wait),
        2 => (0_usize..40).prop_map(Operation::Expire),
        1 => Just(Operation::Restart),
    ]
}

/// What the registry promises, in plain maps. A series may outlive its time until the sweep has come by.
#[derive(Default)]
struct Model {
    active: HashMap<u8, (Arc<Descriptor>, u64, bool)>,
    /// Who brought each; nobody known since a restart.
    owners: HashMap<u8, &'static str>,
    /// Every descriptor ever given in this life, with its series.
    given: Vec<(Arc<Descriptor>, u8)>,
}

impl Model {
    fn brought(&self, identity: &str) -> usize {
        self.active.keys().filter(|series| self.owners.get(series) == Some(&identity)).count()
    }
}

fn run<H: KeyHasher>(operations: &[Operation], hasher: impl Fn() -> H) -> Result<(), TestCaseError> {
    const LIMIT: usize = 10;
    const QUOTA: usize = 6;
    const IDLE: u64 = 20;
    const IDENTITIES: [&str; 3] = ["node-1", "node-2", "relay"];
    let keys: Vec<SeriesKey> = (0..24).map(|series| key(&format!("m{series}"))).collect();
    let mut registry = Registry::with_hasher(LIMIT, hasher());
    let mut model = Model::default();
    let mut now = 1_000;
    for operation in operations {
        match operation {
            &Operation::Admit(series, _) | &Operation::ChangeType(series, _) => {
                let delta = matches!(operation, Operation::ChangeType(_, true));
                let who =
                    if let Operation::Admit(_, who) = operation { IDENTITIES[*who as usize] } else { IDENTITIES[0] };
                let source = Source { identity: who, series_max: QUOTA, now_secs: now };
                let admitted = registry.admit(keys[series as usize].borrowed(), Meta { delta, ..GAUGE }, source);
                let known = model.active.get(&series).cloned();
                let expected = if known.is_some() {
                    Ok(())
                } else if model.active.len() >= LIMIT {
                    Err(CardinalityLimit::Collector)
                } else if model.brought(who) >= QUOTA {
                    Err(CardinalityLimit::Identity { series_max: QUOTA })
                } else {
                    Ok(())
                };
                prop_assert_eq!(admitted.as_ref().map(|_| ()).map_err(|limit| *limit), expected);
                if let Ok(descriptor) = admitted {
                    if known.is_none() {
                        model.owners.remove(&series);
                    }
                    model.owners.entry(series).or_insert(who);
                    let same = |(before, _, was): (Arc<Descriptor>, u64, bool)| {
                        Arc::ptr_eq(&before, &descriptor) == (was == delta)
                    };
                    prop_assert!(known.is_none_or(same));
                    model.active.insert(series, (Arc::clone(&descriptor), now, delta));
                    model.given.push((descriptor, series));
                }
            }
            Operation::Touch(choice, who) if !model.given.is_empty() => {
                let (descriptor, series) = &model.given[choice % model.given.len()];
                let who = IDENTITIES[*who as usize];
                let current = descriptor.is_current();
                let touched = registry.touch(descriptor, Source { identity: who, series_max: QUOTA, now_secs: now });
                match model.active.get_mut(series) {
                    Some(active) if touched => {
                        // A descriptor that was replaced stands for its series, whatever has become of that since.
                        prop_assert_eq!(Arc::ptr_eq(&active.0, descriptor), current);
                        active.1 = now;
                        model.owners.entry(*series).or_insert(who);
                    }
                    Some(active) => prop_assert!(!Arc::ptr_eq(&active.0, descriptor)),
                    None => prop_assert!(!touched),
                }
            }
            Operation::Touch(..) => {}
            Operation::Wait(secs) => now += u64::from(*secs),
            Operation::Expire(slots) => {
                let before = registry.len();
                let expired = registry.expire(now, IDLE, *slots);
                prop_assert_eq!(registry.len(), before - expired);
                model.active.retain(|series, (_, seen, _)| {
                    registry.lookup(keys[*series as usize].borrowed()).is_some() || now - *seen < IDLE
                });
                if *slots >= 24 {
                    prop_assert!(model.active.values().all(|(_, seen, _)| now - seen < IDLE));
                }
                if *slots == 0 {
                    prop_assert_eq!(expired, 0);
                }
            }
            Operation::Restart => {
                let mut snapshot = Vec::new();
                write_snapshot(&registry, &mut snapshot);
                registry = Registry::with_hasher(LIMIT, hasher());
                prop_assert_eq!(registry.restore(&snapshot), Ok(model.active.len()));
                model.given.clear();
                model.owners.clear();
                for (series, active) in &mut model.active {
                    let found = registry.lookup(keys[*series as usize].borrowed());
                    active.0 = found.ok_or_else(|| TestCaseError::fail("a series was lost"))?;
                    model.given.push((Arc::clone(&active.0), *series));
                }
            }
        }
        agree(&registry, &model, &keys)?;
    }
    Ok(())
}

fn agree(registry: &Registry<impl KeyHasher>, model: &Model, keys: &[SeriesKey]) -> Result<(), TestCaseError> {
    prop_assert_eq!(registry.len(), model.active.len());
    for (series, (descriptor, _, delta)) in &model.active {
        let found = registry.lookup(keys[*series as usize].borrowed());
        prop_assert!(found.is_some_and(|found| Arc::ptr_eq(&found, descriptor)));
        prop_assert!(descriptor.is_current());
        prop_assert_eq!(&descriptor.key, &keys[*series as usize]);
        prop_assert_eq!(descriptor.delta, *delta);
    }
    // Only the active series' own descriptors are current, and no two share a number.
    let current: Vec<_> = model.given.iter().filter(|(descriptor, _)| descriptor.is_current()).collect();
    for (descriptor, series) in current {
        prop_assert!(model.active.get(series).is_some_and(|active| Arc::ptr_eq(&active.0, descriptor)));
    }
    for (one, _) in &model.given {
        let same = |(other, _): &(Arc<Descriptor>, u8)| other.number() == one.number() && !Arc::ptr_eq(one, other);
        prop_assert!(one.number().is_some() && !model.given.iter().any(same));
    }
    Ok(())
}

/// A batch's series and types, who brings it and after how long, and whether series expire between looking them up and
/// admitting them.
type Batch = (Vec<(u8, bool)>, u8, u8, bool);

fn run_together<H: KeyHasher>(batches: &[Batch], hasher: impl Fn() -> H, exact: bool) -> Result<(), TestCaseError> {
    const LIMIT: usize = 20;
    const QUOTA: usize = 15;
    const IDLE: u64 = 20;
    const IDENTITIES: [&str; 3] = ["node-1", "node-2", "relay"];
    let keys: Vec<SeriesKey> = (0..24).map(|series| key(&format!("m{series}"))).collect();
    let single = Registry::with_hasher(LIMIT, hasher());
    let together = Registry::with_hasher(LIMIT, hasher());
    let (mut now_secs, mut found) = (1_000, vec![None]);
    for (series, who, waited, expiring) in batches {
        let key_of = |number: u8| keys[usize::from(number)].borrowed();
        together.lookup_together(series.iter().map(|&(number, _)| key_of(number)), &mut found);
        prop_assert_eq!(found.len(), series.len());
        for (&(number, _), found) in series.iter().zip(&found) {
            let known = together.lookup(key_of(number));
            prop_assert!(
                found.as_ref().map(Arc::as_ptr) == known.as_ref().map(Arc::as_ptr) || !exact && found.is_none()
            );
        }
        now_secs += u64::from(*waited);
        if *expiring {
            let gone = together.expire(now_secs, IDLE, usize::MAX);
            prop_assert_eq!(gone, single.expire(now_secs, IDLE, usize::MAX));
        }
        let source = Source { identity: IDENTITIES[usize::from(*who)], series_max: QUOTA, now_secs };
        for (&(number, delta), found) in series.iter().zip(found.drain(..)) {
            let meta = Meta { delta, ..GAUGE };
            let admitted = together.admit_found(found, key_of(number), meta, source);
            prop_assert!(admitted.as_ref().is_ok_and(|series| series.is_current()) || admitted.is_err());
            prop_assert_eq!(admitted, single.admit(key_of(number), meta, source));
        }
        prop_assert_eq!(together.len(), single.len());
        prop_assert_eq!(together.changed(), single.changed());
    }
    Ok(())
}

proptest! {
    #[test]
    fn operations_agree_with_a_map(operations in prop::collection::vec(operation(), 0..200)) {
        run(&operations, SeededXxh3::default)?;
    }

    #[test]
    fn operations_agree_with_a_map_when_every_hash_collides(operations in prop::collection::vec(operation(), 0..200)) {
        run(&operations, || AllCollide)?;
    }

    #[test]
    fn series_looked_up_together_are_admitted_as_one_by_one(batches in prop::collection::vec(
        (prop::collection::vec((0_u8..24, any::<bool>()), 0..80), 0_u8..3, 0_u8..30, any::<bool>()), 0..8)) {
        run_together(&batches, SeededXxh3::default, true)?;
        run_together(&batches, || AllCollide, false)?;
    }

    #[test]
    fn garbage_is_no_snapshot_and_no_panic(bytes: Vec<u8>) {
        let registry = Registry::new(10);
        if let Ok(count) = registry.restore(&bytes) {
            prop_assert!(registry.len() <= count);
        }
    }
}

#[test]
fn over_the_limit_new_series_are_refused_and_known_ones_go_on() {
    let registry = Registry::new(2);
    let first = registry.admit(key("a").borrowed(), GAUGE, at(1)).expect("there is room");
    registry.admit(key("b").borrowed(), GAUGE, at(1)).expect("there is room");
    assert_eq!(registry.admit(key("c").borrowed(), GAUGE, at(1)), Err(CardinalityLimit::Collector));
    let again = registry.admit(key("a").borrowed(), GAUGE, at(2)).expect("it is known");
    assert!(Arc::ptr_eq(&again, &first));
    assert_eq!(CardinalityLimit::Collector.to_string(), "Cardinality limit exceeded");
    assert_eq!(registry.expire(11, 10, 100), 1);
    assert!(registry.admit(key("c").borrowed(), GAUGE, at(11)).is_ok());
}

#[test]
fn a_restart_with_a_lower_limit_keeps_what_was_known() {
    let registry = Registry::new(2);
    registry.admit(key("a").borrowed(), GAUGE, at(7)).expect("there is room");
    registry.admit(key("b").borrowed(), GAUGE, at(7)).expect("there is room");
    let mut snapshot = Vec::new();
    write_snapshot(&registry, &mut snapshot);
    let lower = Registry::new(1);
    assert_eq!(lower.restore(&snapshot), Ok(2));
    assert!(lower.admit(key("b").borrowed(), GAUGE, at(8)).is_ok());
    assert!(lower.admit(key("c").borrowed(), GAUGE, at(8)).is_err());
    // Cut anywhere, the snapshot is damaged or shorter, never something else.
    for end in 0..snapshot.len() {
        let cut = Registry::new(2);
        match cut.restore(&snapshot[..end]) {
            Ok(count) => assert_eq!(count, cut.len()),
            Err(DamagedSnapshot { offset }) => assert!(offset < end),
        }
    }
}

#[test]
fn another_type_or_unit_makes_a_new_descriptor_and_is_counted() {
    let registry = Registry::new(2);
    let before = registry.admit(key("a").borrowed(), GAUGE, at(1)).expect("there is room");
    let again = registry.admit(key("a").borrowed(), GAUGE, at(2)).expect("it is known");
    assert!(Arc::ptr_eq(&before, &again));
    assert_eq!(registry.changed(), 0);
    let seconds = Meta { unit: "s", ..GAUGE };
    let changed = registry.admit(key("a").borrowed(), seconds, at(3)).expect("it is known");
    assert_eq!((&*before.unit, &*changed.unit, registry.changed(), registry.len()), ("By", "s", 1, 1));
    assert!(changed.is_current() && !before.is_current());
}

#[test]
fn a_stream_that_goes_on_with_the_type_before_keeps_its_series_active() {
    let registry = Registry::new(2);
    let before = registry.admit(key("a").borrowed(), GAUGE, at(1)).expect("there is room");
    registry.admit(key("a").borrowed(), Meta { unit: "s", ..GAUGE }, at(1)).expect("it is known");
    assert!(registry.touch(&before, at(10)));
    assert_eq!(registry.expire(12, 5, 10), 0);
    assert_eq!(registry.expire(15, 5, 10), 1);
    assert!(!registry.touch(&before, at(15)));
}

#[test]
fn units_are_shared() {
    let registry = Registry::new(2);
    let units = ["a", "b"]
        .map(|name| Arc::clone(&registry.admit(key(name).borrowed(), GAUGE, at(1)).expect("there is room").unit));
    assert!(Arc::ptr_eq(&units[0], &units[1]));
}

#[test]
fn a_series_costs_less_than_150_bytes_beside_its_key() {
    // An allocation's own overhead is 8 bytes in glibc, its sizes are multiples of 16.
    let descriptor = (size_of::<Descriptor>() + 2 * size_of::<usize>() + 8).next_multiple_of(16);
    let key_allocation = 8 + 15;
    // A line of 64 bytes for four series, and half as many lines again where the table has just grown.
    let table = 64 / 4 * 3 / 2;
    assert!(table + descriptor + key_allocation < 130, "{table} + {descriptor} + {key_allocation}");
}

/// Many threads admit the same series, and more of them than may be, while idle ones expire.
#[test]
fn threads_that_admit_the_same_series_never_bring_more_than_the_limit() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 40;
    const SERIES: usize = 300;
    const LIMIT: usize = 200;
    const QUOTA: usize = 90;
    const IDENTITIES: [&str; 3] = ["node-1", "node-2", "node-3"];
    let keys: Vec<SeriesKey> = (0..SERIES).map(|series| key(&format!("m{series}"))).collect();
    let registry = Registry::new(LIMIT);
    let barrier = std::sync::Barrier::new(THREADS as usize);
    let work = |thread: u64| {
        for round in 0..ROUNDS {
            barrier.wait();
            // Two threads an identity, at times two seconds apart, so that a round's expiry ends what another's begins.
            let source = |number: usize| Source {
                identity: IDENTITIES[number % IDENTITIES.len()],
                series_max: QUOTA,
                now_secs: round * 10 + thread % 2,
            };
            let mut held: Vec<(usize, Arc<Descriptor>)> = Vec::new();
            let number_at = |step: usize| (step * 7 + thread as usize * 31 + round as usize * 13) % SERIES;
            let mut found = VecDeque::new();
            for step in 0..SERIES {
                // Half of the threads look for many at a time.
                if thread % 2 == 1 && found.is_empty() {
                    let next = (step..SERIES.min(step + 40)).map(|step| keys[number_at(step)].borrowed());
                    let mut together = Vec::new();
                    registry.lookup_together(next, &mut together);
                    found = together.into();
                }
                let number = number_at(step);
                let known = found.pop_front().flatten();
                match registry.admit_found(known, keys[number].borrowed(), GAUGE, source(number)) {
                    Ok(series) => {
                        assert_eq!(series.key, keys[number]);
                        held.push((number, series));
                    }
                    Err(CardinalityLimit::Collector | CardinalityLimit::Identity { series_max: QUOTA }) => {}
                    Err(other) => panic!("{other}"),
                }
                assert!(registry.len() <= LIMIT);
                if step % 50 == thread as usize {
                    registry.expire(round * 10 + 1, 10, SERIES / 3);
                }
            }
            barrier.wait();
            // Nothing expires at this moment: what threads hold is active, and each series is there once.
            for (number, series) in held {
                assert!(registry.touch(&series, source(number)));
                let found = registry.lookup(keys[number].borrowed()).expect("it was touched");
                assert!(Arc::ptr_eq(&found, &series));
            }
            let active: Vec<_> = keys.iter().filter_map(|key| registry.lookup(key.borrowed())).collect();
            assert_eq!(active.len(), registry.len());
            for identity in 0..IDENTITIES.len() {
                let brought = keys.iter().skip(identity).step_by(IDENTITIES.len());
                assert!(brought.filter(|key| registry.lookup(key.borrowed()).is_some()).count() <= QUOTA);
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
    assert!(registry.expired() > 0);
    registry.expire(u64::from(u32::MAX) / 2, 1, usize::MAX);
    assert!(registry.is_empty());
    // What came and went has left no debt: the whole limit and each quota can be had anew.
    for number in 0..SERIES {
        let identity = IDENTITIES[number % IDENTITIES.len()];
        let _ = registry.admit(keys[number].borrowed(), GAUGE, Source { identity, series_max: QUOTA, now_secs: 1 });
    }
    assert_eq!(registry.len(), LIMIT);
}
