//! Storages that answer with errors.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::Condvar;
use rustix::io::Errno;

use super::*;

pub(super) fn faulty() -> Arc<FaultStorage> {
    Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new()), 7).unwrap())
}

pub(super) fn fault(operation: Operation, prefix: &'static str, skip: u64, times: u64, errno: Errno) -> Fault {
    Fault { operation, prefix: prefix.into(), skip, times, errno }
}

/// Appends until the journal takes and commits a record; fails the test when it never does.
fn recovers(opened: &Opened, payload: &[u8]) {
    for _ in 0..10_000 {
        if opened.commit(payload) == Outcome::Committed {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("the journal does not recover: {:?}", opened.journal.stats());
}

#[test]
fn what_a_failed_synchronization_covers_is_never_committed_whatever_happens_later() {
    for (operation, loss) in [Operation::SyncData, Operation::Write].into_iter().zip([true, false]).cycle().take(8) {
        let storage = faulty();
        let opened = open(&storage);
        assert_eq!(opened.commit(b"before"), Outcome::Committed);
        let committed = opened.journal.committed();
        storage.fail(fault(operation, "segment-", 0, 1, Errno::IO));
        let ticket = opened.append(b"failed").unwrap();
        assert_eq!(ticket.wait(PATIENCE), Outcome::Failed);
        assert!(opened.journal.flush(PATIENCE));
        assert_eq!(opened.journal.committed(), committed);
        assert_eq!(*opened.told.failed.lock(), [b"failed"]);
        let stats = opened.journal.stats();
        assert_eq!((stats.faults, stats.records_failed), (1, 1));
        assert!(stats.fault_last.unwrap().contains("segment-0000000000000000"));

        assert_eq!(opened.commit(b"after"), Outcome::Committed);
        assert_eq!(opened.journal.stats().segments, 2, "the segment that failed is never written to again");
        assert_eq!(payloads(&opened.read()), [&b"before"[..], b"after"]);
        drop(opened);
        if loss {
            storage.power_loss().unwrap();
        } else {
            storage.kill();
        }
        let again = open(&storage);
        assert_eq!(payloads(&again.replayed.records), [&b"before"[..], b"after"]);
        assert_eq!(again.recovery.quarantined, []);
        assert_eq!(ticket.outcome(), Outcome::Failed);
    }
}

#[test]
fn what_failed_does_not_come_back_when_no_new_segment_can_be_begun_before_a_kill() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"before"), Outcome::Committed);
    storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
    storage.fail(fault(Operation::Rename, "segment-", 0, u64::MAX, Errno::IO));
    assert_eq!(opened.commit(b"failed"), Outcome::Failed);
    assert_eq!(opened.commit(b"failed too"), Outcome::Failed);
    storage.crash_after(0);
    drop(opened);
    storage.heal();
    storage.kill();
    assert_eq!(payloads(&open(&storage).replayed.records), [b"before"]);
}

#[test]
fn what_recovery_keeps_is_stable_even_if_the_kernel_gave_its_pages_up() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"before"), Outcome::Committed);
    // The fdatasync fails, and so does everything that would hide the record from the next start.
    storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
    storage.fail(fault(Operation::Write, "segment-", 1, 1, Errno::IO));
    storage.fail(fault(Operation::Rename, "segment-", 0, u64::MAX, Errno::IO));
    assert_eq!(opened.commit(b"in the page cache only"), Outcome::Failed);
    storage.crash_after(0);
    drop(opened);
    storage.heal();
    storage.kill();
    let kept = [&b"before"[..], b"in the page cache only"];
    let second = open(&storage);
    assert_eq!(payloads(&second.replayed.records), kept, "nobody was told that it counts, but now it does");
    drop(second);
    storage.power_loss().unwrap();
    assert_eq!(payloads(&open(&storage).replayed.records), kept);
}

#[test]
fn a_start_that_cannot_synchronize_what_it_found_fails() {
    let storage = faulty();
    assert_eq!(open(&storage).commit(b"x"), Outcome::Committed);
    storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
    let error = try_open(storage.clone(), settings()).err().expect("nothing may be answered");
    assert!(matches!(&error, JournalError::Io { action: "synchronize", .. }) && error.is_retryable(), "{error}");
    assert_eq!(payloads(&open(&storage).replayed.records), [b"x"]);
}

#[test]
fn on_a_full_disk_room_is_wanted_a_segment_at_a_time_and_making_it_starts_appends_again() {
    let storage = faulty();
    // A little more than whole segments, for the files that free room.
    storage.limit(Some(4 * SEGMENT_BYTES + 8_192));
    let opened = open(&storage);
    let journal = &opened.journal;
    journal.cursor("slow").unwrap();
    for round in 0..3 {
        let mut refused = None;
        for number in 0..40 {
            refused = opened.append(&payload(number, 20_000)).err();
            if refused.is_some() {
                break;
            }
            assert!(journal.flush(PATIENCE));
        }
        assert_eq!(refused, Some(AppendError::Full(FullReason::NoSpace)), "round {round}");
        let first = opened.read().first().expect("there are records").start;
        let wanted = journal.room_wanted(journal.committed()).expect("the disk is full");
        let given_up = opened.read().iter().filter(|seen| seen.start < wanted).count();
        assert_eq!(given_up, 3, "the three records of the segment that begins before {first}");
        journal.store_cursor("slow", wanted).unwrap();
        if journal.wants_checkpoint() {
            journal.checkpoint(journal.committed(), b"").unwrap();
        }
        assert_eq!(journal.trim().unwrap(), 1);
        // The spare is prepared on a thread of its own. A record that fits into the segment before does not wait for it.
        let until = Instant::now() + PATIENCE;
        while journal.stats().trouble.is_some() {
            assert!(Instant::now() < until, "the room is noticed: {:?}", journal.stats());
            thread::sleep(Duration::from_millis(1));
        }
        recovers(&opened, &payload(99, 100));
        assert_eq!(journal.stats().trouble, None);
    }
    // A disk that fails in another way gains nothing by room.
    storage.fail(fault(Operation::Create, "spare-", 0, u64::MAX, Errno::IO));
    while opened.append(&payload(0, 20_000)).is_ok() {
        assert!(journal.flush(PATIENCE));
    }
    assert_eq!(journal.room_wanted(journal.committed()), None);
}

#[test]
fn a_full_disk_stops_appends_and_room_starts_them_again() {
    let storage = faulty();
    storage.limit(Some(3 * SEGMENT_BYTES));
    let opened = open(&storage);
    let mut taken = 0;
    let refused = loop {
        match opened.append(&payload(taken, 20_000)) {
            Ok(ticket) => taken += u64::from(ticket.wait(PATIENCE) == Outcome::Committed),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full(FullReason::NoSpace));
    assert!(taken >= 6, "two segments and more had room: {taken}");
    assert_eq!(opened.journal.stats().trouble, Some(AppendError::Full(FullReason::NoSpace)));
    assert_eq!(opened.read().len() as u64, taken);
    storage.limit(None);
    recovers(&opened, &payload(taken, 20_000));
    assert_eq!(opened.journal.stats().trouble, None);
    drop(opened);
    storage.power_loss().unwrap();
    assert_eq!(open(&storage).replayed.records.len() as u64, taken + 1);
}

#[test]
fn a_disk_that_is_full_from_the_start_opens_and_waits_for_room() {
    let storage = faulty();
    storage.limit(Some(1_000));
    let opened = open(&storage);
    let until = Instant::now() + PATIENCE;
    while opened.journal.refusal() != Some(AppendError::Full(FullReason::NoSpace)) {
        assert!(Instant::now() < until, "nobody has to be refused first");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(opened.commit(b"no room"), Outcome::Failed);
    storage.limit(None);
    recovers(&opened, b"room");
    assert_eq!(payloads(&opened.read()), [b"room"]);
}

#[test]
fn io_errors_while_preparing_a_segment_refuse_appends_until_they_end() {
    for operation in [Operation::Create, Operation::SyncData] {
        let storage = faulty();
        storage.fail(fault(operation, "spare-", 0, 5, Errno::IO));
        let opened = open(&storage);
        recovers(&opened, b"x");
        assert_eq!(payloads(&opened.read()), [b"x"]);
    }
}

#[test]
fn io_errors_while_beginning_a_segment_fail_that_group_alone() {
    for operation in [Operation::Write, Operation::SyncData, Operation::Rename, Operation::SyncDir] {
        for prefix in ["spare-", "segment-", ""] {
            let storage = faulty();
            let opened = open(&storage);
            // The spare is synchronized once when it is prepared; its header is what fails.
            let skip = u64::from(operation == Operation::SyncData && prefix != "segment-");
            storage.fail(fault(operation, prefix, skip, 1, Errno::IO));
            let first = opened.commit(b"first");
            assert_eq!(opened.commit(b"second"), Outcome::Committed);
            storage.heal();
            drop(opened);
            storage.power_loss().unwrap();
            let mut expected = vec![b"second".to_vec()];
            if first == Outcome::Committed {
                expected.insert(0, b"first".to_vec());
            }
            assert_eq!(payloads(&open(&storage).replayed.records), expected);
        }
    }
}

#[test]
fn a_segment_that_could_not_be_begun_ends_the_one_before_all_the_same() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(&payload(0, 20_000)), Outcome::Committed);
    assert_eq!(opened.commit(&payload(1, 20_000)), Outcome::Committed);
    // The new name is there and cannot be made stable.
    storage.fail(fault(Operation::SyncDir, "", 0, 1, Errno::IO));
    assert_eq!(opened.commit(&payload(2, 40_000)), Outcome::Failed);
    assert_eq!(opened.commit(&payload(3, 100)), Outcome::Committed, "it would have had room in the first segment");
    storage.crash_after(0);
    drop(opened);
    storage.kill();
    let kept = [payload(0, 20_000), payload(1, 20_000), payload(3, 100)];
    assert_eq!(payloads(&open(&storage).replayed.records), kept);
}

#[test]
fn a_disk_that_keeps_failing_fills_no_directory() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"before"), Outcome::Committed);
    storage.fail(fault(Operation::SyncData, "segment-", 0, 200, Errno::IO));
    for _ in 0..200 {
        assert_eq!(opened.commit(b"failed"), Outcome::Failed);
    }
    let stats = opened.journal.stats();
    assert_eq!((stats.segments, stats.faults), (2, 200));
    assert!(stats.bytes <= 2 * SEGMENT_BYTES);
    assert_eq!(opened.commit(b"after"), Outcome::Committed);
    drop(opened);
    storage.power_loss().unwrap();
    assert_eq!(payloads(&open(&storage).replayed.records), [&b"before"[..], b"after"]);
}

#[test]
fn a_cursor_that_cannot_be_stored_stays_where_it_was() {
    for operation in [Operation::Create, Operation::Write, Operation::SyncData, Operation::Rename] {
        let storage = faulty();
        let opened = open(&storage);
        opened.journal.cursor("a").unwrap();
        opened.commit(b"one");
        let first = opened.journal.committed();
        opened.journal.store_cursor("a", first).unwrap();
        opened.commit(b"two");
        let second = opened.journal.committed();
        storage.fail(fault(operation, "cursor-", 0, 1, Errno::IO));
        let error = opened.journal.store_cursor("a", second).expect_err("the storage fails");
        assert!(error.is_retryable() && error.to_string().contains("cursor-a"), "{error}");
        assert_eq!(opened.journal.stats().cursors[0].stored, first);
        assert_eq!(opened.journal.store_cursor("a", second).unwrap(), second);
        drop(opened);
        storage.power_loss().unwrap();
        assert_eq!(open(&storage).journal.cursor("a").unwrap(), second);
    }
}

#[test]
fn nothing_is_deleted_for_a_checkpoint_that_could_not_be_stored() {
    let storage = faulty();
    let opened = open(&storage);
    for number in 0..20 {
        assert_eq!(opened.commit(&payload(number, 10_000)), Outcome::Committed);
    }
    storage.fail(fault(Operation::SyncData, "checkpoint-", 0, 1, Errno::IO));
    assert!(opened.journal.checkpoint(opened.journal.committed(), b"state").is_err());
    assert_eq!(opened.journal.stats().checkpoint, None);
    assert_eq!(opened.journal.trim().unwrap(), 0);
    drop(opened);
    storage.power_loss().unwrap();
    let again = open(&storage);
    assert_eq!((again.replayed.checkpoint, again.replayed.records.len()), (None, 20));
}

#[test]
fn on_a_full_disk_cursors_and_checkpoints_take_the_room_of_the_spare() {
    let storage = faulty();
    let opened = open(&storage);
    opened.journal.cursor("a").unwrap();
    assert_eq!(opened.commit(b"x"), Outcome::Committed);
    // One segment and the spare are there, and not a byte more may be.
    while storage.bytes() < 2 * SEGMENT_BYTES {
        thread::yield_now();
    }
    storage.limit(Some(2 * SEGMENT_BYTES));
    let end = opened.journal.committed();
    opened.journal.checkpoint(end, [7; 10_000]).unwrap();
    assert_eq!(opened.journal.store_cursor("a", end).unwrap(), end);
    drop(opened);
    storage.limit(None);
    storage.power_loss().unwrap();
    assert_eq!(open(&storage).replayed.checkpoint, Some((end, vec![7; 10_000])));
}

#[test]
fn over_a_real_directory_a_process_takes_its_unsynchronized_writes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let faulty = || {
        let disk = DiskStorage::open(directory.path()).unwrap();
        Arc::new(FaultStorage::new(Arc::new(disk), 7).unwrap())
    };
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"synchronized"), Outcome::Committed);
    storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
    assert_eq!(opened.commit(b"not synchronized"), Outcome::Failed);
    storage.crash_after(0);
    drop((opened, storage));
    let again = open(&faulty());
    assert_eq!(payloads(&again.replayed.records), [b"synchronized"]);
    drop(again);
    drop(faulty());
    let names = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name != "lock" && !name.starts_with("segment-")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// Holds the committer back until told otherwise, so that a test decides what a group consists of.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    told: Told,
}

impl Gate {
    fn open(&self) {
        *self.open.lock() = true;
        self.changed.notify_all();
    }
}

impl CommitSink<Vec<u8>> for Gate {
    fn committed(&self, records: Vec<Appended<Vec<u8>>>) {
        self.told.committed(records);
        let mut open = self.open.lock();
        while !*open {
            self.changed.wait(&mut open);
        }
    }

    fn failed(&self, items: Vec<Vec<u8>>) {
        self.told.failed(items);
    }
}

fn gated(storage: &Arc<FaultStorage>, settings: JournalSettings) -> (Journal<Vec<u8>>, Arc<Gate>, Ticket) {
    let gate = Arc::new(Gate::default());
    let (journal, _) = Journal::open(storage.clone(), settings, gate.clone(), &mut Replayed::default()).unwrap();
    let first = journal.append(b"first", b"first".to_vec()).unwrap();
    assert_eq!(first.wait(PATIENCE), Outcome::Committed);
    (journal, gate, first)
}

#[test]
fn of_a_group_over_two_segments_the_committed_part_counts_and_the_other_does_not() {
    let storage = faulty();
    let (journal, gate, _) = gated(&storage, settings());
    let tickets: Vec<_> = (0..3).map(|n| journal.append(&payload(n, 25_000), payload(n, 25_000)).unwrap()).collect();
    storage.fail(fault(Operation::SyncData, "segment-", 1, 1, Errno::IO));
    gate.open();
    assert!(journal.flush(PATIENCE));
    let outcomes: Vec<_> = tickets.iter().map(Ticket::outcome).collect();
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Committed, Outcome::Failed]);
    assert_eq!(gate.told.committed.lock().len(), 3);
    assert_eq!(*gate.told.failed.lock(), [payload(2, 25_000)]);
    drop(journal);
    storage.power_loss().unwrap();
    let kept = [b"first".to_vec(), payload(0, 25_000), payload(1, 25_000)];
    assert_eq!(payloads(&open(&storage).replayed.records), kept);
}

#[test]
fn records_appended_together_fail_together_where_a_segment_ends() {
    let storage = faulty();
    let (journal, gate, _) = gated(&storage, settings());
    let alone = journal.append(&payload(0, 25_000), payload(0, 25_000)).unwrap();
    let records = (1..3).map(|n| (payload(n, 25_000), payload(n, 25_000))).collect();
    let together = journal.append_all(records).unwrap();
    storage.fail(fault(Operation::SyncData, "segment-", 1, 1, Errno::IO));
    gate.open();
    assert!(journal.flush(PATIENCE));
    assert_eq!(alone.outcome(), Outcome::Committed);
    let outcomes: Vec<_> = together.iter().map(Ticket::outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Failed]);
    let again = journal.append_all((1..3).map(|n| (payload(n, 25_000), payload(n, 25_000))).collect()).unwrap();
    assert!(journal.flush(PATIENCE));
    assert!(again.iter().all(|ticket| ticket.outcome() == Outcome::Committed));
    drop(journal);
    storage.power_loss().unwrap();
    let kept = [b"first".to_vec(), payload(0, 25_000), payload(1, 25_000), payload(2, 25_000)];
    assert_eq!(payloads(&open(&storage).replayed.records), kept, "sent again, they are there once");
}

#[test]
fn records_that_wait_are_bounded() {
    let storage = faulty();
    let (journal, gate, _) = gated(&storage, JournalSettings { pending_bytes_max: 10_000, ..settings() });
    let tickets: Vec<_> = (0..9).map(|n| journal.append(&payload(n, 1_000), Vec::new()).unwrap()).collect();
    assert_eq!(journal.append(&payload(9, 1_000), Vec::new()).err(), Some(AppendError::Full(FullReason::PendingBytes)));
    assert!(!journal.flush(Duration::ZERO));
    let stats = journal.stats();
    assert_eq!(stats.pending_bytes, 9 * 1_032);
    assert!(stats.pending_records >= 9);
    assert_eq!(tickets[0].wait(Duration::ZERO), Outcome::Pending);
    gate.open();
    assert!(tickets.iter().all(|ticket| ticket.wait(PATIENCE) == Outcome::Committed));
    assert!(journal.append(&payload(9, 1_000), Vec::new()).is_ok());
}

#[test]
fn records_that_wait_while_a_group_fails_are_committed_to_the_next_segment() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"before"), Outcome::Committed);
    for round in 0..20 {
        storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
        let tickets: Vec<_> = (0..8).map(|n| opened.append(&payload(round * 8 + n, 5_000)).unwrap()).collect();
        let outcomes: Vec<_> = tickets.iter().map(|ticket| ticket.wait(PATIENCE)).collect();
        assert_eq!(outcomes[0], Outcome::Failed, "the first group of the round meets the fault");
        opened.journal.checkpoint(opened.journal.committed(), b"").unwrap();
        opened.journal.trim().unwrap();
    }
    recovers(&opened, b"after");
    // Tickets are decided a moment before the sink is told.
    assert!(opened.journal.flush(PATIENCE));
    let told = opened.told.committed.lock().clone();
    let failed = opened.told.failed.lock().len();
    assert_eq!(told.len() + failed, 20 * 8 + 2);
    assert_eq!(opened.journal.stats().records_failed as usize, failed);
}
