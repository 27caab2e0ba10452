//! The spool on storages that behave and that do not.

mod codec;
mod corruption;
mod model;
mod ordinary;
mod put_back;
mod splits;

use std::sync::Arc;
use std::time::Duration;

use super::commits::Entry;
use super::state::Kept;
use super::*;
use crate::journal::{JournalError, Storage};
use crate::wire::{OutgoingBatch, OutgoingSeries};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What tests see and do that no owner can.
impl Spool {
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        self.journal.flush(timeout)
    }

    pub(super) fn kept(&self, sequence: u64) -> Option<Kept> {
        self.state().slots.get(&sequence).map(|slot| slot.kept)
    }

    pub(super) fn resident(&self) -> (usize, usize) {
        self.state().resident_counts()
    }

    /// Where the oldest batch lies, and the oldest record that is kept.
    pub(super) fn oldest_places(&self) -> (u64, u64) {
        (self.state().position(), self.journal.oldest().get())
    }

    pub(super) fn append_raw(&self, payload: &[u8]) {
        self.journal.append(payload, Entry::Batch(u64::MAX)).expect("there is room");
        assert!(self.flush(PATIENCE));
    }

    /// Ends as a killed process does: without a word to the disk.
    pub(super) fn abandon_handle(self) {
        self.journal.close();
    }
}

pub(super) fn owner() -> Owner {
    Owner { machine_id: "machine-1".into(), identity: "spiffe://example/node-1".into(), node: "node-1".into() }
}

pub(super) fn settings() -> SpoolSettings {
    SpoolSettings { bytes_max: BYTES_MIN, memory_bytes_max: 1 << 20, owner: owner(), started_unix_us: 0 }
}

pub(super) fn try_open(storage: Arc<dyn Storage>, settings: &SpoolSettings) -> Result<(Spool, Opening), JournalError> {
    Spool::open(storage, settings, Box::new(|| {}))
}

pub(super) fn open(storage: &Arc<impl Storage>) -> Spool {
    try_open(storage.clone(), &settings()).expect("the spool opens").0
}

/// So many points whose values count up from `first`.
pub(super) fn batch(first: u64, points: usize) -> OutgoingBatch {
    let series = OutgoingSeries {
        name: "system.load".into(),
        tags: vec![("cpu".into(), "0".into())],
        metric_type: 2,
        unit: "1".into(),
        delta: false,
    };
    let values = (0..points as u64).map(|place| (first + place) as f64).collect();
    OutgoingBatch::new(
        vec![("node_id".into(), "node-1".into())],
        vec![series],
        vec![0; points],
        vec![1_700_000_000_000_000_000; points],
        values,
    )
    .expect("a right batch")
}

/// Every batch that is handed out, with its values.
pub(super) fn waiting(spool: &Spool) -> Vec<(u64, Vec<f64>)> {
    let mut found = Vec::new();
    let mut sequence = 0;
    while let Some(next) = spool.next_after(sequence) {
        sequence = next;
        if let Some(batch) = spool.batch(sequence) {
            found.push((sequence, batch.values().to_vec()));
        }
    }
    found
}

pub(super) fn dropped(spool: &Spool, reason: DropReason) -> (u64, u64) {
    spool.stats().drops.of(reason)
}
