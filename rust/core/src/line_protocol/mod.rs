//! Blocks as `InfluxDB` line protocol.
//!
//! A point is one line: the metric's name, its effective tags, fields, nanoseconds since 1970. A series is therefore the
//! same there as here; type, unit and temporality are not sent.
//!
//! | point | fields |
//! |---|---|
//! | counter, gauge, meter | `value` |
//! | histogram | `count`, `sum`, `min` and `max` where known, cumulative `le_<bound>` and `le_+Inf` |
//! | summary | `count`, `sum`, `q_<quantile>` |
//!
//! Counts are integers, the rest floats in the shortest form that reads back the same. What line protocol cannot carry is
//! rewritten as [`series`] says, and counted.

mod series;

use crate::columns::{Distribution, Histogram, PointBlock, Summary};

/// A new chunk begins with room for this much more than its bound, so that the line that ends it fits.
const LINE_BYTES_USUAL: usize = 1_024;
/// Room a chunk begins with at most; larger ones grow.
const CHUNK_BYTES_RESERVED_MAX: usize = 4 * 1024 * 1024;

/// Lines ready to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Whole lines, each ended by a line feed; a chunk is longer than asked for only where a single line is.
    pub chunks: Vec<Vec<u8>>,
    /// Lines in all chunks; one a point.
    pub lines: u64,
    /// Points whose name or tags had to be rewritten.
    pub rewritten: u64,
}

/// Writes blocks as lines.
#[derive(Debug)]
pub struct LineEncoder {
    bytes_max: usize,
    chunk: Vec<u8>,
    done: Lines,
    prefixes: Prefixes,
    timestamp: Timestamp,
}

/// The last timestamp written: points of a batch mostly have the same.
#[derive(Debug)]
struct Timestamp {
    unix_ns: i64,
    ending: Vec<u8>,
}

/// Name and tags of a block's descriptors, escaped.
#[derive(Debug, Default)]
struct Prefixes {
    bytes: Vec<u8>,
    ends: Vec<(usize, bool)>,
}

impl LineEncoder {
    /// An encoder of chunks of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            chunk: Vec::new(),
            done: Lines::default(),
            prefixes: Prefixes::default(),
            timestamp: Timestamp { unix_ns: 0, ending: b" 0\n".to_vec() },
        }
    }

    /// Appends the points of a block.
    pub fn push(&mut self, block: &PointBlock) {
        self.prefixes.fill(block);
        let mut distributions = block.distributions.iter().peekable();
        for point in 0..block.len() {
            let start = self.chunk.len();
            let (prefix, rewritten) = self.prefixes.of(block.descriptor_index[point]);
            self.chunk.extend_from_slice(prefix);
            self.done.rewritten += u64::from(rewritten);
            match distributions.next_if(|(place, _)| *place as usize == point) {
                None => {
                    self.chunk.extend_from_slice(b" value=");
                    write_float(&mut self.chunk, block.values[point]);
                }
                Some((_, Distribution::Histogram(histogram))) => write_histogram(&mut self.chunk, histogram),
                Some((_, Distribution::Summary(summary))) => write_summary(&mut self.chunk, summary),
            }
            self.chunk.extend_from_slice(self.timestamp.ending(block.timestamps_unix_ns[point]));
            self.cut(start);
        }
        self.done.lines += block.len() as u64;
    }

    /// The lines of all blocks taken; the encoder has none afterwards.
    #[must_use]
    pub fn finish(&mut self) -> Lines {
        if !self.chunk.is_empty() {
            self.done.chunks.push(std::mem::take(&mut self.chunk));
        }
        std::mem::take(&mut self.done)
    }

    /// Ends the chunk before the line that begins at `start` where that line has made it too long.
    #[inline]
    fn cut(&mut self, start: usize) {
        if self.chunk.len() <= self.bytes_max || start == 0 {
            return;
        }
        let mut next = Vec::with_capacity(self.bytes_max.min(CHUNK_BYTES_RESERVED_MAX) + LINE_BYTES_USUAL);
        next.extend_from_slice(&self.chunk[start..]);
        self.chunk.truncate(start);
        self.done.chunks.push(std::mem::replace(&mut self.chunk, next));
    }
}

impl Timestamp {
    /// The end of a line: a space, the timestamp and a line feed.
    #[inline]
    fn ending(&mut self, unix_ns: i64) -> &[u8] {
        if self.unix_ns != unix_ns {
            self.unix_ns = unix_ns;
            self.ending.clear();
            self.ending.push(b' ');
            self.ending.extend_from_slice(itoa::Buffer::new().format(unix_ns).as_bytes());
            self.ending.push(b'\n');
        }
        &self.ending
    }
}

impl Prefixes {
    fn fill(&mut self, block: &PointBlock) {
        self.bytes.clear();
        self.ends.clear();
        for descriptor in block.descriptors.iter() {
            let rewritten = series::write(&mut self.bytes, &descriptor.key);
            self.ends.push((self.bytes.len(), rewritten));
        }
    }

    #[inline]
    fn of(&self, index: u32) -> (&[u8], bool) {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1].0 };
        let (end, rewritten) = self.ends[index];
        (&self.bytes[start..end], rewritten)
    }
}

fn write_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    write_count(out, b" count=", histogram.count);
    write_number(out, b",sum=", histogram.sum);
    for (field, number) in [(&b",min="[..], histogram.min), (b",max=", histogram.max)] {
        if let Some(number) = number {
            write_number(out, field, number);
        }
    }
    let mut cumulative = 0_u64;
    let (last, counts) = histogram.bucket_counts.split_last().unwrap_or((&0, &[]));
    for (bound, count) in histogram.upper_bounds.iter().zip(counts) {
        cumulative = cumulative.saturating_add(*count);
        write_number(out, b",le_", *bound);
        write_count(out, b"=", cumulative);
    }
    write_count(out, b",le_+Inf=", cumulative.saturating_add(*last));
}

fn write_summary(out: &mut Vec<u8>, summary: &Summary) {
    write_count(out, b" count=", summary.count);
    write_number(out, b",sum=", summary.sum);
    for quantile in &summary.quantiles {
        write_number(out, b",q_", quantile.quantile);
        write_number(out, b"=", quantile.value);
    }
}

fn write_count(out: &mut Vec<u8>, before: &[u8], count: u64) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.push(b'i');
}

fn write_number(out: &mut Vec<u8>, before: &[u8], number: f64) {
    out.extend_from_slice(before);
    write_float(out, number);
}

/// The shortest form that reads back the same, without a fraction of zero.
#[inline]
fn write_float(out: &mut Vec<u8>, number: f64) {
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(number).as_bytes();
    out.extend_from_slice(digits.strip_suffix(b".0").unwrap_or(digits));
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
