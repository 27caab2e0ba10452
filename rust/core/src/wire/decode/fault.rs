//! Why a frame is malformed.

use crate::wire::proto::WireFault;

/// A frame that is refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Malformed {
    /// The batch's sequence if it was read before the fault, else 0: what the answer names.
    pub sequence: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a frame. The texts are what an agent gets to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a protobuf message.
    #[error("not a MetricBatch: {0}")]
    Wire(#[from] WireFault),
    /// More bytes than a length prefix can announce.
    #[error("a frame of more than 4 GiB")]
    FrameTooLong,
    /// The columns of one `PointColumns` do not have one element a point each.
    #[error("columns of unequal length: {series_ids} ids, {timestamps} timestamps, {values} values")]
    UnequalColumns {
        /// Elements of `series_ids`.
        series_ids: usize,
        /// Elements of `timestamp_deltas_ns`; when absent, as many as points.
        timestamps: usize,
        /// Elements of `values`.
        values: usize,
    },
    /// Dense columns have no plain ones beside them but the id of the first point.
    #[error("dense columns beside plain ones, or without exactly one series id")]
    DenseBesidePlain,
    /// Dense columns of no points, or of more than any collector takes.
    #[error("{points} points in dense columns; 1 to {} are right", crate::wire::dense::DENSE_POINTS_MAX)]
    DensePoints {
        /// Points that the batch claims with these columns.
        points: usize,
    },
    /// More numbers than points.
    #[error("runs go on beyond the {points} points of dense columns")]
    DenseRuns {
        /// Points of the columns.
        points: usize,
    },
    /// Rounds are of equal length, and times are none, one, one a round or one a point.
    #[error("dense columns of unequal length: {points} points, {series} series, {times} times")]
    DenseUnequal {
        /// Points of the columns.
        points: usize,
        /// Points of one round.
        series: usize,
        /// Times told.
        times: usize,
    },
    /// A series id of more than 32 bits, or below 0.
    #[error("a series id outside 32 bits")]
    SeriesIdOutOfRange,
    /// The first byte of a group of series means nothing.
    #[error("values by an unknown scale, {0:#04x}")]
    DenseScale(u8),
    /// Numbers of more than 64 bits.
    #[error("numbers of {0} bits; at most 64 are right")]
    DenseWidth(u8),
    /// A group of no series, or of more than are left.
    #[error("a group of values that is empty or goes on beyond the last series")]
    DenseGroup,
    /// Bytes that belong to no value.
    #[error("bytes behind the last value of dense columns")]
    DenseBytesBehind,
    /// A timestamp that is not nanoseconds since 1970 in a signed 64-bit number.
    #[error("a timestamp outside signed 64 bits")]
    TimestampOutOfRange,
    /// A sequence of 2^63 and more.
    #[error("sequence is not below 2^63")]
    SequenceOutOfRange,
    /// Sequence 0 belongs to epoch 0 only.
    #[error("sequence 0 with an epoch")]
    EpochWithoutSequence,
    /// Claims that batches behind this one are answered.
    #[error("oldest_unacknowledged is above sequence")]
    OldestAboveSequence,
    /// Contents stand beside a compressed body.
    #[error("other fields beside a compressed body")]
    CompressedBesideContents,
    /// A compressed body inside a compressed body.
    #[error("a compressed body inside a compressed body")]
    CompressedTwice,
    /// Sequence, epoch or `oldest_unacknowledged` stand inside the compressed body.
    #[error("sequence, epoch or oldest_unacknowledged inside a compressed body")]
    NameInsideCompressed,
    /// Neither gzip nor zstd.
    #[error("compression algorithm {0} is neither GZIP (1) nor ZSTD (2)")]
    UnknownAlgorithm(u32),
    /// The declared size is over the collector's limit.
    #[error("uncompressed_size {declared} is over the limit of {bytes_max}")]
    InflatedTooLarge {
        /// What the batch declares.
        declared: u32,
        /// The limit.
        bytes_max: usize,
    },
    /// The body inflates to more or to less than declared.
    #[error("the compressed body does not inflate to its uncompressed_size of {declared}")]
    InflatedSizeDiffers {
        /// What the batch declares.
        declared: u32,
    },
    /// Damaged, cut short, or of another format.
    #[error("the compressed body is not one whole {0}")]
    NotCompressed(&'static str),
    /// Bytes behind the gzip member or zstd frame.
    #[error("bytes behind the end of the compressed data")]
    BytesBehindCompressed,
    /// A zstd frame that needs a dictionary.
    #[error("a zstd frame with a dictionary")]
    ZstdDictionary,
    /// A zstd frame that needs a window over 8 MiB.
    #[error("a zstd frame with a window over 8 MiB")]
    ZstdWindow,
}
