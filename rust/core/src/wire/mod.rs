//! The wire: frames, batches and their answers, as bytes.
//!
//! ```text
//! stream bytes ─► frame::FrameReader ─► decode::decode ─► DecodedBatch     (the collector's half)
//!                                       ack::BatchAck  ─► framed bytes
//! OutgoingBatch ─► encode::FrameEncoder ─► framed bytes                    (the sender's half)
//! stream bytes ─► ack::AckReader ─► BatchAck
//! ```
//!
//! Everything is sans-I/O and sans-clock. What decoding judges is the structure of a batch, which needs nothing but its
//! bytes; [`validate`] offers the judgements of single points to admission, and definitions are judged by the stream that
//! they belong to. Messages and numbers are those of `proto/telemetry.proto`.

pub mod ack;
pub mod codes;
pub mod decode;
mod dense;
pub mod encode;
pub mod frame;
pub mod proto;
pub mod validate;

#[cfg(test)]
mod tests;

pub use ack::{AckError, AckReader, BatchAck, Rejection};
pub use codes::{CloseCode, Outcome, Reason};
pub use decode::{
    DecodeScratch, DecodedBatch, Fault, KeptReference, Malformed, NoReferences, Reference, References, decode,
    decode_with,
};
pub use encode::{
    BatchName, Compression, EncodeError, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingHeartbeat,
    OutgoingHistogram, OutgoingSeries, OutgoingTag, OutgoingTask, question,
};
pub use frame::{FrameReader, FrameTooLarge};
pub use proto::Span;
