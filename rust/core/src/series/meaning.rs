//! What a definition of a stream means, in as little memory as it can be told.
//!
//! A definition has to be kept as it was sent: another of the same id has to be the same, and under other common tags it
//! names another series. But its texts are the registry's too, once its series is known: all that is to be remembered
//! besides is which of the series' tags are the definition's own. So a definition costs its bytes only while it has no
//! series.

use std::sync::Arc;

use super::descriptor::Descriptor;
use super::effective::RawTag;
use super::invalid::InvalidSeries;
use super::varint;
use crate::limits;

/// The texts of a definition and what became of them.
#[derive(Debug)]
pub(super) enum Meaning {
    /// No series yet, or none that is valid.
    Sent {
        /// What was sent, in one order: `varint tags`, name and sorted tags as in a canonical key, then the unit. Of a
        /// crowd of tags its digest: such a definition has a fault, so nothing else of them is asked for.
        form: Box<[u8]>,
        /// The first rule that it breaks by itself.
        fault: Option<InvalidSeries>,
        /// The first rule that it breaks under the common tags it was judged under last.
        judged: Option<InvalidSeries>,
    },
    /// A series, which has these texts.
    Series {
        /// As it was admitted.
        series: Arc<Descriptor>,
        /// Its tags that the definition brought.
        own: OwnTags,
    },
}

/// Which of a series' tags, in their order, are a definition's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnTags([u32; OWN_WORDS]);

const OWN_WORDS: usize = 3;
// One tag more than a point may bring: `node_id` is filled in.
const _: () = assert!(limits::TAGS_MAX < OWN_WORDS * 32);

impl OwnTags {
    /// Finds the tags of a definition, sorted, among those of the series that they make.
    fn of(series: &Descriptor, sorted: &[RawTag<'_>]) -> Self {
        let mut own = Self::default();
        let mut next = sorted.iter().peekable();
        for (place, (key, _)) in tags(series).enumerate() {
            if next.next_if(|tag| tag.0 == key).is_some() {
                own.0[place / 32] |= 1 << (place % 32);
            }
        }
        own
    }

    fn has(self, place: usize) -> bool {
        self.0[place / 32] >> (place % 32) & 1 == 1
    }

    fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl Meaning {
    /// A series in the place of the texts that have made it.
    pub(super) fn series(series: Arc<Descriptor>, sorted: &[RawTag<'_>]) -> Self {
        let own = OwnTags::of(&series, sorted);
        Self::Series { series, own }
    }

    /// Appends what was sent.
    pub(super) fn write_form(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sent { form, .. } => out.extend_from_slice(form),
            Self::Series { series, own } => {
                varint::write(out, own.len() as u64);
                let own = tags(series).enumerate().filter(|(place, _)| own.has(*place)).map(|(_, tag)| tag);
                super::key::write_key(out, series.key.name().as_bytes(), own);
                out.extend_from_slice(series.unit.as_bytes());
            }
        }
    }

    /// Name, sorted tags and unit as they were sent.
    pub(super) fn parts(&self) -> (&[u8], Vec<RawTag<'_>>, &[u8]) {
        match self {
            Self::Sent { form, .. } => {
                let mut rest = &**form;
                let count = varint::read(&mut rest).unwrap_or_default();
                let name = varint::read_bytes(&mut rest).unwrap_or_default();
                let tag = |_| Some((varint::read_bytes(&mut rest)?, varint::read_bytes(&mut rest)?));
                let tags = (0..count).map_while(tag).collect();
                (name, tags, rest)
            }
            Self::Series { series, own } => {
                let own = tags(series).enumerate().filter(|(place, _)| own.has(*place)).map(|(_, tag)| tag);
                (series.key.name().as_bytes(), own.collect(), series.unit.as_bytes())
            }
        }
    }

    /// The name as it was sent.
    pub(super) fn name(&self) -> &[u8] {
        match self {
            Self::Sent { form, .. } => {
                let mut rest = &**form;
                varint::read(&mut rest).and_then(|_| varint::read_bytes(&mut rest)).unwrap_or_default()
            }
            Self::Series { series, .. } => series.key.name().as_bytes(),
        }
    }

    /// The first rule that the definition breaks by itself.
    pub(super) fn fault(&self) -> Option<InvalidSeries> {
        match self {
            Self::Sent { fault, .. } => *fault,
            Self::Series { .. } => None,
        }
    }

    /// Remembers that the common tags make it break a rule.
    pub(super) fn refuse(&mut self, broken: InvalidSeries) {
        if let Self::Series { .. } = self {
            let mut form = Vec::new();
            self.write_form(&mut form);
            *self = Self::Sent { form: form.into(), fault: None, judged: None };
        }
        if let Self::Sent { judged, .. } = self {
            *judged = Some(broken);
        }
    }
}

fn tags(series: &Descriptor) -> impl Iterator<Item = RawTag<'_>> {
    series.key.tags().map(|(key, value)| (key.as_bytes(), value.as_bytes()))
}
