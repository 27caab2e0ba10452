//! Recovery of a journal whose files somebody has scribbled on: it never panics, replays only records that were
//! committed, each once and in order, and a second start finds the same. Looking into it first shows what is replayed
//! and changes nothing.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use telemetry_core::journal::{
    Appended, CommitSink, Examine, Journal, JournalError, JournalSettings, MemoryStorage, Outcome, Position, Record,
    Replay, SEGMENT_BYTES_MIN, Storage as _, inspect,
};

const PATIENCE: Duration = Duration::from_secs(10);
const RECORDS: u8 = 12;

struct Nobody;

impl CommitSink<()> for Nobody {
    fn committed(&self, _: Vec<Appended<()>>) {}
    fn failed(&self, _: Vec<()>) {}
}

#[derive(Default)]
struct Replayed(Vec<(Position, Position, Vec<u8>)>);

impl Replay for Replayed {
    fn checkpoint(&mut self, _: Position, payload: &[u8]) -> Result<(), String> {
        assert_eq!(payload, b"state");
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.0.push((record.start, record.end, record.payload.to_vec()));
        Ok(())
    }
}

/// Ends of the records that looking into the journal has shown, those of a segment that is read again once.
#[derive(Default)]
struct Shown(Vec<Position>);

impl Examine for Shown {
    fn segment(&mut self, base: Position) {
        self.0.retain(|end| *end <= base);
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.0.push(record.end);
        Ok(())
    }

    fn checkpoint(&mut self, _: Position, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

fn files(storage: &MemoryStorage) -> Vec<(String, Option<Vec<u8>>)> {
    let names = storage.names().expect("memory");
    names.into_iter().map(|name| (name.clone(), storage.contents(&name))).collect()
}

fn open(storage: &Arc<MemoryStorage>) -> Result<(Journal<()>, Replayed), JournalError> {
    let mut replayed = Replayed::default();
    let settings = JournalSettings {
        segment_bytes: SEGMENT_BYTES_MIN,
        bytes_max: 64 * SEGMENT_BYTES_MIN,
        ..JournalSettings::default()
    };
    let (journal, _) = Journal::open(storage.clone(), settings, Arc::new(Nobody), &mut replayed)?;
    Ok((journal, replayed))
}

fn payload(number: u8) -> Vec<u8> {
    vec![number; 100 + usize::from(number) * 1_500]
}

/// Two segments, a cursor and a checkpoint.
fn written() -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let (journal, _) = open(&storage).expect("an empty journal opens");
    journal.cursor("parquet").expect("a cursor");
    for number in 0..RECORDS {
        let ticket = journal.append(&payload(number), ()).expect("room");
        assert_eq!(ticket.wait(PATIENCE), Outcome::Committed);
        if number == 2 {
            journal.checkpoint(journal.committed(), b"state").expect("a checkpoint");
            journal.store_cursor("parquet", journal.committed()).expect("a stored cursor");
        }
    }
    storage
}

/// Scribbles: which file, where, how many bytes, and what to do with them.
fn scribble(storage: &MemoryStorage, mut data: &[u8]) {
    while let Some((&[file, at0, at1, at2, length, how], rest)) = data.split_first_chunk() {
        data = rest;
        let names = storage.names().expect("memory");
        let name = &names[usize::from(file) % names.len()];
        let mut bytes = storage.contents(name).expect("it is listed");
        let at = u32::from_le_bytes([at0, at1, at2, 0]) as usize % (bytes.len() + 1);
        match how % 4 {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(usize::from(length) * 64).for_each(|byte| *byte = 0),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= length | 1),
            _ => bytes.iter_mut().skip(at).zip(data).take(usize::from(length)).for_each(|(byte, new)| *byte = *new),
        }
        storage.put(name, bytes);
    }
}

fuzz_target!(|data: &[u8]| {
    let storage = written();
    scribble(&storage, data);
    let before = files(&storage);
    let mut shown = Shown::default();
    let looked = inspect(&*storage, &mut shown).is_ok();
    assert_eq!(files(&storage), before);
    let (journal, replayed) = match open(&storage) {
        Ok(opened) => opened,
        Err(JournalError::NewerFormat { .. } | JournalError::Foreign { .. }) => {
            assert!(!looked, "both refuse the same");
            return;
        }
        Err(error) => panic!("damage must not keep a journal from opening: {error}"),
    };
    let mut end = Position::new(0);
    let mut next = 0;
    for (start, record_end, bytes) in &replayed.0 {
        assert!(*start >= end && *record_end > *start);
        assert!(shown.0.contains(record_end), "what is replayed was shown");
        end = *record_end;
        let number = (next..RECORDS).find(|number| payload(*number) == *bytes);
        next = 1 + number.expect("only committed records are replayed, each once, in order");
    }
    assert!(journal.committed() >= end);
    let mut reader = journal.reader(journal.oldest());
    while reader.next_record().expect("memory can be read").is_some() {}
    let ticket = journal.append(b"afterwards", ()).expect("room");
    assert_eq!(ticket.wait(PATIENCE), Outcome::Committed);
    drop(journal);

    let (journal, again) = open(&storage).expect("what opened once opens again");
    let (last, before) = again.0.split_last().expect("the record appended afterwards");
    assert_eq!((&last.2[..], before), (&b"afterwards"[..], &replayed.0[..]));
    drop(journal);
});
