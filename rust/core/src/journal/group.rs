//! What an appender holds until its record is committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::position::Position;

/// What became of an appended record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided yet.
    Pending,
    /// On stable storage, and readable.
    Committed,
    /// Not in the journal as far as anybody may rely on it.
    Failed,
}

/// One record's place in a group of records that are committed together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ticket {
    group: Arc<Group>,
    ordinal: usize,
}

impl Ticket {
    pub(crate) fn new(group: Arc<Group>, ordinal: usize) -> Self {
        Self { group, ordinal }
    }

    /// What is known now.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.group.progress.lock().outcome(self.ordinal)
    }

    /// Waits until the outcome is known, at most so long: then it is still `Pending`.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Outcome {
        let deadline = deadline(timeout);
        let mut progress = self.group.progress.lock();
        while progress.outcome(self.ordinal) == Outcome::Pending {
            if self.group.changed.wait_until(&mut progress, deadline).timed_out() {
                break;
            }
        }
        progress.outcome(self.ordinal)
    }
}

/// The moment after which a wait ends; a year stands for longer ones.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 86_400))
}

/// Records that wait for the same commit. One that meets the end of a segment is committed in parts, in order.
#[derive(Debug, Default)]
pub(crate) struct Group {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// So many records from the first on are committed.
    committed: usize,
    /// The others are not going to be.
    finished: bool,
}

impl Progress {
    fn outcome(&self, ordinal: usize) -> Outcome {
        match (ordinal < self.committed, self.finished) {
            (true, _) => Outcome::Committed,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Pending,
        }
    }
}

impl Group {
    pub(crate) fn committed(&self, records: usize) {
        self.progress.lock().committed += records;
        self.changed.notify_all();
    }

    pub(crate) fn failed(&self) {
        self.progress.lock().finished = true;
        self.changed.notify_all();
    }
}

/// A committed record's place, with what its appender gave along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended<T> {
    /// Where the record begins.
    pub start: Position,
    /// Where the next one may begin.
    pub end: Position,
    /// The appender's.
    pub item: T,
}

/// Told about every record's outcome, on the committer's thread: what takes long here delays the next commit.
pub trait CommitSink<T>: Send + Sync + 'static {
    /// These records are on stable storage and can be read; in journal order, each once.
    fn committed(&self, records: Vec<Appended<T>>);
    /// These records are not committed and never will be; in the order in which they were appended.
    fn failed(&self, items: Vec<T>);
}
