//! A record of the journal: one request.
//!
//! Format: a version byte, `i64le(received)`, then varints: rows, bytes of the rows with what surrounds them, lengths of
//! identity and node each before its text, runs of refused places with `places since the run before` and `length` each,
//! bytes of the request; what follows is the request's protobuf in zstd.

use crate::series::varint;

const VERSION: u8 = 1;
/// Enough: requests repeat their keys, and a higher level takes several times as long for a tenth of the bytes.
const LEVEL: i32 = 1;
/// No request is larger, whatever `limits.inflated_bytes_max` was when it came.
const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Places of rows in a request, ascending, as runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(Vec<(u32, u32)>);

impl Places {
    /// Adds a place behind all others.
    pub(super) fn push(&mut self, place: u32) {
        match self.0.last_mut() {
            Some((first, length)) if *first + *length == place => *length += 1,
            _ => self.0.push((place, 1)),
        }
    }

    /// Whether a place is among them; asked in ascending order, with `at` kept from the question before.
    pub(super) fn has(&self, place: u32, at: &mut usize) -> bool {
        while self.0.get(*at).is_some_and(|(first, length)| first + length <= place) {
            *at += 1;
        }
        self.0.get(*at).is_some_and(|(first, _)| *first <= place)
    }
}

/// What is known of a request without unpacking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) received_unix_us: i64,
    /// Rows to be stored.
    pub(super) rows: u64,
    /// Their bytes, with what surrounds them.
    pub(super) repeated_bytes: usize,
    pub(super) identity: Box<str>,
    /// Whose rows are that name no node.
    pub(super) node: Box<str>,
    pub(super) refused: Places,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Of a later program.
    #[error("the request's record has version {0}, this program reads {VERSION}: use the newer program")]
    UnknownVersion(u8),
    /// Not what its writer wrote, though its checksum holds.
    #[error("the request's record is damaged")]
    Damaged,
}

/// The record of a request.
pub(super) fn encode(head: &Head, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(request.len() / 2 + 256);
    out.push(VERSION);
    out.extend_from_slice(&head.received_unix_us.to_le_bytes());
    varint::write(&mut out, head.rows);
    varint::write(&mut out, head.repeated_bytes as u64);
    for text in [&head.identity, &head.node] {
        varint::write(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    varint::write(&mut out, head.refused.0.len() as u64);
    let mut end = 0;
    for (first, length) in &head.refused.0 {
        varint::write(&mut out, u64::from(first - end));
        varint::write(&mut out, u64::from(*length));
        end = first + length;
    }
    varint::write(&mut out, request.len() as u64);
    zstd::stream::copy_encode(request, &mut out, LEVEL)?;
    Ok(out)
}

/// Writes the time of receipt into a record.
pub(super) fn set_received(record: &mut [u8], received_unix_us: i64) {
    record[1..9].copy_from_slice(&received_unix_us.to_le_bytes());
}

/// The head of a record, and what follows it.
pub(super) fn head(record: &[u8]) -> Result<(Head, Packed<'_>), Unreadable> {
    let (&version, rest) = record.split_first().ok_or(Unreadable::Damaged)?;
    if version != VERSION {
        return Err(Unreadable::UnknownVersion(version));
    }
    parse(rest).ok_or(Unreadable::Damaged)
}

fn parse(mut rest: &[u8]) -> Option<(Head, Packed<'_>)> {
    let (received, after) = rest.split_first_chunk()?;
    rest = after;
    let rows = varint::read(&mut rest)?;
    let repeated_bytes = usize::try_from(varint::read(&mut rest)?).ok()?;
    let identity = std::str::from_utf8(varint::read_bytes(&mut rest)?).ok()?.into();
    let node = std::str::from_utf8(varint::read_bytes(&mut rest)?).ok()?.into();
    let mut refused = Places::default();
    let mut end = 0_u32;
    for _ in 0..varint::read(&mut rest)? {
        let first = end.checked_add(u32::try_from(varint::read(&mut rest)?).ok()?)?;
        let length = u32::try_from(varint::read(&mut rest)?).ok()?;
        end = first.checked_add(length)?;
        refused.0.push((first, length));
    }
    let bytes = usize::try_from(varint::read(&mut rest)?).ok().filter(|bytes| *bytes <= REQUEST_BYTES_MAX)?;
    let received_unix_us = i64::from_le_bytes(*received);
    Some((Head { received_unix_us, rows, repeated_bytes, identity, node, refused }, Packed { bytes, zstd: rest }))
}

/// A request as the journal has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    bytes: usize,
    zstd: &'a [u8],
}

impl Packed<'_> {
    /// The request's protobuf.
    pub(super) fn unpack(&self) -> Result<Vec<u8>, Unreadable> {
        let unpacked = zstd::bulk::decompress(self.zstd, self.bytes).map_err(|_| Unreadable::Damaged)?;
        if unpacked.len() == self.bytes { Ok(unpacked) } else { Err(Unreadable::Damaged) }
    }
}
