//! Batches and splits as records of the journal.
//!
//! ```text
//! version u8 = 1 · kind u8 · epoch u64 · varint sequence
//! kind 1, a batch: varint points · varint raw_bytes · varint packed_bytes · body
//!     packed_bytes is 0 when the raw bytes follow as they are, else they are one zstd frame
//!     raw: tags · varint series · series · indexes · timestamps · values
//!     tags       varint count, for each text(key) text(value)
//!     series     each: text(name) tags type with delta bit u8 text(unit)
//!     indexes    u8 = 0: point i is of series i
//!                u8 = 1: for each point zigzag varint of its series less (the previous one + 1, at first 0)
//!     timestamps u8 = 0: zigzag varint, for all points · u8 = 1: for each, less the previous one (at first 0)
//!     values     f64 each
//! kind 3, a batch with rows: as kind 1, but the raw bytes begin with varint rows, for each varint(len) and the body of a
//!     `Metric` message; points counts them, and indexes, timestamps and values are of the others
//! kind 2, a batch was split in halves: varint first (the halves are `first` and `first + 1`); of sequence 0, nothing was
//! ```
//! text is varint(len) and bytes; fixed-size numbers are little-endian.

use zstd::bulk::{Compressor, Decompressor};

use crate::series::varint;
use crate::wire::{OutgoingBatch, OutgoingSeries, OutgoingTag};

pub(super) const VERSION: u8 = 1;
const KIND_BATCH: u8 = 1;
const KIND_SPLIT: u8 = 2;
const KIND_BATCH_WITH_ROWS: u8 = 3;
/// Bytes of a batch before compression, at most: more than a segment can hold compressed anyhow.
const RAW_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Less is not worth compressing.
const PACKED_BYTES_MIN: usize = 256;
const ZSTD_LEVEL: i32 = 1;
const DELTA_BIT: u8 = 0x80;
/// No batch has this sequence.
pub(super) const NOTHING: u64 = 0;

/// What a record says without its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A batch was taken.
    Batch { points: u32 },
    /// Two halves took a batch's place.
    Split { first: u64 },
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    /// Written by a newer version of this program, or not by it at all.
    #[error("spool format version {0}, this program reads versions up to {VERSION}: use the newer program")]
    UnknownVersion(u8),
    /// Damaged or cut off.
    #[error("a record's {0} cannot be read")]
    Damaged(&'static str),
}

/// Makes records; keeps its buffers and compression context.
pub(super) struct Recorder {
    zstd: Compressor<'static>,
    raw: Vec<u8>,
    record: Vec<u8>,
}

impl Recorder {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: Compressor::new(ZSTD_LEVEL)?, raw: Vec::new(), record: Vec::new() })
    }

    /// The record of a batch.
    pub(super) fn batch(&mut self, epoch: u64, sequence: u64, batch: &OutgoingBatch) -> &[u8] {
        let with_rows = !batch.rows().is_empty();
        self.begin(if with_rows { KIND_BATCH_WITH_ROWS } else { KIND_BATCH }, epoch, sequence);
        self.raw.clear();
        if with_rows {
            put_rows(&mut self.raw, batch.rows());
        }
        put_batch(&mut self.raw, batch);
        varint::write(&mut self.record, batch.len() as u64);
        varint::write(&mut self.record, self.raw.len() as u64);
        // A compressor without memory is no reason to lose the batch: it is kept as it is.
        let packed = if self.raw.len() < PACKED_BYTES_MIN { None } else { self.zstd.compress(&self.raw).ok() };
        let packed = packed.filter(|packed| packed.len() < self.raw.len());
        varint::write(&mut self.record, packed.as_ref().map_or(0, Vec::len) as u64);
        self.record.extend_from_slice(packed.as_ref().unwrap_or(&self.raw));
        &self.record
    }

    /// The record of a split.
    pub(super) fn split(&mut self, epoch: u64, sequence: u64, first: u64) -> &[u8] {
        self.begin(KIND_SPLIT, epoch, sequence);
        varint::write(&mut self.record, first);
        &self.record
    }

    fn begin(&mut self, kind: u8, epoch: u64, sequence: u64) {
        self.record.clear();
        self.record.extend_from_slice(&[VERSION, kind]);
        self.record.extend_from_slice(&epoch.to_le_bytes());
        varint::write(&mut self.record, sequence);
    }
}

/// What a record says, and the bytes that follow.
pub(super) fn head(mut record: &[u8]) -> Result<(Head, &[u8]), RecordError> {
    match record.first() {
        Some(&VERSION) => {}
        Some(&version) => return Err(RecordError::UnknownVersion(version)),
        None => return Err(RecordError::Damaged("version")),
    }
    let rest = &mut record;
    let head = (|| {
        let kind = varint::take(rest, 2)?[1];
        let epoch = u64::from_le_bytes(varint::take(rest, 8)?.try_into().ok()?);
        let sequence = varint::read(rest)?;
        let event = match kind {
            KIND_BATCH | KIND_BATCH_WITH_ROWS => Event::Batch { points: u32::try_from(varint::read(rest)?).ok()? },
            KIND_SPLIT => Event::Split { first: varint::read(rest)? },
            _ => return None,
        };
        Some(Head { epoch, sequence, event })
    })();
    head.map(|head| (head, record)).ok_or(RecordError::Damaged("head"))
}

/// The batch of a record, and the epoch under which it was taken.
pub(super) fn batch(record: &[u8]) -> Result<(Head, OutgoingBatch), RecordError> {
    let (head, body) = head(record)?;
    let Event::Batch { points } = head.event else { return Err(RecordError::Damaged("kind")) };
    let with_rows = record.get(1) == Some(&KIND_BATCH_WITH_ROWS);
    let batch = body_of(body, points as usize, with_rows).ok_or(RecordError::Damaged("points"))?;
    Ok((head, batch))
}

fn body_of(mut body: &[u8], points: usize, with_rows: bool) -> Option<OutgoingBatch> {
    let raw_bytes = usize::try_from(varint::read(&mut body)?).ok().filter(|bytes| *bytes <= RAW_BYTES_MAX)?;
    let packed_bytes = usize::try_from(varint::read(&mut body)?).ok()?;
    let unpacked;
    let raw = if packed_bytes == 0 {
        body
    } else {
        let packed = body.get(..packed_bytes).filter(|packed| packed.len() == body.len())?;
        unpacked = Decompressor::new().ok()?.decompress(packed, raw_bytes).ok()?;
        &unpacked
    };
    let mut raw = (raw.len() == raw_bytes).then_some(raw)?;
    let rows = if with_rows { take_rows(&mut raw)? } else { Vec::new() };
    Some(take_batch(raw, points.checked_sub(rows.len())?)?.with_rows(rows))
}

fn put_rows(out: &mut Vec<u8>, rows: &[Box<[u8]>]) {
    varint::write(out, rows.len() as u64);
    for row in rows {
        varint::write(out, row.len() as u64);
        out.extend_from_slice(row);
    }
}

fn take_rows(raw: &mut &[u8]) -> Option<Vec<Box<[u8]>>> {
    (0..varint::read(raw)?).map(|_| Some(varint::read_bytes(raw)?.into())).collect()
}

fn put_batch(out: &mut Vec<u8>, batch: &OutgoingBatch) {
    put_tags(out, batch.common_tags());
    varint::write(out, batch.series().len() as u64);
    for series in batch.series() {
        put_text(out, &series.name);
        put_tags(out, &series.tags);
        out.push(series.metric_type as u8 | if series.delta { DELTA_BIT } else { 0 });
        put_text(out, &series.unit);
    }
    if batch.series_index().iter().zip(0..).all(|(&index, place)| index == place) {
        out.push(0);
    } else {
        out.push(1);
        let mut expected = 0;
        for &index in batch.series_index() {
            varint::write(out, varint::zigzag(i64::from(index) - expected));
            expected = i64::from(index) + 1;
        }
    }
    let times = batch.timestamps_unix_ns();
    let same = times.windows(2).all(|pair| pair[0] == pair[1]);
    out.push(u8::from(!same));
    let mut previous = 0_i64;
    for &time in if same { &times[..times.len().min(1)] } else { times } {
        varint::write(out, varint::zigzag(time.wrapping_sub(previous)));
        previous = time;
    }
    out.extend(batch.values().iter().flat_map(|value| value.to_le_bytes()));
}

fn take_batch(mut raw: &[u8], points: usize) -> Option<OutgoingBatch> {
    let raw = &mut raw;
    let common_tags = take_tags(raw)?;
    let count = varint::read(raw)?;
    let mut series = Vec::new();
    for _ in 0..count {
        let name = take_text(raw)?;
        let tags = take_tags(raw)?;
        let kind = varint::take(raw, 1)?[0];
        let unit = take_text(raw)?;
        let (metric_type, delta) = (u32::from(kind & !DELTA_BIT), kind & DELTA_BIT != 0);
        series.push(OutgoingSeries { name, tags, metric_type, unit, delta });
    }
    // Every point has its value's eight bytes, so a number of points that the bytes cannot hold is told before it is reserved.
    if points > raw.len() / 8 {
        return None;
    }
    let index = if varint::take(raw, 1)?[0] == 0 {
        (0..u32::try_from(points).ok()?).collect()
    } else {
        let mut expected = 0_i64;
        let mut index = Vec::with_capacity(points);
        for _ in 0..points {
            let place = expected.checked_add(varint::unzigzag(varint::read(raw)?))?;
            index.push(u32::try_from(place).ok()?);
            expected = place + 1;
        }
        index
    };
    let same = varint::take(raw, 1)?[0] == 0;
    let mut times = Vec::with_capacity(points);
    let mut time = 0_i64;
    for place in 0..points {
        if place == 0 || !same {
            time = time.wrapping_add(varint::unzigzag(varint::read(raw)?));
        }
        times.push(time);
    }
    let values = varint::take(raw, points * 8)?;
    let values = values.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().expect("chunks of eight")));
    let batch = OutgoingBatch::new(common_tags, series, index, times, values.collect()).ok()?;
    raw.is_empty().then_some(batch)
}

fn put_tags(out: &mut Vec<u8>, tags: &[OutgoingTag]) {
    varint::write(out, tags.len() as u64);
    for (key, value) in tags {
        put_text(out, key);
        put_text(out, value);
    }
}

fn take_tags(raw: &mut &[u8]) -> Option<Vec<OutgoingTag>> {
    (0..varint::read(raw)?).map(|_| Some((take_text(raw)?, take_text(raw)?))).collect()
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn take_text(raw: &mut &[u8]) -> Option<Box<str>> {
    Some(std::str::from_utf8(varint::read_bytes(raw)?).ok()?.into())
}
