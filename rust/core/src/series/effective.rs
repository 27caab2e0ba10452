//! Effective tags: a metric's own tags over the common ones of its batch, and the canonical key that they make.
//!
//! The hot path of the row form. Common tags are judged, sorted and encoded once a batch; a point then costs one pass over
//! its own bytes, which copies and judges them at the same time, and no allocation.

use super::invalid::InvalidSeries;
use super::key::KeyRef;
use super::{text, varint};
use crate::limits;

/// A key and a value as they came, not judged yet.
pub type RawTag<'a> = (&'a [u8], &'a [u8]);

/// The tag that names the node a point is about. The collector fills it in where it is missing.
pub const NODE_ID: &[u8] = b"node_id";

/// What a list of tags says about the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeClaim {
    /// Nothing.
    Absent,
    /// It names the node that the certificate names.
    Same,
    /// It names another.
    Other,
}

impl NodeClaim {
    /// What a list of tags claims, beside the node of the peer's certificate. Where a key stands twice, each must agree.
    #[must_use]
    pub fn of(tags: &[RawTag<'_>], node: &[u8]) -> Self {
        let mut claim = Self::Absent;
        for (key, value) in tags {
            if *key == NODE_ID {
                if *value != node {
                    return Self::Other;
                }
                claim = Self::Same;
            }
        }
        claim
    }

    /// The claim of effective tags: this list's own, else that of the common tags.
    #[must_use]
    pub fn or(self, common: Self) -> Self {
        if self == Self::Absent { common } else { self }
    }
}

/// Bytes of common tags that each are as many and as long as they may be.
const COMMON_BYTES_MAX: usize = limits::TAGS_MAX * (limits::TAG_KEY_BYTES_MAX + limits::TAG_VALUE_BYTES_MAX);

/// The common tags of the batches of one stream, with `node_id` filled in. Reused from batch to batch.
#[derive(Debug, Default)]
pub struct CommonTags {
    /// The list and node as given, to notice that a batch brings the same again.
    given: Vec<u8>,
    /// Canonical bytes of the tags, ascending.
    encoded: Vec<u8>,
    tags: Vec<CommonTag>,
    fault: Option<InvalidSeries>,
    claim: Option<NodeClaim>,
    version: u64,
}

#[derive(Clone, Copy, Debug)]
struct CommonTag {
    prefix: u64,
    start: u32,
    end: u32,
    filled_in: bool,
}

impl CommonTag {
    /// The key of a tag within the bytes that hold it.
    fn key(self, encoded: &[u8]) -> &[u8] {
        let mut rest = encoded.get(self.start as usize..self.end as usize).unwrap_or_default();
        varint::read_bytes(&mut rest).unwrap_or_default()
    }
}

impl CommonTags {
    /// Takes the common tags of the next batch. Where they lack `node_id`, `node` is filled in.
    pub fn update(&mut self, tags: &[RawTag<'_>], node: &[u8]) {
        let mut given = std::mem::take(&mut self.given);
        let bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        if tags.len() > limits::TAGS_MAX || bytes > COMMON_BYTES_MAX {
            // Every point is refused for them, and a few hundred bytes of a frame may inflate to megabytes of them: they
            // are not kept to be known again.
            self.judge(tags, node);
            return;
        }
        let previous = given.len();
        varint::write(&mut given, node.len() as u64);
        given.extend_from_slice(node);
        for (key, value) in tags {
            varint::write(&mut given, key.len() as u64);
            given.extend_from_slice(key);
            varint::write(&mut given, value.len() as u64);
            given.extend_from_slice(value);
        }
        let same = self.claim.is_some() && given[..previous] == given[previous..];
        given.drain(..previous);
        self.given = given;
        if !same {
            self.judge(tags, node);
        }
    }

    fn judge(&mut self, tags: &[RawTag<'_>], node: &[u8]) {
        self.version += 1;
        self.claim = Some(NodeClaim::of(tags, node));
        self.encoded.clear();
        self.tags.clear();
        let too_many = tags.len() > limits::TAGS_MAX;
        self.fault = if too_many { Some(InvalidSeries::TooManyTags) } else { self.encode(tags, node).err() };
    }

    /// Grows by one whenever a batch's common tags differ from those of the batch before: what is derived from them is
    /// good as long as the version stays.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Canonical bytes of the tags as they were sent and of the node: equal for batches whose rows mean the same. None where
    /// the tags are more, or longer, than any that points are not refused for.
    #[must_use]
    pub fn given(&self) -> &[u8] {
        &self.given
    }

    /// The rule that these tags break. Every point of the batch is refused for it.
    #[must_use]
    pub fn fault(&self) -> Option<InvalidSeries> {
        self.fault
    }

    /// What the tags as they were sent say about the node.
    #[must_use]
    pub fn claim(&self) -> NodeClaim {
        self.claim.unwrap_or(NodeClaim::Absent)
    }

    fn encode(&mut self, tags: &[RawTag<'_>], node: &[u8]) -> Result<(), InvalidSeries> {
        let mut sorted: Vec<(RawTag<'_>, bool)> = tags.iter().map(|tag| (*tag, false)).collect();
        if self.claim() == NodeClaim::Absent {
            sorted.push(((NODE_ID, node), true));
        }
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0].0.0 == pair[1].0.0) {
            return Err(InvalidSeries::TagTwice);
        }
        for ((key, value), filled_in) in sorted {
            if let Some(fault) = tag_fault((key, value)) {
                return Err(fault);
            }
            let start = self.encoded.len() as u32;
            super::key::write_tag(&mut self.encoded, key, value);
            let end = self.encoded.len() as u32;
            self.tags.push(CommonTag { prefix: prefix(key), start, end, filled_in });
        }
        Ok(())
    }
}

/// Builds canonical keys in a buffer of its own.
#[derive(Debug)]
pub struct KeyBuilder {
    buffer: Box<[u8]>,
    order: Vec<(u64, u32)>,
}

/// The longest key there can be, each length in two bytes.
const KEY_BYTES_MAX: usize = 2
    + limits::NAME_BYTES_MAX
    + (limits::TAGS_MAX + 1) * (2 + limits::TAG_KEY_BYTES_MAX + 2 + limits::TAG_VALUE_BYTES_MAX);

impl Default for KeyBuilder {
    fn default() -> Self {
        Self { buffer: vec![0; KEY_BYTES_MAX].into_boxed_slice(), order: Vec::with_capacity(limits::TAGS_MAX) }
    }
}

impl KeyBuilder {
    /// The key of a name and its effective tags: `own`, in any order, over `common`.
    ///
    /// # Errors
    /// The first rule of the contract's table that they break.
    #[inline]
    pub fn build(&mut self, name: &[u8], own: &[RawTag<'_>], common: &CommonTags) -> Result<KeyRef<'_>, InvalidSeries> {
        if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Err(InvalidSeries::NameLength);
        }
        let mut end = self.put(0, name, InvalidSeries::NameText)?;
        if let Some(fault) = common.fault {
            return Err(fault);
        }
        self.sort(own)?;

        let mut merged = Merge { next: 0, taken: 0, filled_in: 0 };
        for place in 0..self.order.len() {
            let (own_prefix, own_index) = self.order[place];
            let (key, value) = own[own_index as usize];
            let from = merged.next;
            let overridden = merged.advance(common, own_prefix, key);
            end = self.put_common(end, common, from, merged.next - usize::from(overridden));
            end = self.put(end, key, InvalidSeries::TagKeyText)?;
            end = self.put(end, value, InvalidSeries::TagValueText)?;
        }
        let from = merged.next;
        merged.take_rest(common);
        if own.len() + merged.taken - merged.filled_in > limits::TAGS_MAX {
            return Err(InvalidSeries::TooManyTags);
        }
        end = self.put_common(end, common, from, common.tags.len());
        Ok(KeyRef::from_validated(&self.buffer[..end]))
    }

    /// Judges the lengths of own tags and leaves in `order` their places by ascending key.
    #[inline]
    fn sort(&mut self, own: &[RawTag<'_>]) -> Result<(), InvalidSeries> {
        if own.len() > limits::TAGS_MAX {
            return Err(InvalidSeries::TooManyTags);
        }
        self.order.clear();
        // Insertion from the end: tags mostly come sorted, and are few where they do not.
        for (index, (key, value)) in own.iter().enumerate() {
            check_lengths(key, value)?;
            let new = (prefix(key), index as u32);
            let mut place = self.order.len();
            while place > 0 && self.order[place - 1].0 >= new.0 {
                let before = self.order[place - 1];
                if before.0 == new.0 {
                    match own[before.1 as usize].0.cmp(key) {
                        std::cmp::Ordering::Less => break,
                        std::cmp::Ordering::Equal => return Err(InvalidSeries::TagTwice),
                        std::cmp::Ordering::Greater => {}
                    }
                }
                place -= 1;
            }
            self.order.insert(place, new);
        }
        Ok(())
    }

    /// Writes one length-prefixed text at `end`; returns the new end.
    #[inline]
    fn put(
        &mut self,
        end: usize,
        bytes: &[u8],
        fault: fn(super::invalid::TextFault) -> InvalidSeries,
    ) -> Result<usize, InvalidSeries> {
        let mut start = end + 1;
        if bytes.len() < 0x80 {
            self.buffer[end] = bytes.len() as u8;
        } else {
            self.buffer[end] = bytes.len() as u8 | 0x80;
            self.buffer[end + 1] = (bytes.len() >> 7) as u8;
            start += 1;
        }
        let end = start + bytes.len();
        let suspicious = text::copy(bytes, &mut self.buffer[start..end]);
        if suspicious && let Some(broken) = text::fault(bytes) {
            return Err(fault(broken));
        }
        Ok(end)
    }

    /// Writes a run of common tags at `end`; returns the new end.
    #[inline]
    fn put_common(&mut self, end: usize, common: &CommonTags, from: usize, to: usize) -> usize {
        if from >= to {
            return end;
        }
        let run = &common.encoded[common.tags[from].start as usize..common.tags[to - 1].end as usize];
        self.buffer[end..end + run.len()].copy_from_slice(run);
        end + run.len()
    }
}

/// How far a point's own tags have been merged with the common ones.
struct Merge {
    next: usize,
    taken: usize,
    filled_in: usize,
}

impl Merge {
    /// Takes the common tags below `key`, and skips one that equals it; true when there was one.
    #[inline]
    fn advance(&mut self, common: &CommonTags, key_prefix: u64, key: &[u8]) -> bool {
        while let Some(tag) = common.tags.get(self.next) {
            if tag.prefix > key_prefix {
                break;
            }
            if tag.prefix == key_prefix {
                match tag.key(&common.encoded).cmp(key) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        self.next += 1;
                        return true;
                    }
                    std::cmp::Ordering::Greater => break,
                }
            }
            self.take(*tag);
        }
        false
    }

    #[inline]
    fn take(&mut self, tag: CommonTag) {
        self.next += 1;
        self.taken += 1;
        self.filled_in += usize::from(tag.filled_in);
    }

    #[inline]
    fn take_rest(&mut self, common: &CommonTags) {
        for tag in &common.tags[self.next..] {
            self.take(*tag);
        }
    }
}

/// The first rule that one tag breaks.
pub(super) fn tag_fault((key, value): RawTag<'_>) -> Option<InvalidSeries> {
    check_lengths(key, value)
        .err()
        .or_else(|| text::fault(key).map(InvalidSeries::TagKeyText))
        .or_else(|| text::fault(value).map(InvalidSeries::TagValueText))
}

#[inline]
fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), InvalidSeries> {
    if key.is_empty() || key.len() > limits::TAG_KEY_BYTES_MAX {
        Err(InvalidSeries::TagKeyLength)
    } else if value.is_empty() || value.len() > limits::TAG_VALUE_BYTES_MAX {
        Err(InvalidSeries::TagValueLength)
    } else {
        Ok(())
    }
}

/// The first eight bytes of a key as one number that orders like them; shorter keys are filled up with zeros.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let missing_bits = 8 * (8 - key.len());
    if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        let low = (u64::from(u32::from_be_bytes(*last)) << missing_bits) & 0xffff_ffff;
        return u64::from(u32::from_be_bytes(*first)) << 32 | low;
    }
    if key.is_empty() {
        return 0;
    }
    key.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte)) << missing_bits
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
