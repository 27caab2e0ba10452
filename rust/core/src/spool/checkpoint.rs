//! What a checkpoint of the spool's journal holds.
//!
//! ```text
//! version u8 = 1 · epoch u64 · text(machine_id) text(identity) text(node)
//! varint former, for each text(node)
//! varint reserved · varint floor
//! varint ranges, for each varint(first) varint(last - first)
//! for each reason of `DropReason`, in order: varint batches · varint points
//! ```
//! It stands where the oldest unanswered batch begins. What it says is as new as the checkpoint itself, so a record
//! behind it may be of a batch that is answered.

use crate::ingest::ranges::RangeSet;
use crate::series::varint;

use super::drops::{DropReason, Drops};
use super::record::{put_text, take_text};
use super::settings::Owner;

const VERSION: u8 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) epoch: u64,
    pub(super) owner: Owner,
    /// Nodes that this machine had before, while batches were taken that may still wait.
    pub(super) former_nodes: Vec<String>,
    /// Every sequence from here on is unused.
    pub(super) reserved: u64,
    /// Every lower sequence is answered or abandoned.
    pub(super) floor: u64,
    /// And so are these.
    pub(super) answered: RangeSet,
    pub(super) drops: Drops,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.epoch.to_le_bytes());
        for text in [&self.owner.machine_id, &self.owner.identity, &self.owner.node] {
            put_text(&mut out, text);
        }
        varint::write(&mut out, self.former_nodes.len() as u64);
        self.former_nodes.iter().for_each(|node| put_text(&mut out, node));
        varint::write(&mut out, self.reserved);
        varint::write(&mut out, self.floor);
        varint::write(&mut out, self.answered.ranges() as u64);
        for (first, last) in self.answered.iter() {
            varint::write(&mut out, first);
            varint::write(&mut out, last - first);
        }
        for reason in DropReason::ALL {
            let (batches, points) = self.drops.of(reason);
            varint::write(&mut out, batches);
            varint::write(&mut out, points);
        }
        out
    }

    /// The contents, or why they cannot be taken.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, String> {
        match payload.split_first() {
            Some((&VERSION, rest)) => {
                Self::fields(rest).ok_or_else(|| "the spool's checkpoint cannot be read".to_owned())
            }
            Some((version, _)) => Err(format!(
                "spool format version {version}, this program reads versions up to {VERSION}: use the newer program"
            )),
            None => Err("the spool's checkpoint is empty".to_owned()),
        }
    }

    fn fields(mut rest: &[u8]) -> Option<Self> {
        let rest = &mut rest;
        let epoch = u64::from_le_bytes(varint::take(rest, 8)?.try_into().ok()?);
        let mut text = || Some(String::from(take_text(rest)?));
        let owner = Owner { machine_id: text()?, identity: text()?, node: text()? };
        let former_nodes = (0..varint::read(rest)?).map(|_| Some(take_text(rest)?.into())).collect::<Option<_>>()?;
        let reserved = varint::read(rest)?;
        let floor = varint::read(rest)?;
        let mut answered = RangeSet::default();
        for _ in 0..varint::read(rest)? {
            let first = varint::read(rest)?;
            answered.insert_range(first, first.checked_add(varint::read(rest)?)?);
        }
        let mut drops = Drops::default();
        for reason in DropReason::ALL {
            drops.add(reason, varint::read(rest)?, varint::read(rest)?);
        }
        Some(Self { epoch, owner, former_nodes, reserved, floor, answered, drops })
    }
}
