//! Histograms and summaries in a block's bytes.
//!
//! ```text
//! histogram  kind u8 = 1, +2 with a min, +4 with a max · varint count · f64 sum · [f64 min] · [f64 max]
//!            varint bounds · f64 each · varint each of the bounds + 1 bucket counts
//! summary    kind u8 = 0 · varint count · f64 sum · varint quantiles · (f64 quantile, f64 value) each
//! ```

use crate::columns::block::{Distribution, Histogram, Quantile, Summary};
use crate::limits;
use crate::series::varint;

const SUMMARY: u8 = 0;
const HISTOGRAM: u8 = 1;
const HAS_MIN: u8 = 2;
const HAS_MAX: u8 = 4;

pub(super) fn write_all(distributions: &[(u32, Distribution)], out: &mut Vec<u8>) {
    let mut next = 0_u64;
    for (point, distribution) in distributions {
        varint::write(out, u64::from(*point).wrapping_sub(next));
        next = u64::from(*point) + 1;
        match distribution {
            Distribution::Histogram(histogram) => write_histogram(histogram, out),
            Distribution::Summary(summary) => write_summary(summary, out),
        }
    }
}

fn write_histogram(histogram: &Histogram, out: &mut Vec<u8>) {
    let has_min = if histogram.min.is_some() { HAS_MIN } else { 0 };
    let has_max = if histogram.max.is_some() { HAS_MAX } else { 0 };
    out.push(HISTOGRAM | has_min | has_max);
    varint::write(out, histogram.count);
    for number in [Some(histogram.sum), histogram.min, histogram.max].into_iter().flatten() {
        out.extend_from_slice(&number.to_le_bytes());
    }
    varint::write(out, histogram.upper_bounds.len() as u64);
    for bound in &histogram.upper_bounds {
        out.extend_from_slice(&bound.to_le_bytes());
    }
    for &count in &histogram.bucket_counts {
        varint::write(out, count);
    }
}

fn write_summary(summary: &Summary, out: &mut Vec<u8>) {
    out.push(SUMMARY);
    varint::write(out, summary.count);
    out.extend_from_slice(&summary.sum.to_le_bytes());
    varint::write(out, summary.quantiles.len() as u64);
    for quantile in &summary.quantiles {
        out.extend_from_slice(&quantile.quantile.to_le_bytes());
        out.extend_from_slice(&quantile.value.to_le_bytes());
    }
}

pub(super) fn read_all(count: usize, points: usize, rest: &mut &[u8]) -> Option<Vec<(u32, Distribution)>> {
    // A distribution takes eleven bytes at least.
    let mut distributions = Vec::with_capacity(count.min(rest.len() / 11));
    let mut next = 0_u64;
    for _ in 0..count {
        let point = next.checked_add(varint::read(rest)?).filter(|&point| point < points as u64)?;
        next = point + 1;
        let distribution = match varint::take(rest, 1)? {
            [SUMMARY] => Distribution::Summary(read_summary(rest)?),
            &[kind] if kind & HISTOGRAM != 0 && kind <= HISTOGRAM | HAS_MIN | HAS_MAX => {
                Distribution::Histogram(read_histogram(kind, rest)?)
            }
            _ => return None,
        };
        distributions.push((point as u32, distribution));
    }
    Some(distributions)
}

fn read_histogram(kind: u8, rest: &mut &[u8]) -> Option<Histogram> {
    let count = varint::read(rest)?;
    let sum = read_f64(rest)?;
    let min = if kind & HAS_MIN == 0 { None } else { Some(read_f64(rest)?) };
    let max = if kind & HAS_MAX == 0 { None } else { Some(read_f64(rest)?) };
    let bounds = usize::try_from(varint::read(rest)?).ok().filter(|&bounds| bounds < limits::BUCKETS_MAX)?;
    let upper_bounds = (0..bounds).map(|_| read_f64(rest)).collect::<Option<_>>()?;
    let bucket_counts = (0..=bounds).map(|_| varint::read(rest)).collect::<Option<_>>()?;
    Some(Histogram { count, sum, min, max, upper_bounds, bucket_counts })
}

fn read_summary(rest: &mut &[u8]) -> Option<Summary> {
    let count = varint::read(rest)?;
    let sum = read_f64(rest)?;
    let quantiles = usize::try_from(varint::read(rest)?).ok().filter(|&count| count <= limits::QUANTILES_MAX)?;
    let quantiles = (0..quantiles)
        .map(|_| Some(Quantile { quantile: read_f64(rest)?, value: read_f64(rest)? }))
        .collect::<Option<_>>()?;
    Some(Summary { count, sum, quantiles })
}

fn read_f64(rest: &mut &[u8]) -> Option<f64> {
    Some(f64::from_le_bytes(*varint::take(rest, 8)?.first_chunk()?))
}
