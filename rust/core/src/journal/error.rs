//! What can go wrong, an enum an operation.

use std::io;

use rustix::io::Errno;

use super::position::{JournalId, Position};

/// The journal cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A setting that cannot work.
    #[error("journal setting {key} = {value}: {expected}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// What it was set to.
        value: u64,
        /// What would be right.
        expected: String,
    },
    /// Another process has this journal open.
    #[error("journal {path} is held by another process: stop that one, or give this one a directory of its own")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// The operating system refused an operation.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error("{path} has format version {found}, this program reads versions up to {supported}: use the newer program")]
    NewerFormat {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
        /// The newest version understood.
        supported: u32,
    },
    /// A file of another journal lies in the directory.
    #[error("{path} belongs to journal {found}, but this directory holds journal {expected}: move it away")]
    Foreign {
        /// The file.
        path: String,
        /// Its journal.
        found: JournalId,
        /// The directory's journal.
        expected: JournalId,
    },
    /// The caller could not take what recovery handed to it.
    #[error("cannot replay {path} at {position}: {reason}")]
    Replay {
        /// The checkpoint's or segment's file.
        path: String,
        /// Where in the log.
        position: Position,
        /// The caller's words.
        reason: String,
    },
    /// A consumer's name that cannot be a file name.
    #[error("cursor name {name:?}: must be 1 to 64 letters, digits, '-' or '_'")]
    CursorName {
        /// The name.
        name: String,
    },
    /// A cursor was stored that was not opened in this run.
    #[error("cursor {name:?} is not open: open it before storing it")]
    CursorClosed {
        /// The name.
        name: String,
    },
    /// More consumers than a journal keeps cursors for.
    #[error(
        "cursor {name:?} would be one more than the {max} a journal keeps: remove files of consumers that are gone"
    )]
    CursorsTooMany {
        /// The name.
        name: String,
        /// The bound.
        max: usize,
    },
    /// A cursor or checkpoint over something that is not committed.
    #[error("position {position} of {what} lies behind the committed end {committed}")]
    Ahead {
        /// Which cursor or checkpoint.
        what: String,
        /// Where it was to be.
        position: Position,
        /// How far the log is committed.
        committed: Position,
    },
    /// A checkpoint older than one that is durable already.
    #[error("checkpoint at {position} lies before the newest one at {newest}")]
    CheckpointBehind {
        /// Where it was to be.
        position: Position,
        /// The newest one.
        newest: Position,
    },
    /// A state that no start would read back.
    #[error("a checkpoint of {bytes} bytes is over the journal's limit of {max}")]
    CheckpointTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most taken.
        max: usize,
    },
    /// The segment that held this position was deleted.
    #[error("position {position} is no longer in the journal, which begins at {oldest}")]
    Trimmed {
        /// What was asked for.
        position: Position,
        /// The oldest position kept.
        oldest: Position,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// Whether the same operation may succeed later without anybody changing the request.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Locked { .. })
    }

    /// A closure for `map_err` that says what was tried on which file.
    pub(crate) fn io(action: &'static str, path: String) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path, source }
    }
}

/// A record was not taken; nothing of it is in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no room now; the same record may be taken later.
    #[error("the journal is full: {0}")]
    Full(FullReason),
    /// The storage fails; the journal goes on trying, and the same record may be taken later.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
    /// The journal was closed or its committer has died.
    #[error("the journal is closed")]
    Closed,
    /// The record can never be taken.
    #[error("a record of {bytes} bytes is over the journal's limit of {max}")]
    TooLarge {
        /// The payload's bytes.
        bytes: usize,
        /// The largest payload taken.
        max: usize,
    },
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullReason {
    /// Appends arrive faster than the storage commits them.
    #[error("too many bytes wait for their commit")]
    PendingBytes,
    /// The log has reached its largest size because a consumer or the checkpoint lags.
    #[error("the log has reached its largest size")]
    BytesMax,
    /// The file system is full.
    #[error("no space left on the file system")]
    NoSpace,
}

/// Whether an error means that room is missing rather than that the device is broken.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}

/// Whether an error means that these bytes cannot be read any more, though others of the same file may be.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    // The last two are what file systems say whose own checksum does not match.
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN))
}
