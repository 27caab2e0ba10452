//! What a checkpoint holds beside its position, and the replay of what follows it.
//!
//! Format: a version byte, then `varint(epochs)`, for each `text(identity) u64le(epoch) varint(floor) varint(ranges)` and
//! for each range `varint(first) varint(last - first)`; what follows is the registry's snapshot. Bytes are checksummed by
//! the journal, so damage here means another program wrote them: the replay then goes on with what it could read.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Recovered;
use super::names::Names;
use super::ranges::RangeSet;
use crate::columns::{BlockDecoder, DecodeError};
use crate::journal::{Position, Record, Replay, Ticket};
use crate::series::descriptor::DescriptorRef;
use crate::series::{Registry, varint};

const VERSION: u8 = 1;
/// Slots of the registry that are copied under its lock at a time, so that batches do not wait for the whole.
const SNAPSHOT_SLOTS: usize = 16_384;

/// The payload of a checkpoint. Names and series may be newer than its position, never older.
pub(super) fn encode(names: &Mutex<Names<Ticket>>, registry: &Mutex<Registry>) -> Vec<u8> {
    let mut out = vec![VERSION];
    let epochs = names.lock().durable();
    varint::write(&mut out, epochs.len() as u64);
    for (identity, epoch, floor, stored) in epochs {
        varint::write(&mut out, identity.len() as u64);
        out.extend_from_slice(identity.as_bytes());
        out.extend_from_slice(&epoch.to_le_bytes());
        varint::write(&mut out, floor);
        varint::write(&mut out, stored.ranges() as u64);
        for (first, last) in stored.iter() {
            varint::write(&mut out, first);
            varint::write(&mut out, last - first);
        }
    }
    let mut next = Some(0);
    while let Some(first_slot) = next {
        next = registry.lock().snapshot(first_slot, SNAPSHOT_SLOTS, &mut out);
    }
    out
}

/// Builds names and registry out of a checkpoint and the records after it.
pub(super) struct Replaying {
    pub(super) names: Names<Ticket>,
    pub(super) registry: Registry,
    pub(super) recovered: Recovered,
    decoder: BlockDecoder,
}

impl Replaying {
    pub(super) fn new(registry: Registry, decoder: BlockDecoder) -> Self {
        Self { names: Names::default(), registry, recovered: Recovered::default(), decoder }
    }

    fn restore(&mut self, payload: &[u8]) -> Option<()> {
        let (&version, mut rest) = payload.split_first()?;
        if version != VERSION {
            return None;
        }
        for _ in 0..varint::read(&mut rest)? {
            let identity: Arc<str> = std::str::from_utf8(varint::read_bytes(&mut rest)?).ok()?.into();
            let (epoch, after) = rest.split_first_chunk()?;
            rest = after;
            let floor = varint::read(&mut rest)?;
            let mut stored = RangeSet::default();
            for _ in 0..varint::read(&mut rest)? {
                let first = varint::read(&mut rest)?;
                stored.insert_range(first, first.checked_add(varint::read(&mut rest)?)?);
            }
            self.names.restore(&identity, u64::from_le_bytes(*epoch), floor, &stored);
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
        let block = match self.decoder.decode(record.payload) {
            Ok(block) => block,
            Err(error @ DecodeError::UnknownVersion(_)) => return Err(error.to_string()),
            Err(DecodeError::Damaged(_)) => {
                self.recovered.undecodable += 1;
                return Ok(());
            }
        };
        self.recovered.records += 1;
        self.recovered.points += block.len() as u64;
        let seen_secs = (block.received_unix_us / 1_000_000).max(0) as u64;
        for descriptor in &block.descriptors {
            let known = DescriptorRef { key: descriptor.key.borrowed(), meta: descriptor.meta() };
            self.registry.readmit(known, Some(&block.identity), seen_secs);
        }
        self.names.replay(&block.identity, block.epoch, block.sequence, block.oldest_unacknowledged);
        Ok(())
    }
}
