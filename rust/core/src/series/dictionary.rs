//! What the ids of one stream stand for.
//!
//! A definition is kept as it was sent, whether or not points may use it: a later one of the same id has to be the same,
//! and one that breaks a rule makes its points refused, not its batch. The series that a definition stands for depends on
//! the batch's common tags too; it is worked out once and remembered until those change or the series expires, so that a
//! point of the columnar form costs an index and no hashing. What is remembered is in [`super::meaning`].

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::descriptor::{Descriptor, Meta, MetricType};
use super::effective::{CommonTags, KeyBuilder, NodeClaim, RawTag};
use super::invalid::{InvalidSeries, Rule};
use super::key::{KeyRef, write_key};
use super::meaning::Meaning;
use super::owners::Source;
use super::references::StreamReferences;
use super::registry::{CardinalityLimit, KeyHasher, Registry};
use super::touches::Touches;
use super::{text, varint};
use crate::limits;

/// A definition as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct RawDefinition<'a> {
    /// The metric's name.
    pub name: &'a [u8],
    /// Own tags, in any order; none where there is a crowd of them.
    pub tags: &'a [RawTag<'a>],
    /// The tags where there are more than a series may have.
    pub crowd: Option<Crowd>,
    /// The type's number.
    pub type_number: u32,
    /// The unit.
    pub unit: &'a [u8],
    /// The values are changes.
    pub delta: bool,
}

/// What is kept of more tags than a series may have: enough to know them again and whom they speak for. A tag may take
/// two bytes on the wire and none of them may be counted, so keeping such tags themselves would have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    count: u64,
    bytes: usize,
    digest: u128,
    claim: NodeClaim,
}

impl Crowd {
    /// Sums up tags, in any order, of an agent whose certificate names `node`.
    pub fn of<'a>(tags: impl Iterator<Item = RawTag<'a>>, node: &[u8]) -> Self {
        let mut crowd = Self { count: 0, bytes: 0, digest: 0, claim: NodeClaim::Absent };
        for (key, value) in tags {
            crowd.count += 1;
            crowd.bytes += key.len() + value.len();
            // A sum is the same in any order. Who finds two that collide has two definitions that are refused alike.
            crowd.digest = crowd.digest.wrapping_add(xxh3_128_with_seed(value, xxh3_64(key)));
            if crowd.claim != NodeClaim::Other {
                crowd.claim = NodeClaim::of(&[(key, value)], node).or(crowd.claim);
            }
        }
        crowd
    }
}

/// Why a definition makes its batch malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The id stands for something else.
    #[error("series id {0} is defined again with another name, type, unit, delta or set of tags")]
    Redefined(u32),
    /// The stream has as many as it may have.
    #[error("more than {} definitions in a stream", limits::STREAM_DEFINITIONS_MAX)]
    TooMany,
    /// The stream's definitions take as much room as they may.
    #[error("more than {} bytes of definitions in a stream", limits::STREAM_DEFINITION_BYTES_MAX)]
    TooLarge,
}

/// Why a point of a defined series is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The series breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSeries),
    /// The series is new and there are too many.
    #[error(transparent)]
    CardinalityLimit(#[from] CardinalityLimit),
}

/// Where a definition stands in its dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// The definitions of one stream.
#[derive(Debug)]
pub struct StreamDictionary {
    node: Box<[u8]>,
    definitions: Vec<Definition>,
    /// Places of small ids; `NOWHERE` where an id has none.
    dense: Vec<u32>,
    /// Places of the other ids.
    sparse: HashMap<u32, u32>,
    /// Definitions that speak for another node than the peer's.
    strangers: usize,
    references: StreamReferences,
    touches: Touches,
    bytes: usize,
    kept: usize,
    kept_bytes: usize,
    /// Ids that the batch at hand has defined.
    new_ids: Vec<u32>,
    batch: u32,
    scratch: Vec<u8>,
    known: Vec<u8>,
}

/// 48 bytes: thousands of streams may have a thousand of them each.
#[derive(Debug)]
struct Definition {
    meaning: Meaning,
    /// The version of the common tags under which the meaning was worked out.
    common_version: u64,
    /// The batch for which `index` holds, and which was the last with a point of the series.
    batch: u32,
    index: u32,
    type_number: u32,
    delta: bool,
    claim: NodeClaim,
}

const NOWHERE: u32 = u32::MAX;
/// In the place of a version of the common tags.
const NEVER: u64 = u64::MAX;
/// A buffer above this size is given back after its definition: thousands of streams may be open.
const SCRATCH_BYTES_KEPT: usize = 4 * 1024;
/// An id is looked up directly when it is below this, or below four times the number of definitions.
const DENSE_IDS_MIN: usize = 1_024;

impl StreamDictionary {
    /// The empty dictionary of a stream whose peer's certificate names `node`.
    #[must_use]
    pub fn new(node: &[u8]) -> Self {
        Self {
            node: node.into(),
            definitions: Vec::new(),
            dense: Vec::new(),
            sparse: HashMap::new(),
            strangers: 0,
            references: StreamReferences::default(),
            touches: Touches::default(),
            bytes: 0,
            kept: 0,
            kept_bytes: 0,
            new_ids: Vec::new(),
            batch: 0,
            scratch: Vec::new(),
            known: Vec::new(),
        }
    }

    /// Definitions, those of the batch at hand included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.definitions.len()
    }

    /// True before the first definition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    /// Bytes of the names, keys, values and units of all definitions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a batch: what was defined before it stays for good.
    pub fn begin(&mut self) {
        (self.kept, self.kept_bytes) = (self.definitions.len(), self.bytes);
        self.new_ids = Vec::new();
        self.batch = self.batch.wrapping_add(1);
        if self.batch == 0 {
            // After 2^32 batches the marks of old ones must not look new.
            self.batch = 1;
            self.touches = Touches::default();
            for definition in &mut self.definitions {
                definition.batch = 0;
            }
        }
    }

    /// Makes room for so many definitions more, or as many as a stream may have: an agent defines all of its series at
    /// once, and there is one of these a stream, so growing by doubling would show.
    pub fn reserve(&mut self, definitions: usize) {
        self.definitions
            .reserve(definitions.min(limits::STREAM_DEFINITIONS_MAX.saturating_sub(self.definitions.len())));
    }

    /// Takes back what the batch at hand has defined, because it turned out to be malformed.
    pub fn rollback(&mut self) {
        self.bytes = self.kept_bytes;
        for definition in self.definitions.drain(self.kept..) {
            self.strangers -= usize::from(definition.claim == NodeClaim::Other);
        }
        for id in std::mem::take(&mut self.new_ids) {
            match self.dense.get_mut(id as usize) {
                Some(place) if *place != NOWHERE => *place = NOWHERE,
                _ => {
                    self.sparse.remove(&id);
                }
            }
        }
    }

    /// Takes one definition of the batch at hand; true when it is new, false for a repetition, which is free.
    ///
    /// # Errors
    /// [`DefinitionError`]; the batch is malformed then, and the caller has to call [`StreamDictionary::rollback`].
    pub fn define(&mut self, id: u32, raw: RawDefinition<'_>) -> Result<bool, DefinitionError> {
        let outcome = self.compare_or_add(id, raw);
        for scratch in [&mut self.scratch, &mut self.known] {
            scratch.clear();
            scratch.shrink_to(SCRATCH_BYTES_KEPT);
        }
        outcome
    }

    fn compare_or_add(&mut self, id: u32, raw: RawDefinition<'_>) -> Result<bool, DefinitionError> {
        let mut sorted = Vec::new();
        let tags = if raw.tags.is_sorted() {
            raw.tags
        } else {
            sorted.extend_from_slice(raw.tags);
            sorted.sort_unstable();
            &sorted
        };
        varint::write(&mut self.scratch, raw.crowd.map_or(tags.len() as u64, |crowd| crowd.count));
        write_key(&mut self.scratch, raw.name, tags.iter().copied());
        if let Some(crowd) = raw.crowd {
            self.scratch.extend_from_slice(&crowd.digest.to_le_bytes());
        }
        self.scratch.extend_from_slice(raw.unit);

        if let Some(Place(place)) = self.place(id) {
            let known = &self.definitions[place as usize];
            known.meaning.write_form(&mut self.known);
            let same = self.known == self.scratch && known.type_number == raw.type_number && known.delta == raw.delta;
            return if same { Ok(false) } else { Err(DefinitionError::Redefined(id)) };
        }
        let tag_bytes = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        let bytes = raw.name.len() + raw.unit.len() + raw.crowd.map_or(tag_bytes, |crowd| crowd.bytes);
        if self.definitions.len() >= limits::STREAM_DEFINITIONS_MAX {
            return Err(DefinitionError::TooMany);
        }
        if self.bytes + bytes > limits::STREAM_DEFINITION_BYTES_MAX {
            return Err(DefinitionError::TooLarge);
        }
        let claim = raw.crowd.map_or_else(|| NodeClaim::of(tags, &self.node), |crowd| crowd.claim);
        self.bytes += bytes;
        self.strangers += usize::from(claim == NodeClaim::Other);
        self.link(id);
        self.definitions.push(Definition {
            meaning: Meaning::Sent {
                form: self.scratch.as_slice().into(),
                fault: fault(raw.name, tags, raw.crowd, raw.unit, raw.type_number),
                judged: None,
            },
            common_version: NEVER,
            batch: 0,
            index: 0,
            type_number: raw.type_number,
            delta: raw.delta,
            claim,
        });
        Ok(true)
    }

    /// Where an id's definition stands; `None` when the stream has not defined it.
    #[must_use]
    #[inline]
    pub fn place(&self, id: u32) -> Option<Place> {
        match self.dense.get(id as usize) {
            Some(&place) if place != NOWHERE => Some(Place(place)),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&id).map(|&place| Place(place)),
        }
    }

    /// True when some definition speaks for another node than the peer's.
    #[must_use]
    pub fn has_strangers(&self) -> bool {
        self.strangers > 0
    }

    /// What a definition's own tags say about the node.
    #[must_use]
    #[inline]
    pub fn claim(&self, place: Place) -> NodeClaim {
        self.definitions[place.0 as usize].claim
    }

    /// The metric's name as it was sent, for examples in refusals.
    #[must_use]
    pub fn name(&self, place: Place) -> &[u8] {
        self.definitions[place.0 as usize].meaning.name()
    }

    /// Batches of the stream that have kept references, modulo 2^32.
    #[must_use]
    pub fn references_version(&self) -> u32 {
        self.references.version()
    }

    /// What values of a series may be told by: the scale's byte and a number.
    #[must_use]
    #[inline]
    pub fn reference(&self, id: u32) -> Option<(u8, i64)> {
        self.references.get(self.place(id)?.0)
    }

    /// Keeps the references of a batch, each a series' id, the scale's byte and a number; none when some series is not
    /// defined, because the batch is refused for that.
    pub fn keep_references(&mut self, references: impl Iterator<Item = (u32, u8, i64)> + Clone) {
        if !references.clone().all(|(id, ..)| self.place(id).is_some()) {
            return;
        }
        let mut kept = std::mem::take(&mut self.references);
        let of_places = references.filter_map(|(id, scale, number)| Some((self.place(id)?.0, scale, number)));
        kept.keep(self.definitions.len(), of_places);
        self.references = kept;
    }

    /// What [`StreamDictionary::set_index`] noted in the batch at hand: the definition's place in the block being built.
    #[must_use]
    #[inline]
    pub fn index(&self, place: Place) -> Option<u32> {
        let definition = &self.definitions[place.0 as usize];
        (definition.batch == self.batch).then_some(definition.index)
    }

    /// Notes a definition's place in the block being built; forgotten when the next batch begins.
    #[inline]
    pub fn set_index(&mut self, place: Place, index: u32) {
        let definition = &mut self.definitions[place.0 as usize];
        (definition.batch, definition.index) = (self.batch, index);
    }

    /// Lets the batch at hand take series for active that the stream has looked at less than `touch_secs` ago. Whoever calls
    /// this lets no series expire less than `touch_secs` after its time. Without a call each batch looks at all of its series.
    pub fn trust(&mut self, now_secs: u64, touch_secs: u64) {
        self.touches.renew(self.batch, now_secs, touch_secs);
    }

    /// False when resolving the definition will look at its series.
    #[must_use]
    pub fn is_trusted(&self, place: Place) -> bool {
        self.touches.cover(self.definitions[place.0 as usize].batch)
    }

    /// The series that a definition stands for under a batch's common tags, admitted or touched now, or trusted.
    ///
    /// # Errors
    /// [`Refusal`], for every point that uses the definition in this batch.
    #[inline]
    pub fn resolve<H: KeyHasher>(
        &mut self,
        place: Place,
        common: &CommonTags,
        keys: &mut KeyBuilder,
        registry: &Registry<H>,
        source: Source<'_>,
    ) -> Result<&Arc<Descriptor>, Refusal> {
        let definition = &mut self.definitions[place.0 as usize];
        let fresh = definition.common_version == common.version()
            && match &definition.meaning {
                Meaning::Series { series, .. } => {
                    self.touches.cover(definition.batch) || registry.touch(series, source)
                }
                Meaning::Sent { .. } => true,
            };
        if !fresh {
            definition.work_out(common, keys, registry, source)?;
        }
        match &definition.meaning {
            Meaning::Series { series, .. } => Ok(series),
            Meaning::Sent { judged, .. } => Err(judged.map_or(CardinalityLimit::Collector.into(), Refusal::Invalid)),
        }
    }

    /// Judges the series that a definition stands for without admitting it: for points that are refused anyway, so that
    /// they name the first rule broken.
    ///
    /// # Errors
    /// The first rule that name, tags, unit or type break.
    #[cold]
    pub fn check(&self, place: Place, common: &CommonTags, keys: &mut KeyBuilder) -> Result<(), InvalidSeries> {
        self.definitions[place.0 as usize].judge(common, keys).map(|_| ())
    }

    fn link(&mut self, id: u32) {
        self.new_ids.push(id);
        let place = self.definitions.len() as u32;
        let dense_ids = DENSE_IDS_MIN.max(self.definitions.len() * 4);
        if (id as usize) < self.dense.len().max(dense_ids) {
            if self.dense.len() <= id as usize {
                self.dense.resize((id as usize + 1).next_power_of_two().max(64), NOWHERE);
            }
            self.dense[id as usize] = place;
        } else {
            self.sparse.insert(id, place);
        }
    }
}

impl Definition {
    /// Works the meaning out anew.
    fn work_out<H: KeyHasher>(
        &mut self,
        common: &CommonTags,
        keys: &mut KeyBuilder,
        registry: &Registry<H>,
        source: Source<'_>,
    ) -> Result<(), CardinalityLimit> {
        match self.judge(common, keys) {
            // A refusal for the limit is not remembered: there may be room next time.
            Ok((key, meta)) => {
                let series = registry.admit(key, meta, source)?;
                let (_, tags, _) = self.meaning.parts();
                self.meaning = Meaning::series(series, &tags);
            }
            Err(broken) => self.meaning.refuse(broken),
        }
        self.common_version = common.version();
        Ok(())
    }

    /// The series' key and what is stored beside its points, by the rules in the order of the contract's table: the
    /// common tags stand between name and type.
    fn judge<'a>(
        &'a self,
        common: &CommonTags,
        keys: &'a mut KeyBuilder,
    ) -> Result<(KeyRef<'a>, Meta<'a>), InvalidSeries> {
        if let Some(fault) = self.meaning.fault()
            && fault.rule() != Rule::Value
        {
            return Err(fault);
        }
        let (name, tags, unit) = self.meaning.parts();
        let key = keys.build(name, &tags, common)?;
        let unit = text::check_unit(unit)?;
        let metric_type = scalar_type(self.type_number)?;
        Ok((key, Meta { metric_type, unit, delta: self.delta }))
    }
}

/// The type of a series of scalar values: unspecified is a gauge. Histograms, summaries and unknown numbers are faults.
fn scalar_type(number: u32) -> Result<MetricType, InvalidSeries> {
    match MetricType::from_wire(u64::from(number)) {
        None if number == 0 => Ok(MetricType::Gauge),
        Some(kind @ (MetricType::Counter | MetricType::Gauge | MetricType::Meter)) => Ok(kind),
        _ => Err(InvalidSeries::Type),
    }
}

/// The first rule that a definition breaks by itself.
fn fault(
    name: &[u8],
    sorted_tags: &[RawTag<'_>],
    crowd: Option<Crowd>,
    unit: &[u8],
    type_number: u32,
) -> Option<InvalidSeries> {
    if let Err(fault) = text::check_name(name) {
        return Some(fault);
    }
    if sorted_tags.len() > limits::TAGS_MAX || crowd.is_some() {
        return Some(InvalidSeries::TooManyTags);
    }
    if sorted_tags.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Some(InvalidSeries::TagTwice);
    }
    let own = sorted_tags.iter().find_map(|tag| super::effective::tag_fault(*tag));
    own.or_else(|| text::check_unit(unit).err()).or_else(|| scalar_type(type_number).err())
}

#[cfg(test)]
#[path = "dictionary_tests.rs"]
mod tests;
