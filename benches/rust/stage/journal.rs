//! Blocks and their records in the journal.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::columns::{BlockDecoder, BlockEncoder, PointBlock};
use telemetry_core::journal::{
    Appended, CommitSink, Journal, JournalSettings, MemoryStorage, Position, Record, Replay,
};

use super::ingest::blocks;
use super::{FRAMES, Shape, Stage, Work};

/// Longer than memory takes for a commit.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn stages() -> Vec<Stage> {
    vec![Stage::new("journal: encode and append", 1, Appending::new), Stage::new("journal: decode", 1, Decoding::new)]
}

/// A block becomes a record, and the record waits for its commit.
struct Appending {
    blocks: Vec<Arc<PointBlock>>,
    encoder: BlockEncoder,
    record: Vec<u8>,
    journal: Journal<()>,
    appended: usize,
}

impl Appending {
    fn new(shape: Shape) -> Self {
        let encoder = BlockEncoder::new().expect("there is memory");
        Self { blocks: blocks(shape), encoder, record: Vec::new(), journal: open(), appended: 0 }
    }
}

impl Work for Appending {
    fn step(&mut self) {
        self.record.clear();
        self.encoder.encode(&self.blocks[self.appended % FRAMES], &mut self.record).expect("the block fits");
        black_box(self.journal.append(&self.record, ()).expect("there is room"));
    }

    fn settle(&mut self) {
        assert!(self.journal.flush(PATIENCE), "memory commits at once");
        self.appended += 1;
        if self.appended.is_multiple_of(FRAMES) {
            self.journal = open();
        }
    }
}

fn open() -> Journal<()> {
    let storage = Arc::new(MemoryStorage::new());
    Journal::open(storage, JournalSettings::default(), Arc::new(Nobody), &mut Nobody).expect("memory can be written").0
}

/// Waits for no commit, and finds an empty journal.
struct Nobody;

impl CommitSink<()> for Nobody {
    fn committed(&self, _: Vec<Appended<()>>) {}
    fn failed(&self, _: Vec<()>) {
        panic!("memory does not fail");
    }
}

impl Replay for Nobody {
    fn checkpoint(&mut self, _: Position, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: Record<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A writer that is behind reads records back.
struct Decoding {
    record: Vec<u8>,
    decoder: BlockDecoder,
}

impl Decoding {
    fn new(shape: Shape) -> Self {
        let mut record = Vec::new();
        let mut encoder = BlockEncoder::new().expect("there is memory");
        encoder.encode(&blocks(shape)[0], &mut record).expect("the block fits");
        Self { record, decoder: BlockDecoder::new().expect("there is memory") }
    }
}

impl Work for Decoding {
    fn step(&mut self) {
        black_box(self.decoder.decode(&self.record).expect("what was encoded").len());
    }
}
