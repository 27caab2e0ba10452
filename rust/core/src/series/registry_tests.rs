use super::*;
use crate::series::effective::{CommonTags, KeyBuilder};
use crate::series::{MetricType, SeriesKey};
use proptest::prelude::*;
use std::collections::HashMap;

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
    active: HashMap<u8, (Handle, u64, bool)>,
    /// Who brought each; nobody known since a restart.
    owners: HashMap<u8, &'static str>,
    /// Every handle ever given in this life, with its series.
    given: Vec<(Handle, u8)>,
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
                let known = model.active.get(&series).copied();
                let expected = if known.is_some() {
                    Ok(())
                } else if model.active.len() >= LIMIT {
                    Err(CardinalityLimit::Collector)
                } else if model.brought(who) >= QUOTA {
                    Err(CardinalityLimit::Identity { series_max: QUOTA })
                } else {
                    Ok(())
                };
                prop_assert_eq!(admitted.map(|_| ()), expected);
                if let Ok(handle) = admitted {
                    if known.is_none() {
                        model.owners.remove(&series);
                    }
                    model.owners.entry(series).or_insert(who);
                    prop_assert!(known.is_none_or(|(before, ..)| before == handle));
                    model.active.insert(series, (handle, now, delta));
                    model.given.push((handle, series));
                }
            }
            Operation::Touch(choice, who) if !model.given.is_empty() => {
                let (handle, series) = model.given[choice % model.given.len()];
                let who = IDENTITIES[*who as usize];
                let touched = registry.touch(handle, Source { identity: who, series_max: QUOTA, now_secs: now });
                match model.active.get_mut(&series) {
                    Some(active) if active.0 == handle => {
                        prop_assert!(touched);
                        active.1 = now;
                        model.owners.entry(series).or_insert(who);
                    }
                    _ => prop_assert!(!touched),
                }
            }
            Operation::Touch(..) => {}
            Operation::Wait(secs) => now += u64::from(*secs),
            Operation::Expire(slots) => {
                let before = registry.len();
                let expired = registry.expire(now, IDLE, *slots);
                prop_assert!(expired <= *slots);
                prop_assert_eq!(registry.len(), before - expired);
                model.active.retain(|series, (_, seen, _)| {
                    registry.lookup(keys[*series as usize].borrowed()).is_some() || now - *seen < IDLE
                });
                if *slots >= 24 {
                    prop_assert!(model.active.values().all(|(_, seen, _)| now - seen < IDLE));
                }
            }
            Operation::Restart => {
                let mut snapshot = Vec::new();
                let mut next = Some(0);
                while let Some(slot) = next {
                    next = registry.snapshot(slot, 3, &mut snapshot);
                }
                registry = Registry::with_hasher(LIMIT, hasher());
                prop_assert_eq!(registry.restore(&snapshot), Ok(model.active.len()));
                model.given.clear();
                model.owners.clear();
                for (series, active) in &mut model.active {
                    let found = registry.lookup(keys[*series as usize].borrowed());
                    active.0 = found.ok_or_else(|| TestCaseError::fail("a series was lost"))?;
                    model.given.push((active.0, *series));
                }
            }
        }
        prop_assert_eq!(registry.len(), model.active.len());
        for (series, (handle, _, delta)) in &model.active {
            let descriptor = registry.get(*handle).ok_or_else(|| TestCaseError::fail("an active series is gone"))?;
            prop_assert_eq!(&descriptor.key, &keys[*series as usize]);
            prop_assert_eq!(descriptor.delta, *delta);
        }
        for (handle, series) in &model.given {
            // A handle reaches its own series or none.
            prop_assert!(registry.get(*handle).is_none_or(|descriptor| descriptor.key == keys[*series as usize]));
        }
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
    fn garbage_is_no_snapshot_and_no_panic(bytes: Vec<u8>) {
        let mut registry = Registry::new(10);
        if let Ok(count) = registry.restore(&bytes) {
            prop_assert!(registry.len() <= count);
        }
    }
}

#[test]
fn over_the_limit_new_series_are_refused_and_known_ones_go_on() {
    let mut registry = Registry::new(2);
    let first = registry.admit(key("a").borrowed(), GAUGE, at(1)).expect("there is room");
    registry.admit(key("b").borrowed(), GAUGE, at(1)).expect("there is room");
    assert_eq!(registry.admit(key("c").borrowed(), GAUGE, at(1)), Err(CardinalityLimit::Collector));
    assert_eq!(registry.admit(key("a").borrowed(), GAUGE, at(2)), Ok(first));
    assert_eq!(CardinalityLimit::Collector.to_string(), "Cardinality limit exceeded");
    assert_eq!(registry.expire(11, 10, 100), 1);
    assert!(registry.admit(key("c").borrowed(), GAUGE, at(11)).is_ok());
}

#[test]
fn a_restart_with_a_lower_limit_keeps_what_was_known() {
    let mut registry = Registry::new(2);
    registry.admit(key("a").borrowed(), GAUGE, at(7)).expect("there is room");
    registry.admit(key("b").borrowed(), GAUGE, at(7)).expect("there is room");
    let mut snapshot = Vec::new();
    assert_eq!(registry.snapshot(0, usize::MAX, &mut snapshot), None);
    let mut lower = Registry::new(1);
    assert_eq!(lower.restore(&snapshot), Ok(2));
    assert!(lower.admit(key("b").borrowed(), GAUGE, at(8)).is_ok());
    assert!(lower.admit(key("c").borrowed(), GAUGE, at(8)).is_err());
    // Cut anywhere, the snapshot is damaged or shorter, never something else.
    for end in 0..snapshot.len() {
        let mut cut = Registry::new(2);
        match cut.restore(&snapshot[..end]) {
            Ok(count) => assert_eq!(count, cut.len()),
            Err(DamagedSnapshot { offset }) => assert!(offset < end),
        }
    }
}

#[test]
fn another_type_or_unit_makes_a_new_descriptor_and_is_counted() {
    let mut registry = Registry::new(2);
    let handle = registry.admit(key("a").borrowed(), GAUGE, at(1)).expect("there is room");
    let before = Arc::clone(registry.get(handle).expect("it is active"));
    registry.admit(key("a").borrowed(), GAUGE, at(2)).expect("it is known");
    assert!(Arc::ptr_eq(&before, registry.get(handle).expect("it is active")));
    assert_eq!(registry.changed(), 0);
    let seconds = Meta { unit: "s", ..GAUGE };
    assert_eq!(registry.admit(key("a").borrowed(), seconds, at(3)), Ok(handle));
    assert_eq!(&*registry.get(handle).expect("it is active").unit, "s");
    assert_eq!((&*before.unit, registry.changed()), ("By", 1));
}

#[test]
fn units_are_shared() {
    let mut registry = Registry::new(2);
    let handles = ["a", "b"].map(|name| registry.admit(key(name).borrowed(), GAUGE, at(1)).expect("there is room"));
    let units = handles.map(|handle| Arc::clone(&registry.get(handle).expect("it is active").unit));
    assert!(Arc::ptr_eq(&units[0], &units[1]));
}

#[test]
fn a_slot_whose_generations_are_used_up_is_not_used_again() {
    let mut registry = Registry::new(2);
    let handle = registry.admit(key("a").borrowed(), GAUGE, at(0)).expect("there is room");
    registry.slots[handle.slot as usize].generation = u32::MAX;
    let last = registry.lookup(key("a").borrowed()).expect("it is active");
    assert_eq!(registry.expire(100, 10, 10), 1);
    assert!(registry.get(last).is_none() && !registry.touch(last, at(100)));
    let next = registry.admit(key("b").borrowed(), GAUGE, at(100)).expect("there is room");
    assert_ne!(next.slot, last.slot);
}

#[test]
fn a_series_costs_less_than_150_bytes_beside_its_key() {
    // An allocation's own overhead is 8 bytes in glibc, its sizes are multiples of 16.
    let descriptor = (size_of::<Descriptor>() + 2 * size_of::<usize>() + 8).next_multiple_of(16);
    let key_allocation = 8 + 15;
    // A full table of 7/8 load after doubling holds a number and a control byte in each of 16/7 places.
    let table = (size_of::<u32>() + 1) * 16 / 7 + 1;
    // Growth doubles the slots.
    assert!(2 * size_of::<Slot>() + table + descriptor + key_allocation + size_of::<u32>() < 170);
    assert!(size_of::<Slot>() + table + descriptor + key_allocation + size_of::<u32>() < 150);
}
