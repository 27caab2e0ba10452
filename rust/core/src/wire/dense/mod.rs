//! What both halves know of the dense form of `PointColumns`; `docs/wire-protocol.md` has it in words.
//!
//! Points stand in rounds: the same series in the same order, again and again. So ids are told for one round, times once
//! for each, and values are told series by series, because what comes next to each other then is alike.
//!
//! ```text
//! series_runs, time_runs   numbers as runs of equal steps                             (runs.rs)
//! value_heads              groups of series: head, series, then for each sequence of   (head.rs)
//!                          values a lead: mode and width, and where its numbers begin
//! value_bits               the numbers themselves, in as many bits as they differ in
//! ```

pub(super) mod head;

/// Points that the dense columns of one batch may claim; more are malformed. No collector takes larger batches.
pub(super) const DENSE_POINTS_MAX: usize = 1 << 20;
/// Times are multiples of a power of ten up to this one.
pub(super) const TIME_EXPONENT_MAX: u8 = 18;
