//! From an agent's points to frames: the sender's half of the wire.

mod compress;
mod dense;
mod encoder;
mod outgoing;
mod question;

pub use compress::Compression;
pub use encoder::{BatchName, EncoderSettings, Form, FrameEncoder};
pub use outgoing::{OutgoingBatch, OutgoingHeartbeat, OutgoingHistogram, OutgoingSeries, OutgoingTag, OutgoingTask};
pub use question::question;

use crate::limits::{STREAM_DEFINITION_BYTES_MAX, STREAM_DEFINITIONS_MAX};

/// What cannot be encoded. The messages name the argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Columns of one batch have one element a point each.
    #[error("series_index, timestamps_unix_ns and values have {series_index}, {timestamps} and {values} elements")]
    UnequalColumns {
        /// Elements of `series_index`.
        series_index: usize,
        /// Elements of `timestamps_unix_ns`.
        timestamps: usize,
        /// Elements of `values`.
        values: usize,
    },
    /// A point of a series that the batch does not list.
    #[error("series_index[{point}] is {index}, but there are {series} series")]
    SeriesIndex {
        /// Place of the point.
        point: usize,
        /// What it refers to.
        index: u32,
        /// How many series there are.
        series: usize,
    },
    /// Only plain values have columns.
    #[error("series[{series}] has type {metric_type}; 0 (unspecified), 1 (counter), 2 (gauge) or 5 (meter) are right")]
    SeriesType {
        /// Place of the series.
        series: usize,
        /// Its type.
        metric_type: u32,
    },
    /// Timestamps count from 1970; 0 stands for the time of receipt.
    #[error("{argument} has {timestamp}, which is before 1970")]
    NegativeTimestamp {
        /// Which argument.
        argument: &'static str,
        /// The timestamp, in nanoseconds.
        timestamp: i64,
    },
    /// A batch of one point, or of none, has no halves.
    #[error("a batch of {points} points cannot be split")]
    NotDivisible {
        /// Its points.
        points: usize,
    },
    /// The batch's name is none that the contract allows.
    #[error("sequence {sequence}, epoch {epoch}, oldest_unacknowledged {oldest_unacknowledged}: {expected}")]
    Name {
        /// The sequence.
        sequence: u64,
        /// The epoch.
        epoch: u64,
        /// The oldest that is unacknowledged.
        oldest_unacknowledged: u64,
        /// What would be right.
        expected: &'static str,
    },
    /// Without a name, points and heartbeat a frame would have no bytes, and a frame has at least one.
    #[error("nothing to send: neither batch, heartbeat nor sequence")]
    Empty,
    /// The stream's definitions are used up: the batch goes on a new stream.
    #[error(
        "a stream takes {STREAM_DEFINITIONS_MAX} definitions and {STREAM_DEFINITION_BYTES_MAX} bytes of them; \
         this batch would make it {definitions} and {bytes}: open a new stream"
    )]
    DefinitionsUsedUp {
        /// Definitions that there would be.
        definitions: usize,
        /// Bytes of their names, keys, values and units.
        bytes: usize,
    },
    /// The batch is too large for one frame: it is to be split.
    #[error("a frame of {bytes} bytes; at most {bytes_max} are taken: split the batch")]
    FrameTooLarge {
        /// Bytes of the frame, or of its contents before compression.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The compressor failed, which means that memory has run out.
    #[error("cannot compress: {0}")]
    Compressor(String),
}
