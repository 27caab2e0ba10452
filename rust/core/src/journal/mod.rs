//! The log between listeners and consumers: what it has committed survives a crash, and nothing else counts.
//!
//! # Invariants
//! - A record is reported as committed only after the fdatasync that covers it; readers see committed records only.
//! - After a failed write or fdatasync nothing of that group counts: the segment ends at its last committed record,
//!   and nothing is ever written to it again.
//! - A segment begins where the one before ends. Its base, in its name and its header, is that one's committed end:
//!   bytes of it from there on never count, whatever they are.
//! - A record carries its own position and checksums seeded with the journal's id: stale or foreign bytes never count.
//! - Positions only grow. One that was committed, stored or checkpointed is never given to another record.
//! - Damage costs what is damaged: it is set aside in a quarantine file, and every whole record around it counts.
//!
//! # Files of the directory
//! ```text
//! lock                      held while open
//! segment-<base>            header page of 4,096 bytes, then records; preallocated
//! checkpoint-<position>     the caller's state; the newest two
//! cursor-<consumer>         how far a consumer is
//! quarantine-<position>     damaged bytes, behind a line of text that explains them
//! *.tmp                     unfinished, removed at the next start
//! ```
//! Positions in names are 16 hexadecimal digits. docs/journal-format.md has the bytes.
//!
//! # Operation
//! ```text
//! append ─► queue ─► committer: one write, one fdatasync ─► committed end ─► tickets, sink, readers
//!                       ▲ takes the next segment from
//!                     spare: prepares it in advance
//! checkpoint + cursors ─► trim deletes what all have passed
//! ```
//! Opening recovers (see `recovery`), and the first record after it begins a new segment: no byte that was there
//! before is ever overwritten by another.

mod checkpoints;
mod committer;
mod cursors;
mod directory;
mod error;
mod format;
mod group;
mod inspect;
#[expect(clippy::module_inception, reason = "the journal itself is one of the parts of the journal")]
mod journal;
mod log;
mod names;
mod position;
mod publish;
mod quarantine;
mod queue;
mod reader;
mod recovery;
mod scan;
mod segments;
mod settings;
mod spare;
mod stats;
mod storage;
#[cfg(test)]
mod tests;

pub use checkpoints::CHECKPOINT_BYTES_MAX;
pub use cursors::{CURSORS_MAX, CursorStats};
pub use error::{AppendError, FullReason, JournalError};
pub use format::{FORMAT_VERSION, SegmentCause};
pub use group::{Appended, CommitSink, Outcome, Ticket};
pub use inspect::{
    CheckpointFile, CursorFile, DAMAGE_MAX, Damaged, Examine, Inspection, QuarantineFile, SegmentFile, inspect,
};
pub use journal::Journal;
pub use position::{JournalId, Position};
pub use quarantine::{QUARANTINE_BYTES_MAX, QUARANTINE_RANGES_MAX, Quarantined};
pub use reader::{Reader, Record};
pub use recovery::{Recovery, Replay};
pub use scan::Damage;
pub use settings::{JournalSettings, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use stats::JournalStats;
pub use storage::{DiskStorage, Fault, FaultStorage, MemoryStorage, Operation, Storage, StorageFile, StorageLock};
