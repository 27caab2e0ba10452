//! What damage costs: what is damaged.

use super::*;
use rustix::io::Errno;

use crate::journal::{Fault, FaultStorage, MemoryStorage, Operation};

fn filled() -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let spool = open(&storage);
    for number in 0..5 {
        spool.put(batch(100 * number, 20));
        assert!(spool.flush(PATIENCE));
    }
    spool.maintain().unwrap();
    spool.close().unwrap();
    storage
}

fn newest(storage: &MemoryStorage, prefix: &str) -> String {
    storage.names().unwrap().into_iter().filter(|name| name.starts_with(prefix)).max().expect("there is one")
}

fn damage(storage: &MemoryStorage, name: &str, at: usize) {
    let mut bytes = storage.contents(name).unwrap();
    bytes[at] ^= 0x40;
    storage.put(name, bytes);
}

#[test]
fn a_damaged_record_costs_its_batch_alone() {
    let storage = filled();
    let name = newest(&storage, "segment-");
    let bytes = storage.contents(&name).unwrap();
    // The third record's payload: records follow the header page, each behind 32 bytes of its own header.
    let mut at = 4_096;
    for _ in 0..2 {
        let payload = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        at += (32 + payload).next_multiple_of(8);
    }
    damage(&storage, &name, at + 40);
    let (spool, opening) = try_open(storage, &settings()).unwrap();
    assert_eq!(waiting(&spool).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 2, 4, 5]);
    assert!(opening.journal.damaged_bytes > 0);
    assert!(spool.put(batch(0, 1)) > 5);
}

#[test]
fn a_record_that_is_damaged_while_it_waits_is_dropped_and_counted() {
    let storage = filled();
    let none = SpoolSettings { memory_bytes_max: 0, ..settings() };
    let (spool, _) = try_open(storage.clone(), &none).unwrap();
    damage(&storage, &newest(&storage, "segment-"), 4_096 + 40);
    assert_eq!(spool.batch(1).map(|batch| batch.len()), None);
    assert_eq!(spool.take_told(), [Told::Dropped { sequence: 1, points: 20, reason: DropReason::Damaged }]);
    assert_eq!(waiting(&spool).len(), 4);
}

#[test]
fn a_disk_that_fails_to_read_for_a_while_costs_nothing() {
    let storage = Arc::new(FaultStorage::new(filled(), 1).unwrap());
    let none = SpoolSettings { memory_bytes_max: 0, ..settings() };
    let (spool, _) = try_open(storage.clone(), &none).unwrap();
    storage.fail(Fault { operation: Operation::Read, prefix: "segment-".into(), skip: 0, times: 3, errno: Errno::IO });
    for _ in 0..3 {
        assert_eq!(spool.batch(1).map(|batch| batch.len()), None);
        assert_eq!(spool.points_of(1), Some(20), "it waits");
    }
    assert!(spool.stats().trouble.is_some_and(|trouble| trouble.contains("segment-")));
    assert_eq!(waiting(&spool).len(), 5);
    assert_eq!(spool.take_told(), []);
}

#[test]
fn without_its_checkpoint_the_names_are_kept_and_none_is_used_twice() {
    let storage = filled();
    let epoch = open(&storage).epoch();
    for name in storage.names().unwrap().into_iter().filter(|name| name.starts_with("checkpoint-")) {
        damage(&storage, &name, 60);
    }
    let spool = open(&storage);
    assert_eq!(spool.epoch(), epoch, "records carry it too");
    assert_eq!(waiting(&spool).len(), 5);
    assert!(spool.put(batch(0, 1)) > 5);
}

#[test]
fn a_later_format_is_refused_by_name() {
    let storage = Arc::new(MemoryStorage::new());
    let spool = open(&storage);
    spool.append_raw(&[9, 1, 0, 0]);
    spool.abandon_handle();
    let error = try_open(storage, &settings()).err().expect("it is not read by half").to_string();
    assert!(error.contains("version 9") && error.contains("segment-"), "{error}");
}
