//! What a spool does while nothing goes wrong, when it is full, and when it comes to another machine.

use rustix::io::Errno;

use super::*;
use crate::journal::{Fault, FaultStorage, MemoryStorage, Operation};

fn disk() -> Arc<FaultStorage> {
    Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new()), 1).unwrap())
}

fn settle(spool: &Spool) {
    assert!(spool.flush(PATIENCE), "every record gets its outcome");
}

#[test]
fn batches_without_an_answer_outlive_the_process() {
    let storage = disk();
    let spool = open(&storage);
    let epoch = spool.epoch();
    assert_ne!(epoch, 0);
    for number in 0..5 {
        assert_eq!(spool.put(batch(10 * number, 3)), number + 1);
    }
    settle(&spool);
    spool.acknowledge(1);
    spool.acknowledge(3);
    spool.close().unwrap();
    let (spool, opening) = try_open(storage, &settings()).unwrap();
    assert_eq!((spool.epoch(), opening.renewal, opening.batches, opening.points), (epoch, None, 3, 9));
    assert_eq!(
        waiting(&spool),
        [(2, vec![10.0, 11.0, 12.0]), (4, vec![30.0, 31.0, 32.0]), (5, vec![40.0, 41.0, 42.0])]
    );
    assert_eq!(spool.oldest_unacknowledged(), 2);
    assert_eq!(spool.put(batch(50, 1)), 6, "after a clean end the sequences go on without a gap");
}

#[test]
fn halves_take_the_place_of_a_batch_and_of_each_other() {
    let storage = disk();
    let spool = open(&storage);
    spool.put(batch(0, 5));
    settle(&spool);
    assert_eq!(spool.split(1), Some(2));
    settle(&spool);
    assert_eq!(waiting(&spool), [(2, vec![0.0, 1.0]), (3, vec![2.0, 3.0, 4.0])]);
    spool.acknowledge(2);
    assert_eq!(spool.split(3), Some(4));
    settle(&spool);
    spool.maintain().unwrap();
    spool.acknowledge(4);
    assert_eq!(spool.waiting(), (1, 2));
    assert_eq!(spool.split(9), None, "there is none");
    spool.close().unwrap();
    assert_eq!(waiting(&open(&storage)), [(5, vec![3.0, 4.0])]);
}

#[test]
fn over_the_bound_the_oldest_are_dropped_and_counted_for_good() {
    let storage = disk();
    let spool = open(&storage);
    let mut put = 0_u64;
    while dropped(&spool, DropReason::OutboxFull).0 == 0 {
        assert!(put < 2_000, "the bound is kept");
        put += 1;
        spool.put(noise(put));
        settle(&spool);
        if spool.pressed() {
            spool.maintain().unwrap();
        }
    }
    let (batches, points) = dropped(&spool, DropReason::OutboxFull);
    assert_eq!(points, 500 * batches);
    let told = spool.take_told();
    assert_eq!(told.len() as u64, batches);
    assert_eq!(told[0], Told::Dropped { sequence: 1, points: 500, reason: DropReason::OutboxFull }, "the oldest");
    assert_eq!(waiting(&spool).first().map(|first| first.0), Some(batches + 1));
    assert!(spool.stats().journal.bytes <= BYTES_MIN);
    spool.close().unwrap();
    let spool = open(&storage);
    assert_eq!(dropped(&spool, DropReason::OutboxFull), (batches, points), "the counters outlive the process");
    assert_eq!(waiting(&spool).len() as u64, put - batches);
}

/// A batch of 500 points that no compressor makes small.
fn noise(number: u64) -> OutgoingBatch {
    batch(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11, 500)
}

#[test]
fn an_outage_after_answers_of_different_segments_does_not_wedge_a_full_spool() {
    let storage = disk();
    let spool = open(&storage);
    let mut put = 0_u64;
    let mut answered_at = Vec::new();
    // Two checkpoints in different segments, and nothing to say in a third one.
    while answered_at.len() < 2 {
        let before = spool.oldest_places().0;
        while spool.oldest_places().0 < before + BYTES_MIN / 16 {
            put += 1;
            spool.put(noise(put));
            settle(&spool);
            spool.acknowledge(put);
        }
        spool.maintain().unwrap();
        answered_at.push(spool.oldest_places().0);
    }
    while dropped(&spool, DropReason::OutboxFull).0 == 0 {
        assert!(put < 2_000, "the bound is kept");
        put += 1;
        spool.put(noise(put));
        settle(&spool);
        spool.maintain().unwrap();
        assert!(!spool.pressed(), "batch {put}: a full spool gets room");
        assert!(spool.durable(put - 1));
    }
}

#[test]
fn a_short_segment_that_is_dropped_takes_nothing_of_the_next_one_along() {
    let storage = disk();
    let spool = open(&storage);
    spool.put(noise(1));
    settle(&spool);
    spool.close().unwrap();
    let spool = open(&storage);
    let mut put = 1;
    while dropped(&spool, DropReason::OutboxFull).0 == 0 {
        assert!(put < 2_000, "the bound is kept");
        put += 1;
        spool.put(noise(put));
        settle(&spool);
        spool.maintain().unwrap();
    }
    let (batch, kept) = spool.oldest_places();
    assert_eq!(batch, kept, "the oldest record that is kept is still needed");
}

#[test]
fn a_failing_disk_costs_durability_and_no_batch() {
    let storage = disk();
    let spool = open(&storage);
    storage.fail(Fault { operation: Operation::SyncData, prefix: "".into(), skip: 0, times: 1_000, errno: Errno::IO });
    for number in 0..4 {
        spool.put(batch(number, 1));
        settle(&spool);
    }
    let stats = spool.stats();
    assert_eq!(stats.unspooled, (4, 4));
    assert!(stats.trouble.is_some());
    assert_eq!(waiting(&spool).len(), 4, "they are handed out from memory");
    storage.heal();
    // The journal goes on by itself as soon as a segment can be begun.
    let after = std::time::Instant::now() + PATIENCE;
    while spool.stats().unspooled.0 == 4 + spool.stats().journal.records_committed {
        assert!(std::time::Instant::now() < after);
        spool.put(batch(9, 1));
        settle(&spool);
        if spool.stats().journal.records_committed > 0 {
            break;
        }
    }
    let used = waiting(&spool).last().unwrap().0;
    storage.kill();
    spool.abandon_handle();
    let spool = open(&storage);
    assert!(spool.put(batch(10, 1)) > used, "no sequence is used for a second batch");
}

#[test]
fn on_another_machine_nothing_is_sent_that_the_first_one_has() {
    let storage = disk();
    let spool = open(&storage);
    let epoch = spool.epoch();
    spool.put(batch(0, 3));
    settle(&spool);
    spool.close().unwrap();
    let mut clone = settings();
    clone.owner.machine_id = "machine-2".into();
    let (spool, opening) = try_open(storage.clone(), &clone).unwrap();
    assert_eq!(opening.renewal, Some(Renewal::AnotherMachine));
    assert_ne!(spool.epoch(), epoch);
    assert_eq!(waiting(&spool), []);
    assert_eq!(dropped(&spool, DropReason::AnotherMachine), (1, 3));
    spool.put(batch(7, 1));
    settle(&spool);
    let renewed = spool.epoch();
    spool.close().unwrap();
    let (spool, opening) = try_open(storage, &clone).unwrap();
    assert_eq!((spool.epoch(), opening.renewal), (renewed, None));
    assert_eq!(waiting(&spool).len(), 1);
}

#[test]
fn a_renamed_machine_sends_what_it_has_under_new_names_and_its_new_node() {
    let storage = disk();
    let spool = open(&storage);
    let epoch = spool.epoch();
    spool.put(batch(0, 3));
    settle(&spool);
    spool.close().unwrap();
    let mut renamed = settings();
    renamed.owner.identity = "spiffe://example/node-9".into();
    renamed.owner.node = "node-9".into();
    let (spool, opening) = try_open(storage.clone(), &renamed).unwrap();
    assert_eq!(opening.renewal, Some(Renewal::AnotherIdentity));
    assert_ne!(spool.epoch(), epoch);
    assert_eq!(waiting(&spool), [(1, vec![0.0, 1.0, 2.0])]);
    assert_eq!(&*spool.batch(1).unwrap().common_tags()[0].1, "node-9");
    assert_eq!(dropped(&spool, DropReason::AnotherMachine), (0, 0));
    spool.close().unwrap();
    let mut unknown = renamed.clone();
    unknown.owner.machine_id = String::new();
    let (spool, opening) = try_open(storage, &unknown).unwrap();
    assert_eq!(opening.renewal, None, "what is not known does not differ");
    assert_eq!(&*spool.batch(1).unwrap().common_tags()[0].1, "node-9");
}

#[test]
fn two_processes_cannot_have_one_spool() {
    let storage = disk();
    let spool = open(&storage);
    assert!(matches!(try_open(storage, &settings()), Err(JournalError::Locked { .. })));
    drop(spool);
}

#[test]
fn memory_is_bounded_and_what_is_stored_is_read_back() {
    let storage = disk();
    let small = SpoolSettings { memory_bytes_max: 4_000, ..settings() };
    let (spool, _) = try_open(storage, &small).unwrap();
    for number in 0..50 {
        spool.put(batch(10 * number, 10));
        settle(&spool);
    }
    let (resident, bytes) = spool.resident();
    assert!(bytes <= 4_000, "{bytes} bytes of {resident} batches are in memory");
    assert!(resident < 10);
    assert_eq!(waiting(&spool).len(), 50);
}
