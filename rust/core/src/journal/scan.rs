//! Finds the records of a segment, whatever has happened to its bytes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crc32c::crc32c;

use super::error::is_unreadable;
use super::format::{ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, framed_bytes};
use super::storage::StorageFile;

/// Read at a time.
const READ_BYTES: u64 = 256 * 1024;
/// What a storage gives or does not give as a whole.
pub(crate) const PAGE_BYTES: u64 = 4_096;
/// Pages of one segment that may be unreadable. A storage that has lost more is not worked around: the error is told,
/// and nothing of the journal is given up for what may be a loose cable.
const UNREADABLE_PAGES_MAX: usize = 256;

/// What lies at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole record; its payload is in the scanner's buffer.
    Record { start: u64, end: u64, group_start: u64, payload: Range<usize> },
    /// Bytes that are no record, with one behind them, or a record whose payload is damaged.
    Damaged { start: u64, end: u64, reason: Damage, group_start: Option<u64> },
    /// No record begins between here and the limit.
    End { start: u64 },
}

/// What is wrong with bytes that should be records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// No record header where one should be.
    Header,
    /// A record header whose payload does not match its checksum.
    Payload,
    /// Part of the last group before a crash: it was never acknowledged, or was damaged afterwards.
    Unfinished,
    /// The segment's own header. Its records are found without it.
    SegmentHeader,
    /// The storage does not give the bytes any more.
    Unreadable,
    /// The file ends too early, or a segment is not there.
    Missing,
    /// A whole record whose contents its reader cannot read. Only inspection looks for it.
    Undecodable,
}

impl Damage {
    /// As it stands in a quarantine file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "record-header",
            Self::Payload => "payload-checksum",
            Self::Unfinished => "unfinished-group",
            Self::SegmentHeader => "segment-header",
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Walks over the records of one segment up to a limit. Never reads behind the limit.
pub(crate) struct Scanner {
    file: Arc<dyn StorageFile>,
    base: u64,
    seed: u32,
    at: u64,
    limit: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Whether pages that cannot be read count as damage instead of ending the scan.
    reads_around: bool,
    /// The pages that could not be read: start and end.
    unreadable: BTreeMap<u64, u64>,
}

impl Scanner {
    /// `from` is the position of a record or of the limit, `limit` at most the end of the file.
    pub(crate) fn new(file: Arc<dyn StorageFile>, base: u64, seed: u32, from: u64, limit: u64) -> Self {
        Self {
            file,
            base,
            seed,
            at: from,
            limit,
            buffer: Vec::new(),
            buffer_at: from,
            reads_around: false,
            unreadable: BTreeMap::new(),
        }
    }

    /// From now on pages that cannot be read are damage like any other; otherwise they are errors.
    pub(crate) fn read_around(&mut self, around: bool) {
        self.reads_around = around;
    }

    /// The end of the last page behind a position that could not be read.
    pub(crate) fn unreadable_behind(&self, position: u64) -> Option<u64> {
        self.unreadable.values().next_back().copied().filter(|end| *end > position)
    }

    /// Why a range is damaged: as it seems, or because it could not be read.
    pub(crate) fn cause(&self, start: u64, end: u64, seems: Damage) -> Damage {
        let touched = self.unreadable.range(..end).next_back().is_some_and(|(_, page_end)| *page_end > start);
        if touched { Damage::Unreadable } else { seems }
    }

    /// More of the segment may be read now.
    pub(crate) fn extend(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Bytes of a record that the last step found.
    pub(crate) fn payload(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next record or what is in its way.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let start = self.at;
        if let Some(header) = self.header(start)? {
            return self.record(&header);
        }
        // The first whole header behind ends the damage. It names its own position, so a payload cannot pretend.
        let mut at = start + ALIGNMENT as u64;
        while self.fill(at, RECORD_HEADER_BYTES as u64)? {
            let buffered = self.buffer_at + self.buffer.len() as u64;
            while at + RECORD_HEADER_BYTES as u64 <= buffered {
                if self.parse(at).is_some() {
                    self.at = at;
                    let reason = self.cause(start, at, Damage::Header);
                    return Ok(Step::Damaged { start, end: at, reason, group_start: None });
                }
                at += ALIGNMENT as u64;
            }
        }
        Ok(Step::End { start })
    }

    fn record(&mut self, header: &RecordHeader) -> io::Result<Step> {
        let (start, end) = (header.position, header.end());
        self.fill(start, end - start)?;
        let from = (start - self.buffer_at) as usize + RECORD_HEADER_BYTES;
        let payload = from..from + header.payload_bytes as usize;
        self.at = end;
        let group_start = header.group_start(self.base);
        if crc32c(&self.buffer[payload.clone()]) == header.payload_crc {
            Ok(Step::Record { start, end, group_start, payload })
        } else {
            let reason = self.cause(start, end, Damage::Payload);
            Ok(Step::Damaged { start, end, reason, group_start: Some(group_start) })
        }
    }

    fn header(&mut self, at: u64) -> io::Result<Option<RecordHeader>> {
        Ok(if self.fill(at, RECORD_HEADER_BYTES as u64)? { self.parse(at) } else { None })
    }

    /// The header at a position that is in the buffer, if there is one and its record ends before the limit.
    fn parse(&self, at: u64) -> Option<RecordHeader> {
        let from = (at - self.buffer_at) as usize;
        let header = RecordHeader::parse(&self.buffer[from..from + RECORD_HEADER_BYTES], at, self.seed)?;
        (at + framed_bytes(header.payload_bytes as usize) <= self.limit).then_some(header)
    }

    /// Has so many bytes from a position on in the buffer; false when they reach over the limit.
    fn fill(&mut self, at: u64, bytes: u64) -> io::Result<bool> {
        if at + bytes > self.limit {
            return Ok(false);
        }
        let buffered = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if buffered.start <= at && at + bytes <= buffered.end {
            return Ok(true);
        }
        let bytes = bytes.max(READ_BYTES).min(self.limit - at) as usize;
        self.buffer.clear();
        self.buffer.resize(bytes, 0);
        self.buffer_at = at;
        match self.file.read_at(&mut self.buffer, at - self.base) {
            Ok(()) => Ok(true),
            Err(error) if self.reads_around && is_unreadable(&error) => self.fill_pages().map(|()| true),
            Err(error) => {
                self.buffer.clear();
                Err(error)
            }
        }
    }

    /// Fills the buffer page by page; what cannot be read is zero.
    fn fill_pages(&mut self) -> io::Result<()> {
        let end = self.buffer_at + self.buffer.len() as u64;
        let mut at = self.buffer_at;
        while at < end {
            let behind = (self.base + (at - self.base + 1).next_multiple_of(PAGE_BYTES)).min(end);
            let page = &mut self.buffer[(at - self.buffer_at) as usize..(behind - self.buffer_at) as usize];
            if let Err(error) = self.file.read_at(page, at - self.base) {
                page.fill(0);
                self.unreadable.insert(at, behind);
                if !is_unreadable(&error) || self.unreadable.len() > UNREADABLE_PAGES_MAX {
                    self.buffer.clear();
                    return Err(error);
                }
            }
            at = behind;
        }
        Ok(())
    }
}
