//! What a stream was told of its series' values, so that later ones are told as distances from that.

use crate::wire::dense::scale::Scale;

/// What the values of a series may be told by. It is part of the series' definition, and no value stands for it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The byte of the scale, which is known.
    pub scale: u8,
    /// A number by that scale.
    pub number: i64,
}

/// A reference that a batch has for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptReference {
    /// The series' id.
    pub id: u32,
    /// What is kept.
    pub reference: Reference,
}

/// The references that a stream has before the batch at hand.
pub trait References {
    /// Batches of the stream that have kept references, modulo 2^32.
    fn version(&self) -> u32;

    /// A series' reference, if it has one.
    fn reference(&self, id: u32) -> Option<Reference>;
}

/// Those of a stream that has said nothing yet.
#[derive(Clone, Copy, Debug)]
pub struct NoReferences;

impl References for NoReferences {
    fn version(&self) -> u32 {
        0
    }

    fn reference(&self, _id: u32) -> Option<Reference> {
        None
    }
}

/// References while the dense columns of one message are read.
pub(super) struct Told<'a> {
    known: &'a dyn References,
    kept: &'a mut Vec<KeptReference>,
    unknown: &'a mut bool,
    /// The message says the version that the stream has.
    agrees: bool,
}

impl<'a> Told<'a> {
    pub(super) fn new(
        known: &'a dyn References,
        version: u32,
        kept: &'a mut Vec<KeptReference>,
        unknown: &'a mut bool,
    ) -> Self {
        Self { known, kept, unknown, agrees: version == known.version() }
    }

    /// The reference of a series. Where there is none the batch is refused, once it has turned out to be sound, and any does.
    pub(super) fn of(&mut self, id: u32) -> (Scale, i64) {
        let known = self.known.reference(id).filter(|_| self.agrees);
        let known = known.and_then(|Reference { scale, number }| Some((Scale::parse(scale)?, number)));
        *self.unknown |= known.is_none();
        known.unwrap_or((Scale::Raw, 0))
    }

    pub(super) fn keep(&mut self, id: u32, scale: Scale, number: i64) {
        *self.unknown |= !self.agrees;
        self.kept.push(KeptReference { id, reference: Reference { scale: scale.byte(), number } });
    }
}
