//! The bytes on disk, version 1. docs/journal-format.md tells the same for other programs.
//!
//! Numbers are little-endian. Every file begins with the same 16 bytes, which no later version may change:
//!
//! ```text
//! preamble   magic 8 │ format version u32 │ crc32c of the 12 bytes before
//! ```
//!
//! Every checksum behind the preamble is seeded with the checksum of the journal's id, so that bytes of another
//! journal never pass.

use crc32c::{crc32c, crc32c_append};

use super::position::JournalId;

/// The version this program writes. It reads this one and the one before; 1 is the first.
pub const FORMAT_VERSION: u32 = 1;

/// What kind of file a preamble announces.
pub(crate) type Magic = [u8; 8];
pub(crate) const SEGMENT_MAGIC: Magic = *b"TCJrnSeg";
pub(crate) const CHECKPOINT_MAGIC: Magic = *b"TCJrnChk";
pub(crate) const CURSOR_MAGIC: Magic = *b"TCJrnCur";

/// A segment's first page; records begin behind it.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// Where in that page the header stands a second time, in another sector.
const SEGMENT_HEADER_COPY: usize = 2048;
const SEGMENT_FIELDS_BYTES: usize = 72;
/// In front of every payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
const PREAMBLE_BYTES: usize = 16;
const RECORD_KIND: u8 = 1;

/// A file's beginning, judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    /// Of a version this program reads.
    Readable,
    /// Intact, and of a later version.
    Newer(u32),
    /// Not a preamble of this kind of file.
    Damaged,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

fn put_preamble(out: &mut [u8], magic: Magic) {
    out[..8].copy_from_slice(&magic);
    out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let crc = crc32c(&out[..12]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Judges the first bytes of a file.
pub(crate) fn preamble(bytes: &[u8], magic: Magic) -> Preamble {
    if bytes.len() < PREAMBLE_BYTES || bytes[..8] != magic || u32_at(bytes, 12) != crc32c(&bytes[..12]) {
        return Preamble::Damaged;
    }
    match u32_at(bytes, 8) {
        FORMAT_VERSION => Preamble::Readable,
        0 => Preamble::Damaged,
        newer => Preamble::Newer(newer),
    }
}

/// What every checksum of a journal starts from.
pub(crate) fn seed(id: &JournalId) -> u32 {
    crc32c(&id.bytes())
}

/// Why a segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentCause {
    /// It is the first of its journal.
    First,
    /// The one before was full.
    Full,
    /// The journal was opened again.
    Reopened,
    /// Writing or synchronizing the one before failed: its bytes from this segment's base on were never committed.
    Fault,
}

impl SegmentCause {
    /// As tools show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Full => "full",
            Self::Reopened => "reopened",
            Self::Fault => "fault",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::First => 0,
            Self::Full => 1,
            Self::Reopened => 2,
            Self::Fault => 3,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::First, Self::Full, Self::Reopened, Self::Fault].into_iter().find(|cause| cause.number() == number)
    }
}

/// The fields of a segment's first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: JournalId,
    /// Position of the file's first byte, and the committed end of the segment before: what that one holds from here
    /// on never counts.
    pub(crate) base: u64,
    /// Bytes that were preallocated.
    pub(crate) bytes: u64,
    pub(crate) created_unix_secs: u64,
    pub(crate) cause: SegmentCause,
}

impl SegmentHeader {
    /// The whole first page: the header twice, in two sectors, so that a damaged sector costs nothing.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut fields = [0; SEGMENT_FIELDS_BYTES];
        put_preamble(&mut fields, SEGMENT_MAGIC);
        fields[16..32].copy_from_slice(&self.id.bytes());
        fields[32..40].copy_from_slice(&self.base.to_le_bytes());
        fields[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        fields[48..56].copy_from_slice(&self.created_unix_secs.to_le_bytes());
        fields[56..60].copy_from_slice(&self.cause.number().to_le_bytes());
        let crc = crc32c_append(seed(&self.id), &fields[..68]);
        fields[68..72].copy_from_slice(&crc.to_le_bytes());
        let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
        page[..SEGMENT_FIELDS_BYTES].copy_from_slice(&fields);
        page[SEGMENT_HEADER_COPY..SEGMENT_HEADER_COPY + SEGMENT_FIELDS_BYTES].copy_from_slice(&fields);
        page
    }

    /// The header in a first page, from whichever copy is whole; the error is a version of the future.
    pub(crate) fn parse(page: &[u8]) -> Result<Option<Self>, u32> {
        for at in [0, SEGMENT_HEADER_COPY] {
            let Some(fields) = page.get(at..at + SEGMENT_FIELDS_BYTES) else { continue };
            match preamble(fields, SEGMENT_MAGIC) {
                Preamble::Newer(version) => return Err(version),
                Preamble::Damaged => {}
                Preamble::Readable => {
                    if let Some(header) = Self::fields(fields) {
                        return Ok(Some(header));
                    }
                }
            }
        }
        Ok(None)
    }

    fn fields(fields: &[u8]) -> Option<Self> {
        let id = id_at(fields, 16);
        let cause = SegmentCause::from_number(u32_at(fields, 56))?;
        (u32_at(fields, 68) == crc32c_append(seed(&id), &fields[..68])).then(|| Self {
            id,
            base: u64_at(fields, 32),
            bytes: u64_at(fields, 40),
            created_unix_secs: u64_at(fields, 48),
            cause,
        })
    }
}

fn id_at(bytes: &[u8], at: usize) -> JournalId {
    JournalId::new(bytes[at..at + 16].try_into().expect("a slice of sixteen bytes"))
}

/// In front of a payload: position u64 │ payload bytes u32 │ payload's crc u32 │ bytes since the group's start u32 │
/// kind u8 │ 7 zero │ crc of the 28 bytes before.
///
/// A record carries its own position, so that stale bytes never count, and two checksums, so that a damaged payload
/// costs that record alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) position: u64,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    /// Bytes from the start of the group, that is of everything covered by the same fdatasync. What lies before a
    /// group was on stable storage when the group was written.
    pub(crate) group_bytes: u32,
}

impl RecordHeader {
    pub(crate) fn put(&self, out: &mut [u8], seed: u32) {
        out[0..8].copy_from_slice(&self.position.to_le_bytes());
        out[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..20].copy_from_slice(&self.group_bytes.to_le_bytes());
        out[20] = RECORD_KIND;
        out[21..28].fill(0);
        let crc = crc32c_append(seed, &out[..28]);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at this position, if these bytes are one.
    pub(crate) fn parse(bytes: &[u8], position: u64, seed: u32) -> Option<Self> {
        let whole = u64_at(bytes, 0) == position
            && bytes[20] == RECORD_KIND
            && bytes[21..28] == [0; 7]
            && u32_at(bytes, 28) == crc32c_append(seed, &bytes[..28]);
        whole.then(|| Self {
            position,
            payload_bytes: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
            group_bytes: u32_at(bytes, 16),
        })
    }

    /// Position behind the record and its padding.
    pub(crate) fn end(&self) -> u64 {
        self.position + framed_bytes(self.payload_bytes as usize)
    }

    /// Where its group begins, never before the segment's first record.
    pub(crate) fn group_start(&self, segment_base: u64) -> u64 {
        self.position.saturating_sub(u64::from(self.group_bytes)).max(segment_base + SEGMENT_HEADER_BYTES)
    }
}

/// Bytes of a record with its header and padding.
pub(crate) fn framed_bytes(payload_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES + payload_bytes.next_multiple_of(ALIGNMENT)) as u64
}

/// A checkpoint or a cursor: one position with a body, written whole.
///
/// ```text
/// preamble 16 │ journal id 16 │ position u64 │ body bytes u64 │ crc of the body u32 │ crc of the 52 bytes before u32 │ body
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) id: JournalId,
    pub(crate) position: u64,
    pub(crate) body: Vec<u8>,
}

const MARK_HEADER_BYTES: usize = 56;

impl Mark {
    /// A mark whose body is `head` and then `rest`. The bytes become the mark where they are: a checkpoint's are many.
    pub(crate) fn encode(magic: Magic, id: &JournalId, position: u64, head: &[u8], rest: Vec<u8>) -> Vec<u8> {
        let mut out = rest;
        out.splice(0..0, [0; MARK_HEADER_BYTES].into_iter().chain(head.iter().copied()));
        let body_crc = crc32c_append(seed(id), &out[MARK_HEADER_BYTES..]);
        let body_bytes = (out.len() - MARK_HEADER_BYTES) as u64;
        put_preamble(&mut out, magic);
        out[16..32].copy_from_slice(&id.bytes());
        out[32..40].copy_from_slice(&position.to_le_bytes());
        out[40..48].copy_from_slice(&body_bytes.to_le_bytes());
        out[48..52].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32c_append(seed(id), &out[..52]);
        out[52..56].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The mark in a whole file; None when it is damaged, the error is a version of the future.
    pub(crate) fn parse(magic: Magic, mut file: Vec<u8>) -> Result<Option<Self>, u32> {
        match preamble(&file, magic) {
            Preamble::Newer(version) => return Err(version),
            Preamble::Damaged => return Ok(None),
            Preamble::Readable => {}
        }
        if file.len() < MARK_HEADER_BYTES {
            return Ok(None);
        }
        let (header, body) = file.split_at(MARK_HEADER_BYTES);
        let id = id_at(header, 16);
        let whole = u32_at(header, 52) == crc32c_append(seed(&id), &header[..52])
            && u64_at(header, 40) == body.len() as u64
            && u32_at(header, 48) == crc32c_append(seed(&id), body);
        let position = u64_at(header, 32);
        // In place: a checkpoint's body is large enough to be there once.
        file.drain(..MARK_HEADER_BYTES);
        Ok(whole.then_some(Self { id, position, body: file }))
    }
}
