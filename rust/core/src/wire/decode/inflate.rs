//! Inflates a `CompressedBody`: exactly one gzip member or one zstd frame, of exactly the declared size.
//!
//! The declared size is checked before anything is inflated, and inflating stops one byte beyond it. The buffer grows with
//! what comes out, so a small frame that only declares a large body costs little.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::fault::Fault;
use crate::limits::ZSTD_WINDOW_LOG_MAX;
use crate::wire::proto::{LENGTH, Reader, Span, VARINT, WireFault, key};

/// The buffer starts with at least so much room.
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// A buffer above this size is given back before the next body.
const RETAINED_BYTES_MAX: usize = 1024 * 1024;

/// `CompressedBody.algorithm`.
pub(super) const GZIP: u32 = 1;
/// `CompressedBody.algorithm`.
pub(super) const ZSTD: u32 = 2;

/// A body that waits to be inflated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compressed {
    algorithm: u32,
    uncompressed_size: u32,
    body: Span,
}

impl Compressed {
    /// Reads a `CompressedBody` and merges it into what was read before.
    pub(super) fn read(&mut self, mut reader: Reader<'_>) -> Result<(), WireFault> {
        const ALGORITHM: u32 = key(1, VARINT);
        const UNCOMPRESSED_SIZE: u32 = key(2, VARINT);
        const BODY: u32 = key(3, LENGTH);

        while let Some(key) = reader.key()? {
            match key {
                ALGORITHM => self.algorithm = reader.varint()? as u32,
                UNCOMPRESSED_SIZE => self.uncompressed_size = reader.varint()? as u32,
                BODY => self.body = reader.span()?,
                _ => reader.skip(key)?,
            }
        }
        Ok(())
    }
}

/// The buffer that bodies are inflated into, and the zstd context, which is costly to make.
#[derive(Default)]
pub(super) struct Inflater {
    /// All of it is initialised; a body fills its beginning.
    buffer: Vec<u8>,
    /// Bytes that the last body gave, whether it turned out to be sound or not.
    inflated: usize,
    zstd: Option<Decoder<'static>>,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inflater").field("buffer_bytes", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Inflater {
    /// Bytes of the buffer.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes that the last body gave since `clear`.
    pub(super) fn inflated_bytes(&self) -> usize {
        self.inflated
    }

    /// A new batch begins.
    pub(super) fn clear(&mut self) {
        self.inflated = 0;
    }

    /// Inflates a body that stands in `frame`.
    pub(super) fn inflate(&mut self, compressed: &Compressed, frame: &[u8], bytes_max: usize) -> Result<&[u8], Fault> {
        let declared = compressed.uncompressed_size;
        if !matches!(compressed.algorithm, GZIP | ZSTD) {
            return Err(Fault::UnknownAlgorithm(compressed.algorithm));
        }
        if declared as usize > bytes_max {
            return Err(Fault::InflatedTooLarge { declared, bytes_max });
        }
        let input = compressed.body.of(frame);
        if self.buffer.len() > RETAINED_BYTES_MAX {
            self.buffer = Vec::new();
        }
        let mut output = Output { buffer: &mut self.buffer, filled: 0, bytes_max: declared as usize + 1 };
        output.reserve(input.len().saturating_mul(4).max(BUFFER_BYTES_MIN));
        let taken = if compressed.algorithm == GZIP {
            gunzip(input, &mut output)
        } else {
            check_zstd_header(input).and_then(|()| unzstd(&mut self.zstd, input, &mut output))
        };
        let inflated = output.filled;
        self.inflated = inflated;
        let taken = taken?;
        if inflated != declared as usize {
            return Err(Fault::InflatedSizeDiffers { declared });
        }
        if taken < input.len() {
            return Err(Fault::BytesBehindCompressed);
        }
        Ok(&self.buffer[..inflated])
    }
}

/// Room for at most `bytes_max` bytes, which is one more than a sound body needs.
struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    filled: usize,
    bytes_max: usize,
}

impl Output<'_> {
    /// Makes the buffer at least so long, or as long as it may become.
    fn reserve(&mut self, bytes: usize) {
        let wanted = bytes.min(self.bytes_max);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
    }

    fn room(&self) -> usize {
        self.buffer.len().min(self.bytes_max)
    }

    /// Makes room for more; false when the declared size is passed.
    fn grow(&mut self) -> bool {
        if self.filled < self.room() {
            return true;
        }
        self.reserve(self.room().saturating_mul(2));
        self.filled < self.room()
    }
}

/// Inflates one gzip member, checksum and size included; returns how many bytes it took. Stops without an error when the
/// output is full.
fn gunzip(input: &[u8], output: &mut Output<'_>) -> Result<usize, Fault> {
    const FAULT: Fault = Fault::NotCompressed("gzip member");
    let mut inflater = Decompress::new_gzip(15);
    loop {
        if !output.grow() {
            return Ok(input.len());
        }
        let (taken, room) = (inflater.total_in() as usize, output.room());
        let target = &mut output.buffer[output.filled..room];
        let status = inflater.decompress(&input[taken..], target, FlushDecompress::None).map_err(|_| FAULT)?;
        let progress = inflater.total_in() as usize > taken || inflater.total_out() as usize > output.filled;
        output.filled = inflater.total_out() as usize;
        match status {
            Status::StreamEnd => return Ok(inflater.total_in() as usize),
            Status::Ok | Status::BufError if progress => {}
            Status::Ok | Status::BufError => return Err(FAULT), // cut short
        }
    }
}

/// Inflates one zstd frame; returns how many bytes it took. Stops without an error when the output is full.
fn unzstd(context: &mut Option<Decoder<'static>>, input: &[u8], output: &mut Output<'_>) -> Result<usize, Fault> {
    const FAULT: Fault = Fault::NotCompressed("zstd frame");
    let decoder = match context {
        Some(decoder) => {
            decoder.reinit().map_err(|_| FAULT)?;
            decoder
        }
        None => context.insert(Decoder::new().map_err(|_| FAULT)?),
    };
    let mut source = InBuffer::around(input);
    loop {
        if !output.grow() {
            return Ok(input.len());
        }
        let (taken, filled, room) = (source.pos(), output.filled, output.room());
        let mut target = OutBuffer::around_pos(&mut output.buffer[..room], filled);
        let hint = decoder.run(&mut source, &mut target).map_err(|_| FAULT)?;
        output.filled = target.pos();
        if hint == 0 {
            return Ok(source.pos());
        }
        if source.pos() == taken && output.filled == filled {
            return Err(FAULT); // cut short
        }
    }
}

/// Judges what zstd's own decoder would let pass: it decodes into a large enough buffer whatever the window, and takes
/// frames that hold no data.
fn check_zstd_header(input: &[u8]) -> Result<(), Fault> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const FAULT: Fault = Fault::NotCompressed("zstd frame");

    let Some((&[a, b, c, d, descriptor], fields)) = input.split_first_chunk::<5>() else { return Err(FAULT) };
    if [a, b, c, d] != MAGIC {
        return Err(FAULT);
    }
    let single_segment = descriptor & 0x20 != 0;
    let window_bytes = usize::from(!single_segment);
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(single_segment),
        flag => 1 << flag,
    };
    let dictionary = fields.get(window_bytes..window_bytes + dictionary_bytes).ok_or(FAULT)?;
    if dictionary.iter().any(|&byte| byte != 0) {
        return Err(Fault::ZstdDictionary);
    }
    let window = if single_segment {
        // Without a window of its own, a frame's window is its content.
        let bytes = fields.get(dictionary_bytes..dictionary_bytes + size_bytes).ok_or(FAULT)?;
        let size = bytes.iter().rev().fold(0_u64, |size, &byte| size << 8 | u64::from(byte));
        if size_bytes == 2 { size + 256 } else { size }
    } else {
        let byte = *fields.first().ok_or(FAULT)?;
        let base = 1_u64 << (10 + (byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    };
    if window > 1 << ZSTD_WINDOW_LOG_MAX { Err(Fault::ZstdWindow) } else { Ok(()) }
}
