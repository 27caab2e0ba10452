//! Operations on the registry of series: never more series than the limit or an identity's quota, each series once, a
//! descriptor that is current is the one that its key finds, and what a snapshot holds is what is active.

#![no_main]

use std::collections::HashMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use telemetry_core::series::{Descriptor, KeyRef, Meta, MetricType, Registry, Source};

const LIMIT: usize = 24;
const QUOTA: usize = 12;
const IDLE_SECS: u64 = 20;
const IDENTITIES: [&str; 3] = ["node-1", "node-2", "relay"];
const UNITS: [&str; 3] = ["", "s", "By"];

fn snapshot(registry: &Registry) -> Vec<u8> {
    let mut out = Vec::new();
    let mut next = Some(0);
    while let Some(shard) = next {
        next = registry.snapshot(shard, &mut out);
    }
    out
}

fuzz_target!(|data: &[u8]| {
    let mut registry = Registry::new(LIMIT);
    let mut active: HashMap<u8, Arc<Descriptor>> = HashMap::new();
    let mut given: Vec<(u8, Arc<Descriptor>)> = Vec::new();
    let mut now_secs = 1_000;
    // A restored checkpoint is whatever the bytes are, and never a panic.
    let _ = Registry::new(LIMIT).restore(data);
    for &[what, which, how] in data.as_chunks::<3>().0 {
        let source = Source { identity: IDENTITIES[usize::from(how) % 3], series_max: QUOTA, now_secs };
        match what % 8 {
            0..=3 => {
                let bytes = [1, b'!' + which % 64];
                let key = KeyRef::from_canonical(&bytes).expect("a name is a key");
                let unit = UNITS[usize::from(how / 3) % 3];
                let meta = Meta { metric_type: MetricType::Gauge, unit, delta: how >= 128 };
                let mut found = Vec::new();
                if what >= 128 {
                    registry.lookup_together([key], &mut found);
                }
                match registry.admit_found(found.pop().flatten(), key, meta, source) {
                    Ok(series) => {
                        assert!(series.meta() == meta && series.key.as_bytes() == bytes && series.is_current());
                        active.insert(bytes[1], Arc::clone(&series));
                        given.push((bytes[1], series));
                    }
                    Err(_) => assert!(!active.contains_key(&bytes[1]), "known series go on"),
                }
            }
            4 | 5 => {
                if let Some((number, series)) = given.get(usize::from(which)) {
                    let touched = registry.touch(series, source);
                    assert!(!touched || active.contains_key(number));
                    assert!(touched || !series.is_current());
                }
            }
            6 => {
                now_secs += u64::from(which % 32);
                let before = registry.len();
                let expired = registry.expire(now_secs, IDLE_SECS, usize::from(how));
                assert_eq!(registry.len(), before - expired);
                active.retain(|_, series| series.is_current());
            }
            _ => {
                let bytes = snapshot(&registry);
                registry = Registry::new(LIMIT);
                assert_eq!(registry.restore(&bytes), Ok(active.len()));
                given.clear();
                for series in active.values_mut() {
                    *series = registry.lookup(series.key.borrowed()).expect("a snapshot loses no series");
                }
            }
        }
        assert!(registry.len() <= LIMIT);
        assert_eq!(registry.len(), active.len());
        for series in active.values() {
            let found = registry.lookup(series.key.borrowed()).expect("it is active");
            assert!(Arc::ptr_eq(&found, series));
        }
    }
});
