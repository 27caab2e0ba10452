//! What a stream was told of its series' values, so that later ones are told as distances from that.

use crate::wire::dense::scale::Scale;
use crate::wire::proto::zigzag;

/// The batch among those told by a reference that renews it. Values drift away, so each of them costs more than the one
/// before it; but a batch that keeps references is one that those behind it cannot be read without.
const USES_MAX: u8 = 3;
/// The most that a distance has digits for. One that takes more bits than the number itself is told all the same: to leave
/// a group of distances and come back to it takes more than that.
const DISTANCE_MAX: u64 = u32::MAX as u64;

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
    uses: u8,
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
            self.kept[place] = Some(Kept { scale, number, uses: 0 });
        }
    }

    fn of(&self, id: u32) -> Option<&Kept> {
        self.kept.get(id as usize)?.as_ref()
    }

    /// References that the frame keeps so far.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Keeps no more than the first so many of them.
    pub(super) fn forget(&mut self, beyond: usize) {
        self.fresh.truncate(beyond);
    }

    /// True when it is time to renew the references of series that are told together.
    pub(super) fn are_due(&self, ids: &[u32]) -> bool {
        ids.iter().find_map(|&id| self.of(id)).is_some_and(|kept| kept.uses + 1 >= USES_MAX)
    }

    /// The scale of a series' reference.
    pub(super) fn scale(&self, id: u32) -> Option<Scale> {
        self.of(id).map(|kept| kept.scale)
    }

    /// How far a number by that scale is from the reference; `None` where that is too far to be told.
    pub(super) fn distance(&mut self, id: u32, number: i64) -> Option<i64> {
        let kept = self.kept.get_mut(id as usize)?.as_mut()?;
        kept.uses = kept.uses.saturating_add(1);
        let distance = number.wrapping_sub(kept.number);
        (zigzag(distance) <= DISTANCE_MAX).then_some(distance)
    }

    /// The number is to be the series' reference.
    pub(super) fn keep(&mut self, id: u32, scale: Scale, number: i64) {
        self.fresh.push((id, scale, number));
    }
}
