//! Any bytes as a request of traces or logs, in protobuf or JSON: nothing panics, and what is answered as stored is read
//! back as exactly so many rows.

#![no_main]

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use telemetry_core::columns::TimestampUnit;
use telemetry_core::ingest::{Ingest, IngestSettings, Peer};
use telemetry_core::journal::{JournalSettings, MemoryStorage, SEGMENT_BYTES_MIN};
use telemetry_core::limits::Limits;
use telemetry_core::signals::{Signal, SignalCursor, SignalJournal};
use telemetry_core::translate::Encoding;

/// A journal in memory with its reader. What is read is let go, so it stays small.
struct Line {
    journal: Arc<SignalJournal>,
    cursor: Mutex<SignalCursor>,
}

static LINES: LazyLock<[Line; 2]> = LazyLock::new(|| [Signal::Traces, Signal::Logs].map(open));

fn open(signal: Signal) -> Line {
    let journal = JournalSettings {
        segment_bytes: SEGMENT_BYTES_MIN,
        bytes_max: 8 * SEGMENT_BYTES_MIN,
        ..JournalSettings::default()
    };
    let points = IngestSettings {
        limits: Limits::default(),
        bind_node_id: true,
        recent_bytes_max: 0,
        journal: journal.clone(),
    };
    let points = Ingest::open(Arc::new(MemoryStorage::new()), points, Box::new(|| {})).expect("memory opens");
    let storage = Arc::new(MemoryStorage::new());
    let journal = SignalJournal::open(signal, storage, journal, points, Box::new(|| {})).expect("memory opens");
    let cursor = Mutex::new(journal.cursor("fuzz").expect("a name"));
    Line { journal, cursor }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, body)) = data.split_first() else { return };
    let Line { journal, cursor } = &LINES[usize::from(kind & 1)];
    let mut cursor = cursor.lock().expect("nothing panicked before");
    let peer = Peer { identity: "agent".into(), node: "node-1".into(), relay: kind & 2 == 0 };
    let Ok(mut request) = journal.take(kind & 4 != 0, Encoding::Identity, body, &peer, 1_795_000_000_000_000_000) else {
        return;
    };
    assert!(journal.drain(Duration::from_secs(10)));
    let answer = request.answer().expect("decided").clone();
    assert_eq!(answer.retry_after_ms, None, "there is room");
    let told: u64 = answer.rejections.iter().map(|rejection| u64::from(rejection.points)).sum();
    assert_eq!(told, answer.rejected_points);
    let read = cursor.read(usize::MAX).expect("memory reads");
    let rows = read.as_ref().map_or(0, |blocks| {
        let batch = blocks.record_batch(TimestampUnit::Microseconds).expect("what was judged makes columns");
        assert_eq!(batch.num_rows(), blocks.rows);
        blocks.rows as u64
    });
    assert_eq!(rows, answer.accepted_points);
    if let Some(blocks) = read {
        cursor.store(blocks.end).expect("memory stores");
        journal.maintain().expect("memory takes a checkpoint");
    }
});
