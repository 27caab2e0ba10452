//! Writes points in the dense form of `PointColumns`; `wire/dense` says what it is.

mod bits;
mod grid;
mod references;
mod runs;
mod values;

pub(super) use self::references::SentReferences;

use self::grid::Grid;
use self::values::ValueWriter;
use crate::wire::proto::{put_bytes, put_message_head, put_number, put_varint, varint_len, zigzag};

/// Points of one batch, or some of them: an element a point in each column, one at least.
#[derive(Clone, Copy)]
pub(super) struct Points<'a> {
    pub(super) ids: &'a [u32],
    /// All times, or all the time of receipt.
    pub(super) timestamps_unix_ns: &'a [i64],
    pub(super) values: &'a [f64],
}

/// Buffers that one batch after the other is written through.
#[derive(Default)]
pub(super) struct DenseWriter {
    message: Vec<u8>,
    runs: Vec<u8>,
    values: ValueWriter,
}

impl DenseWriter {
    /// Appends `PointColumns` with these points, in order, as fields of a batch; false, and nothing is appended, for
    /// points that have no dense form: their times leap so far that a run cannot say it.
    /// With `references` values are told by those, and are kept as such.
    pub(super) fn put(
        &mut self,
        points: Points<'_>,
        mut references: Option<&mut SentReferences>,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        let kept = references.as_ref().map_or(0, |references| references.fresh());
        for grid in grid::grids(points.ids) {
            if !self.put_grid(points.of(&grid), grid.series, references.as_deref_mut(), out) {
                out.truncate(start);
                if let Some(references) = references {
                    references.forget(kept);
                }
                return false;
            }
        }
        true
    }

    fn put_grid(
        &mut self,
        points: Points<'_>,
        series: usize,
        references: Option<&mut SentReferences>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Self { message, runs, values } = self;
        message.clear();
        put_message_head(message, 1, varint_len(u64::from(points.ids[0])));
        put_varint(message, u64::from(points.ids[0]));
        put_number(message, 5, points.ids.len() as u64);
        runs.clear();
        if runs::put(runs, points.ids[..series].iter().map(|&id| i64::from(id))).is_none() {
            return false;
        }
        put_unless_empty(message, 6, runs);
        runs.clear();
        if put_times(runs, points.timestamps_unix_ns, series).is_none() {
            return false;
        }
        put_unless_empty(message, 7, runs);
        let version = references.as_ref().map_or(0, |references| references.version());
        let (heads, bits) = values.write(points.values, &points.ids[..series], references);
        put_unless_empty(message, 8, heads);
        put_unless_empty(message, 9, bits);
        put_number(message, 10, u64::from(version));
        put_bytes(out, 6, message);
        true
    }
}

impl Points<'_> {
    fn of(&self, grid: &Grid) -> Self {
        let points = grid.points.clone();
        Self {
            ids: &self.ids[points.clone()],
            timestamps_unix_ns: &self.timestamps_unix_ns[points.clone()],
            values: &self.values[points],
        }
    }
}

/// Appends nothing for the time of receipt, else one time, or one a round, or one a point.
fn put_times(out: &mut Vec<u8>, timestamps: &[i64], series: usize) -> Option<()> {
    let first = timestamps[0];
    if first == 0 {
        return Some(());
    }
    let rounds_agree = timestamps.chunks_exact(series).all(|round| round.iter().all(|&time| time == round[0]));
    let step = if rounds_agree { series } else { 1 };
    let all_agree = rounds_agree && timestamps.iter().step_by(series).all(|&time| time == first);
    put_varint(out, zigzag(first));
    runs::put(out, timestamps.iter().copied().step_by(step).take(if all_agree { 1 } else { usize::MAX }))
}

fn put_unless_empty(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes(out, field, bytes);
    }
}
