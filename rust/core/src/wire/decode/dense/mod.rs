//! Reads the dense form of `PointColumns`.
//!
//! Nothing is expanded before it is known how much it is: the message says its points, which are compared with the limit
//! first. Points beyond it are only counted, as the batch is refused for them anyway.

mod bits;
mod runs;
mod values;

use super::columns::{Columns, RECEIPT_TIME};
use super::fault::Fault;
use super::references::{References, Told};
use crate::wire::dense::DENSE_POINTS_MAX;
use crate::wire::proto::{Reader, Span};

/// The dense fields of one message, and the id that stands beside them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dense {
    pub(super) points: u32,
    pub(super) first_id: u32,
    pub(super) series_runs: Span,
    pub(super) time_runs: Span,
    pub(super) value_heads: Span,
    pub(super) value_bits: Span,
    /// The version of the references that values are told by, or kept beside.
    pub(super) references: u32,
}

impl Dense {
    /// True when any of the dense fields is there.
    pub(super) fn is_present(&self) -> bool {
        let bytes = [self.series_runs, self.time_runs, self.value_heads, self.value_bits];
        self.points != 0 || bytes.iter().any(|span| span.len != 0)
    }

    /// Appends the points to the columns, or counts them when the batch has more than `points_max` with them.
    pub(super) fn read(
        &self,
        body: &[u8],
        columns: &mut Columns,
        points_max: usize,
        references: &dyn References,
    ) -> Result<(), Fault> {
        let points = self.points as usize;
        let start = columns.series_ids.len();
        columns.points_dense = columns.points_dense.saturating_add(points);
        if points == 0 || columns.points_dense > DENSE_POINTS_MAX {
            return Err(Fault::DensePoints { points: columns.points_dense });
        }
        if start + columns.points_unread + points > points_max {
            columns.points_unread += points;
            return Ok(());
        }
        let shape = self.shape(body)?;
        columns.series_ids.resize(start + points, self.first_id);
        columns.timestamps_unix_ns.resize(start + points, RECEIPT_TIME);
        columns.values.resize(start + points, 0.0);
        self.fill_ids(body, &mut columns.series_ids[start..], shape.series)?;
        self.fill_times(body, &mut columns.timestamps_unix_ns[start..], shape.times)?;
        let ids = &columns.series_ids[start..start + shape.series];
        let mut told = Told::new(references, self.references, &mut columns.references, &mut columns.references_unknown);
        let values = &mut columns.values[start..];
        values::fill(self.value_heads.of(body), self.value_bits.of(body), ids, values, &mut told)
    }

    /// Compares the lengths of the columns, which takes no memory.
    fn shape(&self, body: &[u8]) -> Result<Shape, Fault> {
        let points = self.points as usize;
        let series = 1 + runs::count(Reader::new(self.series_runs.of(body)), points)?;
        let mut times = 0;
        if self.time_runs.len > 0 {
            let mut runs = Reader::new(self.time_runs.of(body));
            runs.sint64()?;
            times = 1 + runs::count(runs, points)?;
        }
        let rounds = points / series;
        if rounds * series != points || ![0, 1, rounds, points].contains(&times) {
            return Err(Fault::DenseUnequal { points, series, times });
        }
        Ok(Shape { series, times })
    }

    /// The ids of one round, and then those again for each further round.
    fn fill_ids(&self, body: &[u8], ids: &mut [u32], series: usize) -> Result<(), Fault> {
        let mut places = ids[1..series].iter_mut();
        runs::each(
            Reader::new(self.series_runs.of(body)),
            i64::from(self.first_id),
            Fault::SeriesIdOutOfRange,
            |id| {
                let id = u32::try_from(id).map_err(|_| Fault::SeriesIdOutOfRange)?;
                if let Some(place) = places.next() {
                    *place = id;
                }
                Ok(())
            },
        )?;
        let (first, rest) = ids.split_at_mut(series);
        rest.chunks_exact_mut(series).for_each(|round| round.copy_from_slice(first));
        Ok(())
    }

    fn fill_times(&self, body: &[u8], timestamps: &mut [i64], times: usize) -> Result<(), Fault> {
        if times == 0 {
            return Ok(());
        }
        let mut places = timestamps.chunks_exact_mut(timestamps.len() / times);
        let mut put = |time| {
            if let Some(points) = places.next() {
                // A time that is told stays one: see `RECEIPT_TIME`.
                points.fill(if time == RECEIPT_TIME { RECEIPT_TIME + 1 } else { time });
            }
            Ok(())
        };
        let mut runs = Reader::new(self.time_runs.of(body));
        let first = runs.sint64()?;
        put(first)?;
        runs::each(runs, first, Fault::TimestampOutOfRange, put)
    }
}

/// How many there are of what.
#[derive(Clone, Copy)]
struct Shape {
    /// Points of one round.
    series: usize,
    /// None, one for all, one for each round, or one for each point.
    times: usize,
}
