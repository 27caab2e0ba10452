//! Who reads committed blocks, and how far the slowest has come.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::cursor::CursorPlace;
use crate::journal::Position;

/// The cursors that are open: as many as there are writers.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<(String, Weak<CursorPlace>)>>);

impl Readers {
    /// A consumer reads from now on. One that is gone is forgotten by itself.
    pub(super) fn add(&self, consumer: &str, place: &Arc<CursorPlace>) {
        let mut readers = self.0.lock();
        readers.retain(|(name, reader)| name != consumer && reader.strong_count() > 0);
        readers.push((consumer.to_owned(), Arc::downgrade(place)));
    }

    /// A consumer reads no more.
    pub(super) fn remove(&self, consumer: &str) {
        self.0.lock().retain(|(name, _)| name != consumer);
    }

    /// Before this every consumer has read everything; `None` without consumers.
    pub(super) fn slowest(&self) -> Option<Position> {
        self.0.lock().iter().filter_map(|(_, reader)| reader.upgrade()).map(|place| place.position()).min()
    }

    /// Whether one of them wants to be told of a commit after which so many points are committed since the start.
    pub(super) fn want(&self, committed: u64) -> bool {
        self.0.lock().iter().filter_map(|(_, reader)| reader.upgrade()).any(|place| place.wants(committed))
    }
}
