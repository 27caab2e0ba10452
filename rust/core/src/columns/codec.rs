//! Blocks as the body of a journal record: self-contained, compact, checked when read.
//!
//! ```text
//! version u8 = 1
//! varint(len) identity · epoch u64 · varint sequence · varint oldest_unacknowledged · zigzag received_unix_us
//! varint descriptors · varint points · varint distributions
//! series         varint raw_bytes · varint packed_bytes · packed
//!                packed_bytes is 0 when the raw bytes follow as they are, else they are one zstd frame
//!                raw: for each descriptor varint(len) key, type with delta bit, varint(len) unit
//! indexes        u8 = 0: point i has descriptor i
//!                u8 = 1: for each point zigzag varint of its index less (the previous index + 1, at first 0)
//! timestamps     u8 = 0: zigzag varint, for all points · u8 = 1: one for each point
//!                each less the previous one (at first the time of receipt)
//! values         f64 each
//! distributions  each: varint points since the previous one (at first since -1) · kind · fields, see `distribution`
//! ```
//!
//! Fixed-size numbers are little-endian. An encoder remembers the packed series of recent batches: agents send the same
//! series again and again, so compression is paid once.

use std::iter::zip;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::{Compressor, Decompressor};

use super::block::{PointBlock, SharedSeries};
use super::descriptor_table::address_hash;
use super::generations::Generations;
use crate::series::descriptor::DescriptorRef;
use crate::series::{Descriptor, Registry, varint};

mod distribution;

const VERSION: u8 = 1;
/// Bytes of a block's series before compression.
pub const SERIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Series of fewer bytes are not worth compressing.
const PACKED_BYTES_MIN: usize = 256;
/// Level 1 halves the time of level 3 for a few per cent of the size.
const ZSTD_LEVEL: i32 = 1;
/// Packed series an encoder remembers, in bytes of each of two generations.
const ENCODER_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Descriptors a decoder remembers, and as much again of them as whole blocks had them, in bytes of each of two
/// generations.
const DECODER_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a descriptor takes beside its bytes.
const DESCRIPTOR_BYTES: usize = size_of::<Descriptor>() + 96;

/// A block that does not fit into a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its series are too large.
    #[error("a block's series take {bytes} bytes, more than {}", SERIES_BYTES_MAX)]
    TooLarge {
        /// Bytes of the series.
        bytes: usize,
    },
    /// The compressor failed, which only a lack of memory can cause.
    #[error("compressing a block's series failed")]
    Compression,
}

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version of this program, or not by it at all.
    #[error("unknown version {0} of a block (this program reads version {VERSION})")]
    UnknownVersion(u8),
    /// Damaged or cut off.
    #[error("a block's {0} cannot be read")]
    Damaged(&'static str),
}

/// Writes blocks; keeps its buffers and compression context.
pub struct BlockEncoder {
    zstd: Compressor<'static>,
    raw: Vec<u8>,
    packed: Vec<u8>,
    recent: Generations<PackedSeries>,
}

struct PackedSeries {
    descriptors: SharedSeries,
    section: Box<[u8]>,
}

impl BlockEncoder {
    /// A new encoder.
    ///
    /// # Errors
    /// What the compression library says when it cannot have its memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Compressor::new(ZSTD_LEVEL)?,
            raw: Vec::new(),
            packed: Vec::new(),
            recent: Generations::new(ENCODER_CACHE_BYTES_MAX),
        })
    }

    /// Appends a block's bytes to `out`.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is as it was then.
    pub fn encode(&mut self, block: &PointBlock, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.push(VERSION);
        varint::write(out, block.identity.len() as u64);
        out.extend_from_slice(block.identity.as_bytes());
        out.extend_from_slice(&block.epoch.to_le_bytes());
        varint::write(out, block.sequence);
        varint::write(out, block.oldest_unacknowledged);
        varint::write(out, varint::zigzag(block.received_unix_us));
        varint::write(out, block.descriptors.len() as u64);
        varint::write(out, block.len() as u64);
        varint::write(out, block.distributions.len() as u64);
        if let Err(error) = self.series(&block.descriptors, out) {
            out.truncate(start);
            return Err(error);
        }
        write_indexes(block, out);
        write_timestamps(block, out);
        out.extend(block.values.iter().flat_map(|value| value.to_le_bytes()));
        distribution::write_all(&block.distributions, out);
        Ok(())
    }

    fn series(&mut self, descriptors: &SharedSeries, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let hash = descriptors.iter().fold(0_u64, |hash, descriptor| hash.rotate_left(5) ^ address_hash(descriptor));
        let same = |known: &PackedSeries| {
            known.descriptors.len() == descriptors.len()
                && zip(&*known.descriptors, &**descriptors).all(|(known, descriptor)| Arc::ptr_eq(known, descriptor))
        };
        if let Some(known) = self.recent.find(hash, same) {
            out.extend_from_slice(&known.section);
            return Ok(());
        }
        self.raw.clear();
        for descriptor in &**descriptors {
            descriptor.encode(&mut self.raw);
            if self.raw.len() > SERIES_BYTES_MAX {
                return Err(EncodeError::TooLarge { bytes: self.raw.len() });
            }
        }
        let start = out.len();
        varint::write(out, self.raw.len() as u64);
        if self.raw.len() < PACKED_BYTES_MIN {
            out.push(0);
            out.extend_from_slice(&self.raw);
            return Ok(());
        }
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.raw.len()));
        self.zstd.compress_to_buffer(&self.raw, &mut self.packed).map_err(|_| EncodeError::Compression)?;
        varint::write(out, self.packed.len() as u64);
        out.extend_from_slice(&self.packed);
        let section: Box<[u8]> = out[start..].into();
        let weight = section.len() + size_of_val(&**descriptors);
        self.recent.insert(hash, weight, PackedSeries { descriptors: Arc::clone(descriptors), section });
        Ok(())
    }
}

/// Reads blocks; keeps its buffers, and descriptors it has seen, so that equal ones are shared between blocks.
pub struct BlockDecoder {
    zstd: Decompressor<'static>,
    raw: Vec<u8>,
    known: Generations<KnownDescriptor>,
    sections: Generations<KnownSeries>,
    identity: Arc<str>,
}

struct KnownSeries {
    section: Box<[u8]>,
    descriptors: SharedSeries,
}

struct KnownDescriptor {
    bytes: Box<[u8]>,
    descriptor: Arc<Descriptor>,
}

impl BlockDecoder {
    /// A new decoder.
    ///
    /// # Errors
    /// What the compression library says when it cannot have its memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Decompressor::new()?,
            raw: Vec::new(),
            known: Generations::new(DECODER_CACHE_BYTES_MAX),
            sections: Generations::new(DECODER_CACHE_BYTES_MAX),
            identity: "".into(),
        })
    }

    /// The block that [`BlockEncoder::encode`] has written.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<PointBlock, DecodeError> {
        self.decode_whole(bytes, None)
    }

    /// The same, with the descriptors that the registry has where it has equal ones: whoever reads back what was just
    /// admitted then has each series once in memory, and not as much again for what it remembers of it.
    ///
    /// # Errors
    /// [`DecodeError`] for any other bytes.
    pub(crate) fn decode_shared(&mut self, bytes: &[u8], registry: &Registry) -> Result<PointBlock, DecodeError> {
        self.decode_whole(bytes, Some(registry))
    }

    fn decode_whole(&mut self, mut bytes: &[u8], registry: Option<&Registry>) -> Result<PointBlock, DecodeError> {
        let rest = &mut bytes;
        let BlockHead { mut block, counts, series } = self.head(rest, registry)?;
        block.descriptors = series;
        block.descriptor_index = read_indexes(&counts, rest).ok_or(DecodeError::Damaged("indexes"))?;
        block.timestamps_unix_ns =
            read_timestamps(&counts, block.received_unix_us, rest).ok_or(DecodeError::Damaged("timestamps"))?;
        block.values = read_values(&counts, rest).ok_or(DecodeError::Damaged("values"))?;
        block.distributions = distribution::read_all(counts.distributions, counts.points, rest)
            .filter(|_| rest.is_empty())
            .ok_or(DecodeError::Damaged("distributions"))?;
        Ok(block)
    }

    /// A block without its points, of which only the number is read, and its series. Where the decoder remembers those,
    /// nothing is done for each of them.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that do not begin as a block does.
    pub(crate) fn decode_head(&mut self, mut bytes: &[u8]) -> Result<(PointBlock, SharedSeries, usize), DecodeError> {
        let BlockHead { block, counts, series } = self.head(&mut bytes, None)?;
        Ok((block, series, counts.points))
    }

    fn head(&mut self, rest: &mut &[u8], registry: Option<&Registry>) -> Result<BlockHead, DecodeError> {
        match varint::take(rest, 1) {
            Some([VERSION]) => {}
            Some(&[version]) => return Err(DecodeError::UnknownVersion(version)),
            _ => return Err(DecodeError::Damaged("version")),
        }
        let block = self.header(rest).ok_or(DecodeError::Damaged("header"))?;
        let counts = read_counts(rest).ok_or(DecodeError::Damaged("counts"))?;
        let series = self.read_series(counts.descriptors, rest, registry).ok_or(DecodeError::Damaged("series"))?;
        Ok(BlockHead { block, counts, series })
    }

    fn header(&mut self, rest: &mut &[u8]) -> Option<PointBlock> {
        let identity = std::str::from_utf8(varint::read_bytes(rest)?).ok()?;
        if *identity != *self.identity {
            self.identity = identity.into();
        }
        Some(PointBlock {
            identity: Arc::clone(&self.identity),
            epoch: u64::from_le_bytes(*varint::take(rest, 8)?.first_chunk()?),
            sequence: varint::read(rest)?,
            oldest_unacknowledged: varint::read(rest)?,
            received_unix_us: varint::unzigzag(varint::read(rest)?),
            descriptors: SharedSeries::default(),
            descriptor_index: Vec::new(),
            timestamps_unix_ns: Vec::new(),
            values: Vec::new(),
            distributions: Vec::new(),
        })
    }

    fn read_series(&mut self, count: usize, rest: &mut &[u8], registry: Option<&Registry>) -> Option<SharedSeries> {
        let all = *rest;
        let raw_bytes = usize::try_from(varint::read(rest)?).ok().filter(|&bytes| bytes <= SERIES_BYTES_MAX)?;
        let packed_bytes = usize::try_from(varint::read(rest)?).ok()?;
        let packed = varint::take(rest, if packed_bytes == 0 { raw_bytes } else { packed_bytes })?;
        let section = &all[..all.len() - rest.len()];
        let hash = xxh3_64(section);
        let same = |known: &KnownSeries| known.descriptors.len() == count && *known.section == *section;
        if let Some(known) = self.sections.find(hash, same) {
            return Some(Arc::clone(&known.descriptors));
        }
        let packed = if packed_bytes == 0 { Packed::Raw(packed) } else { Packed::Zstd { packed, raw_bytes } };
        let descriptors: SharedSeries = self.unpack_series(count, &packed, registry)?.into();
        let weight = section.len() + raw_bytes + descriptors.len() * DESCRIPTOR_BYTES;
        let known = KnownSeries { section: section.into(), descriptors: Arc::clone(&descriptors) };
        self.sections.insert(hash, weight, known);
        Some(descriptors)
    }

    fn unpack_series(
        &mut self,
        count: usize,
        packed: &Packed<'_>,
        registry: Option<&Registry>,
    ) -> Option<Vec<Arc<Descriptor>>> {
        let (packed, raw_bytes) = match *packed {
            Packed::Raw(raw) => return self.read_descriptors(count, raw, registry),
            Packed::Zstd { packed, raw_bytes } => (packed, raw_bytes),
        };
        let mut raw = std::mem::take(&mut self.raw);
        raw.clear();
        raw.reserve(raw_bytes);
        let unpacked = self.zstd.decompress_to_buffer(packed, &mut raw);
        let whole = unpacked.is_ok() && raw.len() == raw_bytes;
        let descriptors = if whole { self.read_descriptors(count, &raw, registry) } else { None };
        // Whole again for the next block. A giant block's room is not kept.
        raw.shrink_to(ENCODER_CACHE_BYTES_MAX);
        self.raw = raw;
        descriptors
    }

    fn read_descriptors(
        &mut self,
        count: usize,
        mut raw: &[u8],
        registry: Option<&Registry>,
    ) -> Option<Vec<Arc<Descriptor>>> {
        // A descriptor takes four bytes at least.
        let mut descriptors = Vec::with_capacity(count.min(raw.len() / 4));
        for _ in 0..count {
            descriptors.push(self.read_descriptor(&mut raw, registry)?);
        }
        raw.is_empty().then_some(descriptors)
    }

    fn read_descriptor(&mut self, rest: &mut &[u8], registry: Option<&Registry>) -> Option<Arc<Descriptor>> {
        let all = *rest;
        varint::read_bytes(rest)?;
        varint::take(rest, 1)?;
        varint::read_bytes(rest)?;
        let bytes = &all[..all.len() - rest.len()];
        if let Some(registry) = registry {
            let decoded = DescriptorRef::decode(&mut { bytes })?;
            if let Some(active) = registry.lookup(decoded.key).filter(|active| active.meta() == decoded.meta) {
                return Some(active);
            }
        }
        let hash = xxh3_64(bytes);
        if let Some(known) = self.known.find(hash, |known| *known.bytes == *bytes) {
            return Some(Arc::clone(&known.descriptor));
        }
        let decoded = DescriptorRef::decode(&mut { bytes })?;
        let descriptor = Arc::new(decoded.to_descriptor(decoded.meta.unit.into()));
        let known = KnownDescriptor { bytes: bytes.into(), descriptor: Arc::clone(&descriptor) };
        self.known.insert(hash, 2 * bytes.len() + DESCRIPTOR_BYTES, known);
        Some(descriptor)
    }
}

/// The bytes of a block's series.
enum Packed<'a> {
    Raw(&'a [u8]),
    Zstd { packed: &'a [u8], raw_bytes: usize },
}

/// What stands in front of the points.
struct BlockHead {
    /// Without its series and points.
    block: PointBlock,
    counts: Counts,
    series: SharedSeries,
}

struct Counts {
    descriptors: usize,
    points: usize,
    distributions: usize,
}

/// Counts that what follows can hold: whatever is allocated for them is bounded by the record's own length.
fn read_counts(rest: &mut &[u8]) -> Option<Counts> {
    let mut count = || u32::try_from(varint::read(rest)?).ok().map(|count| count as usize);
    let counts = Counts { descriptors: count()?, points: count()?, distributions: count()? };
    (counts.points <= rest.len() / 8 && counts.distributions <= counts.points).then_some(counts)
}

fn write_indexes(block: &PointBlock, out: &mut Vec<u8>) {
    let in_order = block.descriptors.len() == block.len()
        && block.descriptor_index.iter().enumerate().all(|(point, &index)| point == index as usize);
    out.push(u8::from(!in_order));
    if !in_order {
        let mut expected = 0;
        for &index in &block.descriptor_index {
            varint::write(out, varint::zigzag(i64::from(index) - expected));
            expected = i64::from(index) + 1;
        }
    }
}

fn read_indexes(counts: &Counts, rest: &mut &[u8]) -> Option<Vec<u32>> {
    match varint::take(rest, 1)? {
        [0] => (counts.descriptors == counts.points).then(|| (0..counts.points as u32).collect()),
        [1] => {
            let mut expected = 0_i64;
            let mut indexes = Vec::with_capacity(counts.points);
            for _ in 0..counts.points {
                let index = expected.checked_add(varint::unzigzag(varint::read(rest)?))?;
                indexes.push(u32::try_from(index).ok().filter(|&index| (index as usize) < counts.descriptors)?);
                expected = index + 1;
            }
            Some(indexes)
        }
        _ => None,
    }
}

fn write_timestamps(block: &PointBlock, out: &mut Vec<u8>) {
    let mut previous = block.received_unix_us.wrapping_mul(1_000);
    let constant = block.timestamps_unix_ns.windows(2).all(|pair| pair[0] == pair[1]);
    out.push(u8::from(!constant));
    let written = if constant { block.len().min(1) } else { block.len() };
    for &timestamp in &block.timestamps_unix_ns[..written] {
        varint::write(out, varint::zigzag(timestamp.wrapping_sub(previous)));
        previous = timestamp;
    }
}

fn read_timestamps(counts: &Counts, received_unix_us: i64, rest: &mut &[u8]) -> Option<Vec<i64>> {
    let constant = match varint::take(rest, 1)? {
        [0] => true,
        [1] => false,
        _ => return None,
    };
    let mut previous = received_unix_us.wrapping_mul(1_000);
    let mut timestamps = Vec::with_capacity(counts.points);
    for point in 0..counts.points {
        if point == 0 || !constant {
            previous = previous.wrapping_add(varint::unzigzag(varint::read(rest)?));
        }
        timestamps.push(previous);
    }
    Some(timestamps)
}

fn read_values(counts: &Counts, rest: &mut &[u8]) -> Option<Vec<f64>> {
    let bytes = varint::take(rest, counts.points.checked_mul(8)?)?;
    Some(bytes.as_chunks::<8>().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
