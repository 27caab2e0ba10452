//! What a stream was told of its series' values, so that later ones are told as distances from that.

use crate::wire::dense::DISTANCE_STEP;
use crate::wire::dense::scale::Scale;
use crate::wire::proto::zigzag;

/// What leaving a group of distances and coming back to it costs, with something on top because it comes again.
const RENEWAL_BITS: usize = 64;

/// The references of one stream.
#[derive(Debug, Default)]
pub(in crate::wire::encode) struct SentReferences {
    /// Batches that have kept references.
    version: u32,
    /// By the series' id.
    kept: Vec<Option<Kept>>,
    /// Of the frame that is being made.
    fresh: Vec<(u32, Scale, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    scale: Scale,
    number: i64,
    /// The fewest bits that a distance has taken, and all that others took beyond that.
    least_bits: u32,
    excess_bits: u32,
}

impl SentReferences {
    /// What a batch says that uses or keeps references.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Begins a frame: what the one before it would have kept is forgotten unless [`Self::commit`] was called.
    pub(in crate::wire::encode) fn begin(&mut self) {
        self.fresh.clear();
    }

    /// The frame is whole, so what it keeps holds from the next one on.
    pub(in crate::wire::encode) fn commit(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        self.version = self.version.wrapping_add(1);
        for (id, scale, number) in self.fresh.drain(..) {
            let place = id as usize;
            if self.kept.len() <= place {
                self.kept.resize(place + 1, None);
            }
            self.kept[place] = Some(Kept { scale, number, least_bits: u32::MAX, excess_bits: 0 });
        }
    }

    /// References that the frame keeps so far.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Keeps no more than the first so many of them.
    pub(super) fn forget(&mut self, beyond: usize) {
        self.fresh.truncate(beyond);
    }

    /// The scale of a series' reference.
    pub(super) fn scale(&self, id: u32) -> Option<Scale> {
        self.kept.get(id as usize).copied().flatten().map(|kept| kept.scale)
    }

    /// How far a number by that scale is from the reference, and `None` where that is not worth telling: it takes more bits than the
    /// number in full, or has for so long that the number in full is to be kept instead.
    pub(super) fn distance(&mut self, id: u32, number: i64, full_bits: usize) -> Option<i64> {
        let kept = self.kept.get_mut(id as usize)?.as_mut()?;
        let distance = number.wrapping_sub(kept.number);
        let bits = distance_bits(distance)?;
        if bits as usize > full_bits {
            return None;
        }
        kept.least_bits = kept.least_bits.min(bits);
        kept.excess_bits = kept.excess_bits.saturating_add(bits - kept.least_bits);
        let is_due = kept.excess_bits as usize + kept.least_bits as usize >= full_bits + RENEWAL_BITS;
        (!is_due).then_some(distance)
    }

    /// The number is told in full, and is to be the series' reference.
    pub(super) fn keep(&mut self, id: u32, scale: Scale, number: i64) {
        self.fresh.push((id, scale, number));
    }
}

/// Bits of a distance, and `None` for one that is too far to be told.
fn distance_bits(distance: i64) -> Option<u32> {
    let significant = 64 - zigzag(distance).leading_zeros();
    match significant {
        0 => Some(1),
        1..=32 => Some(4 + significant.next_multiple_of(DISTANCE_STEP)),
        _ => None,
    }
}
