//! One test for each known way in which bytes on a disk go wrong.

use std::sync::Arc;

use super::*;
use crate::journal::format::{CHECKPOINT_MAGIC, CURSOR_MAGIC, Mark, RECORD_HEADER_BYTES, RecordHeader, seed};

/// A closed journal in memory and the records it holds.
struct Closed {
    storage: Arc<MemoryStorage>,
    id: JournalId,
    records: Vec<Seen>,
}

/// Thirty records over several segments, each in a group of its own.
fn closed() -> Closed {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    for number in 0..30 {
        assert_eq!(opened.commit(&payload(number, 9_000)), Outcome::Committed);
    }
    let records = opened.read();
    assert!(opened.journal.stats().segments >= 4);
    let id = opened.journal.id();
    opened.journal.close();
    Closed { storage, id, records }
}

impl Closed {
    /// Changes the bytes of the segment that holds a position, from that position on.
    fn damage(&self, position: Position, change: impl FnOnce(&mut [u8])) {
        let (name, base) = self.segment(position);
        let mut bytes = self.storage.contents(&name).unwrap();
        change(&mut bytes[(position.get() - base) as usize..]);
        self.storage.put(&name, bytes);
    }

    fn segment(&self, position: Position) -> (String, u64) {
        let bases = self.storage.names().unwrap().into_iter().filter_map(|name| {
            let base = u64::from_str_radix(name.strip_prefix("segment-")?, 16).ok()?;
            (base <= position.get()).then_some((name, base))
        });
        bases.max_by_key(|(_, base)| *base).expect("a segment holds the position")
    }

    /// Opens it and checks that exactly these records are left, for replay, readers, later appends and restarts.
    fn expect(&self, left: &[Seen]) -> Recovery {
        let opened = open(&self.storage);
        assert_eq!(opened.recovery.journal_id, self.id);
        assert_eq!(opened.replayed.records, left);
        assert_eq!(opened.read(), left);
        assert_eq!(opened.commit(b"behind the damage"), Outcome::Committed);
        let now = opened.read();
        assert_eq!(now.len(), left.len() + 1);
        assert!(now.last().unwrap().start >= left.last().unwrap().end);
        let recovery = opened.recovery.clone();
        drop(opened);
        let again = open(&self.storage);
        assert_eq!(again.replayed.records, now);
        assert_eq!(again.recovery.torn_bytes, 0, "what was cut stays cut");
        assert!(again.recovery.quarantined.iter().all(|known| !known.new), "what was set aside is not news");
        recovery
    }

    fn without(&self, index: usize) -> Vec<Seen> {
        let mut left = self.records.clone();
        left.remove(index);
        left
    }

    fn tail(&self) -> (Vec<Seen>, &Seen) {
        (self.records[..29].to_vec(), &self.records[29])
    }
}

#[test]
fn an_undamaged_journal_loses_nothing() {
    let closed = closed();
    let recovery = closed.expect(&closed.records);
    assert_eq!((recovery.torn_bytes, recovery.quarantined.len(), recovery.records), (0, 0, 30));
}

#[test]
fn a_tail_torn_inside_a_payload_is_cut() {
    let closed = closed();
    let (left, last) = closed.tail();
    closed.damage(last.start, |bytes| bytes[5_000..].fill(0));
    let recovery = closed.expect(&left);
    assert_eq!((recovery.torn_bytes, recovery.quarantined), (5_000, Vec::new()));
    assert_eq!(recovery.end, last.start);
}

#[test]
fn a_tail_torn_inside_a_header_is_cut() {
    let closed = closed();
    let (left, last) = closed.tail();
    closed.damage(last.start, |bytes| bytes[9..].fill(0));
    let recovery = closed.expect(&left);
    assert!((1..=9).contains(&recovery.torn_bytes), "{}", recovery.torn_bytes);
}

#[test]
fn a_tail_whose_header_never_arrived_is_cut() {
    let closed = closed();
    let (left, last) = closed.tail();
    closed.damage(last.start, |bytes| bytes[..512].fill(0));
    let recovery = closed.expect(&left);
    assert_eq!((recovery.torn_bytes, recovery.quarantined), (9_032, Vec::new()));
}

#[test]
fn garbage_behind_the_tail_is_cut() {
    let closed = closed();
    let end = closed.records[29].end;
    closed.damage(end, |bytes| bytes[100..300].fill(0xa5));
    assert_eq!(closed.expect(&closed.records).torn_bytes, 300);
}

#[test]
fn stale_records_at_the_tail_never_count() {
    let closed = closed();
    let (old, (left, last)) = (&closed.records[0], closed.tail());
    let (name, base) = closed.segment(old.start);
    let from = (old.start.get() - base) as usize;
    let stale = closed.storage.contents(&name).unwrap()[from..from + 9_032].to_vec();
    closed.damage(last.start, |bytes| bytes[..stale.len()].copy_from_slice(&stale));
    assert!(closed.expect(&left).torn_bytes > 9_000);
}

#[test]
fn records_of_another_journal_never_count() {
    let closed = closed();
    let end = closed.records[29].end;
    let header =
        RecordHeader { position: end.get(), payload_bytes: 8, payload_crc: crc32c::crc32c(&[7; 8]), group_bytes: 0 };
    let foreign = seed(&JournalId::new([9; 16]));
    closed.damage(end, |bytes| {
        header.put(bytes, foreign);
        bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + 8].fill(7);
    });
    assert_eq!(closed.expect(&closed.records).torn_bytes, 40);
}

#[test]
fn a_damaged_payload_is_set_aside_and_costs_that_record_alone() {
    let closed = closed();
    let hit = &closed.records[10];
    closed.damage(hit.start, |bytes| bytes[4_000] ^= 0x10);
    let recovery = closed.expect(&closed.without(10));
    let [quarantined] = &recovery.quarantined[..] else { panic!("{:?}", recovery.quarantined) };
    assert_eq!((quarantined.position, quarantined.bytes), (hit.start, 9_032));
    assert_eq!((quarantined.reason, quarantined.new, &quarantined.error), (Damage::Payload, true, &None));

    let name = format!("quarantine-{:016x}", hit.start.get());
    assert_eq!(quarantined.file, Some(format!("memory:{name}")));
    let kept = closed.storage.contents(&name).unwrap();
    let title = format!(
        "telemetry journal quarantine 1 journal={} position={} bytes=9032 reason=payload-checksum\n",
        closed.id,
        hit.start.get()
    );
    assert_eq!(String::from_utf8_lossy(&kept[..title.len()]), title);
    let mut payload = hit.payload.clone();
    payload[4_000 - RECORD_HEADER_BYTES] ^= 0x10;
    assert_eq!(kept[title.len() + RECORD_HEADER_BYTES..title.len() + RECORD_HEADER_BYTES + 9_000], payload);
}

#[test]
fn a_damaged_record_header_is_set_aside_and_the_next_record_is_found() {
    for byte in [0, 8, 11, 12, 16, 20, 25, 28] {
        let closed = closed();
        let hit = &closed.records[10];
        closed.damage(hit.start, |bytes| bytes[byte] ^= 0x81);
        let recovery = closed.expect(&closed.without(10));
        let [quarantined] = &recovery.quarantined[..] else { panic!("{:?}", recovery.quarantined) };
        assert_eq!((quarantined.position, quarantined.bytes), (hit.start, 9_032), "byte {byte}");
        assert_eq!(quarantined.reason, Damage::Header);
    }
}

#[test]
fn a_lost_page_over_two_records_costs_those_two() {
    let closed = closed();
    let (first, second) = (&closed.records[9], &closed.records[10]);
    assert_eq!(first.end, second.start);
    closed.damage(Position::new(second.start.get() - 2_048), |bytes| bytes[..4_096].fill(0));
    let mut left = closed.records.clone();
    left.drain(9..11);
    let recovery = closed.expect(&left);
    let ranges: Vec<_> = recovery.quarantined.iter().map(|found| (found.position, found.reason)).collect();
    assert_eq!(ranges, [(first.start, Damage::Payload), (second.start, Damage::Header)]);
}

#[test]
fn a_damaged_last_record_of_a_full_segment_is_not_taken_for_a_torn_tail() {
    let closed = closed();
    let (_, base) = closed.segment(closed.records[10].start);
    let last = closed.records.iter().rposition(|seen| seen.start.get() < base).unwrap();
    closed.damage(closed.records[last].start, |bytes| bytes[..9_032].fill(0));
    let recovery = closed.expect(&closed.without(last));
    assert_eq!(recovery.torn_bytes, 0);
    assert_eq!(recovery.quarantined[0].position, closed.records[last].start);
}

#[test]
fn one_damaged_copy_of_a_segment_header_costs_nothing() {
    for (from, to) in [(0, 512), (2_048, 2_560)] {
        let closed = closed();
        let (_, base) = closed.segment(closed.records[10].start);
        closed.damage(Position::new(base), |bytes| bytes[from..to].fill(0xff));
        assert_eq!(closed.expect(&closed.records).quarantined, []);
    }
}

#[test]
fn a_segment_without_its_header_still_has_its_records() {
    let closed = closed();
    let (_, base) = closed.segment(closed.records[10].start);
    closed.damage(Position::new(base), |bytes| bytes[..4_096].fill(0));
    let recovery = closed.expect(&closed.records);
    let [quarantined] = &recovery.quarantined[..] else { panic!("{:?}", recovery.quarantined) };
    assert_eq!(
        (quarantined.position.get(), quarantined.bytes, quarantined.reason),
        (base, 4_096, Damage::SegmentHeader)
    );
}

#[test]
fn a_missing_segment_is_reported_and_the_others_count() {
    let closed = closed();
    let (name, base) = closed.segment(closed.records[10].start);
    closed.storage.remove(&name).unwrap();
    let limit = closed.records.iter().map(|seen| closed.segment(seen.start).1).find(|other| *other > base).unwrap();
    let left: Vec<_> =
        closed.records.iter().filter(|seen| !(base..limit).contains(&seen.start.get())).cloned().collect();
    assert!(left.len() < 30);
    let recovery = closed.expect_missing(&left);
    assert_eq!((recovery.position.get(), recovery.bytes), (base, limit - base));
}

#[test]
fn a_segment_that_was_cut_short_keeps_what_is_left() {
    let closed = closed();
    let (name, base) = closed.segment(closed.records[10].start);
    let mut bytes = closed.storage.contents(&name).unwrap();
    bytes.truncate((closed.records[10].start.get() - base) as usize);
    closed.storage.put(&name, bytes);
    let limit = closed.records.iter().map(|seen| closed.segment(seen.start).1).find(|other| *other > base).unwrap();
    let lost = closed.records[10].start.get()..limit;
    let left: Vec<_> = closed.records.iter().filter(|seen| !lost.contains(&seen.start.get())).cloned().collect();
    let missing = closed.expect_missing(&left);
    assert_eq!((missing.position.get(), missing.bytes), (lost.start, lost.end - lost.start));
}

impl Closed {
    /// As `expect`, for one range that is not there, which every start reports anew.
    fn expect_missing(&self, left: &[Seen]) -> Quarantined {
        let opened = open(&self.storage);
        assert_eq!(opened.replayed.records, left);
        assert_eq!(opened.read(), left);
        assert_eq!(opened.commit(b"behind the damage"), Outcome::Committed);
        let [missing] = &opened.recovery.quarantined[..] else { panic!("{:?}", opened.recovery.quarantined) };
        assert_eq!((missing.reason, &missing.file), (Damage::Missing, &None));
        missing.clone()
    }
}

#[test]
fn an_empty_segment_file_is_no_obstacle() {
    let closed = closed();
    let end = closed.records[29].end.get();
    closed.storage.put(&format!("segment-{end:016x}"), Vec::new());
    let opened = open(&closed.storage);
    assert_eq!(opened.replayed.records, closed.records);
    assert_eq!(opened.commit(b"more"), Outcome::Committed);
    assert_eq!(opened.read().len(), 31);
}

#[test]
fn without_any_valid_checkpoint_everything_kept_is_replayed() {
    let closed = closed();
    {
        let opened = open(&closed.storage);
        opened.journal.checkpoint(closed.records[9].end, b"state").unwrap();
        opened.journal.checkpoint(closed.records[19].end, b"state").unwrap();
    }
    for name in closed.storage.names().unwrap().into_iter().filter(|name| name.starts_with("checkpoint-")) {
        let mut bytes = closed.storage.contents(&name).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        closed.storage.put(&name, bytes);
    }
    let opened = open(&closed.storage);
    assert_eq!(opened.replayed.checkpoint, None);
    assert_eq!(opened.replayed.records, closed.records);
    assert_eq!(opened.recovery.damaged_files.len(), 2);
    assert!(opened.recovery.damaged_files.iter().all(|path| path.contains("quarantine-checkpoint-")));
}

#[test]
fn segments_deleted_under_a_checkpoint_that_is_damaged_are_reported_missing() {
    let closed = closed();
    {
        let opened = open(&closed.storage);
        opened.journal.checkpoint(closed.records[29].end, b"state").unwrap();
        assert!(opened.journal.trim().unwrap() > 0);
    }
    let name = newest(&*closed.storage, "checkpoint-");
    closed.storage.put(&name, b"short".to_vec());
    let opened = open(&closed.storage);
    let [missing] = &opened.recovery.quarantined[..] else { panic!("{:?}", opened.recovery.quarantined) };
    assert_eq!((missing.position, missing.reason), (Position::new(0), Damage::Missing));
    assert_eq!(Position::new(missing.bytes + 4_096), opened.journal.oldest());
    let first = opened.replayed.records.first().unwrap();
    assert!(closed.records.ends_with(&opened.replayed.records), "from {first:?} on");
}

#[test]
fn a_damaged_cursor_falls_back_to_its_place_in_the_checkpoint() {
    let closed = closed();
    {
        let opened = open(&closed.storage);
        opened.journal.cursor("parquet").unwrap();
        opened.journal.store_cursor("parquet", closed.records[9].end).unwrap();
        opened.journal.checkpoint(closed.records[9].end, b"").unwrap();
        opened.journal.store_cursor("parquet", closed.records[19].end).unwrap();
    }
    let mut bytes = closed.storage.contents("cursor-parquet").unwrap();
    bytes[33] ^= 1;
    closed.storage.put("cursor-parquet", bytes);
    let opened = open(&closed.storage);
    assert_eq!(opened.journal.cursor("parquet").unwrap(), closed.records[9].end);
    assert_eq!(opened.recovery.damaged_files, ["memory:quarantine-cursor-parquet"]);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let future = |mut bytes: Vec<u8>| {
        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let closed = closed();
    let segment = closed.segment(closed.records[10].start).0;
    let mark = |magic| Mark::encode(magic, &closed.id, 4_096, b"x", Vec::new());
    let files = [
        (segment.clone(), closed.storage.contents(&segment).unwrap()),
        ("checkpoint-0000000000001000".to_owned(), mark(CHECKPOINT_MAGIC)),
        ("cursor-x".to_owned(), mark(CURSOR_MAGIC)),
    ];
    for (name, bytes) in files {
        closed.storage.put(&name, future(bytes.clone()));
        let error = try_open(closed.storage.clone(), settings()).err().expect("a format of the future");
        assert!(matches!(error, JournalError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
        assert!(error.to_string().contains(&name));
        closed.storage.put(&name, bytes);
    }
}

#[test]
fn files_of_another_journal_are_refused_by_name() {
    let closed = closed();
    let mark = Mark::encode(CURSOR_MAGIC, &JournalId::new([1; 16]), 4_096, b"x", Vec::new());
    closed.storage.put("cursor-x", mark);
    let error = try_open(closed.storage.clone(), settings()).err().expect("a foreign file");
    assert!(matches!(&error, JournalError::Foreign { path, .. } if path == "memory:cursor-x"), "{error}");
}

#[test]
fn segments_that_nothing_identifies_are_set_aside_whole() {
    let storage = Arc::new(MemoryStorage::new());
    storage.put("segment-0000000000000000", vec![0x5a; SEGMENT_BYTES as usize]);
    let opened = open(&storage);
    assert_eq!(opened.replayed.records, []);
    assert_eq!(opened.recovery.damaged_files, ["memory:quarantine-segment-0000000000000000"]);
    assert_eq!(opened.commit(b"a new life"), Outcome::Committed);
    assert_eq!(storage.contents("quarantine-segment-0000000000000000").unwrap().len() as u64, SEGMENT_BYTES);
}

#[test]
fn a_position_that_a_consumer_relies_on_is_never_given_out_again() {
    let closed = closed();
    let end = closed.records[29].end;
    {
        let opened = open(&closed.storage);
        opened.journal.cursor("parquet").unwrap();
        opened.journal.store_cursor("parquet", end).unwrap();
    }
    // A disk that lied about its synchronization has lost the last ten records.
    for seen in &closed.records[20..] {
        closed.damage(seen.start, |bytes| bytes[..9_032].fill(0));
    }
    let opened = open(&closed.storage);
    assert_eq!(opened.replayed.records, closed.records[..20]);
    assert_eq!(opened.commit(b"new"), Outcome::Committed);
    assert!(opened.journal.cursor("parquet").unwrap() >= end);
    let new = opened.read_from(end);
    assert_eq!(payloads(&new), [b"new"]);
    assert!(new[0].start > end);
}

#[test]
fn a_reader_sets_aside_what_is_damaged_behind_the_checkpoint_of_the_start() {
    let closed = closed();
    {
        let opened = open(&closed.storage);
        opened.journal.checkpoint(closed.records[29].end, b"").unwrap();
    }
    let hit = &closed.records[10];
    closed.damage(hit.start, |bytes| bytes[100] ^= 1);
    let opened = open(&closed.storage);
    assert_eq!(opened.recovery.quarantined, [], "recovery looks behind the checkpoint only");
    let mut reader = opened.journal.reader(opened.journal.oldest());
    let mut count = 0;
    while reader.next_record().unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, reader.skipped_bytes()), (29, 9_032));
    assert_eq!(opened.read(), closed.without(10));
    let stats = opened.journal.stats();
    assert_eq!((stats.damaged_ranges, stats.damaged_bytes), (1, 9_032), "counted once, however often it is read");
    assert!(closed.storage.contents(&format!("quarantine-{:016x}", hit.start.get())).is_some());
}

#[test]
fn a_hole_in_the_last_group_is_set_aside_and_what_follows_counts() {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    assert_eq!(opened.commit(b"first"), Outcome::Committed);
    opened.journal.close();
    let first = opened.read();
    let id = opened.journal.id();
    drop(opened);
    // A group of three as a crash may leave it: the middle record's sectors never arrived.
    let start = first[0].end.get();
    let mut bytes = storage.contents("segment-0000000000000000").unwrap();
    for ordinal in [0, 2u64] {
        let position = start + ordinal * 1_032;
        let payload = [ordinal as u8; 1_000];
        let crc = crc32c::crc32c(&payload);
        let header =
            RecordHeader { position, payload_bytes: 1_000, payload_crc: crc, group_bytes: (ordinal * 1_032) as u32 };
        header.put(&mut bytes[position as usize..], seed(&id));
        bytes[position as usize + RECORD_HEADER_BYTES..][..1_000].copy_from_slice(&payload);
    }
    storage.put("segment-0000000000000000", bytes);
    let opened = open(&storage);
    assert_eq!(payloads(&opened.replayed.records), [b"first".to_vec(), vec![0; 1_000], vec![2; 1_000]]);
    let [hole] = &opened.recovery.quarantined[..] else { panic!("{:?}", opened.recovery.quarantined) };
    assert_eq!((hole.position.get(), hole.bytes, hole.reason), (start + 1_032, 1_032, Damage::Unfinished));
}

#[test]
fn foreign_names_are_left_alone_and_unfinished_files_removed() {
    let closed = closed();
    for name in ["README", "segment-1", "segment-00000000000000zz", "cursor-", "checkpoint-10.tmp", "spare-7.tmp"] {
        closed.storage.put(name, b"x".to_vec());
    }
    closed.expect(&closed.records);
    assert!(closed.storage.contents("README").is_some() && closed.storage.contents("segment-1").is_some());
    assert!(closed.storage.contents("checkpoint-10.tmp").is_none());
}

/// A journal on a disk of which some bytes cannot be read any more.
fn worn(closed: &Closed, position: Position, bytes: u64) -> Arc<FaultStorage> {
    let storage = Arc::new(FaultStorage::new(closed.storage.clone(), 7).unwrap());
    let (name, base) = closed.segment(position);
    let from = position.get() - base;
    storage.wear_out(&name, from..from + bytes);
    storage
}

#[test]
fn a_sector_that_cannot_be_read_costs_its_records_and_not_the_start() {
    let closed = closed();
    let hit = &closed.records[10];
    let storage = worn(&closed, Position::new(hit.start.get() + 4_500), 512);
    for _ in 0..2 {
        let opened = open(&storage);
        let [lost] = &opened.recovery.quarantined[..] else { panic!("{:?}", opened.recovery.quarantined) };
        assert_eq!((lost.position, lost.bytes, lost.reason), (hit.start, 9_032, Damage::Unreadable));
        assert_eq!((&lost.file, lost.error.is_some()), (&None, true));
        assert_eq!(opened.replayed.records[..29], closed.without(10));
        assert_eq!(opened.commit(b"more"), Outcome::Committed);
    }
}

#[test]
fn a_reader_asks_again_before_it_gives_up_what_cannot_be_read() {
    let closed = closed();
    let opened_before = open(&closed.storage);
    opened_before.journal.checkpoint(closed.records[29].end, b"").unwrap();
    drop(opened_before);
    let storage = worn(&closed, closed.records[10].start, 8);
    let opened = open(&storage);
    let mut reader = opened.journal.reader(opened.journal.oldest());
    let (mut read, mut errors) = (Vec::new(), 0);
    loop {
        match reader.next_record() {
            Ok(Some(record)) => read.push(Seen::new(record)),
            Ok(None) => break,
            Err(JournalError::Io { .. }) => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(read.len(), 28, "the page that is lost holds the end of one record and the beginning of the next");
    assert_eq!((errors, reader.skipped_bytes()), (4, 2 * 9_032));
}

#[test]
fn an_unreadable_tail_is_no_torn_tail_and_its_positions_are_not_given_out_again() {
    let closed = closed();
    let (left, last) = closed.tail();
    let storage = worn(&closed, last.start, 8);
    let opened = open(&storage);
    assert_eq!(opened.replayed.records[..28], left[..28]);
    let reported = opened.recovery.quarantined.last().expect("it is reported");
    assert_eq!(reported.reason, Damage::Unreadable);
    assert!(opened.recovery.end > last.start);
    assert_eq!(opened.commit(b"more"), Outcome::Committed);
    let told = opened.told.committed.lock();
    assert!(told[0].start > last.start);
}

#[test]
fn a_segment_header_that_cannot_be_read_is_found_without_and_one_that_nothing_else_identifies_is_an_error() {
    let closed = closed();
    let (_, base) = closed.segment(closed.records[10].start);
    let storage = worn(&closed, Position::new(base), 512);
    let opened = open(&storage);
    assert_eq!(opened.replayed.records, closed.records);
    assert_eq!(opened.recovery.quarantined[0].position, Position::new(base));
    drop(opened);

    let alone = Arc::new(MemoryStorage::new());
    alone.put("segment-0000000000000000", closed.storage.contents("segment-0000000000000000").unwrap());
    let faulty = Arc::new(FaultStorage::new(alone, 7).unwrap());
    faulty.wear_out("segment-0000000000000000", 0..512);
    let error = try_open(faulty.clone(), settings()).err().expect("nothing is given up for what may pass");
    assert!(matches!(&error, JournalError::Io { action: "read", .. }), "{error}");
    assert!(faulty.names().unwrap().contains(&"segment-0000000000000000".to_owned()));
}

#[test]
fn a_storage_that_gives_nothing_any_more_is_an_error_and_no_damage() {
    let closed = closed();
    let first = &closed.records[0];
    let storage = worn(&closed, first.start, SEGMENT_BYTES);
    let opened = open(&storage);
    assert!(opened.replayed.records.len() < 30, "one small segment may be lost");
    drop(opened);
    let big = Arc::new(MemoryStorage::new());
    let opened =
        try_open(big.clone(), JournalSettings { segment_bytes: 4 << 20, bytes_max: 64 << 20, ..settings() }).unwrap();
    assert_eq!(opened.commit(&payload(1, 9_000)), Outcome::Committed);
    opened.journal.close();
    drop(opened);
    let faulty = Arc::new(FaultStorage::new(big, 7).unwrap());
    faulty.wear_out("segment-0000000000000000", 4_096..4 << 20);
    assert!(matches!(try_open(faulty, settings()).err(), Some(JournalError::Io { action: "read", .. })));
}
