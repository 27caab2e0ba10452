//! Splits that do not reach the storage, and a crash.

use std::time::Instant;

use rustix::io::Errno;

use super::*;
use crate::journal::{Fault, FaultStorage, MemoryStorage, Operation};

/// A spool with one batch of six points on stable storage, whose next record fails in every way: it is written and not
/// synchronized, the file cannot be cut in front of it, and no other segment can be begun.
fn failing() -> (Arc<FaultStorage>, Spool) {
    let storage = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new()), 1).unwrap());
    let spool = open(&storage);
    spool.put(batch(0, 6));
    assert!(spool.flush(PATIENCE));
    let fault = |operation, skip| Fault { operation, prefix: "".into(), skip, times: 1_000, errno: Errno::IO };
    storage.fail(fault(Operation::SyncData, 0));
    storage.fail(Fault { prefix: "segment-".into(), ..fault(Operation::Write, 1) });
    (storage, spool)
}

fn split(spool: &Spool) {
    assert_eq!(spool.split(1), Some(2));
    assert!(spool.flush(PATIENCE));
}

const WHOLE: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn while_a_crash_may_bring_halves_back_neither_they_nor_the_whole_are_handed_out() {
    let (storage, spool) = failing();
    split(&spool);
    assert_eq!(waiting(&spool), [], "the whole would be stored, and its halves after the crash as well");
    assert_eq!((spool.points_of(1), spool.split(1)), (None, None));
    let _ = spool.maintain();
    assert!(spool.flush(PATIENCE));
    assert_eq!(waiting(&spool), [], "the disk fails on");
    storage.kill();
    spool.abandon_handle();
    storage.heal();
    let spool = open(&storage);
    assert_eq!(waiting(&spool), [(2, WHOLE[..3].to_vec()), (3, WHOLE[3..].to_vec())], "the record has come back");
}

#[test]
fn once_the_disk_is_well_the_whole_is_there_again_though_nothing_else_comes() {
    let (storage, spool) = failing();
    split(&spool);
    storage.heal();
    // The journal looks by and by whether the disk is well.
    let deadline = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    while told.is_empty() {
        assert!(Instant::now() < deadline, "it is told");
        spool.maintain().unwrap();
        assert!(spool.flush(PATIENCE));
        told = spool.take_told();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(spool.flush(PATIENCE));
    assert_eq!(told, [Told::Unsplit { sequence: 1 }]);
    assert_eq!(waiting(&spool), [(1, WHOLE.to_vec())]);
    assert_eq!(spool.waiting(), (1, 6));
    assert_eq!(spool.split(1), Some(4), "a sequence is used once");
    assert!(spool.flush(PATIENCE));
    storage.kill();
    spool.abandon_handle();
    assert_eq!(waiting(&open(&storage)), [(4, WHOLE[..3].to_vec()), (5, WHOLE[3..].to_vec())]);
}

#[test]
fn a_failing_disk_holds_up_no_other_batch_for_a_split() {
    let (_storage, spool) = failing();
    split(&spool);
    let later = spool.put(batch(10, 1));
    assert!(spool.flush(PATIENCE));
    assert_eq!(waiting(&spool), [(later, vec![10.0])], "from memory");
}

#[test]
fn what_a_power_loss_leaves_is_the_whole_or_its_halves() {
    let (storage, spool) = failing();
    split(&spool);
    spool.abandon_handle();
    storage.heal();
    storage.power_loss().unwrap();
    let mut values: Vec<_> = waiting(&open(&storage)).into_iter().flat_map(|(_, values)| values).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, WHOLE);
}

#[test]
fn a_spool_that_is_closed_before_the_disk_is_well_keeps_the_points() {
    let (storage, spool) = failing();
    split(&spool);
    let _ = spool.close();
    storage.heal();
    storage.kill();
    let spool = open(&storage);
    let values: usize = waiting(&spool).iter().map(|(_, values)| values.len()).sum();
    assert_eq!((values, dropped(&spool, DropReason::SpoolFailed)), (6, (0, 0)));
}
