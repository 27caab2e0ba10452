//! Every consumer's durable place in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::JournalError;
use super::format::{CURSOR_MAGIC, Mark};
use super::names;
use super::position::{JournalId, Position};

/// Consumers that a journal keeps cursors for.
pub const CURSORS_MAX: usize = 64;

/// A consumer's durable position, and whether the log is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorStats {
    /// The consumer.
    pub name: String,
    /// Everything before is its own responsibility.
    pub stored: Position,
    /// It was opened in this run: what it has not passed is kept.
    pub required: bool,
}

/// The cursors of one journal.
pub(crate) struct Cursors {
    id: JournalId,
    map: Mutex<BTreeMap<String, Arc<Cursor>>>,
}

struct Cursor {
    state: Mutex<State>,
    /// Held while the file is written, so that positions reach the disk in order.
    file: Mutex<()>,
}

#[derive(Clone, Copy)]
struct State {
    stored: Position,
    required: bool,
}

impl Cursors {
    pub(crate) fn new(id: JournalId, stored: &BTreeMap<String, u64>) -> Self {
        let cursor = |(name, position): (&String, &u64)| (name.clone(), Cursor::new(Position::new(*position), false));
        Self { id, map: Mutex::new(stored.iter().map(cursor).collect()) }
    }

    /// Makes a consumer a required one; a new one, or one whose place was deleted meanwhile, starts at `oldest`.
    pub(crate) fn open(&self, name: &str, oldest: impl FnOnce() -> Position) -> Result<Position, JournalError> {
        if !names::is_consumer(name) {
            return Err(JournalError::CursorName { name: name.to_owned() });
        }
        let mut map = self.map.lock();
        if !map.contains_key(name) && map.len() >= CURSORS_MAX {
            return Err(JournalError::CursorsTooMany { name: name.to_owned(), max: CURSORS_MAX });
        }
        let oldest = oldest();
        let cursor = map.entry(name.to_owned()).or_insert_with(|| Cursor::new(oldest, true));
        let mut state = cursor.state.lock();
        state.required = true;
        state.stored = state.stored.max(oldest);
        Ok(state.stored)
    }

    /// The log is no longer kept for this consumer.
    pub(crate) fn close(&self, name: &str) {
        if let Some(cursor) = self.map.lock().get(name) {
            cursor.state.lock().required = false;
        }
    }

    /// Makes a position durable with `publish(file name, bytes)`; one that is not further changes nothing. Answers
    /// with the durable position.
    pub(crate) fn store(
        &self,
        name: &str,
        position: Position,
        publish: impl FnOnce(&str, &[u8]) -> Result<(), JournalError>,
    ) -> Result<Position, JournalError> {
        let cursor = self.map.lock().get(name).cloned();
        let Some(cursor) = cursor.filter(|cursor| cursor.state.lock().required) else {
            return Err(JournalError::CursorClosed { name: name.to_owned() });
        };
        let _writing = cursor.file.lock();
        let stored = cursor.state.lock().stored;
        if position <= stored {
            return Ok(stored);
        }
        publish(
            &names::cursor(name),
            &Mark::encode(CURSOR_MAGIC, &self.id, position.get(), name.as_bytes(), Vec::new()),
        )?;
        cursor.state.lock().stored = position;
        Ok(position)
    }

    pub(crate) fn stats(&self) -> Vec<CursorStats> {
        let map = self.map.lock();
        let stats = |(name, cursor): (&String, &Arc<Cursor>)| {
            let State { stored, required } = *cursor.state.lock();
            CursorStats { name: name.clone(), stored, required }
        };
        map.iter().map(stats).collect()
    }

    /// Runs an action with the position that every required consumer has passed; none is opened meanwhile.
    pub(crate) fn with_passed<R>(&self, action: impl FnOnce(Position) -> R) -> R {
        let map = self.map.lock();
        let states = map.values().map(|cursor| *cursor.state.lock());
        let passed = states.filter(|state| state.required).map(|state| state.stored).min();
        action(passed.unwrap_or(Position::new(u64::MAX)))
    }
}

impl Cursor {
    fn new(stored: Position, required: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { stored, required }), file: Mutex::new(()) })
    }
}
