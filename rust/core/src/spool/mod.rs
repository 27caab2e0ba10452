//! What an agent keeps until a collector has answered it: a journal of batches, and which of them still wait.
//!
//! # Invariants
//! - A batch is handed out once its record is on stable storage. Where the storage fails it is handed out from memory,
//!   and counted: see `Kept::Volatile`.
//! - (epoch, sequence) never names two contents, whatever crashes: a sequence is settled when the batch is taken, a
//!   record carries it, and the checkpoint reserves those that may be used without a record.
//! - Collectors are told of nothing as settled ([`Spool::oldest_unacknowledged`]) that a crash could bring back: they
//!   would take a batch below it for a duplicate.
//! - The epoch ends with the machine: the checkpoint says whose it is.
//!
//! # Operation
//! ```text
//! put ─► journal (group commit) ─► handed out ─► acknowledge ┐
//!   a batch that is too large: split ─► one short record     ├─► maintain: checkpoint, trim
//!   over the bound: the oldest are dropped, and counted      ┘
//! ```
//! The checkpoint stands where the oldest unanswered batch begins, so opening reads every one of them again. Answers are
//! made durable by and by: one that is lost costs sending a batch again that the collector knows. docs/spool-format.md
//! has the bytes.

mod checkpoint;
mod commits;
mod drops;
mod keeping;
mod record;
mod recovery;
mod settings;
#[expect(clippy::module_inception, reason = "the spool itself is one of the parts of the spool")]
mod spool;
mod state;
#[cfg(test)]
mod tests;

pub use drops::{DropReason, Drops};
pub use recovery::{Opening, Renewal};
pub use settings::{BATCHES_MAX, BYTES_MIN, Owner, SpoolSettings};
pub use spool::{Spool, SpoolStats};
pub use state::Told;
