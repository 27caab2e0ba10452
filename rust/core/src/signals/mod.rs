//! Traces and logs: requests of OTLP's other two services, journalled as they came and read back as Arrow.
//!
//! ```text
//! SignalJournal::take ─► unpack, judge (one walk) ─► Journal::append ─► group commit ─► SignalRequest is answered
//!                                                        │
//! SignalCursor (the dataset's writer) ◄── request by request ─► columns: one record batch a read
//! ```
//!
//! A record of the journal is one request: its protobuf, and the places of the rows that were refused. What was judged
//! once is not judged again when it is read, so what was acknowledged is stored whatever a later version refuses.
//!
//! *Row* means a span or a log record, whichever the journal is for.

mod attributes;
mod columns;
mod counters;
mod cursor;
mod journal;
mod judge;
mod log_record;
mod record;
mod request;
mod span;
#[cfg(test)]
mod tests;
mod unread;
mod walk;

pub use self::columns::schema;
pub use self::counters::SignalCounters;
pub use self::cursor::{SignalBlocks, SignalCursor, SignalPlace};
pub use self::journal::{SignalJournal, SignalRecovered};
pub use self::judge::{ATTRIBUTES_MAX, PARTS_MAX, REPEATED_BYTES_MAX};
pub use self::request::SignalRequest;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ExportTraceServiceRequest`, of spans.
    Traces,
    /// `ExportLogsServiceRequest`, of log records.
    Logs,
}

impl Signal {
    /// The signal with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Traces, Self::Logs].into_iter().find(|signal| signal.as_str() == name)
    }

    /// Its name: in configuration, metrics and directories.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }

    /// The message of its requests.
    fn message(self) -> &'static str {
        match self {
            Self::Traces => "an ExportTraceServiceRequest",
            Self::Logs => "an ExportLogsServiceRequest",
        }
    }
}
