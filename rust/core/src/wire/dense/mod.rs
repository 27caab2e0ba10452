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
//!
//! A least number that is told in full may be kept by the stream as its series' reference, and then later ones are told as
//! distances from that.

pub(super) mod scale;

/// Points that the dense columns of one batch may claim; more are malformed. No collector takes larger batches.
pub(super) const DENSE_POINTS_MAX: usize = 1 << 20;
/// Bits of a number.
pub(super) const WIDTH_MAX: u8 = 64;
/// In the place of a scale: the least numbers of the group are distances from their series' references, and so is the scale.
pub(super) const DISTANCE: u8 = 0x20;
/// Beside either: the scale and the least numbers of the group are their series' references from the next batch on.
pub(super) const KEPT: u8 = 0x80;
/// Distances above 0 are told in four bits once or several times, and three bits in front of them tell how often.
pub(super) const DISTANCE_STEP: u32 = 4;
