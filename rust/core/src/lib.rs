//! The data plane of the telemetry collector: bytes in, journalled point blocks out.
//!
//! ```text
//! ingest::Conversation ─► wire (frames, MetricBatch) ─► series (who is it, may it come in)
//!        ▲                                                   │
//!        └── BatchAck after the commit ◄── journal ◄── columns (one block a batch)
//!                                             │
//!                                   consumers: columns (Arrow), line_protocol
//! ```
//!
//! The agent's half is `wire`'s encoder and the `spool`, a journal of batches that wait for their answer; `relay` takes
//! over what services beside the agent measure.
//!
//! Nothing here knows Python, sockets or the time of day: bytes, clocks and storage come in as arguments.

pub mod columns;
pub mod export;
pub mod ingest;
pub mod journal;
pub mod limits;
pub mod line_protocol;
pub mod parquet;
#[cfg(feature = "quinn")]
pub mod quic;
pub mod relay;
pub mod series;
pub mod signals;
pub mod spool;
pub mod translate;
pub mod wire;
