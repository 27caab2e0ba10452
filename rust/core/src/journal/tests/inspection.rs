//! Looking into a journal changes nothing and tells what is there: while it is written, and when it is damaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Keeps what it was shown.
#[derive(Default)]
struct Shown {
    base: u64,
    records: BTreeMap<u64, Vec<Seen>>,
    checkpoints: Vec<(Position, Vec<u8>)>,
    progress: Vec<(u64, u64)>,
    refused: Option<u64>,
}

impl Examine for Shown {
    fn segment(&mut self, base: Position) {
        self.base = base.get();
        self.records.insert(self.base, Vec::new());
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.records.get_mut(&self.base).unwrap().push(Seen::new(record));
        if self.refused == Some(record.start.get()) { Err("not in my language".to_owned()) } else { Ok(()) }
    }

    fn checkpoint(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        self.checkpoints.push((position, payload.to_vec()));
        Ok(())
    }

    fn progress(&mut self, bytes: u64, of: u64) {
        self.progress.push((bytes, of));
    }
}

impl Shown {
    fn all(&self) -> Vec<Seen> {
        self.records.values().flatten().cloned().collect()
    }
}

fn look(storage: &dyn Storage) -> (Inspection, Shown) {
    let mut shown = Shown::default();
    let found = inspect(storage, &mut shown).expect("it can be looked into");
    (found, shown)
}

/// Twenty records over several segments, a cursor and a checkpoint.
fn written() -> (Arc<MemoryStorage>, Vec<Seen>) {
    let storage = Arc::new(MemoryStorage::new());
    let opened = open(&storage);
    opened.journal.cursor("parquet").unwrap();
    for number in 0..20 {
        assert_eq!(opened.commit(&payload(number, 9_000)), Outcome::Committed);
    }
    let records = opened.read();
    opened.journal.store_cursor("parquet", records[9].end).unwrap();
    opened.journal.checkpoint(records[14].end, b"state").unwrap();
    (storage, records)
}

fn copy(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    storage.names().unwrap().into_iter().map(|name| (name.clone(), storage.contents(&name).unwrap())).collect()
}

#[test]
fn it_tells_what_is_there_and_changes_nothing() {
    let (storage, records) = written();
    storage.put("spare-9.tmp", vec![1; 100]);
    let before = copy(&storage);
    let (found, shown) = look(&*storage);
    assert_eq!(copy(&storage), before);
    assert_eq!(shown.all(), records);
    assert_eq!(shown.checkpoints, [(records[14].end, b"state".to_vec())]);
    assert_eq!((found.end, found.tail_bytes, found.damage.len()), (records[19].end, 0, 0));
    assert_eq!(found.segments.iter().map(|segment| segment.records).sum::<u64>(), 20);
    assert!(found.segments.len() > 2);
    assert_eq!(found.segments[0].begun, Some((1_700_000_000, SegmentCause::First)));
    for (segment, next) in found.segments.iter().zip(&found.segments[1..]) {
        assert_eq!(segment.limit, Some(next.base));
    }
    let [cursor] = &found.cursors[..] else { panic!("{:?}", found.cursors) };
    assert_eq!((&cursor.consumer[..], cursor.position), ("parquet", Some(records[9].end)));
    let [checkpoint] = &found.checkpoints[..] else { panic!("{:?}", found.checkpoints) };
    assert_eq!((checkpoint.position, checkpoint.bytes), (records[14].end, Some(5)));
    assert_eq!(shown.progress.last().map(|(read, of)| read == of), Some(true));
}

#[test]
fn what_lies_behind_the_last_record_is_a_tail_and_no_damage() {
    let (storage, records) = written();
    let last = records[19].start.get();
    let name = newest(&*storage, "segment-");
    let base = u64::from_str_radix(&name["segment-".len()..], 16).unwrap();
    let mut bytes = storage.contents(&name).unwrap();
    bytes[(last - base) as usize + 4_000..].fill(0);
    storage.put(&name, bytes);
    let (found, shown) = look(&*storage);
    assert_eq!(shown.all(), records[..19]);
    assert_eq!((found.end, found.tail_bytes, found.damaged), (records[18].end, 4_000, 0));
}

#[test]
fn damage_is_told_with_its_place_and_reason() {
    let (storage, records) = written();
    let mut bytes = storage.contents("segment-0000000000000000").unwrap();
    bytes[records[2].start.get() as usize + 100] ^= 1;
    storage.put("segment-0000000000000000", bytes);
    storage.put("cursor-parquet", b"short".to_vec());
    storage.put(&newest(&*storage, "checkpoint-"), b"short".to_vec());
    let mut shown = Shown { refused: Some(records[4].start.get()), ..Shown::default() };
    let found = inspect(&*storage, &mut shown).unwrap();
    let told: Vec<_> = found.damage.iter().map(|d| (&d.file[..], d.position, d.bytes, d.reason)).collect();
    let checkpoint = newest(&*storage, "checkpoint-");
    assert_eq!(
        told,
        [
            (&checkpoint[..], records[14].end, 0, Damage::Header),
            ("cursor-parquet", Position::new(0), 0, Damage::Header),
            ("segment-0000000000000000", records[2].start, 9_032, Damage::Payload),
            ("segment-0000000000000000", records[4].start, 9_032, Damage::Undecodable),
        ]
    );
    assert_eq!((found.damaged, found.damaged_bytes), (4, 2 * 9_032));
    assert_eq!((found.cursors[0].position, found.checkpoints[0].bytes), (None, None));
    assert!(found.damage[3].detail.as_deref() == Some("not in my language"));

    drop(open(&storage));
    let (found, _) = look(&*storage);
    let kept = found.quarantine.iter().filter_map(|file| file.range.clone()).collect::<Vec<_>>();
    assert_eq!(kept, [(records[2].start, 9_032, "payload-checksum".to_owned())]);
    assert_eq!(found.quarantine.len(), 3, "the whole files that were set aside are listed too");
}

#[test]
fn a_missing_segment_and_segments_that_nothing_identifies_are_told() {
    let (storage, records) = written();
    let second = storage.names().unwrap().into_iter().filter(|name| name.starts_with("segment-")).nth(1).unwrap();
    storage.remove(&second).unwrap();
    let (found, shown) = look(&*storage);
    let [missing] = &found.damage[..] else { panic!("{:?}", found.damage) };
    assert_eq!(
        (missing.reason, missing.position.get()),
        (Damage::Missing, u64::from_str_radix(&second[8..], 16).unwrap())
    );
    assert!(shown.all().len() < records.len());

    let nothing = MemoryStorage::new();
    nothing.put("segment-0000000000000000", vec![0x5a; SEGMENT_BYTES as usize]);
    let (found, _) = look(&nothing);
    assert_eq!((found.journal_id, found.damage[0].reason), (None, Damage::SegmentHeader));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (storage, _) = written();
    let mut page = storage.contents("segment-0000000000000000").unwrap();
    for at in [0, 2_048] {
        page[at + 8] = 2;
        let crc = crc32c::crc32c(&page[at..at + 12]).to_le_bytes();
        page[at + 12..at + 16].copy_from_slice(&crc);
    }
    storage.put("segment-0000000000000000", page);
    let error = inspect(&*storage, &mut Shown::default()).unwrap_err();
    assert!(matches!(&error, JournalError::NewerFormat { path, .. } if path.contains("segment-00000")), "{error}");
}

/// Tells the writer to stop, also when a look has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A collector appends, stores its cursor, checkpoints and trims as fast as it can: nothing of it is ever damage.
#[test]
fn what_is_being_written_is_no_damage() {
    let directory = std::env::temp_dir().join(format!("journal-inspection-{}", std::process::id()));
    let storage: Arc<DiskStorage> = Arc::new(DiskStorage::open(&directory).unwrap());
    let opened = open(&storage);
    opened.journal.cursor("parquet").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                let ticket = opened.append(&payload(number, 3_000 + (number as usize * 977) % 9_000));
                if number % 7 == 0
                    && let Ok(ticket) = ticket
                {
                    assert_eq!(ticket.wait(PATIENCE), Outcome::Committed);
                }
                if number % 40 == 0 {
                    let committed = opened.journal.committed();
                    opened.journal.checkpoint(committed, b"state").unwrap();
                    opened.journal.store_cursor("parquet", committed).unwrap();
                    opened.journal.trim().unwrap();
                }
                if done.load(Ordering::Acquire) {
                    break;
                }
            }
        });
        let _done = Done(&done);
        let mut end = Position::new(0);
        let mut looks = 0;
        while looks < 150 || end.get() < 20 * SEGMENT_BYTES {
            let (found, _) = look(&DiskStorage::read_only(&directory).unwrap());
            assert_eq!(found.damage, [], "after {looks} looks");
            assert!(found.end >= end, "the end only grows");
            end = found.end;
            looks += 1;
        }
    });
    opened.journal.close();
    std::fs::remove_dir_all(directory).unwrap();
}
