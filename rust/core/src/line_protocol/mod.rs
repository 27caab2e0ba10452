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

use crate::columns::{DescriptorTable, Distribution, Histogram, PointBlock, Summary};

/// A new chunk begins with room for this much more than its bound, so that the line that ends it fits.
const LINE_BYTES_USUAL: usize = 1_024;
/// Bytes of prefixes that are remembered, and what is beside each. Beyond that all begin anew, with the next block.
const PREFIX_BYTES_MAX: usize = 32 * 1024 * 1024;
const PREFIX_OVERHEAD_BYTES: usize = 48;
/// Between a prefix and the value of all points but histograms and summaries.
const VALUE: &[u8] = b" value=";
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

/// Writes blocks as lines. It remembers how each series begins its lines, so one encoder is best used for long.
#[derive(Debug)]
pub struct LineEncoder {
    bytes_max: usize,
    chunk: Vec<u8>,
    /// An emptied chunk, to be filled next.
    spare: Vec<u8>,
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

/// How lines of series begin: name and tags, escaped, and the field of a value.
#[derive(Debug, Default)]
struct Prefixes {
    known: DescriptorTable,
    bytes: Vec<u8>,
    /// Of all series known, by number.
    all: Vec<Prefix>,
    /// Of the block's, by their place in it.
    block: Vec<Prefix>,
}

#[derive(Clone, Copy, Debug)]
struct Prefix {
    start: usize,
    end: usize,
    rewritten: bool,
}

impl LineEncoder {
    /// An encoder of chunks of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            chunk: Vec::new(),
            spare: Vec::new(),
            done: Lines::default(),
            prefixes: Prefixes::default(),
            timestamp: Timestamp { unix_ns: 0, ending: b" 0\n".to_vec() },
        }
    }

    /// Chunks have at most so many bytes from the next line on.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Appends the points of a block.
    pub fn push(&mut self, block: &PointBlock) {
        self.prefixes.fill(block);
        let mut distributions = block.distributions.iter().peekable();
        let points = block.descriptor_index.iter().zip(&block.values).zip(&block.timestamps_unix_ns);
        for (point, ((&index, &value), &timestamp)) in points.enumerate() {
            let start = self.chunk.len();
            let prefix = self.prefixes.block[index as usize];
            self.chunk.extend_from_slice(&self.prefixes.bytes[prefix.start..prefix.end]);
            self.done.rewritten += u64::from(prefix.rewritten);
            match distributions.next_if(|(place, _)| *place as usize == point) {
                None => write_float(&mut self.chunk, value),
                Some((_, distribution)) => {
                    self.chunk.truncate(self.chunk.len() - VALUE.len());
                    write_distribution(&mut self.chunk, distribution);
                }
            }
            self.chunk.extend_from_slice(self.timestamp.ending(timestamp));
            self.cut(start);
        }
        self.done.lines += block.len() as u64;
    }

    /// Hands over the chunks that are done, in order. Room of one of them is used again.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        for mut chunk in self.done.chunks.drain(..) {
            take(&chunk);
            chunk.clear();
            self.spare = chunk;
        }
    }

    /// The lines of all blocks taken that were not handed over yet; the encoder has none afterwards.
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
        let mut next = std::mem::take(&mut self.spare);
        next.reserve(self.bytes_max.min(CHUNK_BYTES_RESERVED_MAX) + LINE_BYTES_USUAL);
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
    /// Looks the block's series up, and writes those that are new.
    fn fill(&mut self, block: &PointBlock) {
        if self.bytes.len() + self.all.len() * PREFIX_OVERHEAD_BYTES > PREFIX_BYTES_MAX {
            self.known.clear();
            self.all.clear();
            self.bytes.clear();
        }
        self.block.clear();
        for descriptor in block.descriptors.iter() {
            let (number, new) = self.known.number(descriptor);
            if new {
                let start = self.bytes.len();
                let rewritten = series::write(&mut self.bytes, &descriptor.key);
                self.bytes.extend_from_slice(VALUE);
                self.all.push(Prefix { start, end: self.bytes.len(), rewritten });
            }
            self.block.push(self.all[number as usize]);
        }
    }
}

fn write_distribution(out: &mut Vec<u8>, distribution: &Distribution) {
    match distribution {
        Distribution::Histogram(histogram) => write_histogram(out, histogram),
        Distribution::Summary(summary) => write_summary(out, summary),
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
