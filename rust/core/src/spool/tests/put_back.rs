//! A machine that is put back to an earlier state of its disk.

use super::*;
use crate::journal::MemoryStorage;

const SECOND: u64 = 1_000_000;
const TIME: u64 = 1_790_000_000 * SECOND;

fn started(storage: &Arc<MemoryStorage>, started_unix_us: u64) -> Spool {
    try_open(storage.clone(), &SpoolSettings { started_unix_us, ..settings() }).expect("the spool opens").0
}

fn put(spool: &Spool, values: std::ops::Range<u64>) -> Vec<u64> {
    let sequences = values.map(|value| spool.put(batch(value, 1))).collect();
    assert!(spool.flush(PATIENCE));
    sequences
}

fn image(storage: &MemoryStorage) -> Arc<MemoryStorage> {
    let copy = MemoryStorage::new();
    for name in storage.names().unwrap() {
        copy.put(&name, storage.contents(&name).unwrap());
    }
    Arc::new(copy)
}

#[test]
fn a_name_that_was_used_since_is_not_used_for_other_points() {
    let storage = Arc::new(MemoryStorage::new());
    let spool = started(&storage, TIME);
    assert_eq!(put(&spool, 0..3), [1, 2, 3], "a new spool begins with 1: nothing was ever named by its epoch");
    (1..=3).for_each(|sequence| spool.acknowledge(sequence));
    spool.close().unwrap();
    let saved = image(&storage);
    let spool = started(&storage, TIME + 60 * SECOND);
    let since = put(&spool, 3..1_000);
    assert_eq!(since[0], TIME + 60 * SECOND);
    let epoch = spool.epoch();
    drop(spool);
    let spool = started(&saved, TIME + 120 * SECOND);
    assert_eq!(spool.epoch(), epoch);
    let other = put(&spool, 5_000..5_010);
    // Above all of them, or a collector that was told that they are settled would take these for duplicates.
    assert!(other[0] > *since.last().unwrap());
    spool.close().unwrap();
    let spool = started(&saved, 0);
    assert_eq!(waiting(&spool).len(), 10);
    assert_eq!(put(&spool, 0..1)[0], other.last().unwrap() + 1, "without a clock they go on where they were");
}

#[test]
fn a_clock_that_is_wrong_takes_no_sequence_twice_and_leaves_enough() {
    let storage = Arc::new(MemoryStorage::new());
    let spool = started(&storage, TIME);
    put(&spool, 0..3);
    spool.close().unwrap();
    let spool = started(&storage, u64::MAX);
    let far = put(&spool, 3..4)[0];
    assert!((TIME..=i64::MAX as u64 / 2 + 1).contains(&far));
    spool.close().unwrap();
    assert_eq!(put(&started(&storage, TIME), 4..5), [far + 1]);
}
