//! What a checkpoint holds beside its position, and the replay of what follows it.
//!
//! Format: a version byte, then `varint(epochs)`, for each `text(identity) u64le(epoch) varint(floor) varint(ranges)` and
//! for each range `varint(first) varint(last - first)`; what follows is the registry's snapshot. Bytes are checksummed by
//! the journal, so damage here means another program wrote them: the replay then goes on with what it could read.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Recovered;
use super::names::{DurableEpoch, Names};
use super::ranges::RangeSet;
use crate::columns::{BlockDecoder, DecodeError, Generations, SharedSeries, address_hash};
use crate::journal::{Position, Record, Replay, Ticket};
use crate::series::{Descriptor, Registry, varint};

const VERSION: u8 = 1;

/// Series of blocks that are remembered during replay, in bytes of each of two generations.
const READMITTED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What one of them takes with its descriptor, about.
const READMITTED_BYTES: usize = 256;

/// The payload of a checkpoint. Names and series may be newer than its position, never older.
pub(super) fn encode(names: &Mutex<Names<Ticket>>, registry: &Registry) -> Vec<u8> {
    let mut out = vec![VERSION];
    encode_names(&names.lock(), &mut out);
    let mut next = Some(0);
    while let Some(shard) = next {
        next = registry.snapshot(shard, &mut out);
    }
    out
}

fn encode_names(names: &Names<Ticket>, out: &mut Vec<u8>) {
    let epochs = names.durable();
    varint::write(out, epochs.len() as u64);
    for DurableEpoch { identity, number, floor, stored } in epochs {
        varint::write(out, identity.len() as u64);
        out.extend_from_slice(identity);
        out.extend_from_slice(&number.to_le_bytes());
        varint::write(out, floor);
        varint::write(out, stored.ranges() as u64);
        for (first, last) in stored.iter() {
            varint::write(out, first);
            varint::write(out, last - first);
        }
    }
}

/// Builds names and registry out of a checkpoint and the records after it.
pub(super) struct Replaying {
    pub(super) names: Names<Ticket>,
    pub(super) registry: Registry,
    pub(super) recovered: Recovered,
    decoder: BlockDecoder,
    readmitted: Generations<Readmitted>,
}

/// The series of some block, which the registry has.
struct Readmitted {
    series: SharedSeries,
    known: Box<[Arc<Descriptor>]>,
    /// What the registry had counted of changes then. As long as that is so, it says of these series what the block
    /// says, and all that another block of the same adds is the time.
    changed: u64,
}

impl Replaying {
    pub(super) fn new(registry: Registry, decoder: BlockDecoder) -> Self {
        Self {
            names: Names::default(),
            registry,
            recovered: Recovered::default(),
            decoder,
            readmitted: Generations::new(READMITTED_BYTES_MAX),
        }
    }

    /// Makes the series of a block active. Agents send the same ones again and again, and these are not looked up.
    fn readmit(&mut self, series: &SharedSeries, identity: &str, seen_secs: u64) {
        let (hash, before) = (address_hash(series), self.registry.changed());
        let same = |known: &Readmitted| Arc::ptr_eq(&known.series, series) && known.changed == before;
        if let Some(known) = self.readmitted.find(hash, same) {
            known.known.iter().for_each(|series| self.registry.readmit_known(series, seen_secs));
            return;
        }
        let readmit =
            |descriptor: &Arc<Descriptor>| self.registry.readmit(descriptor.borrowed(), Some(identity), seen_secs);
        let known: Box<[Arc<Descriptor>]> = series.iter().map(readmit).collect();
        let changed = self.registry.changed();
        // A block may name a series twice with two units; then each block of it changes the registry twice.
        if changed == before {
            let known = Readmitted { series: Arc::clone(series), known, changed };
            self.readmitted.insert(hash, series.len() * READMITTED_BYTES, known);
        }
    }

    /// Takes a checkpoint's payload; None where it cannot be read.
    pub(super) fn restore(&mut self, payload: &[u8]) -> Option<()> {
        let (&version, mut rest) = payload.split_first()?;
        if version != VERSION {
            return None;
        }
        for _ in 0..varint::read(&mut rest)? {
            let identity = std::str::from_utf8(varint::read_bytes(&mut rest)?).ok()?;
            let (epoch, after) = rest.split_first_chunk()?;
            rest = after;
            let floor = varint::read(&mut rest)?;
            let mut stored = RangeSet::default();
            for _ in 0..varint::read(&mut rest)? {
                let first = varint::read(&mut rest)?;
                stored.insert_range(first, first.checked_add(varint::read(&mut rest)?)?);
            }
            self.names.restore(identity, u64::from_le_bytes(*epoch), floor, &stored);
        }
        self.registry.restore(rest).ok()?;
        Some(())
    }
}

impl Replay for Replaying {
    fn checkpoint(&mut self, _position: Position, payload: &[u8]) -> Result<(), String> {
        self.restore(payload).ok_or_else(|| "its names or series cannot be read".to_owned())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        // Points are left to those who read them: names and series are all that is needed here.
        let (block, series, points) = match self.decoder.decode_head(record.payload) {
            Ok(decoded) => decoded,
            Err(error @ DecodeError::UnknownVersion(_)) => return Err(error.to_string()),
            Err(DecodeError::Damaged(_)) => {
                self.recovered.undecodable += 1;
                return Ok(());
            }
        };
        self.recovered.records += 1;
        self.recovered.points += points as u64;
        let seen_secs = (block.received_unix_us / 1_000_000).max(0) as u64;
        self.readmit(&series, &block.identity, seen_secs);
        self.names.replay(&block.identity, block.epoch, block.sequence, block.oldest_unacknowledged);
        Ok(())
    }
}
