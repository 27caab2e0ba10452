//! What both halves know of the dense form of `PointColumns`; `docs/wire-protocol.md` has it in words.
//!
//! Points stand in rounds: the same series in the same order, again and again. So ids are told for one round, times once
//! for each, and values series by series, because what is alike comes next to each other then.
//!
//! ```text
//! series_runs, time_runs   numbers as runs of equal steps
//! value_heads              groups of series: scale, how many; then for each series its width and its least number
//! value_bits               how far the numbers are above the least, in so many bits each
//! ```

pub(super) mod scale;

/// Points that the dense columns of one batch may claim; more are malformed. No collector takes larger batches.
pub(super) const DENSE_POINTS_MAX: usize = 1 << 20;
/// Bits of a number.
pub(super) const WIDTH_MAX: u8 = 64;
