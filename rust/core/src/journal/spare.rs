//! Prepares the next segment before it is needed, on a thread of its own, so that beginning it does not wait for the
//! file system. The spare is also a reserve: what frees room (cursors, checkpoints) may take its place on a full disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{AppendError, FullReason, is_no_space};
use super::log::Log;
use super::names;
use super::settings::JournalSettings;
use super::storage::StorageFile;

/// A file with room for a segment, under a name that means nothing yet. Its bytes are counted with the segments'.
pub(crate) struct Prepared {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) name: String,
}

pub(crate) struct Spare {
    log: Arc<Log>,
    segment_bytes: u64,
    bytes_max: u64,
    retry_interval: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: Option<Prepared>,
    /// Why the last attempt failed; cleared by a success.
    trouble: Option<AppendError>,
    /// A spare is being prepared, without the lock.
    preparing: bool,
    /// Somebody else needs the room more.
    lent: bool,
    closed: bool,
    number: u64,
}

impl Spare {
    pub(crate) fn new(log: Arc<Log>, settings: &JournalSettings) -> Self {
        Self {
            log,
            segment_bytes: settings.segment_bytes,
            bytes_max: settings.bytes_max,
            retry_interval: settings.retry_interval,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    /// How many more segments may be begun, or why none.
    pub(crate) fn allowance(&self) -> Result<u64, AppendError> {
        let state = self.state.lock();
        match &state.trouble {
            Some(trouble) => Err(trouble.clone()),
            None => Ok(self.bytes_max.saturating_sub(self.log.segments.bytes()) / self.segment_bytes),
        }
    }

    /// The trouble that keeps segments from being prepared, if there is one.
    pub(crate) fn trouble(&self) -> Option<AppendError> {
        self.state.lock().trouble.clone()
    }

    /// Takes the spare; waits while it is being prepared.
    pub(crate) fn take(&self) -> Result<Prepared, AppendError> {
        let mut state = self.state.lock();
        loop {
            if let Some(prepared) = state.ready.take() {
                self.log.segments.reserve(self.segment_bytes);
                self.changed.notify_all();
                return Ok(prepared);
            }
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            if state.closed {
                return Err(AppendError::Closed);
            }
            if !self.within_bounds() {
                return Err(AppendError::Full(FullReason::BytesMax));
            }
            self.changed.wait(&mut state);
        }
    }

    /// Gives back what was taken and could not be used.
    pub(crate) fn discard(&self, name: &str) {
        // A file that stays is removed at the next start. One that has a segment's name already is replaced by the
        // next segment, which begins at the same place, or is an empty segment to the next start.
        let _ = self.log.storage.remove(name);
        self.log.segments.release(self.segment_bytes);
        self.room_changed();
    }

    /// Segments were deleted or cut: there may be room again.
    pub(crate) fn room_changed(&self) {
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    /// Runs an action with the spare's room left free for it; None when there was no spare to give up.
    pub(crate) fn lend<R>(&self, action: impl FnOnce() -> R) -> Option<R> {
        let prepared = {
            let mut state = self.state.lock();
            // One that is being prepared has its room already, and is given up as soon as it is done.
            while state.preparing {
                self.changed.wait(&mut state);
            }
            let prepared = state.ready.take()?;
            state.lent = true;
            prepared
        };
        // If it stays, the action finds the disk as full as before and says so.
        let _ = self.log.storage.remove(&prepared.name);
        drop(prepared);
        let done = action();
        self.state.lock().lent = false;
        self.changed.notify_all();
        Some(done)
    }

    /// Ends `run` and removes the spare.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Keeps one spare ready until closed.
    pub(crate) fn run(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            if state.ready.is_some() || state.lent || !self.within_bounds() {
                self.changed.wait(&mut state);
                continue;
            }
            state.number += 1;
            let name = names::spare(state.number);
            state.preparing = true;
            let prepared = parking_lot::MutexGuard::unlocked(&mut state, || self.prepare(&name));
            state.preparing = false;
            match prepared {
                Ok(file) => {
                    state.ready = Some(Prepared { file, name });
                    state.trouble = None;
                    self.changed.notify_all();
                }
                Err(error) => {
                    state.trouble = Some(self.explain(&name, &error));
                    self.changed.notify_all();
                    if !state.closed {
                        self.changed.wait_for(&mut state, self.retry_interval);
                    }
                }
            }
        }
        if let Some(prepared) = state.ready.take() {
            // Left behind, it is removed at the next start.
            let _ = self.log.storage.remove(&prepared.name);
        }
    }

    fn within_bounds(&self) -> bool {
        self.log.segments.bytes() + self.segment_bytes <= self.bytes_max
    }

    fn prepare(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.log.storage.create(name, self.segment_bytes)?;
        match file.sync_data() {
            Ok(()) => Ok(file),
            Err(error) => {
                // As above: the next start removes what cannot be removed now.
                let _ = self.log.storage.remove(name);
                Err(error)
            }
        }
    }

    fn explain(&self, name: &str, error: &io::Error) -> AppendError {
        if is_no_space(error) {
            AppendError::Full(FullReason::NoSpace)
        } else {
            AppendError::Failed(format!("cannot prepare {}: {error}", self.log.storage.describe(name)))
        }
    }
}
