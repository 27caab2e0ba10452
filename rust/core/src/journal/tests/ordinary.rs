//! What a journal promises as long as nothing breaks.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::*;

fn disk(directory: &tempfile::TempDir) -> Arc<DiskStorage> {
    Arc::new(DiskStorage::open(directory.path().join("journal")).expect("a directory of our own"))
}

#[test]
fn committed_records_are_read_in_order_and_replayed_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(&directory);
    let first = open(&storage);
    let sent: Vec<_> = (0..500).map(|number| payload(number, (number * 7 % 1_000) as usize)).collect();
    let tickets: Vec<_> = sent.iter().map(|payload| first.append(payload).unwrap()).collect();
    assert!(tickets.iter().all(|ticket| ticket.wait(PATIENCE) == Outcome::Committed));
    assert!(first.journal.flush(PATIENCE));
    let read = first.read();
    assert_eq!(payloads(&read), sent);
    assert_eq!(read, *first.told.committed.lock(), "the sink and the reader agree on every position");
    assert_eq!(first.journal.committed(), read.last().unwrap().end);
    assert!(first.journal.stats().segments > 3, "the records fill several segments");
    first.journal.close();
    drop(first);

    let second = open(&storage);
    assert_eq!(second.replayed.records, read);
    assert_eq!(second.recovery.torn_bytes, 0);
    assert_eq!(second.recovery.quarantined, []);
    assert_eq!(second.commit(b"after the restart"), Outcome::Committed);
    let more = second.read();
    assert_eq!(more[..read.len()], read);
    assert!(more.last().unwrap().start >= read.last().unwrap().end, "positions only grow");
}

#[test]
fn the_log_is_contiguous_over_segments_and_restarts() {
    let storage = Arc::new(MemoryStorage::new());
    for life in 0..3 {
        let opened = open(&storage);
        for number in 0..40 {
            assert_eq!(opened.commit(&payload(life * 100 + number, 5_000)), Outcome::Committed);
        }
        let read = opened.read();
        for pair in read.windows(2) {
            let gap = pair[1].start.get() - pair[0].end.get();
            assert!(gap == 0 || gap == 4096, "between records lies nothing but a segment's header, not {gap}");
        }
        assert_eq!(read.len() as u64, (life + 1) * 40);
    }
}

#[test]
fn a_second_opening_fails_with_the_path_until_the_first_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&disk(&directory));
    let error = try_open(disk(&directory), settings()).err().expect("the lock is held");
    assert!(matches!(error, JournalError::Locked { .. }));
    let message = error.to_string();
    assert!(message.contains(directory.path().to_str().unwrap()) && message.contains("another process"), "{message}");
    first.journal.close();
    open(&disk(&directory));
}

#[test]
fn files_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&disk(&directory));
    assert_eq!(opened.commit(b"x"), Outcome::Committed);
    opened.journal.cursor("parquet").unwrap();
    opened.journal.store_cursor("parquet", opened.journal.committed()).unwrap();
    opened.journal.checkpoint(opened.journal.committed(), b"state").unwrap();
    let path = directory.path().join("journal");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let modes = path.read_dir().unwrap().map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777);
    assert_eq!(modes.filter(|mode| *mode != 0o600).count(), 0);
}

#[test]
fn what_every_cursor_and_the_checkpoint_have_passed_is_deleted_and_nothing_else() {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    let journal = &opened.journal;
    assert_eq!(journal.cursor("parquet").unwrap(), journal.oldest());
    assert_eq!(journal.cursor("influxdb").unwrap(), journal.oldest());
    for number in 0..40 {
        assert_eq!(opened.commit(&payload(number, 10_000)), Outcome::Committed);
    }
    let read = opened.read();
    let end = journal.committed();
    assert_eq!(journal.store_cursor("parquet", end).unwrap(), end);
    assert_eq!(journal.trim().unwrap(), 0, "there is no checkpoint");
    journal.checkpoint(end, b"state").unwrap();
    assert_eq!(journal.trim().unwrap(), 0, "influxdb is still at the beginning");
    assert_eq!(opened.read(), read);

    let middle = read[20].end;
    journal.store_cursor("influxdb", middle).unwrap();
    let before = journal.stats();
    assert!(journal.trim().unwrap() > 0);
    assert!(journal.stats().bytes < before.bytes);
    assert!(journal.oldest() <= middle);
    assert_eq!(opened.read_from(middle), read[21..]);
    let error = journal.reader(Position::new(0)).next_record().expect_err("its segment was deleted");
    assert!(matches!(error, JournalError::Trimmed { oldest, .. } if oldest == journal.oldest()));

    journal.store_cursor("influxdb", end).unwrap();
    journal.trim().unwrap();
    assert_eq!(journal.stats().segments, 1, "the last segment stays");
    journal.close_cursor("influxdb");
    assert!(matches!(journal.store_cursor("influxdb", end), Err(JournalError::CursorClosed { .. })));
    journal.close();
    drop(opened);

    let again = open(&storage);
    assert_eq!(again.replayed.checkpoint, Some((end, b"state".to_vec())));
    assert_eq!(again.replayed.records, []);
    assert_eq!(again.recovery.cursors, [("influxdb".to_owned(), end), ("parquet".to_owned(), end)]);
    assert_eq!(again.journal.cursor("parquet").unwrap(), end);
    assert_eq!(again.journal.cursor("new").unwrap(), again.journal.oldest());
}

#[test]
fn while_there_is_room_either_of_two_checkpoints_can_be_started_from() {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    for round in 0..2 {
        for number in 0..10 {
            opened.commit(&payload(number, 10_000));
        }
        opened.journal.checkpoint(opened.journal.committed(), [round]).unwrap();
    }
    let all = opened.read();
    opened.journal.trim().unwrap();
    let newest = newest(&*storage, "checkpoint-");
    drop(opened);
    let mut bytes = storage.contents(&newest).unwrap();
    bytes[60] ^= 1;
    storage.put(&newest, bytes);
    let again = open(&storage);
    assert_eq!(again.replayed.checkpoint, Some((all[9].end, vec![0])));
    assert_eq!(again.replayed.records, all[10..]);
    assert_eq!(again.recovery.damaged_files.len(), 1);
    assert_eq!(again.recovery.quarantined, []);
}

#[test]
fn cursors_and_checkpoints_do_not_move_backwards_or_ahead_of_the_commit() {
    let opened = open(&Arc::new(MemoryStorage::new()));
    let journal = &opened.journal;
    journal.cursor("a").unwrap();
    opened.commit(b"one");
    let first = journal.committed();
    opened.commit(b"two");
    let second = journal.committed();
    assert_eq!(journal.store_cursor("a", second).unwrap(), second);
    assert_eq!(journal.store_cursor("a", first).unwrap(), second);
    let ahead = Position::new(second.get() + 8);
    assert!(matches!(journal.store_cursor("a", ahead), Err(JournalError::Ahead { .. })));
    assert!(matches!(journal.store_cursor("b", first), Err(JournalError::CursorClosed { .. })));
    assert!(matches!(journal.cursor("../b"), Err(JournalError::CursorName { .. })));
    assert!(matches!(journal.checkpoint(ahead, b""), Err(JournalError::Ahead { .. })));
    journal.checkpoint(second, b"").unwrap();
    assert!(matches!(journal.checkpoint(first, b""), Err(JournalError::CheckpointBehind { .. })));
}

#[test]
fn records_over_the_limit_are_refused_and_the_largest_is_taken() {
    let opened = open(&Arc::new(MemoryStorage::new()));
    let max = SEGMENT_BYTES as usize - 4096 - 32;
    assert_eq!(opened.append(&vec![1; max + 1]).err(), Some(AppendError::TooLarge { bytes: max + 1, max }));
    let largest = payload(1, max);
    assert_eq!(opened.commit(&largest), Outcome::Committed);
    assert_eq!(opened.commit(&[]), Outcome::Committed);
    assert_eq!(payloads(&opened.read()), [largest, Vec::new()]);
}

#[test]
fn at_its_largest_size_the_log_is_full_until_something_is_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let bytes_max = 4 * SEGMENT_BYTES;
    let opened = try_open(storage.clone(), JournalSettings { bytes_max, ..settings() }).unwrap();
    opened.journal.cursor("a").unwrap();
    let mut taken = Vec::new();
    loop {
        let next = payload(taken.len() as u64, 20_000);
        match opened.append(&next) {
            Ok(ticket) => assert_eq!(ticket.wait(PATIENCE), Outcome::Committed),
            Err(error) => break assert_eq!(error, AppendError::Full(FullReason::BytesMax)),
        }
        taken.push(next);
    }
    assert_eq!(taken.len(), 12, "three records of 20,000 bytes fit into each of four segments");
    assert!(opened.journal.stats().bytes <= bytes_max);
    assert_eq!(payloads(&opened.read()), taken);
    let end = opened.journal.committed();
    opened.journal.store_cursor("a", end).unwrap();
    opened.journal.checkpoint(end, b"").unwrap();
    assert_eq!(opened.journal.trim().unwrap(), 3);
    assert_eq!(opened.commit(&payload(99, 20_000)), Outcome::Committed);
    assert!(opened.journal.stats().bytes <= 2 * SEGMENT_BYTES);
}

#[test]
fn room_is_wanted_before_the_log_is_full_and_no_further_than_needed() {
    let bytes_max = 6 * SEGMENT_BYTES;
    let opened =
        try_open(Arc::new(MemoryStorage::new()), JournalSettings { bytes_max, ..settings() }).expect("it opens");
    let journal = &opened.journal;
    journal.cursor("slow").unwrap();
    let fill = |segments: u64| {
        for number in 0..3 * segments {
            assert_eq!(opened.commit(&payload(number, 20_000)), Outcome::Committed);
        }
    };
    fill(4);
    assert_eq!(journal.room_wanted(journal.committed()), None, "two more segments fit");
    fill(1);
    let wanted = journal.room_wanted(journal.committed()).expect("only one more fits");
    assert_eq!(wanted.get(), 4_096 + 3 * 20_032, "one segment");
    assert_eq!(journal.room_wanted(journal.oldest()), None, "nothing may go, and nothing is asked for in vain");
    assert!(!journal.wants_checkpoint(), "a cursor holds it");
    assert_eq!(journal.store_cursor("slow", wanted).unwrap(), wanted);
    assert!(journal.wants_checkpoint(), "now only the checkpoint does");
    journal.checkpoint(journal.committed(), b"").unwrap();
    assert_eq!((journal.trim().unwrap(), journal.wants_checkpoint()), (1, false));
    assert_eq!(journal.room_wanted(journal.committed()), None);
    for _ in 0..10 {
        fill(1);
        if let Some(wanted) = journal.room_wanted(journal.committed()) {
            journal.store_cursor("slow", wanted).unwrap();
            journal.checkpoint(journal.committed(), b"").unwrap();
            assert_eq!(journal.trim().unwrap(), 1);
        }
    }
}

#[test]
fn many_appenders_share_few_synchronizations_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Arc::new(
        try_open(disk(&directory), JournalSettings { segment_bytes: 1 << 20, bytes_max: 1 << 28, ..settings() })
            .unwrap(),
    );
    let threads: Vec<_> = (0..16u64)
        .map(|thread| {
            let opened = opened.clone();
            thread::spawn(move || {
                for number in 0..100 {
                    assert_eq!(opened.commit(&payload(thread * 1_000 + number, 3_000)), Outcome::Committed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(opened.journal.flush(PATIENCE));
    let stats = opened.journal.stats();
    assert_eq!((stats.records_committed, stats.records_failed, stats.pending_records), (1_600, 0, 0));
    assert!(stats.syncs < 1_600, "{} synchronizations", stats.syncs);
    let mut numbers: Vec<_> = opened.read().iter().map(|seen| seen.payload[..8].to_vec()).collect();
    assert_eq!(numbers.len(), 1_600);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1_600);
}

#[test]
fn a_reader_in_another_thread_sees_every_record_once_while_it_is_written() {
    let opened = Arc::new(open(&Arc::new(MemoryStorage::new())));
    let mut reader = opened.journal.reader(opened.journal.oldest());
    let reading = thread::spawn(move || {
        let mut numbers = Vec::new();
        while numbers.len() < 300 {
            match reader.next_record().unwrap() {
                Some(record) => numbers.push(u64::from_le_bytes(record.payload[..8].try_into().unwrap())),
                None => thread::yield_now(),
            }
        }
        numbers
    });
    for number in 0..300 {
        assert_eq!(opened.commit(&payload(number, 2_000)), Outcome::Committed);
    }
    assert!(reading.join().unwrap().into_iter().eq(0..300));
}

#[test]
fn closing_commits_what_was_taken_and_is_idempotent() {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    let tickets: Vec<_> = (0..100).map(|number| opened.append(&payload(number, 100)).unwrap()).collect();
    opened.journal.close();
    opened.journal.close();
    assert!(tickets.iter().all(|ticket| ticket.outcome() == Outcome::Committed));
    assert_eq!(opened.append(b"late").err(), Some(AppendError::Closed));
    let end = opened.journal.committed();
    assert!(matches!(opened.journal.checkpoint(end, b""), Err(JournalError::Closed)));
    assert!(matches!(opened.journal.trim(), Err(JournalError::Closed)));
    assert_eq!(opened.read().len(), 100);
    assert!(storage.names().unwrap().iter().all(|name| !name.contains(".tmp")));
}

#[test]
fn a_sink_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl CommitSink<()> for Panics {
        fn committed(&self, _: Vec<Appended<()>>) {
            panic!("the sink of this test panics");
        }
        fn failed(&self, _: Vec<()>) {}
    }
    let storage = Arc::new(MemoryStorage::new());
    let (journal, _) = Journal::open(storage.clone(), settings(), Arc::new(Panics), &mut Replayed::default()).unwrap();
    assert_eq!(journal.append(b"x", ()).unwrap().wait(PATIENCE), Outcome::Committed);
    assert!(journal.flush(PATIENCE));
    assert_eq!(journal.append(b"y", ()).err(), Some(AppendError::Closed));
    drop(journal);
    assert_eq!(payloads(&open(&storage).replayed.records), [b"x"]);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let storage = Arc::new(MemoryStorage::new());
    let wrong = [
        JournalSettings { segment_bytes: 1, ..settings() },
        JournalSettings { bytes_max: SEGMENT_BYTES, ..settings() },
        JournalSettings { pending_bytes_max: 1, ..settings() },
    ];
    for (settings, key) in wrong.into_iter().zip(["segment_bytes", "bytes_max", "pending_bytes_max"]) {
        let error = try_open(storage.clone(), settings).err().expect("a wrong setting").to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn nothing_is_committed_to_a_directory_that_was_removed_until_it_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&disk(&directory));
    assert_eq!(opened.commit(b"before"), Outcome::Committed);

    let place = directory.path().join("journal");
    std::fs::remove_dir_all(&place).unwrap();
    assert_eq!(opened.commit(b"into nowhere"), Outcome::Failed);
    assert!(opened.journal.stats().fault_last.is_some_and(|fault| fault.contains("removed by somebody else")));

    std::fs::create_dir(&place).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while opened.commit(b"after") == Outcome::Failed {
        assert!(Instant::now() < deadline, "it goes on by itself");
    }
    opened.journal.close();
    drop(opened);
    assert_eq!(payloads(&open(&disk(&directory)).replayed.records), [b"after".to_vec()]);
}
